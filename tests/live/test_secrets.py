"""A camera's password works however it is written, and stays out of all that is given out."""

from __future__ import annotations

import io
import logging
import threading
import time

import av
import pytest
import zmq

from streamprn.cli.console import _Redacting
from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from streamprn.records import SourceState
from tests.source.conftest import Player
from tests.support.clips import draw
from tests.support.http_server import HttpServer
from tests.support.rtsp_server import RtspServer

SECRET = "Kz8/wQ#j?u"


@pytest.fixture
def ffmpeg_log():
    """Everything that the program and FFmpeg say, as the program writes it."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(_Redacting("%(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("streamprn", "libav")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    before = av.logging.get_level()
    av.logging.set_level(av.logging.TRACE)
    yield said
    av.logging.set_level(before)
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("password", [SECRET, "p@ss:w@rd", "a b%zz", "ünï", "100%25"])
def test_a_raw_password_works(clips, password):
    clip = clips.still(frames=15)
    images = [draw(clip.transforms[0], 320, 240)]
    # What looks percent-encoded is: 100%25 is the password 100%.
    true = password.replace("%25", "%")
    for server in (
        RtspServer([clip.path], credentials=("admin", true)),
        HttpServer(images, credentials=("admin", true)),
    ):
        with server:
            if isinstance(server, RtspServer):
                url = server.url_with("admin", password)
            else:
                url = server.url("/mjpeg", f"admin:{password}")
            player = Player(url)
            assert player.take(1, timeout=4), player.reports
            player.stop()


def test_a_wrong_password_is_in_no_message_log_or_recording(
    clips, engine, detector, tmp_path, ffmpeg_log
):
    clip = clips.still(frames=15)
    stop = threading.Event()
    messages: list[bytes] = []
    with RtspServer([clip.path], credentials=("admin", "right")) as server:
        config = Config.from_mapping(
            {
                "sources": [
                    {"uri": server.url_with("admin", SECRET)},
                    {"uri": server.url_with("admin", "right").replace("rtsp:", "RTSP:")},
                ],
                "publish": {"bind": "tcp://127.0.0.1:*", "stats_interval_s": 0.1},
                "record": {"dir": str(tmp_path)},
            }
        )
        with Pipeline(config, engine=engine, detector=detector) as pipeline:
            listener = threading.Thread(target=_listen, args=(pipeline.endpoint, stop, messages))
            listener.start()
            summary = pipeline.run(stop)
            listener.join(5)
        assert server.wait_for_clients(0)
    assert any(b"401" in message for message in messages)
    assert any(b"/stats" in message for message in messages)
    assert summary.streams[1].frames > 0
    assert "libav" in ffmpeg_log.getvalue()
    assert "401" in ffmpeg_log.getvalue()
    recorded = b"".join(path.read_bytes() for path in tmp_path.rglob("*.sprn"))
    assert recorded
    everything = b"".join(messages).decode("latin-1") + recorded.decode("latin-1")
    everything += ffmpeg_log.getvalue() + repr(summary)
    for form in (SECRET, "Kz8/wQ", "Kz8%2FwQ%23j%3Fu", "S3o4L3dRI2o"):
        assert form not in everything
    assert summary.streams[0].state.startswith((SourceState.RECONNECTING, SourceState.ENDED))


def _listen(endpoint: str, stop: threading.Event, messages: list[bytes]) -> None:
    """Keep topics and headers until there is a refusal and a message of statistics."""
    wanted = [b"401", b"/stats"]
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.subscribe(b"")
        end = time.monotonic() + 60
        while wanted and time.monotonic() < end:
            if socket.poll(50):
                messages += (parts := socket.recv_multipart()[:2])
                wanted = [one for one in wanted if not any(one in part for part in parts)]
    stop.set()
