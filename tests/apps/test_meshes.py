from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from streamprn.apps import decimals, meshes
from streamprn.apps.meshes import Mesh
from streamprn.apps.reconstruction import Reconstruction


@pytest.fixture(scope="module")
def coloured(face: Reconstruction) -> Mesh:
    return face.mesh()


@pytest.fixture(scope="module")
def textured(face: Reconstruction) -> Mesh:
    return face.mesh(texture_size=128)


def load(path: Path) -> trimesh.Trimesh:
    loaded = trimesh.load(path, process=False, force="mesh")
    assert isinstance(loaded, trimesh.Trimesh)
    return loaded


def check_sound(loaded: trimesh.Trimesh, mesh: Mesh) -> None:
    assert len(loaded.vertices) == len(mesh.vertices)
    assert len(loaded.faces) == len(mesh.triangles)
    assert loaded.is_winding_consistent
    assert loaded.area_faces.min() > 0
    # A face is seen from the front: most of its surface looks to the viewer.
    assert (loaded.face_normals[:, 2] > 0).mean() > 0.8


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_a_coloured_mesh_comes_back_from_its_file(
    coloured: Mesh, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"face.{suffix}"
    assert getattr(meshes, f"write_{suffix}")(coloured, path) == [path]
    loaded = load(path)
    check_sound(loaded, coloured)
    np.testing.assert_allclose(loaded.vertices, coloured.vertices, atol=1e-4)
    np.testing.assert_array_equal(loaded.faces, coloured.triangles)
    colours = np.asarray(loaded.visual.vertex_colors)[:, :3].astype(int)
    assert np.abs(colours - coloured.colours).max() <= 1


def test_a_textured_obj_comes_back_with_its_picture(textured: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "a face.obj"
    files = meshes.write_obj(textured, path)
    assert [file.name for file in files] == ["a face.obj", "a_face.mtl", "a_face.png"]
    loaded = load(path)
    check_sound(loaded, textured)
    uv = np.asarray(loaded.visual.uv)
    assert uv.min() >= 0 and uv.max() <= 1
    np.testing.assert_allclose(uv, textured.uv, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image), textured.texture)


def test_a_textured_glb_is_in_metres_and_keeps_the_picture(textured: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    meshes.write_glb(textured, path)
    loaded = load(path)
    check_sound(loaded, textured)
    assert 0.12 < np.ptp(loaded.vertices[:, 1]) < 0.3  # a face is about 0.2 m high
    np.testing.assert_allclose(np.asarray(loaded.visual.uv), textured.uv, atol=1e-6)
    picture = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(picture, textured.texture)


def test_a_coloured_glb_holds_linear_light(coloured: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    meshes.write_glb(coloured, path)
    document, binary = glb_parts(path)
    primitive = document["meshes"][0]["primitives"][0]
    accessor = document["accessors"][primitive["attributes"]["COLOR_0"]]
    view = document["bufferViews"][accessor["bufferView"]]
    stored = np.frombuffer(binary, "<u2", accessor["count"] * 4, view["byteOffset"]).reshape(-1, 4)
    expected = (coloured.colours / 255.0) ** 2.2
    assert accessor["normalized"] and (stored[:, 3] == 65535).all()
    np.testing.assert_allclose(stored[:, :3] / 65535.0, expected, atol=0.02)


def test_a_glb_is_laid_out_as_the_standard_says(textured: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    meshes.write_glb(textured, path)
    document, binary = glb_parts(path)
    assert document["buffers"][0]["byteLength"] == len(binary)
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
    image = document["bufferViews"][document["images"][0]["bufferView"]]
    data = binary[image["byteOffset"] : image["byteOffset"] + image["byteLength"]]
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[:, :, ::-1], textured.texture)


def glb_parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and length % 4 == 0
    size, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0" and size % 4 == 0
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def test_normals_agree_with_the_winding(coloured: Mesh, tmp_path: Path) -> None:
    meshes.write_ply(coloured, tmp_path / "face.ply")
    loaded = load(tmp_path / "face.ply")
    corners = coloured.vertices[coloured.triangles].astype(np.float64)
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    mean = coloured.normals[coloured.triangles].mean(axis=1)
    assert (np.einsum("ij,ij->i", facing, mean) > 0).mean() > 0.999
    np.testing.assert_allclose(np.linalg.norm(coloured.normals, axis=1), 1.0, atol=1e-4)
    assert loaded.vertex_normals.shape == coloured.normals.shape


def test_triangles_without_area_are_left_out() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 1, 3], [1, 1, 2]], np.int32)
    normals = np.tile(np.float32([0, 0, 1]), (4, 1))
    kept = Mesh(vertices, triangles, normals).without_degenerates()
    np.testing.assert_array_equal(kept.triangles, [[0, 1, 2]])


def test_decimals_read_back_as_they_were_rounded() -> None:
    values = np.array([[0.0, -0.00004, 12345.678], [-7.5, 1e-9, 999999.0]], np.float32)
    text = decimals.format_rows("v", values, 4).decode()
    np.testing.assert_allclose(
        np.loadtxt(io.StringIO(text.replace("v", ""))), np.round(values.astype(float), 4), atol=1e-9
    )


def test_numbers_that_are_not_finite_become_zero_in_text() -> None:
    values = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert decimals.format_rows("v", values, 2) == b"v 0.00 0.00 0.00\n"
    huge = decimals.format_rows("v", np.full((1, 3), 1e30, np.float32), 2)
    assert huge == b"v 1000000000.00 1000000000.00 1000000000.00\n"
