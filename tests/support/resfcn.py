"""The PRN network with random weights, and UV data of an invented face in the authors' format.

They run the plumbing, and say nothing about faces.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from streamprn.engines.resfcn256 import graph, importer, uvdata
from streamprn.engines.resfcn256.architecture import (
    DECODER,
    OUTPUT_SCALE,
    convolutions,
    variables,
)

NAME = "resfcn256-random"
Arrays = dict[str, np.ndarray]


def random_variables(seed: int = 0) -> Arrays:
    """All 245 variables, drawn so that activations keep a variance near 1 through the network.

    The last layers blur, as every kernel of theirs has one sign: a map of pure noise would be a
    mesh whose every triangle crosses the whole crop. The very last two keep the axes apart.
    """
    rng = np.random.default_rng(seed)
    blurring = {f"{conv.name}/weights" for conv in DECODER[-5:]}
    gain = {}
    for conv in convolutions():
        taps = conv.kernel**2 / (conv.stride**2 if conv.transposed else 1)
        gain[f"{conv.name}/weights"] = math.sqrt(2.0 / (taps * conv.inputs))
    arrays: Arrays = {}
    for name, shape in variables().items():
        part = name.rpartition("/")[2]
        if part == "weights":
            value = gain[name] * rng.standard_normal(shape)
            if name in blurring:
                value = np.abs(value) * np.sign(rng.standard_normal(shape[2:])) * 0.5
            if shape == (4, 4, 3, 3) and "transpose" in name:
                value = np.abs(value) * np.eye(3)
        elif part == "gamma":
            value = rng.uniform(0.7, 1.3, shape)
        elif part == "moving_variance":
            block_output = name.count("/") == 3 and "resBlock" in name
            value = rng.uniform(0.5, 1.5, shape) * (2.0 if block_output else 1.0)
        else:
            value = 0.2 * rng.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def settled(arrays: Arrays, landmarks: np.ndarray) -> Arrays:
    """The same network, its last layer scaled so that a face that it follows stays in place.

    The landmarks of a random map are scattered; here their box is that of a face which fits the
    crop, or tracking would lose it within a few frames.
    """
    from streamprn.engines.runtimes.openvino import shared_core

    last = f"{DECODER[-1].name}/BatchNorm"
    arrays = arrays | {f"{last}/moving_variance": np.full(3, 1e4, np.float32)}
    core = shared_core()
    model = core.read_model(graph.build(arrays).SerializeToString())
    crop = np.float32(data.astronaut()[None, :256, 96:352]) / 255
    maps = core.compile_model(model, "CPU")(crop)[0].reshape(-1, 3)[landmarks].astype(np.float64)
    logits = np.log(maps / (1 - maps))
    half = 255 / 1.6 / 2
    low, high = ((127.5 + side) / OUTPUT_SCALE for side in (-half, half))
    low, high = np.log(low / (1 - low)), np.log(high / (1 - high))
    scale = (high - low) / np.ptp(logits, axis=0)
    offset = low - scale * logits.min(axis=0)
    gamma, beta = (arrays[f"{last}/{part}"] * scale for part in ("gamma", "beta"))
    return arrays | {
        f"{last}/gamma": gamma.astype(np.float32),
        f"{last}/beta": (beta + offset).astype(np.float32),
    }


def make_random_bundle(folder: Path, seed: int = 0) -> Path:
    """An engine bundle in `folder`, whose last part is the engine's name."""
    uv_data = write_uv_data(folder.parent / f".{folder.name}-uv-data")
    topology = uvdata.read_topology(uv_data, licence="Apache-2.0", provenance="tests/support")
    return importer.write_bundle(
        settled(random_variables(seed), topology.texel[topology.landmarks]),
        topology,
        folder,
        title="The PRN network with random weights",
        licence="Apache-2.0",
        notice="random weights: this engine runs the plumbing and finds no faces",
        provenance="Random numbers.\n",
    )


def plane() -> tuple[np.ndarray, np.ndarray]:
    """Of every texel `(65536,)`: x and y in -1..1 over the face, x right, y up."""
    row, column = np.divmod(np.arange(65536), 256)
    return (column - 127.5) / 116, (127.5 - row) / 114


def face_mask() -> np.ndarray:
    """`(65536,)` bool: a superellipse of about 44,000 texels."""
    x, y = plane()
    return np.abs(x) ** 2.6 + np.abs(y) ** 2.6 < 1


def rest_shape() -> np.ndarray:
    """`(65536, 3)` a face-like surface, about millimetres: x right, y up, z to the camera."""
    x, y = plane()
    nose = 22 * np.exp(-((x / 0.16) ** 2) - ((y + 0.1) / 0.28) ** 2)
    z = 70 * np.cos(1.3 * x) * np.cos(0.7 * y) + nose
    return np.stack([75 * np.sin(1.4 * x) / np.sin(1.4), 95 * y, z], axis=1)


def landmark_texels() -> np.ndarray:
    """`(68,)` flat texels, roughly where they are on a face."""
    points = [(-0.86 * math.cos(t), 0.1 - 0.75 * math.sin(t)) for t in np.linspace(0, math.pi, 17)]
    brow = [(0.55, 0.52), (0.45, 0.6), (0.34, 0.62), (0.24, 0.6), (0.14, 0.55)]
    points += [(-x, y) for x, y in brow] + [(x, y) for x, y in reversed(brow)]
    points += [(0.0, y) for y in (0.4, 0.25, 0.1, -0.05)]
    points += [(x, -0.18) for x in (-0.14, -0.07, 0.0, 0.07, 0.14)]
    eye = [(-0.1, 0), (-0.05, 0.06), (0.05, 0.06), (0.1, 0), (0.05, -0.05), (-0.05, -0.05)]
    points += [(x + side, y + 0.35) for side in (-0.32, 0.32) for x, y in eye]
    for count, width, height in ((12, 0.24, 0.1), (8, 0.16, 0.04)):
        angles = math.pi - np.arange(count) * 2 * math.pi / count
        points += [(width * math.cos(t), -0.45 + height * math.sin(t)) for t in angles]
    x, y = np.array(points).T
    return (256 * np.rint(127.5 - 114 * y) + np.rint(127.5 + 116 * x)).astype(int)


def write_uv_data(
    folder: Path, *, triangles: bool = False, masks: bool = True, axes: tuple[int, ...] = (1, 1, 1)
) -> Path:
    """A `uv-data` folder. `axes` are the signs in which the rest shape is written."""
    folder.mkdir(parents=True, exist_ok=True)
    texel = np.flatnonzero(face_mask())
    np.savetxt(folder / "face_ind.txt", texel)
    rows, columns = np.divmod(landmark_texels(), 256)
    np.savetxt(folder / "uv_kpt_ind.txt", np.stack([columns, rows]))
    np.save(folder / "canonical_vertices.npy", rest_shape()[texel] * axes)
    if triangles:
        np.savetxt(folder / "triangles.txt", uvdata.triangulate(texel.astype(np.int32)))
    if masks:
        plain = np.full((256, 256, 3), 200, np.uint8)
        eyes = plain.copy()
        x, y = (v.reshape(256, 256) for v in plane())
        eyes[((np.abs(x) - 0.32) / 0.14) ** 2 + ((y - 0.35) / 0.09) ** 2 < 1] = 90
        cv2.imwrite(str(folder / "uv_face.png"), plain)
        cv2.imwrite(str(folder / "uv_face_eyes.png"), eyes)
        cv2.imwrite(str(folder / "uv_face_mask.png"), np.where(y < 0.8, 255, 0).astype(np.uint8))
    return folder
