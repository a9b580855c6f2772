"""Every picture of a clip keeps its time, and its sound stays with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamprn.apps.clip_writing import ClipWriter
from streamprn.apps.video import ClipReader, open_clip
from tests.support.media import Seen, evenly, make_media, seen_in

UNEVEN = [0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.6, 0.64, 0.9, 1.4]
FRAME = Fraction(1, 25)
# File, how it is made, and the codec of the sound in `.mp4`.
MAKES = {
    "uneven.mp4": ({"times": UNEVEN, "audio": "aac"}, "aac"),
    "uneven.mkv": ({"times": UNEVEN, "audio": "libopus", "rate": 48_000}, "opus"),
    "late-picture.mp4": ({"times": evenly(25, start=0.3), "audio": "aac"}, "aac"),
    "late-picture.mkv": ({"times": evenly(25, start=0.3), "audio": "aac"}, "aac"),
    "late-sound.mp4": ({"times": evenly(25), "audio": "aac", "sound_from_s": 0.35}, "aac"),
    "late-sound.mkv": ({"times": evenly(25), "audio": "libmp3lame", "sound_from_s": 0.35}, "mp3"),
    "reordered.ts": ({"times": evenly(25, start=0.2), "audio": "aac", "b_frames": 2}, "aac"),
    "plain.avi": (
        {"times": evenly(25), "audio": "pcm_s16le", "video": "mpeg4", "time_base": FRAME},
        "pcm_s16le",
    ),
    "adpcm.avi": (
        {
            "times": evenly(25),
            "audio": "adpcm_ima_wav",
            "video": "mjpeg",
            "form": "yuvj420p",
            "time_base": FRAME,
        },
        "aac",
    ),
    "edit-list.mp4": ({"times": evenly(40), "audio": "aac", "shift_s": -0.42}, "aac"),
    "edit-list-reordered.mov": (
        {"times": evenly(40), "audio": "aac", "shift_s": -0.42, "b_frames": 2},
        "aac",
    ),
    "phone.3gp": (
        {"times": evenly(25), "audio": "libopencore_amrnb", "rate": 8000, "video": "mpeg4"},
        "aac",
    ),
    "odd-rate.mkv": ({"times": evenly(25), "audio": "pcm_u8", "rate": 7000}, "aac"),
    "web.webm": (
        {"times": evenly(25), "audio": "libopus", "rate": 48_000, "video": "libvpx-vp9"},
        "opus",
    ),
    "camera.mpg": (
        {
            "times": evenly(25),
            "audio": "mp2",
            "layout": "stereo",
            "video": "mpeg2video",
            "time_base": FRAME,
        },
        "mp3",  # what FFmpeg calls all MPEG layers in MP4
    ),
    "old.flv": ({"times": evenly(25), "audio": "libmp3lame", "video": "flv"}, "mp3"),
}


def copied(source: Path, out: Path) -> tuple[Seen, Seen, list[str]]:
    """The clip, the same written anew, and what was said before."""
    with open_clip(source) as clip, ClipWriter(out, clip.rate, clip) as writer:
        notes = clip.notes + writer.notes
        for frame in clip.frames():
            writer.write(frame.rgb, frame.time, frame.duration)
    return seen_in(source), seen_in(out), notes


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", MAKES)
def test_pictures_and_sound_keep_their_times(tmp_path: Path, name: str, suffix: str) -> None:
    options, codec = MAKES[name]
    before, after, notes = copied(make_media(tmp_path / name, **options), tmp_path / f"out{suffix}")
    assert notes == []
    assert len(after.times) == len(before.times)
    moved = np.subtract(after.times, after.times[0]) - np.subtract(before.times, before.times[0])
    assert np.abs(moved).max() < 0.0015
    assert before.beep_s is not None and after.beep_s is not None
    lag = (after.beep_s - after.flash_s) - (before.beep_s - before.flash_s)
    assert abs(lag) < 0.005, "picture and sound stay together"
    assert abs(after.sound_s - before.sound_s) < 0.04
    assert after.flash_s == pytest.approx(
        options.get("flash_s", 0.6) + options.get("shift_s", 0), abs=0.03
    )
    assert len(after.codecs) == 1
    if suffix == ".mp4":
        assert after.codecs == [codec]


@pytest.mark.parametrize("video", ["libx264", "mpeg4"])
def test_pictures_of_an_avi_without_stamps_are_evenly_spaced(tmp_path: Path, video: str) -> None:
    """AVI numbers packets, which B-frames put in another order than that of showing."""
    source = make_media(
        tmp_path / "a.avi", evenly(25), video=video, b_frames=2, time_base=FRAME, audio="pcm_s16le"
    )
    _, after, _ = copied(source, tmp_path / "out.mp4")
    np.testing.assert_allclose(after.times, evenly(25), atol=1e-4)
    assert after.flash_s == pytest.approx(0.6, abs=1e-3)
    assert after.beep_s == pytest.approx(0.6, abs=0.005)


def test_raw_h264_goes_by_its_rate(tmp_path: Path) -> None:
    source = make_media(tmp_path / "a.h264", evenly(12), container="h264", time_base=FRAME)
    with ClipReader(source) as clip:
        times = [float(frame.time) for frame in clip.frames()]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-3)


def test_a_clock_that_falls_back_goes_on(tmp_path: Path) -> None:
    """Two recordings, one after the other in one file, as `cat a.ts b.ts` makes them."""
    part = make_media(tmp_path / "part.ts", evenly(25), audio="mp2", layout="stereo")
    (tmp_path / "both.ts").write_bytes(2 * part.read_bytes())
    before, after, _ = copied(tmp_path / "both.ts", tmp_path / "out.mp4")
    assert len(after.times) == len(before.times) >= 48
    steps = np.diff(after.times)
    assert steps.min() > 0.01 and steps.max() < 0.2
    assert after.sound_s == pytest.approx(2 * 1.0, abs=0.1)


def test_sound_that_nobody_can_read_is_said_before(tmp_path: Path) -> None:
    source = make_media(tmp_path / "a.mkv", evenly(10), audio="pcm_s16le")
    data = source.read_bytes()
    assert b"A_PCM/INT/LIT" in data
    source.write_bytes(data.replace(b"A_PCM/INT/LIT", b"A_XXX/INT/LIT"))
    with open_clip(source) as clip, ClipWriter(tmp_path / "out.mp4", clip.rate, clip) as writer:
        assert len(writer.notes) == 1 and "sound" in writer.notes[0]
        for frame in clip.frames():
            writer.write(frame.rgb, frame.time, frame.duration)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio and container.streams.video


def test_all_sound_tracks_are_kept(tmp_path: Path) -> None:
    first = make_media(tmp_path / "a.mp4", evenly(25), audio="pcm_s16le")
    with (
        av.open(str(first)) as one,
        av.open(str(first)) as again,
        av.open(str(tmp_path / "two.mkv"), "w") as out,
    ):
        tracks = [one.streams.video[0], one.streams.audio[0], again.streams.audio[0]]
        packets = [*one.demux(), *again.demux(audio=0)]
        copies = [out.add_stream_from_template(track) for track in tracks]
        for packet in packets:
            if packet.dts is not None:
                packet.stream = copies[tracks.index(packet.stream)]
                out.mux(packet)
    _, after, _ = copied(tmp_path / "two.mkv", tmp_path / "out.mkv")
    assert after.codecs == 2 * ["pcm_s16le"]


def test_sound_lies_beside_its_pictures_in_the_file(tmp_path: Path) -> None:
    source = make_media(tmp_path / "a.mp4", evenly(100), audio="aac")
    copied(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        ends = [0.0, 0.0]
        for packet in container.demux():
            if packet.dts is not None:
                ends[packet.stream.index] = float(packet.dts * packet.time_base)
                assert abs(ends[0] - ends[1]) < 1.0


# -- damage ----------------------------------------------------------------------------------------


def damaged(source: Path, out: Path, bad: int) -> Path:
    """The same clip with the inside of one picture's packet overwritten."""
    with av.open(str(source)) as one, av.open(str(out), "w") as two:
        stream = two.add_stream_from_template(one.streams.video[0])
        for number, packet in enumerate(one.demux(video=0)):
            if packet.dts is None:
                continue
            if number == bad:
                packet.update(bytes(packet)[:2] + bytes(packet.size - 2))
            packet.stream = stream
            two.mux(packet)
    return out


