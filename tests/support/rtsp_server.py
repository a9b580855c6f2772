"""An RTSP server on loopback that does on demand what cameras do wrong.

It plays H.264 clips (RFC 2326 control, RFC 6184 packetisation) over interleaved TCP or UDP, in
real time, looping, and can stall, drop its clients, vanish and come back on the same port, demand
credentials, damage its pictures, and change clip (and so resolution) in mid-stream.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av

#: Of the event loop: more than a connection takes to become a client, and to close.
_TURNS = 10
_CLOCK = 90_000
_PAYLOAD = 1400
_REALM = "camera"
_NONCE = "0123456789abcdef"


@dataclass(frozen=True)
class Track:
    """The H.264 units of a clip: one list for each picture, parameter sets apart."""

    pictures: Sequence[Sequence[bytes]]
    parameters: Sequence[bytes]
    fps: float

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an MP4 file; its H.264 units carry length prefixes and its header is `avcC`."""
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            header = stream.codec_context.extradata
            assert header is not None and header[0] == 1, "no avcC header"
            prefix = (header[4] & 3) + 1
            pictures = [
                _split(bytes(packet), prefix) for packet in container.demux(stream) if packet.size
            ]
            return cls(pictures, _parameter_sets(header), float(stream.average_rate or 30))


def _split(data: bytes, prefix: int) -> list[bytes]:
    units = []
    while data:
        size = int.from_bytes(data[:prefix], "big")
        unit, data = data[prefix : prefix + size], data[prefix + size :]
        if unit and unit[0] & 31 in (1, 5):
            units.append(unit)
    return units


