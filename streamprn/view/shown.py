"""What there is to see of a stream, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamprn.records import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamprn.records import Float32, Stamps, UInt8
    from streamprn.wire import Face, TopologyMessage

__all__ = ["Feed", "Moment", "StreamState"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of one stream, as far as it was asked for and came.

    Attributes:
        seq: of the frame.
        size_wh: of the frame, pixels.
        faces: found in it.
        image: `(H, W, 3)` uint8 RGB, or None.
        vertices: face id to `(N, 3)` float32, frame pixels.
        textures: face id to `(T, T, 3)` uint8 RGB.
        depth: `(H, W)` float32, NaN where there is no face, or None.
        topology: of the vertices, or None as long as it is not known.
    """

    seq: int
    size_wh: tuple[int, int]
    faces: tuple[Face, ...]
    image: UInt8 | None = None
    vertices: Mapping[int, Float32] = field(default_factory=dict)
    textures: Mapping[int, UInt8] = field(default_factory=dict)
    depth: Float32 | None = None
    topology: TopologyMessage | None = None


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where a stream stands.

    Attributes:
        state: in a word.
        cause: in words, from the network.
        fps: frames a second that came.
        faces: in the newest frame.
        gaps: messages that never came.
    """

    state: str
    cause: str = ""
    fps: float = 0.0
    faces: int = 0
    gaps: int = 0


class Feed(Protocol):
    """Where the page has its streams from."""

    def want(self, stream: str, kinds: frozenset[Kind]) -> None:
        """Say what is on show; no kinds is nothing at all."""

    def moment(self, stream: str) -> Moment | None:
        """The newest frame with all that came of it; None as long as there is none."""

    def states(self) -> dict[str, StreamState]:
        """The streams by name."""

    def stamps(self, stream: str) -> list[tuple[Stamps, int]]:
        """Of the last frames: the stamps, and when they came (0 where that means nothing)."""

    def trouble(self) -> str:
        """Why nothing comes, in words; empty where all is well."""

    def close(self) -> None:
        """End it."""
