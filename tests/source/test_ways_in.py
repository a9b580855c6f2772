"""Ways in beside files, RTSP and HTTP: whatever FFmpeg opens, under the same rules."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from streamprn.config import Config, SourceKind, resolve
from streamprn.errors import ConfigError, InputError
from streamprn.records import SourceState
from tests.support.clips import encode
from tests.support.feeds import Feed, free_port
from tests.support.rtsp_server import RtspServer
from tests.support.x_server import XServer


@pytest.fixture(scope="module")
def clip(clips):
    return clips.still(frames=30, gop=5)


@pytest.fixture(scope="module")
def transport(tmp_path_factory):
    """Eight grey pictures as MPEG-TS."""
    folder = tmp_path_factory.mktemp("ts")
    return encode(folder / "c.ts", [np.full((64, 96, 3), 20 * n, np.uint8) for n in range(8)])


@pytest.mark.parametrize(
    ("text", "kind", "name", "uri"),
    [
        ("UDP://127.0.0.1:5000", SourceKind.STREAM, "127.0.0.1_5000", "udp://127.0.0.1:5000"),
        ("udp://@239.0.0.1:5000", SourceKind.STREAM, "239.0.0.1_5000", "udp://@239.0.0.1:5000"),
        ("srt://:9000?mode=listener", SourceKind.STREAM, "9000", "srt://:9000?mode=listener"),
        ("Rtmp://h/live/door", SourceKind.STREAM, "h-live", "rtmp://h/live/door"),
        ("-", SourceKind.PIPE, "stdin", "-"),
        ("screen", SourceKind.SCREEN, "screen", ""),
        ("screen::1.0+10,20", SourceKind.SCREEN, "screen", ":1.0+10,20"),
        ("x11grab::0", SourceKind.SCREEN, "screen", ":0"),
        ("LAVFI:testsrc2", SourceKind.LAVFI, "lavfi", "testsrc2"),
    ],
)
def test_addresses_are_told_apart(text, kind, name, uri):
    address = resolve(text)
    assert (address.kind, address.name, address.uri) == (kind, name, uri)
    assert address.reconnects is (kind in (SourceKind.STREAM, SourceKind.SCREEN))


def test_a_scheme_in_upper_case_is_opened(clip, play):
    with RtspServer([clip.path]) as server:
        assert play(server.url.replace("rtsp://", "RTSP://")).take(2)


# -- networks --------------------------------------------------------------------------------------


def test_a_stream_over_udp_plays_and_comes_back_with_a_new_encoder(clip, play):
    port = free_port(socket.SOCK_DGRAM)
    player = play(f"udp://127.0.0.1:{port}", capacity=50, stall_timeout_s=0.5)
    with Feed(clip.path, f"udp://127.0.0.1:{port}?pkt_size=1316"):
        first = player.take(5, timeout=6)
        assert len(first) == 5
    player.wait_for(SourceState.RECONNECTING)
    player.channel.clear()
    with Feed(clip.path, f"udp://127.0.0.1:{port}?pkt_size=1316"):
        again = player.take(5, timeout=6)
        assert len(again) == 5
    assert again[0].pts_ns > first[-1].pts_ns


@pytest.mark.timed
def test_nothing_on_a_udp_port_is_said(play):
    port = free_port(socket.SOCK_DGRAM)
    player = play(f"udp://127.0.0.1:{port}", open_timeout_s=0.3)
    cause = player.wait_for(SourceState.RECONNECTING).cause
    assert cause.startswith(f"udp://127.0.0.1:{port}: no answer in time")
    assert player.stop() < 0.8


def test_an_encoder_that_pushes_over_tcp_plays(clip, play):
    port = free_port()
    player = play(f"tcp://127.0.0.1:{port}?listen=1", capacity=50)
    with Feed(clip.path, f"tcp://127.0.0.1:{port}"):
        assert len(player.take(5, timeout=6)) == 5


def test_an_encoder_that_pushes_over_rtmp_plays(clip, play):
    port = free_port()
    player = play(f"rtmp://127.0.0.1:{port}/live/door", capacity=50, options={"listen": "1"})
    # In a process of its own: PyAV holds the interpreter while it shakes hands.
    command = [sys.executable, "-m", "tests.support.feeds", str(clip.path)]
    command += [f"rtmp://127.0.0.1:{port}/live/door", "flv"]
    with subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2]) as sender:
        try:
            assert len(player.take(5, timeout=10)) == 5
        finally:
            player.stop()
            sender.kill()


def test_a_protocol_that_this_ffmpeg_lacks_is_said(play):
    try:
        av.open("srt://127.0.0.1:9", timeout=0.2)
    except av.ProtocolNotFoundError:
        cause = play("srt://127.0.0.1:9?passphrase=abc").wait_for(SourceState.RECONNECTING).cause
        assert "srt://127.0.0.1:9/***: this FFmpeg lacks the protocol" in cause
    except (av.FFmpegError, OSError):
        pytest.skip("this FFmpeg has SRT")


# -- pipes -----------------------------------------------------------------------------------------


def _stdin(data: bytes, arguments: str = "", after_s: float = 0.0) -> subprocess.CompletedProcess:
    """Read standard input in a process; print what came out of it."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from tests.source.conftest import Player
