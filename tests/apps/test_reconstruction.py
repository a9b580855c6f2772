from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.engines.face import HostFace
from streamprn.kernels import pose as pose_kernels
from tests.support import faces
from tests.support.clips import draw, place, transform_points


def test_the_face_is_found_once_and_upright(face: Reconstruction) -> None:
    assert face.score > 0.9
    assert abs(face.pose.yaw) < 8 and abs(face.pose.pitch) < 15 and abs(face.pose.roll) < 8
    centre = 0.5 * (face.box_xyxy[:2] + face.box_xyxy[2:])
    assert np.abs(centre - (224, 120)).max() < 15
    assert face.vertices[:, 2].min() == 0
    assert face.visible_landmarks[17:].all()


def test_a_second_pass_brings_a_shifted_box_to_the_same_face(
    reconstructor: Reconstructor, picture: np.ndarray, face: Reconstruction
) -> None:
    x0, y0, x1, y1 = face.box_xyxy
    shift = 0.12 * (x1 - x0)
    box = np.array([x0 + shift, y0 + shift, x1 + 2 * shift, y1 + 2 * shift], np.float32)
    again = reconstructor.reconstruct(picture, [box])[0]
    error = np.linalg.norm(again.landmarks - face.landmarks, axis=1)[:, None]
    assert error.mean() < 0.02 * (x1 - x0)


def test_several_faces_come_largest_first(reconstructor: Reconstructor) -> None:
    transforms = [place(160, 240, 1.0), place(480, 240, 1.6, 10.0)]
    found = reconstructor.reconstruct(draw(transforms, 640, 480))
    assert len(found) == 2
    centres = [0.5 * (face.box_xyxy[0] + face.box_xyxy[2]) for face in found]
    assert centres[0] > 320 > centres[1]


def test_many_boxes_are_reconstructed_in_batches(
    reconstructor: Reconstructor, picture: np.ndarray, face: Reconstruction
) -> None:
    boxes = [face.box_xyxy] * (reconstructor.engine.max_batch + 1)
    found = reconstructor.reconstruct(picture, boxes)
    assert len(found) == len(boxes)
    for one in found[1:]:
        np.testing.assert_allclose(one.vertices, found[0].vertices, atol=0.05)


def test_no_face_gives_an_empty_list(reconstructor: Reconstructor) -> None:
    assert reconstructor.reconstruct(np.full((200, 300, 3), 90, np.uint8)) == []
    assert reconstructor.reconstruct(np.zeros((1, 1, 3), np.uint8)) == []


def test_turning_the_picture_turns_the_vertices(
    reconstructor: Reconstructor, picture: np.ndarray, face: Reconstruction
) -> None:
    transform = place(224, 160, 1.0, 30.0)
    turned = reconstructor.reconstruct(draw([transform], 512, 400))[0]
    expected = transform_points(transform, face.landmarks[:, :2])
    assert np.linalg.norm(turned.landmarks[:, :2] - expected, axis=1).mean() < 2.0
    assert turned.pose.roll - face.pose.roll == pytest.approx(30, abs=2.5)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [(25.0, 0.0, 0.0), (-25.0, 5.0, 0.0), (0.0, 20.0, 0.0), (5.0, -15.0, 25.0)],
)
def test_the_pose_of_a_drawn_head_is_found(
    reconstructor: Reconstructor, face: Reconstruction, yaw: float, pitch: float, roll: float
) -> None:
    scale = 170.0 / float(np.ptp(face.topology.canonical[:, 1]))
    where = faces.known_pose(yaw, pitch, roll, scale=scale, centre_xy=(160.0, 160.0))
    drawn = faces.draw(face.topology, face.texture(256, "mirror"), where)
    found = reconstructor.reconstruct(drawn.image)[0].pose
    assert found.yaw == pytest.approx(yaw, abs=7)
    assert found.pitch == pytest.approx(pitch, abs=7)
    assert found.roll == pytest.approx(roll, abs=4)


def test_the_camera_projects_the_canonical_shape_onto_the_face(face: Reconstruction) -> None:
    canonical = face.topology.canonical
    homogeneous = np.hstack([canonical, np.ones((len(canonical), 1))])
    projected = homogeneous @ face.camera.T
    np.testing.assert_allclose(projected, pose_kernels.project(face.pose, canonical), atol=1e-3)
    width = float(face.box_xyxy[2] - face.box_xyxy[0])
    assert np.linalg.norm(projected - face.vertices, axis=1).mean() < 0.08 * width


def test_the_front_view_looks_at_the_camera(
    reconstructor: Reconstructor, face: Reconstruction
) -> None:
    reference = pose_kernels.Reference(face.topology.canonical, face.topology.pose_weights)
    turned = pose_kernels.estimate(face.front_vertices, reference)
    assert max(abs(turned.yaw), abs(turned.pitch), abs(turned.roll)) < 0.01
    assert turned.scale == pytest.approx(face.pose.scale, rel=1e-4)
    assert face.front_vertices[:, 2].min() == pytest.approx(0, abs=1e-3)


