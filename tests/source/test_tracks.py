"""Which of several video streams is read: covers and thumbnails never, the default, the largest."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from streamprn.apps.video import ClipReader, open_clip
from streamprn.errors import InputError
from streamprn.records import SourceState


def write(path, streams, frames=6):
    """A file with several video streams.

    Args:
        path: its name.
        streams: for each one: width, height, grey value, frames or None, disposition.
        frames: of those that do not say.
    """
    with av.open(str(path), "w") as out:
        made = []
        for width, height, grey, count, disposition in streams:
            name = "mjpeg" if count == 1 else "libx264"
            stream = out.add_stream(name, rate=25)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if count == 1 else "yuv420p"
            if disposition is not None:
                stream.disposition = disposition
            made.append((stream, grey, count or frames))
        for stream, grey, count in made:
            image = np.full((stream.height, stream.width, 3), grey, np.uint8)
            for index in range(count):
                frame = av.VideoFrame.from_ndarray(image)
                frame.pts, frame.time_base = index, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    return path


COVER = (320, 240, 30, 1, Disposition.attached_pic)
SMALL = (64, 48, 90, None, Disposition(0))
LARGE = (128, 96, 150, None, Disposition(0))
MARKED = (64, 48, 210, None, Disposition.default)


@pytest.mark.parametrize(
    ("suffix", "streams", "grey"),
    [
        (".mp4", [COVER, SMALL], 90),
        (".mkv", [SMALL, LARGE], 150),
        (".mkv", [SMALL, LARGE, MARKED], 210),
        (".ts", [SMALL, LARGE], 150),
        # A thumbnail without a mark, larger than the film.
        (".mp4", [(320, 240, 30, 1, None), (64, 48, 90, None, None)], 90),
    ],
    ids=["cover", "largest", "default", "ts", "thumbnail"],
)
def test_every_reader_takes_the_same_stream(tmp_path, play, suffix, streams, grey):
    path = write(tmp_path / f"several{suffix}", streams)
    frames = play(str(path)).take()
    assert len(frames) == 6
    assert abs(int(frames[2].image.rgb[20, 20, 0]) - grey) < 4
    with ClipReader(path) as clip:
        pictures = [frame.rgb for frame in clip.frames()]
    assert len(pictures) == 6
    assert abs(int(pictures[2][20, 20, 0]) - grey) < 4


def test_a_setting_names_another_one(tmp_path, play):
    path = write(tmp_path / "several.mkv", [SMALL, LARGE])
    (frame, *_) = play(str(path), video_stream=0).take()
    assert frame.image.width == 64
    player = play(str(path), video_stream=2)
    words = "has 2 video streams, and no number 2"
    assert words in player.wait_for(SourceState.FAILED).cause
    with open_clip(path, 0) as clip:
        assert next(clip.frames()).rgb.shape == (48, 64, 3)
    with pytest.raises(InputError, match=words):
        open_clip(path, 2)


def test_a_cover_alone_is_no_film_but_may_be_asked_for(tmp_path, play):
    path = write(tmp_path / "song.mp4", [COVER])
    cause = play(str(path)).wait_for(SourceState.FAILED).cause
    assert "holds no video (it has a cover picture only)" in cause
    with pytest.raises(InputError, match="holds no video"):
        ClipReader(path)
    assert len(play(str(path), video_stream=0).take()) == 1
    with ClipReader(path, 0) as clip:
        assert len(list(clip.frames())) == 1


def test_a_clip_without_a_decoder_is_said_to_have_none(tmp_path, play):
    path = write(tmp_path / "odd.mkv", [SMALL])
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_QUITE/NEW/ONE"))
    words = "FFmpeg has no decoder for its video"
    assert words in play(str(path)).wait_for(SourceState.FAILED).cause
    with pytest.raises(InputError, match=words):
        ClipReader(path)
