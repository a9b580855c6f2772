"""What LiteRT says of made-up pictures and a face; the scripts in tools/facemesh recorded it."""

from pathlib import Path

import numpy as np
import skimage.data

from streamprn.engines import registry
from streamprn.engines.detectors import DetectorSpec
from streamprn.engines.runtimes.spec import NetworkSpec

DATA = Path(__file__).resolve().parents[1] / "data"
ENGINES = ("facemesh", "facemesh2")
NETWORKS = (*ENGINES, "short", "full")
# Only every ninth anchor's regressors are stored.
STRIDE = {"regressors": 9}


def spec(name, **options):
    if name in ENGINES:
        bundle = registry.find(name)
        return NetworkSpec(name, bundle.networks, bundle.crop.size, **options)
    detector = DetectorSpec.load(name)
    return NetworkSpec(name, {"fp32": detector.network}, detector.size, **options)


def recorded(name):
    newer = name in ("facemesh2", "blendshapes")
    file = "litert_facemesh2.npz" if newer else "litert_outputs.npz"
    with np.load(DATA / file) as data:
        return {
            key.removeprefix(f"{name}_"): data[key] for key in data if key.startswith(f"{name}_")
        }


def inputs(name):
    """`(3, S, S, 3)`: waves, a blob like a face, a ramp; for facemesh2 `(4, ...)`, with a face.

    The same formulas as in tools/facemesh.
    """
    size, low = spec(name).size, 0.0 if name in ENGINES else -1.0
    pictures = _drawn(size, low)
    return np.concatenate([pictures, _face()]) if name == "facemesh2" else pictures


def _face():
    """`(1, 256, 256, 3)`: the astronaut's face, each pixel taken at the nearest place."""
    place = np.arange(256) * 3 // 4
    return skimage.data.astronaut()[30 + place][:, 128 + place][None].astype(np.float32) / 255


def _drawn(size, low):
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
