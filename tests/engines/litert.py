"""What LiteRT says of three made-up pictures; tools/facemesh/build.py recorded it."""

from pathlib import Path

import numpy as np

from streamprn.engines import registry
from streamprn.engines.detectors import DetectorSpec
from streamprn.engines.runtimes.spec import NetworkSpec

VECTORS = Path(__file__).resolve().parents[1] / "data" / "litert_outputs.npz"
NETWORKS = ("facemesh", "short", "full")
# Only every ninth anchor's regressors are stored.
STRIDE = {"regressors": 9}


def spec(name, **options):
    if name == "facemesh":
        bundle = registry.find(name)
        return NetworkSpec(name, bundle.networks, bundle.crop.size, **options)
    detector = DetectorSpec.load(name)
    return NetworkSpec(name, {"fp32": detector.network}, detector.size, **options)


def recorded(name):
    with np.load(VECTORS) as data:
        return {
            key.removeprefix(f"{name}_"): data[key] for key in data if key.startswith(f"{name}_")
        }


def inputs(name):
    """`(3, S, S, 3)`: waves, a blob like a face, a ramp; the same formula as in build.py."""
    size, low = spec(name).size, 0.0 if name == "facemesh" else -1.0
    y, x = np.mgrid[0:size, 0:size].astype(np.float64) / (size - 1)
    channel = np.arange(3)
    waves = 0.5 + 0.5 * np.sin(
        9 * x[..., None] * (1 + channel) + 7 * y[..., None] ** 2 + channel * 1.3
    )
    oval = np.exp(-((((x - 0.5) / 0.28) ** 2 + ((y - 0.5) / 0.36) ** 2) ** 2))
    eyes = sum(np.exp(-((x - cx) ** 2 + (y - 0.4) ** 2) / 0.003) for cx in (0.38, 0.62))
    mouth = np.exp(-(((x - 0.5) / 0.12) ** 2 + ((y - 0.7) / 0.03) ** 2))
    tone = np.clip(0.15 + 0.6 * oval - 0.4 * eyes - 0.3 * mouth, 0, 1)
    blob = tone[..., None] * np.array([1.0, 0.8, 0.7])
    ramp = np.stack([x, y, 1 - x * y], -1)
    return (low + (1 - low) * np.stack([waves, blob, ramp])).astype(np.float32)