def _parameter_sets(header: bytes) -> list[bytes]:
    sets, at = [], 5
    for mask in (31, 255):
        count = header[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            sets.append(header[at + 2 : at + 2 + size])
            at += 2 + size
    return sets


class RtspServer:
    """Serves clips at `url`; a context manager. Switches work while it runs.

    Args:
        clips: played one after the other, for ever (`loop`) or once.
        path: the only path that is not answered with 404.
        credentials: user and password to demand.
        auth: "basic" or "digest".
        loop: play for ever; else end after the last clip.
        corrupt: probability that a slice loses its tail and gets wrong bytes.
        fps: pictures per second; None: the clip's own.
        first: number of the picture that a client gets first, as in the middle of a broadcast.
        port: to listen on; 0 takes any free one.
        pausing: whether it knows PAUSE, after which the next PLAY begins with a key frame.

    Attributes:
        stalled: while set, clients stay connected and get nothing.
        mute: while set, requests are read and never answered.
        loss: probability that a packet is left out.
        shift: added to the time stamps of all pictures, in ticks of 90 kHz.
        tracks: what is played; changed at once where others are put there.
        requests: methods received so far.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        *,
        path: str = "/live",
        credentials: tuple[str, str] | None = None,
        auth: str = "basic",
        loop: bool = True,
        corrupt: float = 0.0,
        fps: float | None = None,
        first: int = 0,
        port: int = 0,
        pausing: bool = False,
    ) -> None:
        self.tracks = [Track.load(clip) for clip in clips]
        self.path = path
        self.credentials = credentials
        self.auth = auth
        self.loop = loop
        self.corrupt = corrupt
        self.fps = fps
        self.first = first
        self.port = port
        self.pausing = pausing
        self.stalled = False
        self.mute = False
        self.loss = 0.0
        self.shift = 0
        self.requests: list[str] = []
        self.pictures_sent = 0
        self.random = random.Random(1)
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtsp-server")

    # -- control from the test's thread ----------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}{self.path}"

    def url_with(self, user: str, password: str) -> str:
        return f"rtsp://{user}:{password}@127.0.0.1:{self.port}{self.path}"

    @property
    def clients(self) -> int:
        return len(self._clients)

    def come_back(self) -> None:
        """Listen (again), on the same port as before."""
        self._call(self._listen())

    def vanish(self) -> None:
        """Stop listening and close every connection."""
        self._call(self._unlisten())

    def drop_clients(self) -> None:
        """Close every connection; new ones are welcome."""
        self._call(self._drop())

    def wait_for_clients(self, count: int, timeout: float = 5.0) -> bool:
        """Wait until exactly `count` clients are connected."""
        end = time.monotonic() + timeout
        while self.clients != count and time.monotonic() < end:
            time.sleep(0.01)
        return self.clients == count

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    # -- in the server's thread ------------------------------------------------------------------

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._server is not None:
            # A connection that was accepted just now is lost unclosed if its server closes before
            # it has a transport, some turns later.
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            await self._pass_turns()
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        clients = list(self._clients)
        for client in clients:
            client.task.cancel()
        await asyncio.gather(*(client.task for client in clients), return_exceptions=True)
        await self._pass_turns()

    async def _pass_turns(self) -> None:
        """Let what was accepted become a client, and what was aborted close."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = _Client(self, reader, writer, task)
        self._clients.add(client)
        try:
            await client.converse()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            await client.close()
            self._clients.discard(client)


class _Client:
    """One connection: its requests, its transport, its playing."""

    def __init__(
        self,
        server: RtspServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.task = task
        self.player: asyncio.Task[None] | None = None
        self.udp: socket.socket | None = None
        self.sequence = 0

    async def close(self) -> None:
        # First of all: what is awaited below may be cancelled, by who drops a client that leaves.
        self.writer.transport.abort()
        if self.udp is not None:
            self.udp.close()
        if self.player is not None:
            self.player.cancel()
            await asyncio.gather(self.player, return_exceptions=True)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.writer.wait_closed()

    async def converse(self) -> None:
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":
                _, size = struct.unpack(">BH", await self.reader.readexactly(3))
                await self.reader.readexactly(size)
                continue
            text = (first + await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = text.strip().split("\r\n")
            method, url, _ = lines[0].split(" ", 2)
            fields = dict(line.split(": ", 1) for line in lines[1:])
            headers = {key.lower(): value for key, value in fields.items()}
            self.server.requests.append(method)
            if not self.server.mute:
                self.answer(method, url, headers)

    def answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        if method == "OPTIONS":
            self.reply(headers, "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"])
        elif not self.authorised(method, headers.get("authorization", "")):
            self.reply(headers, "401 Unauthorized", [self.challenge()])
        elif not re.sub(r"^rtsp://[^/]*", "", url).startswith(self.server.path):
            self.reply(headers, "404 Not Found", [])
        elif method == "DESCRIBE":
            self.reply(headers, "200 OK", [f"Content-Base: {url}/"], self.sdp())
        elif method == "SETUP":
            self.reply(headers, "200 OK", [self.setup(headers["transport"]), "Session: 7"])
        elif method == "PAUSE" and not self.server.pausing:
            self.reply(headers, "405 Method Not Allowed", [])
        else:
            if method == "PAUSE" and self.player is not None:
                self.player.cancel()
            self.reply(headers, "200 OK", ["Session: 7"])
            if method == "PLAY" and (self.player is None or self.server.pausing):
                first = self.server.first if self.player is None else 0
                self.player = asyncio.ensure_future(self.play(first))
            elif method == "TEARDOWN":
                self.writer.close()

    def reply(self, request: dict[str, str], status: str, lines: list[str], body: str = "") -> None:
        head = [f"RTSP/1.0 {status}", f"CSeq: {request.get('cseq', '0')}", *lines]
        if body:
            head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        self.writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    # -- credentials -----------------------------------------------------------------------------

    def challenge(self) -> str:
        if self.server.auth == "digest":
            return f'WWW-Authenticate: Digest realm="{_REALM}", nonce="{_NONCE}"'
        return f'WWW-Authenticate: Basic realm="{_REALM}"'

    def authorised(self, method: str, given: str) -> bool:
        if self.server.credentials is None:
            return True
        user, password = self.server.credentials
        if self.server.auth == "basic":
            wanted = base64.b64encode(f"{user}:{password}".encode()).decode()
            return given == f"Basic {wanted}"
        parts = dict(re.findall(r'(\w+)="([^"]*)"', given))
        first = _md5(f"{user}:{_REALM}:{password}")
        second = _md5(f"{method}:{parts.get('uri')}")
        return parts.get("response") == _md5(f"{first}:{_NONCE}:{second}")

    # -- session ---------------------------------------------------------------------------------

    def sdp(self) -> str:
        sets = self.server.tracks[0].parameters
        sprop = ",".join(base64.b64encode(one).decode() for one in sets)
        profile = sets[0][1:4].hex()
        return "\r\n".join(
            [
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=clip",
                "c=IN IP4 127.0.0.1",
                "t=0 0",
                "a=control:*",
                "m=video 0 RTP/AVP 96",
                "a=rtpmap:96 H264/90000",
                f"a=fmtp:96 packetization-mode=1;profile-level-id={profile};"
                f"sprop-parameter-sets={sprop}",
                "a=control:track1",
                "",
            ]
        )

    def setup(self, transport: str) -> str:
        ports = re.search(r"client_port=(\d+)", transport)
        if ports is None:
            return "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.udp.connect(("127.0.0.1", int(ports.group(1))))
        own = self.udp.getsockname()[1]
        return f"Transport: {transport};server_port={own}-{own + 1}"

    async def play(self, first: int) -> None:
        loop = asyncio.get_running_loop()
        due, stamp, number = loop.time(), 0, 0
        while self.server.loop or number < len(self.server.tracks):
            tracks = self.server.tracks
            track = tracks[number % len(tracks)]
            number += 1
            step = 1 / (self.server.fps or track.fps)
            for picture in track.pictures[first if number == 1 else 0 :]:
                if self.server.tracks is not tracks:
                    break
                await self.send_picture(track, picture, stamp)
                stamp = (stamp + round(_CLOCK * step)) & 0xFFFFFFFF
                due += step
                await asyncio.sleep(max(due - loop.time(), 0))
        self.writer.close()

    async def send_picture(self, track: Track, picture: Sequence[bytes], stamp: int) -> None:
        while self.server.stalled:
            await asyncio.sleep(0.01)
        units = [self.damage(unit) for unit in picture]
        if picture[0][0] & 31 == 5:
            units = [*track.parameters, *units]
        chunks = [chunk for unit in units for chunk in _fragments(unit)]
        for index, chunk in enumerate(chunks):
            self.send_packet(chunk, stamp, last=index == len(chunks) - 1)
        self.server.pictures_sent += 1
        if self.udp is None:
            await self.writer.drain()

    def damage(self, unit: bytes) -> bytes:
        if self.server.random.random() >= self.server.corrupt:
            return unit
        keep = max(len(unit) // 3, 8)
        return unit[:keep] + self.server.random.randbytes(max(len(unit) // 3, 8))

    def send_packet(self, payload: bytes, stamp: int, *, last: bool) -> None:
        stamp = (stamp + self.server.shift) & 0xFFFFFFFF
        head = struct.pack(">BBHII", 0x80, 96 | last << 7, self.sequence, stamp, 0x1234)
        self.sequence = (self.sequence + 1) & 0xFFFF
        if self.server.loss and self.server.random.random() < self.server.loss:
            return
        packet = head + payload
        if self.udp is None:
            self.writer.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
        else:
            with contextlib.suppress(OSError):
                self.udp.send(packet)


def _fragments(unit: bytes) -> list[bytes]:
    """Split a unit into RTP payloads: itself, or FU-A fragments (RFC 6184, 5.8)."""
    if len(unit) <= _PAYLOAD:
        return [unit]
    indicator, kind, body = (unit[0] & 0xE0) | 28, unit[0] & 31, unit[1:]
    pieces = [body[at : at + _PAYLOAD] for at in range(0, len(body), _PAYLOAD)]
    last = len(pieces) - 1
    return [
        bytes([indicator, kind | (index == 0) << 7 | (index == last) << 6]) + piece
        for index, piece in enumerate(pieces)
    ]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class BlackHole:
    """A TCP server that accepts connections and never says a word; a context manager."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._connections: list[socket.socket] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="black-hole")
        self.port: int = self._listener.getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self._connections)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(5)
        for connection in [*self._connections, self._listener]:
            connection.close()

    def _accept(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                if self._greeting:
                    connection.sendall(self._greeting)
