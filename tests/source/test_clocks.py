"""Time stamps that are wrong cost no frame and no time."""

from __future__ import annotations

import itertools
import logging
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.records import SourceState
from streamprn.source.timing import Timeline
from tests.support.clips import remux

RATE = 25
STEP_NS = 40_000_000


def clip(path, stamps):
    """A clip of small pictures with the given time stamps, in fortieths of a millisecond."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = Fraction(1, 1000)
        packets = []
        for index in range(len(stamps)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet, stamp in zip(packets, stamps, strict=True):
            packet.pts = packet.dts = stamp
            packet.time_base = Fraction(1, 1000)
            out.mux(packet)
    return str(path)


REGULAR = [40 * n for n in range(10)]


@pytest.mark.parametrize(
    ("suffix", "stamps"),
    [
        (".mkv", REGULAR + [3_600_000 + one for one in REGULAR]),
        (".mp4", REGULAR + [3_600_000 + one for one in REGULAR]),
        (".ts", REGULAR + [3_600_000 + one for one in REGULAR]),
        (".mkv", [3_600_000 + one for one in REGULAR]),
    ],
    ids=["mkv", "mp4", "ts", "late start"],
)
def test_an_hours_gap_is_not_waited_for(tmp_path, play, caplog, suffix, stamps):
    caplog.set_level(logging.WARNING)
    player = play(clip(tmp_path / f"gap{suffix}", stamps), realtime=True, capacity=50)
    frames = player.take(timeout=5)
    assert len(frames) == len(stamps)
    assert player.wait_for(SourceState.ENDED).cause == ""
    steps = np.diff([frame.pts_ns for frame in frames])
    np.testing.assert_allclose(steps, STEP_NS, atol=2e6)
    if len(stamps) > 10:
        assert player.reader.counters.jumps == 1
        (line,) = [one for one in caplog.messages if "time stamps" in one]
        assert "jump by +35" in line


def test_a_gap_within_the_bound_is_kept(tmp_path, play):
    path = clip(tmp_path / "slow.mkv", [0, 40, 80, 8000, 8040])
    frames = play(path).take()
    assert frames[3].pts_ns - frames[2].pts_ns == pytest.approx(7.92e9, abs=2e6)
    path = clip(tmp_path / "slow2.mkv", [0, 40, 80, 8000, 8040])
    assert np.diff([frame.pts_ns for frame in play(path, max_gap_s=2).take()]).max() < 0.2e9


@pytest.mark.parametrize("form", ["mpegts", "h264"])
def test_a_clock_that_falls_back_goes_on(clips, play, tmp_path, form):
    """Two recordings in one file: the second begins at zero again."""
    parts = []
    for number in range(2):
        part = remux(clips.still(frames=10).path, tmp_path / f"{number}.{form}", format=form)
        parts.append(part.read_bytes())
    whole = tmp_path / "both.ts"
    whole.write_bytes(b"".join(parts))
    player = play(str(whole), max_fps=1000, capacity=50)
    frames = player.take()
    assert len(frames) >= 19
    steps = np.diff([frame.pts_ns for frame in frames])
    assert steps.min() > 0.5 * steps.max()


# -- the time line ---------------------------------------------------------------------------------


def advance(stamps_ms):
    line = Timeline(STEP_NS)
    line.start_pass(0)
    base = Fraction(1, 1000)
    return line, [line.advance(line.at(one, base)) for one in stamps_ms]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), max_size=40))
def test_times_grow_whatever_the_stamps_and_no_gap_is_longer_than_the_bound(stamps):
    line, times = advance(stamps)
    assert all(a < b for a, b in itertools.pairwise(times))
    assert all(b - a <= line.max_gap_ns + 2 * STEP_NS for a, b in itertools.pairwise(times))


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40))
def test_regular_stamps_are_kept_to_the_nanosecond(steps):
    stamps = list(itertools.accumulate((step + 1 for step in steps), initial=0))
    line, times = advance(stamps)
    assert times == [one * 1_000_000 for one in stamps]
    assert line.jumps == 0


def test_stamps_that_stand_still_do_not_stop_time():
    line, times = advance([0, 40, *[80] * 20])
    assert times[-1] - times[2] > 15 * STEP_NS
    assert line.jumps > 0


def test_a_stamp_given_twice_is_no_jump():
    line, times = advance([0, 40, 40, 80, 80, 120])
    assert line.jumps == 0
    assert [round(one / STEP_NS) for one in times] == [0, 1, 1, 2, 2, 3]


def test_a_jump_and_back_leaves_a_regular_time_line():
    line, times = advance([0, 40, 7_200_000, 80, 120, 160])
    assert line.jumps == 2
    assert np.diff(times).tolist() == [STEP_NS] * 5


def test_missing_stamps_take_the_usual_step():
    assert advance([None, None, 80])[1] == [0, STEP_NS, 2 * STEP_NS]


@pytest.mark.timed
def test_a_file_whose_clock_is_wrong_takes_no_longer_than_its_frames(tmp_path, play):
    stamps = [0, 40, 80, 9_000_000, 9_000_040, 9_000_080, 100_000_000, 100_000_040]
    player = play(clip(tmp_path / "jumps.mkv", stamps), realtime=True, capacity=50)
    began = time.monotonic()
    assert len(player.take(timeout=5)) == 8
    assert time.monotonic() - began < 1.5
    assert player.reader.counters.jumps == 2
