"""Every skin has a colour for every vertex, and says what it should."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from streamprn.apps.skins import SKINS, skin_colours
from streamprn.view.solid import Thinned, face_glb

SIDE = 20
ROW, COLUMN = np.divmod(np.arange(SIDE * SIDE), SIDE)
TRIANGLES = np.array(
    [
        (SIDE * r + c + a, SIDE * r + c + b, SIDE * r + c + d)
        for r in range(SIDE - 1)
        for c in range(SIDE - 1)
        for a, b, d in ((0, SIDE, 1), (1, SIDE, SIDE + 1))
    ],
    np.int32,
)
# A dome towards the camera.
POINTS = np.stack(
    [COLUMN, ROW, 9 - 0.09 * ((COLUMN - 9.5) ** 2 + (ROW - 9.5) ** 2)], axis=1
).astype(np.float32)
MIDDLE, CORNER = SIDE * 10 + 10, 0


@pytest.mark.parametrize("skin", SKINS)
def test_every_vertex_has_a_colour(skin):
    colours = skin_colours(skin, POINTS, TRIANGLES)
    assert (colours.shape, colours.dtype) == ((SIDE * SIDE, 3), np.uint8)


def test_what_is_near_is_warm_and_what_faces_the_camera_is_blue_as_a_normal():
    depth = skin_colours("depth", POINTS, TRIANGLES).astype(int)
    assert depth[MIDDLE, 0] > depth[MIDDLE, 2]
    assert depth[CORNER, 0] < depth[CORNER, 2] + 30
    normals = skin_colours("normals", POINTS, TRIANGLES).astype(int)
    assert normals[MIDDLE] == pytest.approx([127, 127, 255], abs=12)


@pytest.mark.parametrize("skin", SKINS)
def test_a_face_is_a_whole_glb_with_each_skin(skin):
    topology = SimpleNamespace(
        texel=(ROW * 256 + COLUMN).astype(np.int32),
        uv_size=256,
        triangles=TRIANGLES,
        uv=np.stack([COLUMN, ROW], axis=1).astype(np.float32),
    )
    texture = np.full((8, 8, 3), 200, np.uint8) if skin == "texture" else None
    glb = face_glb(Thinned(topology), POINTS, skin, texture, POINTS.mean(axis=0), 20.0)
    assert glb[:4] == b"glTF" and int.from_bytes(glb[8:12], "little") == len(glb)
    head = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    attributes = head["meshes"][0]["primitives"][0]["attributes"]
    assert ("TEXCOORD_0" if skin == "texture" else "COLOR_0") in attributes
