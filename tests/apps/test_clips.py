from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamprn.apps.clip_writing import ClipWriter
from streamprn.apps.clips import swap_clip
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace
from streamprn.apps.video import ClipReader
from streamprn.errors import InputError
from tests.support import clips


def moving(frames: int) -> list[np.ndarray]:
    return [
        clips.draw(
            [clips.place(160 + 20 * math.sin(n / 6), 120, 1.2, 8 * math.sin(n / 5))], 320, 240
        )
        for n in range(frames)
    ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.encode(tmp_path_factory.mktemp("clips") / "clip.mp4", moving(20), fps=25)


def test_every_nth_frame_is_read_upright(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 10 * n, np.uint8) for n in range(10)]
    path = clips.encode(tmp_path / "a.mp4", pictures, rotation=90)
    with ClipReader(path) as reader:
        got = list(reader.frames(4))
    assert [frame.index for frame in got] == [0, 4, 8]
    assert got[0].rgb.shape == (64, 48, 3)
    for frame in got:
        assert abs(float(frame.rgb.mean()) - 10 * frame.index) < 4


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_files_that_are_no_video_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.mp4"):
        ClipReader(path)


def test_a_written_clip_comes_back(tmp_path: Path) -> None:
    pictures = moving(6)
    with ClipWriter(tmp_path / "out.mp4", Fraction(30000, 1001)) as writer:
        for picture in pictures:
            writer.write(picture[:239])
    with ClipReader(tmp_path / "out.mp4") as reader:
        assert abs(float(reader.rate) - 29.97) < 0.01
        frames = [frame.rgb for frame in reader.frames()]
    assert len(frames) == 6 and frames[0].shape == (240, 320, 3)
    assert np.abs(frames[3][:239].astype(int) - pictures[3][:239]).mean() < 6
    assert np.abs(frames[3][239].astype(int) - pictures[3][238]).mean() < 12


def test_a_failed_clip_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="changes its size"),
        ClipWriter(tmp_path / "out.mp4", Fraction(25)) as writer,
    ):
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.write(np.zeros((64, 64, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_sound_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "sound.mp4"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=44100)
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        for number in range(20):
            tone = np.sin(np.arange(1024) / 20.0 + number).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 44100
            frame.pts = 1024 * number
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    with (
        ClipReader(source) as clip,
        ClipWriter(tmp_path / "out.mp4", Fraction(25), clip) as writer,
    ):
        for _ in range(10):
            writer.write(np.full((48, 64, 3), 128, np.uint8))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples > 15 * 1024


def test_a_clip_swapped_with_its_own_face_stays_and_does_not_flicker(
    reconstructor: Reconstructor, face: Reconstruction, clip: Path, tmp_path: Path
) -> None:
    swapper = FaceSwapper(ReferenceFace.of(face), PartMask.named("face", face.topology))
    seen: list[tuple[int, int]] = []
    report = swap_clip(
        reconstructor,
        swapper,
        clip,
        tmp_path / "out.mp4",
        on_frame=lambda done, count: seen.append((done, count)),
    )
    assert report.frames == report.with_face == 20 and report.broken == 0
    assert seen[-1] == (20, 20)
    errors = []
    with ClipReader(clip) as before, ClipReader(tmp_path / "out.mp4") as after:
        for a, b in zip(before.frames(), after.frames(), strict=True):
            errors.append(np.abs(a.rgb.astype(int) - b.rgb)[60:180, 100:220].mean())
    assert max(errors) < 8
    assert max(errors) - min(errors) < 4
