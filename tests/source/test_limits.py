"""A picture or a clip with too many pixels is refused by its header, before it takes memory."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from streamprn.apps.images import read_image
from streamprn.apps.video import open_clip
from streamprn.config import SourceConfig
from streamprn.config.secrets import address_of
from streamprn.errors import InputError, SourceError
from streamprn.limits import MAX_PIXELS
from streamprn.pixels import limit_pixels
from streamprn.source.limits import check_picture
from streamprn.source.opening import open_video
from streamprn.source.pictures import read_picture

KINDS = [".jpg", ".png", ".bmp", ".tif", ".webp", ".gif", ".jp2", ".ppm", ".pgm", ".hdr", ".ras"]


def grey_png(width: int, height: int) -> bytes:
    """A grey PNG that is small for its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    pack = zlib.compressobj(1)
    row = bytes(width + 1)
    pixels = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.fixture
def limit():
    yield limit_pixels
    limit_pixels(MAX_PIXELS)


@pytest.mark.parametrize("suffix", KINDS)
def test_the_header_of_every_kind_is_read(suffix):
    picture = np.zeros((300, 402, 3), np.float32 if suffix == ".hdr" else np.uint8)
    data = bytes(cv2.imencode(suffix, picture[:, :, 0] if suffix == ".pgm" else picture)[1])
    check_picture(data, "a", 300 * 402)
    with pytest.raises(InputError, match=r"a: 402x300 px are more than the 120,599 px allowed"):
        check_picture(data, "a", 300 * 402 - 1)


def test_reconstruct_refuses_a_huge_grey_picture_in_one_line_and_little_memory(tmp_path):
    (tmp_path / "huge.png").write_bytes(grey_png(30_000, 30_000))
    done = subprocess.run(
        [sys.executable, "-m", "streamprn", "reconstruct", "huge.png", "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)),
    )  # fmt: skip
    assert "30000x30000 px are more than the 100,000,000 px allowed" in done.stdout
    assert "--max-pixels" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode != 0


def test_the_limit_can_be_set(tmp_path, limit):
    path = tmp_path / "a.png"
    path.write_bytes(grey_png(200, 100))
    assert read_image(path).shape == (100, 200, 3)
    limit(19_999)
    with pytest.raises(InputError, match="200x100"):
        read_image(path)


def test_a_picture_as_a_source_obeys_its_own_limit(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(grey_png(200, 100))
    source = SourceConfig(uri=str(path), max_pixels=19_999)
    with pytest.raises(SourceError, match=r"200x100 px .* max_pixels"):
        read_picture(source, address_of(source), path)
    frame, _ = read_picture(SourceConfig(uri=str(path)), address_of(source), path)
    assert (frame.width, frame.height) == (200, 100)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_clip_is_refused_by_its_header(clip, limit):
    limit(640 * 480 - 1)
    with pytest.raises(InputError, match=r"640x480 px are more than"):
        open_clip(clip)
    limit(640 * 480)
    with open_clip(clip) as opened:
        assert len(list(opened.frames())) == 3


def test_a_source_is_refused_by_its_header(clip):
    source = SourceConfig(uri=str(clip), max_pixels=1000)
    with pytest.raises(InputError, match=r"640x480 px are more than the 1,000 px"):
        open_video(source, address_of(source))


def test_a_stream_that_grows_is_refused_by_its_decoder():
    small, large = (
        bytes(cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8))[1]) for side in (64, 512)
    )
    import io

    from streamprn.source.limits import limit_stream, probing

    film = io.BytesIO(small + large + small)
    with av.open(film, format="mjpeg", options=probing(64 * 64)) as container:
        stream = container.streams.video[0]
        limit_stream(stream, "film", 64 * 64)
        sizes, refused = [], 0
        for packet in container.demux(stream):
            try:
                sizes += [(frame.width, frame.height) for frame in packet.decode()]
            except av.FFmpegError:
                refused += 1
    assert set(sizes) == {(64, 64)}
    assert refused == 1