player = Player("-", capacity=100 {arguments})
frames = player.take(timeout=8)
print(len(frames), frames[0].image.width if frames else 0, player.reports[-1])
"""
    return subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=False
    )


def test_a_transport_stream_on_standard_input_plays_once(transport):
    done = _stdin(transport.read_bytes(), ", loop=True")
    assert done.stdout.startswith(b"8 96 "), done
    assert b"ENDED" in done.stdout


def test_raw_pictures_on_standard_input_play(transport):
    data = bytes(32 * 24 * 3) * 5
    options = {"video_size": "32x24", "pixel_format": "rgb24", "framerate": "25"}
    done = _stdin(data, f", format='rawvideo', options={options}")
    assert done.stdout.startswith(b"5 32 "), done


def test_garbage_or_nothing_on_standard_input_is_said():
    for data in (b"", b"garbage" * 1000):
        done = _stdin(data)
        assert b"standard input: holds no readable video" in done.stdout, done


def test_a_file_on_standard_input_may_have_its_index_at_its_end(clip):
    code = "from streamprn.source.pipes import open_pipe; print(hasattr(open_pipe('-'), 'seek'))"
    with clip.path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=file, capture_output=True, timeout=60, check=True
        )
    assert done.stdout.strip() == b"True"
    through_a_pipe = _stdin(clip.path.read_bytes())
    assert b"the index of this film stands at its end" in through_a_pipe.stdout, through_a_pipe


def test_a_named_pipe_waits_for_its_writer(transport, play, tmp_path):
    fifo = tmp_path / "camera.fifo"
    os.mkfifo(fifo)
    assert resolve(str(fifo)).kind is SourceKind.PIPE
    player = play(str(fifo), capacity=50)
    time.sleep(0.3)
    assert player.states == [SourceState.CONNECTING]
    writer = threading.Thread(target=lambda: fifo.write_bytes(transport.read_bytes()))
    writer.start()
    assert len(player.take(timeout=5)) == 8
    writer.join(5)
    assert player.wait_for(SourceState.ENDED).cause == ""


def test_a_pipe_that_falls_silent_is_said_to_stall_and_goes_on(play, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (128, 192, 3), np.uint8) for _ in range(60)]
    data = encode(tmp_path / "clip.ts", pictures).read_bytes()
    fifo = tmp_path / "camera.fifo"
    os.mkfifo(fifo)
    player = play(str(fifo), capacity=200, stall_timeout_s=0.3)
    with fifo.open("wb", buffering=0) as writer:
        writer.write(data)
        assert player.wait_for(SourceState.STALLED).cause == "no frame for 0.3 s"
        time.sleep(0.5)
        assert player.states[-1] is SourceState.STALLED
        writer.write(data)
    player.wait_for(SourceState.ENDED)
    connecting, live, stalled = SourceState.CONNECTING, SourceState.LIVE, SourceState.STALLED
    assert player.states == [connecting, live, stalled, live, SourceState.ENDED]


@pytest.mark.timed
def test_stopping_does_not_wait_for_a_silent_pipe(play, tmp_path):
    fifo = tmp_path / "camera.fifo"
    os.mkfifo(fifo)
    player = play(str(fifo))
    time.sleep(0.2)
    assert player.stop() < 0.8


def test_standard_input_can_be_read_once():
    with pytest.raises(ConfigError, match="can be read once"):
        Config.from_mapping({"sources": [{"uri": "-"}, {"uri": " -"}]})


# -- screens ---------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other screens")
def test_a_screen_that_is_not_there_is_one_line(play):
    player = play("screen::97", backoff_initial_s=5.0, backoff_max_s=5.0)
    cause = player.wait_for(SourceState.RECONNECTING).cause
    assert cause.startswith("screen::97: no screen to capture")


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other screens")
def test_a_screen_is_captured_from_a_place_on_it(play):
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:, 60:] = (200, 100, 50)
    with XServer(image) as server:
        player = play(f"screen:{server.display}+60,40", options={"video_size": "64x48"})
        frames = player.take(3)
        player.stop()
    assert len(frames) == 3
    assert frames[0].image.rgb.shape == (48, 64, 3)
    assert (frames[0].image.rgb == (200, 100, 50)).all()


def test_an_address_without_a_host_is_refused():
    with pytest.raises(InputError, match="names no host"):
        resolve("udp://")
