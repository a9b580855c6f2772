"""A screen for x11grab: as much of the X protocol as it takes to read the root window."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any, Self

import numpy as np

_QUERY_EXTENSION, _GET_GEOMETRY, _GET_IMAGE, _QUERY_POINTER = 98, 14, 73, 38
_EXTENSION = 130
_ROOT, _VISUAL = 0x100, 0x20


class XServer:
    """Shows an image `(H, W, 3)` uint8 RGB on loopback; a context manager.

    Attributes:
        display: what `DISPLAY` would be.
    """

    def __init__(self, image: np.ndarray) -> None:
        self._image = image
        self._done = threading.Event()
        self._listener, number = _listen()
        self._listener.settimeout(0.05)
        self.display = f"127.0.0.1:{number}"
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="x-server")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                client.settimeout(None)
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            head = _read(client, 12)
            names = struct.unpack("<HH", head[6:10])
            _read(client, sum((one + 3) // 4 * 4 for one in names))
            client.sendall(self._setup())
            number = 0
            while True:
                code, _, length = struct.unpack("<BBH", _read(client, 4))
                body = _read(client, 4 * length - 4)
                number += 1
                client.sendall(self._answer(code, number & 0xFFFF, body))

    def _setup(self) -> bytes:
        height, width = self._image.shape[:2]
        vendor = b"test"
        formats = struct.pack("<BBB5x", 24, 32, 32)
        visual = struct.pack("<IBBHIII4x", _VISUAL, 4, 8, 256, 0xFF0000, 0xFF00, 0xFF)
        depth = struct.pack("<BxH4x", 24, 1) + visual
        sizes = struct.pack("<HHHHHH", width, height, 100, 100, 1, 1)
        screen = struct.pack("<IIIII", _ROOT, 0x21, 0xFFFFFF, 0, 0) + sizes
        screen += struct.pack("<IBBBB", _VISUAL, 0, 0, 24, 1) + depth
        # Release, ids, buffer, vendor, longest request, counts, image order (least first), keys.
        body = struct.pack("<IIIIHH", 1, 0x400000, 0x1FFFFF, 0, len(vendor), 65535)
        body += struct.pack("<BBBBBBBB4x", 1, 1, 0, 0, 32, 32, 8, 255) + vendor + formats + screen
        return struct.pack("<BxHHH", 1, 11, 0, len(body) // 4) + body

    def _answer(self, code: int, number: int, body: bytes) -> bytes:
        height, width = self._image.shape[:2]
        if code == _QUERY_EXTENSION:  # all are there, as libxcb hangs up where one is not
            return struct.pack("<BxHIBBBB20x", 1, number, 0, 1, _EXTENSION, 0, 0)
        if code == _EXTENSION:  # and none works
            return struct.pack("<BBHIHB21x", 0, 1, number, 0, 0, _EXTENSION)
        if code == _GET_GEOMETRY:
            return struct.pack("<BBHIIhhHHH10x", 1, 24, number, 0, _ROOT, 0, 0, width, height, 0)
        if code == _QUERY_POINTER:
            return struct.pack("<BBHIIIhhhhH6x", 1, 1, number, 0, _ROOT, 0, 0, 0, 0, 0, 0)
        if code == _GET_IMAGE:
            _, x, y, w, h, _ = struct.unpack("<IhhHHI", body)
            pixels = np.zeros((h, w, 4), np.uint8)
            pixels[:, :, :3] = self._image[y : y + h, x : x + w, ::-1]
            head = struct.pack("<BBHII20x", 1, 24, number, pixels.nbytes // 4, _VISUAL)
            return head + pixels.tobytes()
        return b""


def _listen() -> tuple[socket.socket, int]:
    for number in range(60, 160):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", 6000 + number)), number
    raise OSError("no display is free")


def _read(client: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
