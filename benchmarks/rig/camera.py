"""A camera in a process of its own, which can be killed, frozen, and told to misbehave.

`python -m benchmarks.rig.camera KIND PORT FPS CLIP...` serves clips as `rtsp`, pictures of one as
`mjpeg`, a live playlist as `hls`, or sends MPEG-TS to the port (`udp`). It reads a JSON object a
line: `{"set": {NAME: VALUE}}` changes switches of the server, `{"call": NAME}` calls one of its
methods. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import av

from benchmarks.rig.places import free_port
from tests.support.feeds import Feed
from tests.support.http_server import HttpServer
from tests.support.rtsp_server import RtspServer, Track

_ADDRESSES = {
    "rtsp": "rtsp://{}/live",
    "mjpeg": "http://{}/mjpeg",
    "hls": "http://{}/live.m3u8",
    "udp": "udp://{}",
}
_HLS = {"hls_time": "1", "hls_list_size": "4", "hls_flags": "delete_segments+omit_endlist"}


class Camera:
    """The other end of such a process; a context manager.

    Args:
        clips: to play.
        kind: "rtsp", "mjpeg", "hls" or "udp".
        fps: pictures a second.
    """

    def __init__(self, *clips: Path, kind: str = "rtsp", fps: float = 15.0) -> None:
        self.port = free_port()
        self.kind = kind
        self._command = [sys.executable, "-m", __spec__.name, kind, str(self.port), str(fps)]
        self._command += [str(clip) for clip in clips]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def uri(self, port: int = 0) -> str:
        """Its address, or that of somebody who passes on what it says."""
        where = f"127.0.0.1:{port or self.port}"
        return _ADDRESSES[self.kind].format(where)

    def start(self) -> None:
        """Start it (again), on the same port as before; returns when it serves."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"no camera: it ended with {self._process.wait()}")

    def kill(self) -> None:
        """Kill -9."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def freeze(self) -> None:
        """Stop it without closing anything."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def set(self, **switches: object) -> None:
        """Change switches of the server."""
        self._tell({"set": switches})

    def call(self, method: str) -> None:
        """Call a method of the server."""
        self._tell({"call": method})

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


class Sender:
    """Sends MPEG-TS over UDP, of one clip after another as it is told; a context manager.

    Args:
        clips: to choose from.
        port: to send to.
    """

    def __init__(self, clips: list[Path], port: int) -> None:
        self._clips, self._port = clips, port
        self._feed = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.first()
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.close()

    def first(self) -> None:
        """Send the first clip from now on."""
        self._send(0)

    def second(self) -> None:
        """Send the second one."""
        self._send(1)

    def _send(self, number: int) -> None:
        self._feed.close()
        target = f"udp://127.0.0.1:{self._port}?pkt_size=1316"
        self._feed.enter_context(Feed(self._clips[number], target))


@contextlib.contextmanager
def _playlist(clip: Path, port: int) -> Iterator[HttpServer]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            Feed(clip, str(folder / "live.m3u8"), "hls", options=_HLS),
            HttpServer(folder=folder, port=port) as server,
        ):
            while not (folder / "live.m3u8").exists():
                time.sleep(0.02)
            yield server


def _server(kind: str, port: int, fps: float, clips: list[Path]) -> AbstractContextManager[Any]:
    if kind == "rtsp":
        return RtspServer(clips[:1], fps=fps, port=port)
    if kind == "hls":
        return _playlist(clips[0], port)
    if kind == "udp":
        return Sender(clips, port)
    with av.open(str(clips[0])) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return HttpServer(pictures, fps=fps, port=port)


def main() -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # clients that left say nothing new
    kind, port, fps, *names = sys.argv[1:]
    clips = [Path(name) for name in names]
    with _server(kind, int(port), float(fps), clips) as server:
        print("serving", flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            for name, value in order.get("set", {}).items():
                if name == "clip":  # another resolution or picture, in mid-stream
                    server.tracks = [Track.load(clips[value])]
                else:
                    setattr(server, name, tuple(value) if isinstance(value, list) else value)
            if "call" in order:
                getattr(server, order["call"])()


if __name__ == "__main__":
    main()
