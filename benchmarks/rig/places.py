"""Ports and clips."""

from __future__ import annotations

import socket
from fractions import Fraction
from pathlib import Path

import av

from streamprn.source.sample_clip import make_clip


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clip(folder: Path, width: int = 320, height: int = 240, frames: int = 90) -> Path:
    """A face that wanders, as H.264, with a key frame every second at 15 frames/s."""
    path = folder / f"face{width}.mp4"
    return make_clip(path, width=width, height=height, frames=frames, fps=15, gop=15).path


def clip_of_codec(folder: Path, source: Path, codec: str = "mpeg2video") -> Path:
    """The pictures of a clip, in another codec."""
    path = folder / f"{source.stem}_{codec}.mp4"
    with av.open(str(source)) as before, av.open(str(path), "w") as after:
        shown = before.streams.video[0]
        stream = after.add_stream(codec, rate=25)  # MPEG-2 knows no 15 frames/s
        stream.width, stream.height, stream.pix_fmt = shown.width, shown.height, "yuv420p"
        stream.bit_rate = 4_000_000
        for number, frame in enumerate(before.decode(shown)):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            after.mux(stream.encode(frame))
        after.mux(stream.encode(None))
    return path
