"""Read MediaPipe's canonical face out of the data file of the npm package `@mediapipe/face_mesh`.

The data file is a plain concatenation; its table of contents stands in the loader script beside
it. One of its members is a serialised `GeometryPipelineMetadata` protobuf
(mediapipe/modules/face_geometry/protos): field 1 is the canonical mesh (Mesh3d: 3 vertex buffer,
4 index buffer), field 2 repeats the weighted points of the Procrustes fit (1 landmark id,
2 weight). The few lines of wire format below spare an import of mediapipe.
"""

from __future__ import annotations

import json
import re
import struct
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOADER = "package/face_mesh_solution_packed_assets_loader.js"
DATA = "package/face_mesh_solution_packed_assets.data"
GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"


@dataclass(frozen=True)
class CanonicalMesh:
    """MediaPipe's rest face: a disk of triangles, exactly symmetric about x = 0.

    Attributes:
        vertices: `(468, 3)` float64, centimetres, x right in the image of a frontal face, y up,
            z towards the camera.
        uv: `(468, 2)` float64, MediaPipe's own texture coordinates.
        faces: `(898, 3)` int64, counter-clockwise from outside.
        pose_points: `(33,)` int64 vertex indices.
        pose_point_weights: `(33,)` float64.
    """

    vertices: NDArray[np.float64]
    uv: NDArray[np.float64]
    faces: NDArray[np.int64]
    pose_points: NDArray[np.int64]
    pose_point_weights: NDArray[np.float64]


def assets(package: Path) -> dict[str, bytes]:
    """The members of the npm package's data file by base name."""
    with tarfile.open(package) as archive:
        loader = archive.extractfile(LOADER).read().decode()
        data = archive.extractfile(DATA).read()
    found = re.search(r'loadPackage\((\{"files".*?\})\)', loader)
    if found is None:
        raise ValueError(f"{package}: no table of contents in {LOADER}")
    return {
        Path(entry["filename"]).name: data[entry["start"] : entry["end"]]
        for entry in json.loads(found[1])["files"]
    }


def parse(metadata: bytes) -> CanonicalMesh:
    """The canonical mesh of a `GeometryPipelineMetadata` message."""
    root = _fields(metadata)
    mesh = _fields(root[1][0])
    vertices = _packed(mesh[3], "<f4").reshape(-1, 5).astype(np.float64)
    faces = np.array(_varints(mesh[4]), np.int64).reshape(-1, 3)
    basis = [_fields(point) for point in root[2]]
    return CanonicalMesh(
        vertices=vertices[:, :3],
        uv=vertices[:, 3:],
        faces=faces,
        pose_points=np.array([point[1][0] for point in basis], np.int64),
        pose_point_weights=np.array([struct.unpack("<f", point[2][0])[0] for point in basis]),
    )


def _fields(message: bytes) -> dict[int, list[bytes | int]]:
    """Every field of a protobuf message by number: varints as int, the rest as bytes."""
    fields: dict[int, list[bytes | int]] = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            fields[number].append(value)
            continue
        if wire == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}[wire]
        fields[number].append(message[position : position + length])
        position += length
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _packed(values: list[bytes | int], dtype: str) -> NDArray[np.float32]:
    return np.frombuffer(b"".join(values), dtype)


def _varints(values: list[bytes | int]) -> list[int]:
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            numbers.append(number)
    return numbers
