"""An HTTP server on loopback that plays MJPEG as cameras do, and serves files (HLS)."""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from tests.support.clips import remux


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.requests.append(self.path)
        if owner.credentials is not None:
            wanted = base64.b64encode(":".join(owner.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {wanted}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
        path = self.path.partition("?")[0]
        with contextlib.suppress(OSError):
            if owner.away:
                self.send_error(404)
            elif path == "/mjpeg":
                self._mjpeg()
            elif path == "/snap.jpg" and owner.jpegs:
                self._send(owner.jpegs[(len(owner.requests) - 1) % len(owner.jpegs)], "image/jpeg")
            elif path == "/broadcast" and owner.broadcast:
                self._broadcast()
            elif owner.folder is not None and (owner.folder / path[1:]).is_file():
                self._send((owner.folder / path[1:]).read_bytes())
            else:
                self.send_error(404)

    def _send(self, data: bytes, kind: str = "application/octet-stream") -> None:
        asked = self.headers.get("Range", "") if self.server.owner.ranges else ""
        first = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if self.server.owner.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:])

    def _broadcast(self) -> None:
        """A film without its length, over half a second, and the end of the connection."""
        owner = self.server.owner
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        for at in range(0, len(owner.broadcast), size := len(owner.broadcast) // 10 + 1):
            self.wfile.write(owner.broadcast[at : at + size])
            if owner.done.wait(0.05):
                return

    def _mjpeg(self) -> None:
        owner = self.server.owner
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        due, era = time.monotonic(), owner.era
        while not owner.done.is_set():
            for jpeg in owner.jpegs:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                due += 1 / owner.fps
                if owner.era != era:
                    return
                if owner.done.wait(max(due - time.monotonic(), 0)):
                    return

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    owner: HttpServer

    def handle_error(self, *_: Any) -> None:
        pass


class HttpServer:
    """Plays `images` as MJPEG at `/mjpeg` and serves `folder`; a context manager.

    Args:
        images: RGB images `(H, W, 3)` uint8.
        folder: files to serve.
        credentials: user and password to demand (basic).
        fps: MJPEG pictures per second.
        ranges: whether parts of files may be asked for.
        tls: to serve https with.
        broadcast: what `/broadcast` sends, as a live MPEG-TS encoder does.
        port: to listen on; 0 takes any free one.

    Attributes:
        away: while set, everything is answered with 404.

    `/snap.jpg` gives one picture for each request, the next one every time.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray] = (),
        *,
        folder: Path | None = None,
        credentials: tuple[str, str] | None = None,
        fps: float = 30.0,
        ranges: bool = False,
        broadcast: bytes = b"",
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.jpegs = [cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes() for image in images]
        self.folder = folder
        self.credentials = credentials
        self.fps = fps
        self.ranges = ranges
        self.broadcast = broadcast
        self.requests: list[str] = []
        self.away = False
        self.era = 0
        self.done = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="http-server"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def drop(self) -> None:
        """Close every connection that plays MJPEG; new ones are welcome."""
        self.era += 1

    def url(self, path: str, user: str = "") -> str:
        host = f"127.0.0.1:{self._server.server_port}"
        return f"{self._scheme}://{user}{'@' if user else ''}{host}{path}"


def write_hls(clip: Path, folder: Path, segment_s: int = 1) -> Path:
    """Cut an MP4 clip into an HLS playlist `live.m3u8` with MPEG-TS segments in `folder`."""
    playlist = folder / "live.m3u8"
    options = {"hls_time": str(segment_s), "hls_list_size": "0"}
    return remux(clip, playlist, format="hls", options=options)
