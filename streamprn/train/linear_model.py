"""A linear 3D model of the head: mean shape, identities, expressions (ICT-FaceKit's files).

ICT-FaceKit (MIT, ICT-VGL/ICT-FaceKit, folder FaceXModel): `generic_neutral_mesh.obj`, and one file
of the same vertices for each identity and each expression. A folder in this layout that holds
another model says in `model.json` what is known of ICT's here: `head_vertices` and `landmarks68`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.records import Float32, Int32

NEUTRAL = "generic_neutral_mesh.obj"
FACE_MATERIAL = "M_Face"
# Vertices of ICT's face, head and neck come first; eyes, teeth and sockets follow.
ICT_VERTICES, ICT_HEAD_VERTICES = 26719, 11248
# The 68 landmarks of 300-W on ICT's mesh, as its README lists them.
# fmt: off
ICT_LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088,
    3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140,
    2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216,
    6207, 6470, 5517, 5966,
)
# fmt: on
# No part of the shape of a head.
_LEFT_OUT = ("PupilDilate", "eyeLook")


@dataclass(frozen=True)
class LinearModel:
    """Shape = mean + identities + expressions; x right, y up, z to the camera, any unit.

    Attributes:
        mean: `(V, 3)` float32 vertices of the head.
        basis: `(K, V, 3)` float32, offset of each identity, then of each expression, at weight 1.
        identities: how many of the K are identities.
        quads: `(F, 4)` int32 faces; a triangle repeats its last corner. Those of the face first.
        face_quads: how many of them are the face; the others are the back of the head and neck.
        landmarks: `(68,)` int32 vertices, iBUG/300-W order.
    """

    mean: Float32
    basis: Float32
    identities: int
    quads: Int32
    face_quads: int
    landmarks: Int32

    def save(self, path: Path) -> None:
        """Write a compressed .npz file, offsets in half precision."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                mean=self.mean,
                basis=self.basis.astype(np.float16),
                identities=self.identities,
                quads=self.quads,
                face_quads=self.face_quads,
                landmarks=self.landmarks,
            )

    @classmethod
    def load(cls, path: Path) -> LinearModel:
        """Read what `save` wrote."""
        with np.load(path) as data:
            return cls(
                data["mean"],
                data["basis"].astype(np.float32),
                int(data["identities"]),
                data["quads"],
                int(data["face_quads"]),
                data["landmarks"],
            )

    @classmethod
    def read(cls, folder: Path) -> LinearModel:
        """Read a folder of OBJ files.

        Raises:
            InputError: a file is missing, or does not fit the others.
        """
        neutral = folder / NEUTRAL
        if not neutral.is_file():
            raise InputError(
                f"{folder}: has no {NEUTRAL}",
                hint="--model-dir is the folder FaceXModel of ICT-FaceKit",
            )
        vertices, faces, materials = _read_obj(neutral)
        said = _described(folder, len(vertices))
        count = int(said["head_vertices"])
        mean = vertices[:count]
        inside = [
            (quad, name) for quad, name in zip(faces, materials, strict=True) if max(quad) < count
        ]
        face = [quad for quad, name in inside if name == FACE_MATERIAL]
        back = [quad for quad, name in inside if name != FACE_MATERIAL]
        identities, expressions = _files(folder)
        offsets = [
            _read_vertices(path, len(vertices))[:count] - mean
            for path in (*identities, *expressions)
        ]
        landmarks = np.array(said["landmarks68"], np.int32)
        if landmarks.shape != (68,) or landmarks.max() >= count or not face or not identities:
            raise InputError(
                f"{folder}: model.json, the {FACE_MATERIAL} faces or the identity*.obj files do "
                "not make a head",
                hint="see docs/training.md",
            )
        return cls(
            mean.astype(np.float32),
            np.stack(offsets).astype(np.float32),
            len(identities),
            np.array(face + back, np.int32),
            len(face),
            landmarks,
        )


def _described(folder: Path, vertices: int) -> dict[str, Any]:
    """`head_vertices` and `landmarks68` of the model in a folder."""
    path = folder / "model.json"
    if path.is_file():
        try:
            said: dict[str, Any] = json.loads(path.read_text())
            return {"head_vertices": said["head_vertices"], "landmarks68": said["landmarks68"]}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not as expected: {error!r}") from error
    if vertices != ICT_VERTICES:
        raise InputError(
            f"{folder}: {vertices} vertices are not those of ICT-FaceKit ({ICT_VERTICES})",
            hint="another model needs a model.json with head_vertices and landmarks68",
        )
    return {"head_vertices": ICT_HEAD_VERTICES, "landmarks68": ICT_LANDMARKS}


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Identities and expressions."""
    identities = sorted(folder.glob("identity*.obj"))
    expressions = [
        path
        for path in sorted(folder.glob("*.obj"))
        if path not in identities and path.name != NEUTRAL and not path.name.startswith(_LEFT_OUT)
    ]
    return identities, expressions


def _read_obj(path: Path) -> tuple[NDArray[np.float64], list[list[int]], list[str]]:
    """Vertices, faces of four corners each, and the material of each face."""
    faces: list[list[int]] = []
    materials: list[str] = []
    material = ""
    lines = path.read_text().splitlines()
    for line in lines:
        if line.startswith("usemtl "):
            material = line.split()[1]
        elif line.startswith("f "):
            corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
            faces.append([*corners, *corners[-1:] * (4 - len(corners))][:4])
            materials.append(material)
    return _vertices_of(lines), faces, materials


def _read_vertices(path: Path, count: int) -> NDArray[np.float64]:
    vertices = _vertices_of(path.read_text().split("\n"))
    if len(vertices) != count:
        raise InputError(f"{path}: {len(vertices)} vertices, {NEUTRAL} has {count}")
    return vertices


def _vertices_of(lines: list[str]) -> NDArray[np.float64]:
    words = " ".join(line[2:] for line in lines if line.startswith("v "))
    return np.array(words.split(), np.float64).reshape(-1, 3)
