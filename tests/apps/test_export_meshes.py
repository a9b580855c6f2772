"""Recorded meshes in files, read back by other libraries and held against the rules of glTF 2.0."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh

from streamprn.apps.export_recording import ExportOptions, export
from streamprn.apps.meshes import metres_per_pixel
from streamprn.errors import InputError
from streamprn.records import Kind
from tests.support.recordings import TOPOLOGY, VERTICES, moving, record
from tests.support.wire import HEIGHT, WIDTH

FRAMES = 5
_TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_COMPONENTS = {5123: "<u2", 5125: "<u4", 5126: "<f4"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    record(folder, [moving(seq, faces=2) for seq in range(FRAMES)])
    return folder


def read(path: Path) -> pygltflib.GLTF2:
    return pygltflib.GLTF2().load_binary(str(path))


def values(gltf: pygltflib.GLTF2, number: int) -> np.ndarray:
    """What an accessor points to; the layout is checked on the way."""
    accessor = gltf.accessors[number]
    view = gltf.bufferViews[accessor.bufferView]
    dtype, width = np.dtype(_COMPONENTS[accessor.componentType]), _TYPES[accessor.type]
    assert view.buffer == 0 and view.byteOffset % 4 == 0 and not accessor.byteOffset
    assert view.byteLength == accessor.count * width * dtype.itemsize > 0
    assert view.byteOffset + view.byteLength <= gltf.buffers[0].byteLength
    blob = gltf.binary_blob()
    array = np.frombuffer(blob, dtype, accessor.count * width, view.byteOffset)
    array = array.reshape(-1, width)
    assert np.isfinite(array).all()
    if accessor.min:
        np.testing.assert_array_equal(np.float32(accessor.min), array.min(axis=0))
        np.testing.assert_array_equal(np.float32(accessor.max), array.max(axis=0))
    return array


def check_rules(gltf: pygltflib.GLTF2) -> None:
    """The rules of the glTF 2.0 specification that an animated morph mesh can break."""
    assert gltf.asset.version == "2.0"
    assert len(gltf.binary_blob()) - gltf.buffers[0].byteLength in range(4)
    for mesh in gltf.meshes:
        (primitive,) = mesh.primitives
        position = values(gltf, primitive.attributes.POSITION)
        assert gltf.accessors[primitive.attributes.POSITION].min
        for other in (primitive.attributes.NORMAL, primitive.attributes.TEXCOORD_0):
            assert len(values(gltf, other)) == len(position)
        normals = values(gltf, primitive.attributes.NORMAL)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        indices = values(gltf, primitive.indices)
        assert indices.max() < len(position) and len(indices) % 3 == 0
        targets = primitive.targets or []
        assert len(mesh.weights or []) == len(targets)
        for target in targets:
            (number,) = target.values() if isinstance(target, dict) else (target.POSITION,)
            assert gltf.accessors[number].min and gltf.accessors[number].max
            assert values(gltf, number).shape == position.shape
    for animation in gltf.animations:
        told = [(channel.target.node, channel.target.path) for channel in animation.channels]
        assert len(set(told)) == len(told)
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            key = gltf.accessors[sampler.input]
            times, output = values(gltf, sampler.input)[:, 0], values(gltf, sampler.output)
            assert key.min and key.max and key.type == "SCALAR"
            assert times[0] >= 0 and (np.diff(times) > 0).all()
            node = gltf.nodes[channel.target.node]
            weights = len(gltf.meshes[node.mesh].weights)
            each = weights if channel.target.path == "weights" else 1
            assert len(output) == len(times) * each
            if channel.target.path == "rotation":
                np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, atol=1e-6)
                assert (np.einsum("ij,ij->i", output[1:], output[:-1]) >= 0).all()
            for number in (sampler.input, sampler.output):
                assert gltf.bufferViews[gltf.accessors[number].bufferView].target is None


def shown(gltf: pygltflib.GLTF2, node: int) -> tuple[np.ndarray, np.ndarray]:
    """The key times, and the vertices in the scene at each, `(K, N, 3)`."""
    (animation,) = gltf.animations
    outputs, times = {}, np.empty(0)
    for channel in animation.channels:
        if channel.target.node == node:
            sampler = animation.samplers[channel.sampler]
            outputs[channel.target.path] = values(gltf, sampler.output).astype(np.float64)
            times = values(gltf, sampler.input)[:, 0]
    (primitive,) = gltf.meshes[gltf.nodes[node].mesh].primitives
    base = values(gltf, primitive.attributes.POSITION).astype(np.float64)
    targets = np.stack(
        [
            values(gltf, target["POSITION"] if isinstance(target, dict) else target.POSITION)
            for target in primitive.targets
        ]
    )
    weights = outputs["weights"].reshape(len(times), -1)
    frames = []
    for key in range(len(times)):
        own = base + np.tensordot(weights[key], targets, 1)
        placed = own * outputs["scale"][key]
        turned = rotated(outputs["rotation"][key], placed)
        frames.append(turned + outputs["translation"][key])
    return times, np.stack(frames)


def rotated(quaternion_xyzw: np.ndarray, points: np.ndarray) -> np.ndarray:
    axis, w = quaternion_xyzw[:3], quaternion_xyzw[3]
    across = 2 * np.cross(axis, points)
    return points + w * across + np.cross(axis, across)


def expected(seq: int, place: int) -> np.ndarray:
    """The recorded vertices as the scene shows them: metres about the middle of the picture."""
    metres = metres_per_pixel(moving(0, faces=2).faces[0].landmarks)
    x, y, z = moving(seq, faces=2).faces[place].vertices.T.astype(np.float64)
    middle_x, middle_y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    return np.stack([x - middle_x, middle_y - y, z], axis=1) * metres


def test_a_glb_shows_the_recorded_vertices_at_every_key_frame(recording, tmp_path):
    exported = export(recording, tmp_path / "a.glb")
    assert (exported.count, exported.unit) == (2 * FRAMES, "key frame")
    gltf = read(tmp_path / "a.glb")
    check_rules(gltf)
    assert [node.name for node in gltf.nodes] == ["cam1-face1", "cam1-face2"]
    for place in range(2):
        times, frames = shown(gltf, place)
        np.testing.assert_allclose(times, np.arange(FRAMES) / 25, atol=1e-6)
        for seq in range(FRAMES):
            wanted = expected(seq, place)
            size = np.ptp(wanted, axis=0).max()
            np.testing.assert_allclose(frames[seq], wanted, atol=1e-5 * size)
    names = gltf.meshes[0].extras["targetNames"]
    assert names == [f"frame {seq}" for seq in range(1, FRAMES)]


def test_each_face_of_a_glb_wears_its_own_texture(recording, tmp_path):
    export(recording, tmp_path / "a.glb")
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    faces = moving(0, faces=2).faces
    for place, mesh in enumerate(scene.geometry.values()):
        assert len(mesh.vertices) == VERTICES
        np.testing.assert_array_equal(mesh.faces, TOPOLOGY.triangles)
        picture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
        np.testing.assert_array_equal(picture, faces[place].texture)


def test_one_frame_alone_is_a_still_glb(tmp_path):
    record(tmp_path / "rec", [moving(7)], [Kind.FACE, Kind.MESH])
    export(tmp_path / "rec", tmp_path / "a.glb")
    gltf = read(tmp_path / "a.glb")
    check_rules(gltf)
    assert gltf.animations == [] and gltf.materials[0].pbrMetallicRoughness.baseColorFactor
    trimesh.load(tmp_path / "a.glb")


def test_a_face_that_comes_later_begins_later(tmp_path):
    results = [moving(seq, faces=1 if seq < 3 else 2) for seq in range(6)]
    record(tmp_path / "rec", results)
    export(tmp_path / "rec", tmp_path / "a.glb")
    gltf = read(tmp_path / "a.glb")
    check_rules(gltf)
    np.testing.assert_allclose(shown(gltf, 1)[0], [0.12, 0.16, 0.2], atol=1e-6)


@pytest.mark.parametrize("name", ["a.glb", "a.obj"])
def test_too_many_frames_are_refused_with_the_number_that_will_do(recording, tmp_path, name):
    with pytest.raises(InputError, match=r"face 1 of cam1 has 5 frames, and 2 .*--every 3"):
        export(recording, tmp_path / name, ExportOptions(max_frames=2))
    assert list(tmp_path.iterdir()) == []
    exported = export(recording, tmp_path / name, ExportOptions(max_frames=2, every=3))
    assert exported.count == 4


def test_a_glb_shows_one_stream(tmp_path):
    record(tmp_path / "rec", [moving(0, stream=name) for name in ("a", "b")])
    with pytest.raises(InputError, match=r"more: a, b.*--stream"):
        export(tmp_path / "rec", tmp_path / "a.glb")
    export(tmp_path / "rec", tmp_path / "a.glb", ExportOptions(stream="b"))
    assert read(tmp_path / "a.glb").nodes[0].name == "b-face1"


def test_an_obj_sequence_holds_a_mesh_of_every_face_and_frame_with_its_texture(recording, tmp_path):
    export(recording, tmp_path / "seq")
    index = json.loads((tmp_path / "seq" / "export.json").read_text())
    assert len(index["meshes"]) == 2 * FRAMES
    for entry in index["meshes"]:
        path = tmp_path / "seq" / entry["file"]
        assert path.name == f"{entry['frame']:06d}.obj"
        assert entry["time_s"] == pytest.approx(entry["frame"] / 25)
        given = moving(entry["frame"], faces=2).faces[entry["face"] - 1]
        lines = [line.split()[1:] for line in path.read_text().splitlines() if line[:2] == "v "]
        wanted = given.vertices * (1, -1, 1) + (0, HEIGHT - 1, 0)
        np.testing.assert_allclose(np.array(lines, float), wanted, atol=1e-4)
        loaded = trimesh.load(path, process=False)
        picture = np.asarray(loaded.visual.material.image.convert("RGB"))
        np.testing.assert_array_equal(picture, given.texture)


@pytest.mark.parametrize("name", ["a.glb", "seq"])
def test_without_meshes_the_message_says_how_to_record_them(tmp_path, name):
    record(tmp_path / "rec", [moving(0)], [Kind.FACE])
    with pytest.raises(InputError, match=r"holds no meshes .*record.kinds=\[face,mesh\]"):
        export(tmp_path / "rec", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_faces_that_cannot_be_drawn_are_counted_and_left_out(tmp_path):
    def spoilt(seq: int, **change: object):
        result = moving(seq)
        return replace(result, faces=(replace(result.faces[0], **change),))

    hole = moving(1).faces[0].vertices.copy()
    hole[3, 1] = np.nan
    flat = replace(moving(2).faces[0].pose, rotation=np.zeros((3, 3)))
    record(
        tmp_path / "rec",
        [
            moving(0),
            spoilt(1, vertices=hole),
            spoilt(2, pose=flat),
            spoilt(3, vertices=hole[:7]),
            moving(4),
        ],
        [Kind.FACE, Kind.MESH],
    )
    exported = export(tmp_path / "rec", tmp_path / "a.glb")
    assert (exported.count, exported.skipped) == (2, 3)
    gltf = read(tmp_path / "a.glb")
    check_rules(gltf)
    assert shown(gltf, 0)[0][1] == pytest.approx(0.16)
