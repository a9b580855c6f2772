"""Somebody who sends a clip somewhere in real time: over UDP, TCP, RTMP, or into a pipe."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any, Self

import av


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Feed:
    """Sends the video of a clip, from its start and over again; a context manager.

    Args:
        clip: H.264.
        target: what FFmpeg opens for writing, or a file object.
        form: the container.
        rounds: how many times the clip is sent.
        options: of FFmpeg.
    """

    def __init__(
        self,
        clip: Path,
        target: Any,
        form: str = "mpegts",
        *,
        rounds: int = 100,
        options: dict[str, str] | None = None,
    ) -> None:
        self._clip, self._target, self._form, self._rounds = clip, target, form, rounds
        self._options = options or {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(5)

    def _run(self) -> None:
        # The receiver may leave at any time, or not be there yet.
        with contextlib.suppress(OSError, ValueError):
            end = time.monotonic() + 3
            while not self._done.is_set():
                try:
                    target = av.open(
                        self._target, "w", format=self._form, options=self._options, timeout=3
                    )
                except ConnectionRefusedError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
                    continue
                with target:
                    self._send(target)
                return

    def _send(self, target: Any) -> None:
        began, shift = time.monotonic(), 0
        with av.open(str(self._clip)) as source:
            stream = source.streams.video[0]
            out = target.add_stream_from_template(stream)
            base = stream.time_base
            length = round(stream.frames / stream.average_rate / base)
            for _ in range(self._rounds):
                source.seek(0)
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    due = began + float((packet.dts + shift) * base)
                    if self._done.wait(max(0.0, due - time.monotonic())):
                        return
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = out
                    target.mux(packet)
                shift += length


if __name__ == "__main__":
    import sys

    with Feed(Path(sys.argv[1]), sys.argv[2], sys.argv[3]):
        time.sleep(15)
