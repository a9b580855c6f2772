"""Clips of any kind and name are found by their content, and no half-written file stays."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from streamprn import cli
from streamprn.apps import images, outputs
from streamprn.apps.clip_writing import ClipWriter
from streamprn.apps.files import PartialFile, write_whole
from streamprn.apps.images import IMAGE_SUFFIXES
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.apps.video import ClipReader, open_clip
from streamprn.cli.parser import Parser, with_odd_paths
from streamprn.cli.signals import CLEANUP_S, Stopped, stop_on_signals
from streamprn.errors import InputError
from streamprn.source.content import Content, is_clip, judge_file
from tests.support import clips
from tests.support.media import evenly, make_media

DURATIONS_MS = [100, 200, 300, 400]
ANIMATIONS = {"gif": "GIF", "webp": "WEBP", "png": "PNG", "avif": "AVIF"}


def pictures(alpha: bool = False) -> list[Image.Image]:
    shown = [Image.fromarray(np.full((48, 64, 3), 50 * n, np.uint8)) for n in range(4)]
    for one in shown if alpha else []:
        one.putalpha(Image.fromarray(np.tile(np.repeat([255, 0], 32).astype(np.uint8), (48, 1))))
    return shown


def animation(path: Path, kind: str, alpha: bool = False) -> Path:
    first, *rest = pictures(alpha)
    first.save(path, kind, save_all=True, append_images=rest, duration=DURATIONS_MS, loop=0)
    return path


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_animations_are_clips_with_their_times(tmp_path: Path, suffix: str, alpha: bool) -> None:
    path = animation(tmp_path / f"a.{suffix}", ANIMATIONS[suffix], alpha)
    assert is_clip(path, IMAGE_SUFFIXES)
    with open_clip(path) as clip:
        frames = list(clip.frames())
    assert [round(1000 * frame.time) for frame in frames] == [0, 100, 300, 600]
    assert [round(1000 * frame.duration) for frame in frames] == DURATIONS_MS
    for number, frame in enumerate(frames):
        assert np.abs(frame.rgb[20, 10].astype(int) - 50 * number).max() < 8
        if alpha:
            assert np.abs(frame.rgb[20, 50].astype(int) - 255).max() < 8


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_one_picture_is_no_clip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pictures()[2].save(path, ANIMATIONS[suffix])
    assert judge_file(path) is Content.PICTURE


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("a.mp4", "clip"),
        ("a.mkv", "clip.jpg"),
        ("a.ts", "clip.dat"),
        ("a.avi", "part-1.5"),
        ("a.3gp", "a:b.3gp"),
        ("a.mov", "100%03d.mov"),
        ("a.flv", "-dash.flv"),
        ("a.mpg", "Ünï code.png"),
        ("a.webm", "file:x.webm"),
        ("a.ogv", "a?b#c.ogv"),
        ("a.wmv", "x.mts"),
    ],
)
def test_clips_of_any_name_are_read(tmp_path: Path, made: str, named: str) -> None:
    video = {"mpg": "mpeg2video", "webm": "libvpx-vp9", "flv": "flv", "ogv": "libvpx"}
    codec = video.get(made[2:], "mpeg4")
    base = Fraction(1, 25)
    make_media(tmp_path / made, evenly(12), video=codec, time_base=base).rename(tmp_path / named)
    path = tmp_path / named
    assert is_clip(path, IMAGE_SUFFIXES)
    with open_clip(path) as clip:
        assert len(list(clip.frames())) == 12


@pytest.mark.parametrize("named", ["photo", "photo.mp4", "photo.jfif", "a:b.jpg", "%02d.jpg"])
def test_pictures_of_any_name_are_pictures(tmp_path: Path, named: str) -> None:
    pictures()[2].save(tmp_path / named, "JPEG")
    assert not is_clip(tmp_path / named, IMAGE_SUFFIXES)
    assert images.read_image(tmp_path / named).shape == (48, 64, 3)


def test_names_that_begin_with_a_dash_are_no_options(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd").touch()
    parser = Parser()
    parser.add_argument("--all", action="store_true")
    given = ["-a.mp4", "-odd", "--all", "--nothing", "-0.55", "-", "--", "-b.mp4"]
    assert with_odd_paths(given, parser) == ["./-a.mp4", "./-odd", *given[2:]]
    images.write_image(tmp_path / "-x.png", np.zeros((9, 9, 3), np.uint8))


# -- what is left behind ---------------------------------------------------------------------------


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("size", [0, 20_000, 60_000])
def test_a_full_disk_leaves_no_clip(tmp_path: Path, suffix: str, size: int) -> None:
    random = np.random.default_rng(3)
    (tmp_path / f"out{suffix}").write_text("the old one")
    with (
        pytest.raises(InputError, match=r"out\.\w+: cannot be written: File too"),
        disk_of(size),
        ClipWriter(tmp_path / f"out{suffix}", Fraction(25)) as writer,
    ):
        for _ in range(40):
            noise = random.integers(0, 256, (96, 128, 3), dtype=np.uint8)
            writer.write(noise)
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]
    assert (tmp_path / f"out{suffix}").read_text() == "the old one"


def test_a_full_disk_leaves_no_picture(tmp_path: Path) -> None:
    with disk_of(1000), pytest.raises(InputError, match=r"a\.png: cannot be written"):
        write_whole(tmp_path / "a.png", bytes(5000))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_reconstruction(
    tmp_path: Path, face: Reconstruction, picture: np.ndarray, reconstructor: Reconstructor
) -> None:
    options = outputs.OutputOptions(kinds=("landmarks", "vertices", "pose"))
    files = outputs.PictureFiles(
        picture, [face], reconstructor.engine.crop, tmp_path / "x", options
    )
    with disk_of(100_000), pytest.raises(InputError, match="cannot be written"):
        outputs.write_outputs(files, "x.png")
    assert list(tmp_path.iterdir()) == []
    summary = outputs.write_outputs(files, "x.png")
    assert "face0/vertices.npy" in summary["files"]
    assert not (tmp_path / "x" / ".part").exists()


@pytest.mark.parametrize("out", ["file/out.mp4", "folder.mp4"])
def test_an_output_that_cannot_be_is_said_before_the_work(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        ClipWriter(tmp_path / out, Fraction(25))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


_WRITE_FOR_EVER = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from streamprn import cli
from streamprn.apps.clip_writing import ClipWriter
from streamprn.cli import doctor, signals

def run(args):
    with signals.stop_on_signals(signals.CLEANUP_S, interrupt=True):
        with ClipWriter(Path("out.mp4"), Fraction(25)) as writer:
            while True:
                writer.write(np.random.randint(0, 255, (96, 128, 3), np.uint8))

doctor.run = run
sys.exit(cli.main(["doctor"]))
"""


