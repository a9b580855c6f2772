import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamprn.engines.device.staging import Stage, bytes_of, plane_of, window
from streamprn.engines.protocol import CropRule
from streamprn.errors import BackendError
from streamprn.records import FrameImage, Roi, YuvPlanes

RULE = CropRule(size=64, span=64, box_scale=1.5)


def stage(nbytes):
    return Stage(
        np.zeros(nbytes, np.uint8), np.zeros((2, 9), np.int32), np.zeros((2, 7), np.float32)
    )


@settings(max_examples=200)
@given(
    cx=st.floats(-500, 2000), cy=st.floats(-500, 2000), side=st.floats(1, 4000),
    roll=st.floats(-4, 4), width=st.integers(1, 1921), height=st.integers(1, 1081),
)  # fmt: skip
def test_a_window_lies_in_the_frame_and_holds_every_sample_of_the_crop(
    cx, cy, side, roll, width, height
):
    matrix = RULE.frame_from_crop(Roi(cx, cy, side, roll))[None]
    found = window(matrix, RULE.size, (width, height))
    assert 0 <= found.x0 < found.x1 <= width
    assert 0 <= found.y0 < found.y1 <= height
    assert found.x0 % 2 == found.y0 % 2 == 0
    grid = np.linspace(-0.5, RULE.size - 0.5, 9)
    u, v = np.meshgrid(grid, grid)
    m = matrix[0].astype(np.float64)
    for axis, (low, high, size) in enumerate(
        ((found.x0, found.x1, width), (found.y0, found.y1, height))
    ):
        samples = np.clip(m[axis, 0] * u + m[axis, 1] * v + m[axis, 2], 0, size - 1)
        assert np.floor(samples.min()) >= low
        assert min(np.floor(samples.max()) + 1, size - 1) < high


def test_a_region_that_is_not_finite_takes_the_whole_frame():
    matrix = np.full((1, 2, 3), np.nan, np.float32)
    found = window(matrix, 64, (640, 480))
    assert (found.x0, found.y0, found.x1, found.y1) == (0, 0, 640, 480)


def test_rows_point_so_that_frame_coordinates_index_the_window():
    rgb = np.arange(30 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(30, 40, 3)
    image = FrameImage.from_rgb(rgb)
    part = window(RULE.frame_from_crop(Roi(20, 14, 4))[None], 64, (40, 30), margin=2)
    one = stage(bytes_of(image, part))
    one.place(1, image, part)
    row = one.frames[1]
    assert list(row[:3]) == [1, 40, 30]
    for y, x in ((part.y0, part.x0), (part.y1 - 1, part.x1 - 1)):
        start = row[3] + y * row[4] + 3 * x
        np.testing.assert_array_equal(one.pool[start : start + 3], rgb[y, x])


@pytest.mark.parametrize("size", [(30, 40), (31, 41), (2, 2), (1, 1)])
def test_planes_of_any_size_are_found_again(size):
    rng = np.random.default_rng(0)
    h, w = size
    chroma = ((h + 1) // 2, (w + 1) // 2)
    planes = YuvPlanes(*(rng.integers(0, 256, s).astype(np.uint8) for s in (size, chroma, chroma)))
    image = FrameImage(w, h, lambda: pytest.fail("no conversion"), planes)
    part = window(RULE.frame_from_crop(Roi(w / 2, h / 2, w / 3))[None], 64, (w, h))
    one = stage(bytes_of(image, part))
    one.place(0, image, part)
    row = one.frames[0]
    y, x = part.y1 - 1, part.x1 - 1
    assert one.pool[row[3] + y * row[4] + x] == planes.y[y, x]
    assert one.pool[row[5] + (y // 2) * row[7] + x // 2] == planes.u[y // 2, x // 2]
    assert one.pool[row[6] + (y // 2) * row[7] + x // 2] == planes.v[y // 2, x // 2]


def test_a_pool_that_is_too_small_is_an_error_and_not_a_write():
    image = FrameImage.from_rgb(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(BackendError, match="bytes of the upload"):
        stage(10).place(0, image, window(RULE.frame_from_crop(Roi(4, 4, 4))[None], 64, (8, 8)))


def test_a_plane_is_read_through_dlpack_without_a_copy():
    plane = np.arange(200, dtype=np.uint8).reshape(10, 20)[2:, :12]
    found = plane_of(plane)
    assert found.address == plane.ctypes.data
    assert (found.rows, found.row_bytes, found.pitch) == (8, 12, 20)
    assert found.device_type == 1
    with pytest.raises(BackendError, match="32 bits"):
        plane_of(np.zeros((2, 2), np.float32))
