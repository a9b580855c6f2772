"""A face as a small GLB: the mesh thinned for the way to the browser, with one of the skins."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps import gltf
from streamprn.apps.skins import skin_colours
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from streamprn.records import Float32, Int32, UInt8
    from streamprn.wire import TopologyMessage

__all__ = ["Thinned", "face_glb"]

# Side of the squares of texels of which one vertex is kept.
_STEP = 2


class Thinned:
    """A topology with a fourth of its vertices: those of one square of texels become one.

    Attributes:
        topology: the whole one.
        kept: `(M,)` int64, which vertices are left.
        triangles: `(T, 3)` int32, of the kept ones.
    """

    def __init__(self, topology: TopologyMessage) -> None:
        self.topology = topology
        rows, columns = np.divmod(topology.texel, topology.uv_size)
        square = (rows // _STEP) * topology.uv_size + columns // _STEP
        _, self.kept, place = np.unique(square, return_index=True, return_inverse=True)
        corners = place.reshape(-1)[topology.triangles].astype(np.int32)
        a, b, c = corners.T
        whole = (a != b) & (b != c) & (c != a)
        self.triangles: Int32 = np.ascontiguousarray(corners[whole])


def face_glb(
    thinned: Thinned,
    vertices: Float32,
    skin: str,
    texture: UInt8 | None,
    centre: Float32,
    unit_px: float,
) -> bytes:
    """A face as GLB: y up, z towards the camera.

    Args:
        thinned: topology of the vertices.
        vertices: `(N, 3)` float32, frame pixels.
        skin: see `streamprn.apps.skins.SKINS`.
        texture: `(T, T, 3)` uint8 for the skin "texture", or None.
        centre: `(3,)` frame pixels that become the origin.
        unit_px: frame pixels that become 1.
    """
    whole = np.ascontiguousarray(vertices, np.float32)
    points = (whole[thinned.kept] - centre) / np.float32(max(unit_px, 1e-6))
    points = (points * (1.0, -1.0, 1.0)).astype(np.float32)
    normals = vertex_normals(whole, thinned.topology.triangles)[thinned.kept]
    normals = (normals * (1.0, -1.0, 1.0)).astype(np.float32)
    builder = gltf.Builder()
    attributes = {
        "POSITION": builder.add(points, gltf.FLOAT, "VEC3", bounds=True),
        "NORMAL": builder.add(normals, gltf.FLOAT, "VEC3"),
    }
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.75}
    material: dict[str, Any] = {"pbrMetallicRoughness": surface, "doubleSided": True}
    if skin == "texture" and texture is not None:
        uv = gltf.texture_coordinates(thinned.topology.uv[thinned.kept])
        attributes["TEXCOORD_0"] = builder.add(uv, gltf.FLOAT, "VEC2")
        surface["baseColorTexture"] = {"index": builder.add_texture(texture)}
    else:
        colours = skin_colours(skin, whole, thinned.topology.triangles)[thinned.kept]
        # glTF's vertex colours are linear light.
        linear = np.power(colours / 255.0, 2.2).astype(np.float32)
        attributes["COLOR_0"] = builder.add(linear, gltf.FLOAT, "VEC3")
        if skin in ("normals", "depth"):
            material["extensions"] = {gltf.UNLIT: {}}
    indices = builder.add(
        thinned.triangles.reshape(-1), gltf.UINT32, "SCALAR", target=gltf.ELEMENT_BUFFER
    )
    document = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [material],
        "extensionsUsed": [gltf.UNLIT],
    }
    out = io.BytesIO()
    builder.write(document, out)
    return out.getvalue()