def test_a_signal_that_comes_while_a_library_calls_back_is_not_lost(tmp_path: Path) -> None:
    """What is raised there is printed by PyAV and forgotten."""
    partial, calls = PartialFile(tmp_path / "out.bin"), []

    class Disk:
        def write(self, _: bytes) -> None:
            calls.append(1)
            signal.raise_signal(signal.SIGINT)

    whole, partial._file = partial._file, Disk()
    with pytest.raises(Stopped), stop_on_signals(CLEANUP_S, interrupt=True):
        assert partial.write(b"abc") == 3
        time.sleep(5)
    assert len(calls) == 1
    partial._file = whole
    partial.discard()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_file(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and process.poll() is None:
            part = tmp_path / "out.mp4.part"
            if part.exists() and part.stat().st_size > 100_000:
                break
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number, err
    assert err == "streamprn: stopped before the end\n"
    assert list(tmp_path.iterdir()) == []


def test_swap_ends_cleanly_on_a_signal(tmp_path: Path, picture: np.ndarray) -> None:
    """The command itself, from its start to its last line."""
    images.write_image(tmp_path / "me.png", picture)
    shown = clips.draw([clips.place(160, 120, 1.2)], 320, 240)
    clips.encode(tmp_path / "clip.mp4", [shown] * 400)
    process = subprocess.Popen(
        [sys.executable, "-m", "streamprn", "swap", "clip.mp4", "me.png", "out.mp4"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "out.mp4.part").exists() and time.monotonic() < end:
            time.sleep(0.05)
        process.terminate()
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143, err
    assert err == "streamprn: stopped before the end\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "me.png"]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streamprn", "engine", "list"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(30), err) == (0, b"")
    process.stderr.close()


# -- alpha -----------------------------------------------------------------------------------------


@pytest.fixture
def transparent(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[300:] = 0
    images.write_image(tmp_path / "target.png", np.dstack([picture, alpha]))
    images.write_image(tmp_path / "me.png", np.ascontiguousarray(picture[:, ::-1]))
    return tmp_path


def test_a_picture_keeps_its_transparency(transparent: Path, picture: np.ndarray) -> None:
    assert cli.main(["swap", "target.png", "me.png", "out.png"]) == 0
    rgb, alpha = images.read_with_alpha(transparent / "out.png")
    assert alpha is not None and (alpha[:300] == 255).all() and (alpha[300:] == 0).all()
    np.testing.assert_array_equal(rgb[320:], picture[320:])


def test_transparency_that_a_format_lacks_is_said(
    transparent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["swap", "target.png", "me.png", "out.jpg"]) == 0
    assert "transparent parts come out white" in capsys.readouterr().err
    assert images.read_image(transparent / "out.jpg")[400, 200].min() > 245


@pytest.mark.parametrize(
    ("suffix", "codec", "form"), [(".mov", "prores_ks", "yuva444p10le"), (".mov", "qtrle", "argb")]
)
def test_transparency_of_a_clip_is_said(tmp_path: Path, suffix: str, codec: str, form: str) -> None:
    path = make_media(tmp_path / f"a{suffix}", evenly(5), video=codec, form=form)
    with ClipReader(path) as clip:
        assert "transparent parts come out white" in clip.notes[0]


# -- colours of what is written --------------------------------------------------------------------


def test_what_is_written_is_bt709_and_says_so(tmp_path: Path) -> None:
    colours = [[255, 255, 255], [0, 0, 0], [200, 120, 80], [30, 180, 60], [60, 50, 220]]
    picture = np.repeat(np.array([colours], np.uint8), 48, axis=0).repeat(16, axis=1)
    with ClipWriter(tmp_path / "out.mp4", Fraction(25)) as writer:
        for _ in range(3):
            writer.write(picture)
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == (1, 1, 1, 1)
    with ClipReader(tmp_path / "out.mp4") as clip:
        shown = next(iter(clip.frames())).rgb[24, 8::16].astype(int)
    assert np.abs(shown - colours).max() <= 6