def test_depth_covers_the_face_and_nothing_else(face: Reconstruction) -> None:
    known = np.isfinite(face.depth)
    assert known.shape == face.image.shape[:2]
    rows, columns = np.nonzero(known)
    x0, y0, x1, y1 = face.box_xyxy
    assert columns.min() >= x0 - 1 and columns.max() <= x1 + 1
    assert rows.min() >= y0 - 1 and rows.max() <= y1 + 1
    assert face.depth[known].max() <= face.vertices[:, 2].max() + 1e-3


def test_the_position_map_holds_the_vertices(face: Reconstruction) -> None:
    flat = face.position_map.reshape(-1, 3)
    np.testing.assert_array_equal(flat[face.topology.texel], face.vertices)
    outside = np.setdiff1d(np.arange(65536), face.topology.texel)
    assert not flat[outside].any()


@pytest.fixture(scope="module")
def symmetric(face: Reconstruction) -> np.ndarray:
    """A texture that is its own mirror image, as the fill assumes of faces."""
    texture = face.texture(256, "mirror").astype(np.float32)
    return np.round(0.5 * (texture + texture[:, ::-1])).astype(np.uint8)


def with_vertices(seen: Reconstruction, vertices: np.ndarray) -> Reconstruction:
    """What the reconstruction would be with these vertices."""
    moved = HostFace.of_vertices(seen.face, seen.face.image, seen.face.geometry, vertices)
    return dataclasses.replace(seen, face=moved, _cache={})


@pytest.fixture(scope="module")
def half_hidden(
    reconstructor: Reconstructor, face: Reconstruction, symmetric: np.ndarray
) -> Reconstruction:
    scale = 170.0 / float(np.ptp(face.topology.canonical[:, 1]))
    where = faces.known_pose(40.0, 0.0, 0.0, scale=scale, centre_xy=(160.0, 160.0))
    drawn = faces.draw(face.topology, symmetric, where)
    seen = reconstructor.reconstruct(drawn.image)[0]
    return with_vertices(seen, drawn.vertices)


def test_hidden_texels_are_cleared_or_taken_from_the_other_half(
    half_hidden: Reconstruction, face: Reconstruction, symmetric: np.ndarray
) -> None:
    truth = symmetric.astype(float)
    hidden = ~half_hidden.visible
    texel = face.topology.texel
    assert 0.1 < hidden.mean() < 0.6
    zero = half_hidden.texture(256, "zero").reshape(-1, 3)[texel]
    assert (zero[hidden] == 0).mean() > 0.9
    assert (zero[~hidden].max(axis=1) > 0).mean() > 0.99
    # What is made up is nearer to the face's real texture than what the picture shows there.
    errors = {}
    for fill in ("picture", "mirror"):
        made = half_hidden.texture(256, fill).reshape(-1, 3)[texel].astype(float)
        errors[fill] = np.abs(made - truth.reshape(-1, 3)[texel])[hidden].mean()
    assert errors["mirror"] < 0.3 * errors["picture"]


def test_what_is_seen_at_a_grazing_angle_shows_no_background(
    half_hidden: Reconstruction, symmetric: np.ndarray
) -> None:
    # The mesh too far out: at the silhouette the picture shows what is behind the face.
    shifted = half_hidden.vertices - np.array([4, 0, 0], np.float32)
    wrong = with_vertices(half_hidden, shifted)
    made = wrong.texture(256, "mirror").astype(float)
    middle = wrong.topology.mask.copy()
    middle[:, :40] = middle[:, -40:] = False
    assert np.abs(made - symmetric)[middle].mean() < 16


def test_textures_of_any_size_show_the_same_face(face: Reconstruction) -> None:
    small = face.texture(128).astype(float)
    for size in (256, 1000):
        texture = face.texture(size)
        assert texture.shape == (size, size, 3)
        rows = ((np.arange(128) + 0.5) * size / 128).astype(int)
        inside = face.topology.mask[::2, ::2] & face.topology.mask[1::2, 1::2]
        assert np.abs(texture[rows][:, rows] - small)[inside].mean() < 8


def test_fill_skin_has_no_hair_at_the_rim(face: Reconstruction) -> None:
    """The astronaut's fringe and the hair beside her cheek give way to the skin beside them."""
    rim = face.topology.mask.copy()
    rim[30:] = False
    skin, mirror = (face.texture(256, fill)[rim].mean(axis=1) for fill in ("skin", "mirror"))
    middle = face.texture(256, "picture")[100:140, 90:166].mean()
    assert np.median(mirror) < 0.75 * middle, "hair is dark"
    assert np.median(skin) > 0.8 * middle
    inner = np.s_[110:150, 90:166]
    np.testing.assert_array_equal(
        face.texture(256, "skin")[inner], face.texture(256, "mirror")[inner]
    )
