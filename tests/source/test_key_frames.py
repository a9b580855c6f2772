"""A live source whose packets hold no pictures yet is alive."""

from __future__ import annotations

import socket
import time

import av
import pytest

from benchmarks.rig.places import clip_of_codec
from streamprn.records import SourceState
from tests.support.clips import remux
from tests.support.feeds import Feed, free_port
from tests.support.rtsp_server import RtspServer
from tests.support.wire import eventually


@pytest.fixture(scope="module")
def clip(clips):
    """One key frame in 1.5 s."""
    return clips.moving(frames=45, gop=45)


def test_a_camera_before_its_key_frame_is_waited_for(clip, play):
    with RtspServer([clip.path], first=10) as server:
        player = play(server.url, stall_timeout_s=0.4)
        report = player.wait_for(SourceState.STALLED)
        assert report.cause.startswith("waiting for a key frame (")
        assert player.take(3, timeout=4)
        assert player.states == [SourceState.CONNECTING, SourceState.STALLED, SourceState.LIVE]
        assert player.reader.counters.blank >= 25
        assert player.reader.counters.reconnects == 0


@pytest.mark.timed
def test_a_camera_that_can_is_asked_for_a_key_frame(clips, play, caplog):
    """Its own next one is eight seconds away."""
    caplog.set_level("INFO")
    long = clips.moving(frames=250, gop=250)
    with RtspServer([long.path], first=10, pausing=True) as server:
        player = play(server.url, stall_timeout_s=0.4)
        began = time.monotonic()
        assert len(player.take(5, timeout=5)) == 5
        assert time.monotonic() - began < 4
        assert player.states == [SourceState.CONNECTING, SourceState.STALLED, SourceState.LIVE]
        counters = player.reader.counters
        assert (counters.asked, counters.reconnects) == (1, 0)
        assert server.requests.count("PAUSE") == 1
        assert "asked for a key frame" in caplog.text


def test_a_camera_that_refuses_goes_on(clip, play):
    with RtspServer([clip.path], first=10) as server:
        player = play(server.url, stall_timeout_s=0.4)
        assert player.take(3, timeout=4)
        assert server.requests.count("PAUSE") == player.reader.counters.asked == 1
        assert player.reader.counters.reconnects == 0


def test_a_camera_that_never_sends_a_key_frame_is_connected_again(clip, play):
    with RtspServer([clip.path], first=5, fps=20) as server:
        player = play(server.url, stall_timeout_s=0.3, key_frame_timeout_s=0.8)
        cause = player.wait_for(SourceState.RECONNECTING).cause
        assert cause.startswith("no picture for ")
        assert "waiting for a key frame (" in cause


def test_a_camera_that_changes_its_codec_in_mid_stream_is_connected_again(clip, play, tmp_path):
    other = clip_of_codec(tmp_path, clip.path)
    port = free_port(socket.SOCK_DGRAM)
    target = f"udp://127.0.0.1:{port}?pkt_size=1316"
    player = play(f"udp://127.0.0.1:{port}", capacity=50)
    with Feed(clip.path, target):
        assert player.take(5, timeout=6)
    # Some decoders refuse what they do not know, others swallow it.
    for number, film in enumerate((other, clip.path), start=1):
        with Feed(film, target):
            eventually(lambda number=number: player.reader.counters.reconnects == number, 6)
            player.channel.clear()
            assert len(player.take(10, timeout=6)) == 10


def test_a_server_that_goes_after_its_codec_changed_is_asked_rarely(clip, play, tmp_path):
    films = [clip.path, clip_of_codec(tmp_path, clip.path)]
    data = b"".join(
        remux(film, tmp_path / "part.ts", format="mpegts").read_bytes() for film in films
    )
    port = free_port()
    with _Slowly(data, port):
        player = play(f"tcp://127.0.0.1:{port}", stall_timeout_s=2.0)
        cause = player.wait_for(SourceState.RECONNECTING, timeout=8).cause
        assert cause.startswith("no picture for ")
    tries = player.tries
    time.sleep(1.0)
    assert player.tries - tries < 6


@pytest.mark.timed
def test_silence_while_waiting_for_a_key_frame_is_a_stall(clip, play):
    with RtspServer([clip.path], first=10) as server:
        player = play(server.url, stall_timeout_s=0.4)
        player.wait_for(SourceState.STALLED)
        server.stalled = True
        began = time.monotonic()
        assert player.wait_for(SourceState.RECONNECTING).cause.startswith("no frame for 0.4 s")
        assert time.monotonic() - began < 1.5


def test_sound_that_goes_on_does_not_hide_a_video_that_stopped(clip, play, tmp_path):
    """FFmpeg hands out no packet of the video, and never has to wait for long."""
    import numpy as np

    path = tmp_path / "sound.ts"
    with av.open(str(path), "w") as out, av.open(str(clip.path)) as source:
        video = source.streams.video[0]
        copy = out.add_stream_from_template(video)
        sound = out.add_stream("mp2", rate=48_000)
        packets = [packet for packet in source.demux(video) if packet.dts is not None][:15]
        for packet in packets:
            packet.stream = copy
            out.mux(packet)
        for index in range(150):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), layout="stereo")
            frame.sample_rate, frame.pts = 48_000, 1152 * index
            out.mux(sound.encode(frame))
    port = free_port()
    with _Slowly(path.read_bytes(), port):
        player = play(f"tcp://127.0.0.1:{port}", stall_timeout_s=0.5)
        assert player.wait_for(SourceState.LIVE)
        cause = player.wait_for(SourceState.RECONNECTING, timeout=5).cause
        assert cause.startswith("no frame for 0.5 s")


class _Slowly:
    """A TCP server that sends some data over three seconds."""

    def __init__(self, data: bytes, port: int) -> None:
        import socket
        import threading

        self._data = data
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(5)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join(5)
        self._listener.close()

    def _run(self) -> None:
        import contextlib

        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                # The pictures come at once, the sound for three seconds.
                half = len(self._data) - 60 * 188 * 5
                connection.sendall(self._data[:half])
                for at in range(half, len(self._data), 188 * 5):
                    connection.sendall(self._data[at : at + 188 * 5])
                    if self._done.wait(0.05):
                        return
