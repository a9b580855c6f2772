"""Servers that send one thing for ever: memory stays bounded, and the stream says why."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import pytest

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
PARTS = b"multipart/x-mixed-replace; boundary=b"
PART = b"--b\r\nContent-Type: image/jpeg\r\n"
PLAYLIST = b"application/vnd.apple.mpegurl"
NEVER_ENDS = "what it sends does not end"
#: What opening may take; see `streamprn.source.growth`.
OPENING_MIB = 384


def answer(kind: bytes, *more: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: " + kind, *more, b"", b""])


def playlist(lines: bytes) -> bytes:
    return answer(PLAYLIST) + b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + lines


#: What comes once, what comes for ever, by how many MiB the process may grow, and what it says.
SENT = {
    "MJPEG part": (answer(PARTS) + PART + b"\r\n" + JPEG, bytes(65_536), 150, "no frame"),
    "MJPEG part with a length": (
        answer(PARTS) + PART + b"Content-Length: 2147483647\r\n\r\n" + JPEG,
        bytes(65_536),
        150,
        "no frame",
    ),
    "MJPEG part header": (answer(PARTS) + b"--b\r\nX: ", b"a" * 65_536, 50, "no frame"),
    "MJPEG part headers": (answer(PARTS) + b"--b\r\n", b"X: aaaaaaa\r\n" * 6000, 50, "no frame"),
    "HTTP header": (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536, 50, "no answer in time"),
    "HTTP headers": (b"HTTP/1.1 200 OK\r\n", b"X: aaaaaa\r\n" * 6000, 50, "no answer in time"),
    "HTTP cookies": (
        b"HTTP/1.1 200 OK\r\n",
        b"".join(b"Set-Cookie: c%d=%s; path=/\r\n" % (n, b"v" * 200) for n in range(200)),
        50,
        "no answer in time",
    ),
    "snapshot": (answer(b"image/jpeg") + JPEG, b"\xab" * 65_536, 150, "no readable video"),
    "HLS segments": (
        playlist(b""),
        b"#EXTINF:1,\nsegment.ts\n" * 4000,
        OPENING_MIB + 120,
        NEVER_ENDS,
    ),
    "HLS variants": (
        playlist(b""),
        b"#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n" * 2000,
        OPENING_MIB + 120,
        NEVER_ENDS,
    ),
    "HLS line": (playlist(b"#"), b"x" * 65_536, 50, "no answer in time"),
    "RTSP header": (b"RTSP/1.0 200 OK\r\nX: ", b"a" * 65_536, 50, "no answer in time"),
    "RTSP headers": (b"RTSP/1.0 200 OK\r\n", b"X: aaaaaa\r\n" * 6000, 50, "no answer in time"),
    "RTSP description": (
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n"
        b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 2000000000\r\n\r\nv=0\r\ns=x\r\n",
        b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" * 1000,
        50,
        "no readable video",
    ),
}

#: A process that reads nothing but this source, and has not looked at a film before.
READER = """
import sys, threading, time
from pathlib import Path
from streamprn.channel import Channel
from streamprn.config import SourceConfig
from streamprn.config.secrets import address_of
from streamprn.source.reader import SourceReader

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256

source = SourceConfig(
    sys.argv[1],
    stall_timeout_s=3,
    open_timeout_s=float(sys.argv[2]),
    backoff_max_s=0.3,
)
causes = []
reader = SourceReader(
    source, address_of(source), Channel(1, newest=True), lambda s: causes.append(s.cause)
)
began, before, most = time.monotonic(), resident(), 0
reader.start()
while sum(map(bool, causes)) < 4 and time.monotonic() - began < 60:
    time.sleep(0.005)
    most = max(most, resident() - before)
reader.stop(10)
print(round(most), *[cause for cause in causes if cause], sep="\\n")
"""


class Endless:
    """Greets whoever connects, and goes on for ever."""

    def __init__(self, greeting: bytes, filler: bytes) -> None:
        self._greeting, self._filler = greeting, filler
        self._done = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.port = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Endless:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(5)
        self._server.close()

    def _accept(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._server.accept()
                self._threads.append(threading.Thread(target=self._send, args=(connection,)))
                self._threads[-1].start()

    def _send(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.5)
            connection.recv(65_536)
            connection.sendall(self._greeting)
            while not self._done.is_set():
                connection.sendall(self._filler)


@pytest.mark.timed
@pytest.mark.parametrize("what", SENT)
def test_what_never_ends_takes_bounded_memory_and_is_connected_again(what):
    greeting, filler, most_mib, cause = SENT[what]
    scheme = "rtsp" if what.startswith("RTSP") else "http"
    suffix = {"HLS": ".m3u8", "sna": ".jpg"}.get(what[:3], "")
    # Time to take what is allowed, where the size ends it.
    patience = {NEVER_ENDS: 20, "no frame": 5}.get(cause, 1)
    with Endless(greeting, filler) as server:
        uri = f"{scheme}://127.0.0.1:{server.port}/door{suffix}"
        done = subprocess.run(
            [sys.executable, "-c", READER, uri, str(patience)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    grown, *causes = done.stdout.splitlines()
    assert len(causes) >= 3, done.stdout
    assert all(cause in said for said in causes[:2] if "stopped" not in said), done.stdout
    assert int(grown) < most_mib
