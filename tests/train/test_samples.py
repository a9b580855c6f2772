import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")


from streamprn.kernels import attributes, raster
from streamprn.train.correspondence import similarity
from streamprn.train.samples import Sampler


@pytest.fixture(scope="module")
def sampler(data):
    return Sampler(data, seed=3)


def yaw_of(points, shape):
    """Degrees from the camera, level, of points as in `Batch.points`, by a fit of a face."""
    _, turn, _ = similarity(shape, points * [1, -1, -1])
    return np.degrees(np.arctan2(-turn[0, 2], turn[2, 2]))


def test_a_batch_depends_on_the_seed_and_the_step_alone(data, sampler):
    again = Sampler(data, seed=3)
    again.batch(7, 4)
    one, other = sampler.batch(8, 4), again.batch(8, 4)
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.points, other.points)
    assert not np.array_equal(one.images, sampler.batch(9, 4).images)


def test_batches_hold_faces_and_what_is_none(sampler):
    is_face = np.concatenate([sampler.batch(step, 64).is_face for step in range(2)])
    assert 0.05 < 1 - is_face.mean() < 0.25


def test_faces_fill_the_crop_as_the_crop_rule_has_it(sampler):
    batch = sampler.held_out(None, 2)
    extent = np.ptp(batch.points[:, :, :2], axis=1).max(1) / 2
    np.testing.assert_allclose(extent, 1 / 1.5, rtol=1e-3)
    np.testing.assert_allclose(batch.points[:, :, 2].mean(1), 0, atol=1e-5)


@pytest.mark.parametrize("yaw", [30.0, 60.0, 85.0])
def test_a_face_is_turned_as_far_as_asked(data, sampler, yaw):
    shape = data.shape[data.held_out].mean(0)
    points = sampler.held_out(yaw, 2).points
    assert [abs(yaw_of(one, shape)) for one in points] == pytest.approx([yaw] * 2, abs=4)


def test_what_is_drawn_lies_where_the_points_say(data):
    """A dot painted over a cheek turns up at the point of that cheek."""
    import dataclasses

    crops = np.array(data.crops)
    point = 50
    for crop, points in zip(crops, data.points, strict=True):
        column, row = np.rint(points[point, :2]).astype(int)
        crop[row - 3 : row + 4, column - 3 : column + 4, :3] = (0, 255, 0)
    turned = Sampler(dataclasses.replace(data, crops=crops)).held_out(25.0, 2)
    for image, points in zip(turned.images.astype(int), turned.points, strict=True):
        green = (image[:, :, 1] - image[:, :, 0] > 100) & (image[:, :, 1] - image[:, :, 2] > 100)
        if points[point, 2] > points[280, 2]:
            continue  # the cheek on the far side
        assert green.any()
        found = np.argwhere(green).mean(0)[::-1]
        wanted = (points[point, :2] + 1) * 64 - 0.5
        assert np.linalg.norm(found - wanted) < 2.5


def test_values_vary_linearly_over_a_triangle():
    vertices = np.float32([[0, 0, 0], [10, 0, 0], [0, 10, 0]])
    triangles = np.int32([[0, 1, 2]])
    drawn = raster.rasterise(vertices, triangles, 12, 12)
    values = attributes.interpolate(drawn, triangles, vertices[:, :2] * 3 + 1, -9)
    row, column = np.nonzero(drawn.triangle >= 0)
    assert len(row) > 40
    np.testing.assert_allclose(values[row, column], np.stack([column, row], 1) * 3 + 1, atol=1e-4)
    assert (values[drawn.triangle < 0] == -9).all()


def test_values_of_other_vertices_are_refused():
    drawn = raster.rasterise(np.zeros((3, 3), np.float32), np.int32([[0, 1, 2]]), 4, 4)
    with pytest.raises(ValueError, match="vertices"):
        attributes.interpolate(drawn, np.int32([[0, 1, 3]]), np.zeros((3, 2), np.float32), 0)
