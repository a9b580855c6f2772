from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from streamprn import cli
from streamprn.apps import images
from streamprn.apps.video import ClipReader
from tests.support import clips


@pytest.fixture
def files(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    images.write_image(tmp_path / "target.png", picture)
    images.write_image(tmp_path / "reference.png", np.ascontiguousarray(picture[:, ::-1]))
    images.write_image(tmp_path / "grey.png", np.full((100, 100, 3), 90, np.uint8))
    clips.encode(tmp_path / "clip.mp4", [clips.draw([clips.place(160, 120, 1.2)], 320, 240)] * 5)
    return tmp_path


def test_swap_writes_a_picture(files: Path, picture: np.ndarray) -> None:
    assert cli.main(["swap", "target.png", "reference.png", "out.png"]) == 0
    changed = (images.read_image(files / "out.png") != picture).any(axis=2)
    assert 0.01 < changed.mean() < 0.1


def test_edit_changes_less_than_swap(files: Path, picture: np.ndarray) -> None:
    assert cli.main(["edit", "target.png", "reference.png", "out.png", "--part", "eyes"]) == 0
    changed = (images.read_image(files / "out.png") != picture).any(axis=2)
    assert 0 < changed.mean() < 0.01


def test_swap_writes_a_clip(files: Path) -> None:
    assert cli.main(["swap", "clip.mp4", "reference.png", "out.mp4"]) == 0
    with ClipReader(files / "out.mp4") as clip:
        assert len(list(clip.frames())) == 5


def two_streams(path: Path) -> None:
    """A video whose default stream is grey, and whose other one shows a face."""
    shown = clips.draw([clips.place(160, 120, 1.2)], 320, 240)
    with av.open(str(path), "w") as out:
        made = [out.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, marked in zip(made, (True, False), strict=True):
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            stream.disposition = Disposition.default if marked else Disposition(0)
        for stream, image in zip(made, (np.full_like(shown, 90), shown), strict=True):
            for _ in range(3):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            out.mux(stream.encode())


def test_another_stream_of_a_clip_may_be_named(files: Path) -> None:
    two_streams(files / "two.mkv")
    arguments = ["two.mkv", "reference.png", "out.mp4"]
    assert cli.main(["swap", *arguments]) == 1
    assert cli.main(["swap", *arguments, "--video-stream", "1"]) == 0
    assert cli.main(["edit", *arguments, "--video-stream", "1", "--part", "eyes"]) == 0
    assert cli.main(["reconstruct", "two.mkv", "out", "--pose"]) == 1
    again = ["reconstruct", "two.mkv", "out", "--pose", "--skip-existing", "--video-stream", "1"]
    assert cli.main(again) == 0
    assert len(list((files / "out").rglob("pose.json"))) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["swap", "target.png", "grey.png", "out.png"], "no face found"),
        (["swap", "grey.png", "reference.png", "out.png"], "no face found"),
        (["swap", "clip.mp4", "reference.png", "out.gif"], "no video can be written"),
        (["swap", "target.png", "reference.png", "target.png"], "would overwrite an input"),
        (
            ["swap", "clip.mp4", "reference.png", "out.mp4", "--video-stream", "1"],
            "clip.mp4: has 1 video stream, and no number 1",
        ),
        (
            ["swap", "clip.mp4", "reference.png", "out.mp4", "--video-stream", "-1"],
            "expected a whole number from 0 to 255",
        ),
        (
            ["swap", "target.png", "reference.png", "out.mp4"],
            "target.png: is a picture, and out.mp4 would be a video",
        ),
        (
            ["swap", "target.png", "reference.png", "out.png", "--video-stream", "0"],
            "target.png: is a picture",
        ),
        (["swap", "missing.png", "reference.png", "out.png"], "missing.png: no such file"),
        (["edit", "target.png", "reference.png", "out.png", "--part", "ears"], "part 'ears'"),
        (["edit", "target.png", "reference.png", "out.png"], "--part"),
        (["edit", "target.png", "reference.png", "out.png", "--part", "no.png"], "no such file"),
        (["swap", "target.png", "reference.png", "out.abc"], "unknown picture format"),
    ],
)
def test_wrong_arguments_exit_with_2(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert words in printed and "Traceback" not in printed


def test_video_is_said_where_a_clip_was_taken_for_a_picture(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A raw stream of DV or the like: nothing in it tells, and its name misleads."""
    (files / "odd.png").write_bytes(b"no mark that anybody knows")
    assert cli.main(["swap", "odd.png", "reference.png", "out.png"]) == 2
    assert "for a clip add --video" in capsys.readouterr().err
