"""Triangle meshes and their files: OBJ (with MTL and PNG), PLY (binary) and GLB.

All files have x right, y up, z towards the viewer, counter-clockwise triangles seen from outside
and unit vertex normals. OBJ and PLY are in pixels of the picture (their headers say so); glTF
defines the metre, so GLB files carry the same pixels under a node whose scale makes metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps import decimals, gltf, images
from streamprn.engines.head import OUTER_EYE_CORNERS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.records import Float32, Int32, UInt8

# The mean distance between adult pupils: what turns pixels into metres, as no picture tells it.
PUPIL_DISTANCE_M = 0.063
# The outer corners of the eyes are about this many pupil distances apart.
_OUTER_CORNERS_PER_PUPIL_DISTANCE = 1.4


@dataclass(frozen=True, slots=True)
class Mesh:
    """A triangle mesh, with colours, a texture, or both. N vertices, T triangles.

    Attributes:
        vertices: `(N, 3)` float32, pixels, x right, y up, z towards the viewer.
        triangles: `(T, 3)` int32, counter-clockwise from outside.
        normals: `(N, 3)` float32, unit, outward, in the axes of `vertices`.
        colours: `(N, 3)` uint8 sRGB, or None.
        uv: `(N, 2)` float32 in 0..1, u right, v up, or None.
        texture: `(S, S, 3)` uint8 sRGB, or None.
        metres_per_pixel: an estimate, for formats whose unit is the metre.
    """

    vertices: Float32
    triangles: Int32
    normals: Float32
    colours: UInt8 | None = None
    uv: Float32 | None = None
    texture: UInt8 | None = None
    metres_per_pixel: float = 0.001

    def without_degenerates(self) -> Mesh:
        """The mesh less the triangles that have no area at the precision of the text formats."""
        corners = np.round(self.vertices[self.triangles], decimals.VERTEX_DIGITS)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        good = np.einsum("ij,ij->i", normal, normal) > 0
        return self if good.all() else replace(self, triangles=self.triangles[good])


def metres_per_pixel(landmarks: Float32) -> float:
    """An estimate from the width between the outer eye corners, free of the head's pose.

    Args:
        landmarks: `(68, 3)` float32, pixels (or any other unit: then metres of that unit).
    """
    right, left = (landmarks[index] for index in OUTER_EYE_CORNERS)
    width = float(np.linalg.norm(left - right)) / _OUTER_CORNERS_PER_PUPIL_DISTANCE
    return PUPIL_DISTANCE_M / max(width, 1e-3)


def write_obj(mesh: Mesh, path: Path) -> list[Path]:
    """Write `path`, and `.mtl` and `.png` beside it where the mesh has a texture.

    Without a texture the colours follow the coordinates of each vertex (r g b in 0..1), which
    MeshLab, Blender and trimesh read.

    Returns:
        The files written.
    """
    header = "# StreamPRN face. Unit: pixel of the source picture; x right, y up, z to the viewer\n"
    textured = mesh.texture is not None and mesh.uv is not None
    parts = [header.encode()]
    files = [path]
    if textured:
        assert mesh.texture is not None
        files += _write_material(mesh.texture, path)
        parts.append(f"mtllib {files[1].name}\nusemtl face\n".encode())
    parts.append(decimals.format_vertices(mesh.vertices, None if textured else mesh.colours))
    if textured:
        assert mesh.uv is not None
        parts.append(decimals.format_rows("vt", mesh.uv, 6))
    parts.append(decimals.format_rows("vn", mesh.normals, 4))
    parts.append(decimals.format_faces(mesh.triangles, with_uv=textured))
    path.write_bytes(b"".join(parts))
    return files


def _write_material(texture: UInt8, path: Path) -> list[Path]:
    # Readers split material lines at spaces, so the names beside the mesh must have none.
    stem = path.stem.replace(" ", "_")
    material, picture = path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}.png")
    images.write_image(picture, texture)
    material.write_text(
        f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {picture.name}\n",
        encoding="utf-8",
    )
    return [material, picture]


def write_ply(mesh: Mesh, path: Path) -> list[Path]:
    """Write a binary little-endian PLY with normals, and colours where there are any."""
    fields: list[tuple[str, str]] = [(axis, "<f4") for axis in ("x", "y", "z", "nx", "ny", "nz")]
    if mesh.colours is not None:
        fields += [(channel, "u1") for channel in ("red", "green", "blue")]
    rows = np.empty(len(mesh.vertices), fields)
    for column, axis in enumerate("xyz"):
        rows[axis] = mesh.vertices[:, column]
        rows[f"n{axis}"] = mesh.normals[:, column]
    if mesh.colours is not None:
        for column, channel in enumerate(("red", "green", "blue")):
            rows[channel] = mesh.colours[:, column]
    faces = np.empty(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"] = 3
    faces["corners"] = mesh.triangles
    names = {"<f4": "float", "u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment StreamPRN face, unit: pixel of the source picture, y up, z to the viewer",
        f"element vertex {len(rows)}",
        *(f"property {names[kind]} {name}" for name, kind in fields),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    path.write_bytes("\n".join(header).encode("ascii") + rows.tobytes() + faces.tobytes())
    return [path]


def write_glb(mesh: Mesh, path: Path) -> list[Path]:
    """Write binary glTF 2.0: textured where the mesh has a texture, else with vertex colours.

    The vertices stay in pixels about their centre; the node's scale turns them into metres. The
    material is unlit, as the picture's light is in its colours already.
    """
    builder = gltf.Builder()
    centre = mesh.vertices.mean(axis=0)
    attributes = {
        "POSITION": builder.add(mesh.vertices - centre, gltf.FLOAT, "VEC3", bounds=True),
        "NORMAL": builder.add(_unit(mesh.normals), gltf.FLOAT, "VEC3"),
    }
    material: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if mesh.texture is not None and mesh.uv is not None:
        attributes["TEXCOORD_0"] = builder.add(
            gltf.texture_coordinates(mesh.uv), gltf.FLOAT, "VEC2"
        )
        material["baseColorTexture"] = {"index": builder.add_texture(mesh.texture)}
    elif mesh.colours is not None:
        attributes["COLOR_0"] = builder.add(
            _linear_rgba(mesh.colours), gltf.UINT16, "VEC4", normalised=True
        )
    indices = builder.add(
        mesh.triangles.reshape(-1), gltf.UINT32, "SCALAR", target=gltf.ELEMENT_BUFFER
    )
    primitive = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
    scale = float(mesh.metres_per_pixel)
    document = {
        "extensionsUsed": [gltf.UNLIT],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "face", "mesh": 0, "scale": [scale, scale, scale]}],
        "meshes": [{"name": "face", "primitives": [primitive]}],
        "materials": [
            {"name": "face", "pbrMetallicRoughness": material, "extensions": {gltf.UNLIT: {}}}
        ],
    }
    with path.open("wb") as file:
        builder.write(document, file)
    return [path]


def _unit(normals: Float32) -> Float32:
    """Unit vectors; a normal that is not (a vertex of empty triangles) points to the viewer."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    forward = np.array([0.0, 0.0, 1.0], np.float32)
    safe = np.where(length > 0.5, normals / np.maximum(length, 1e-6), forward)
    return safe.astype(np.float32)


def _linear_rgba(colours: UInt8) -> NDArray[np.uint16]:
    """Colours for glTF's COLOR_0, which is linear light, 16 bits a channel with alpha."""
    table = np.round(65535.0 * images.linear_from_srgb(np.arange(256) / 255.0)).astype(np.uint16)
    rgba = np.full((len(colours), 4), 65535, np.uint16)
    rgba[:, :3] = table[colours]
    return rgba