@pytest.mark.parametrize(
    ("video", "form"), [("mjpeg", "yuvj420p"), ("libx264", "yuv420p"), ("mpeg4", "yuv420p")]
)
@pytest.mark.parametrize("bad", [0, 9])
def test_a_broken_picture_costs_one_picture(
    tmp_path: Path, video: str, form: str, bad: int
) -> None:
    if video != "mjpeg" and bad == 0:
        bad = 12
    source = make_media(tmp_path / "a.mp4", evenly(25), video=video, form=form)
    broken = damaged(source, tmp_path / "broken.mp4", bad)
    with ClipReader(broken) as clip:
        times = [float(frame.time) for frame in clip.frames()]
        assert clip.broken == 1
    assert len(times) == 24
    assert {round(time, 2) for time in times} < {round(time, 2) for time in evenly(25)}


def test_a_broken_picture_of_an_avi_does_not_move_the_rest(tmp_path: Path) -> None:
    source = make_media(
        tmp_path / "a.avi", evenly(25), video="mjpeg", form="yuvj420p", time_base=FRAME
    )
    broken = damaged(source, tmp_path / "broken.avi", 5)
    with ClipReader(broken) as clip:
        times = [float(frame.time) for frame in clip.frames()]
        assert clip.broken == 1
    np.testing.assert_allclose(times, [t for n, t in enumerate(evenly(25)) if n != 5], atol=0.002)


def test_a_hole_in_a_container_is_stepped_over(tmp_path: Path) -> None:
    source = make_media(tmp_path / "a.ts", evenly(100), video="mpeg2video", time_base=FRAME)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 800] = bytes(800)
    source.write_bytes(data)
    with ClipReader(source) as clip:
        times = [float(frame.time) for frame in clip.frames()]
    assert len(times) > 70
    assert times[-1] > 3.8
