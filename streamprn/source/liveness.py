"""Whether a live source still lives: packets, and pictures out of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.config import SourceConfig

__all__ = ["Liveness", "Sign"]

_NS = 1_000_000_000
#: So many key frames, no picture for so long, and the decoder refused them or took more packets
#: than one holds back (16): it was opened for something else, as where a camera changes its codec.
#: Only opening anew finds out for what.
_KEY_FRAMES = 2
_PACKETS = 20
_UNDECODED_S = 0.5
#: MPEG-TS goes on with another codec under the same number. Where a decoder that gave pictures
#: gives nothing any more, not even a damaged one, one key frame and so many packets are enough.
_CHANGED_PACKETS = 12


class Sign(Enum):
    """What the packets of a connection hold."""

    PICTURES = "pictures come, or are not missing yet"
    PACKETS = "packets come, and no pictures"
    HOPELESS = "packets have come for too long without a picture"


@dataclass(slots=True)
class Liveness:
    """Watches one connection.

    A camera that is silent is connected again. One whose packets hold no picture, as before its
    next key frame, is not: the connection that is there sees that key frame first. Where the
    decoder makes nothing of key frames, it is.

    Args:
        config: its `stall_timeout_s` and `key_frame_timeout_s` count.

    Attributes:
        packets: without a picture, since the last picture.
        key_frames: how many of these were key frames.
        refused: how many of those the decoder did not take.
        mute: how many the decoder was given since anything came out of it.
        mute_key_frames: how many of these were key frames.
    """

    config: SourceConfig
    packets: int = 0
    key_frames: int = 0
    refused: int = 0
    mute: int = 0
    mute_key_frames: int = 0
    _may_change: bool = False
    _gave: bool = False
    _waited_since_ns: int = 0
    _picture_ns: int = 0

    def begin(self, *, may_change: bool = False) -> None:
        """A connection begins.

        Args:
            may_change: its video may go on in another codec.
        """
        self._waited_since_ns = self._picture_ns = time.monotonic_ns()
        self.packets = self.key_frames = self.refused = self.mute = self.mute_key_frames = 0
        self._may_change, self._gave = may_change, False

    def wait(self) -> None:
        """Begin to wait for the next packet."""
        self._waited_since_ns = time.monotonic_ns()

    def note_packet(self, *, is_key_frame: bool) -> None:
        """A packet came."""
        self.packets += 1
        self.key_frames += is_key_frame
        self.mute += 1
        self.mute_key_frames += is_key_frame

    def note_refused(self) -> None:
        """The decoder did not take a key frame."""
        self.refused += 1

    def note_output(self) -> None:
        """Something came out of the decoder, whole or damaged."""
        self.mute = self.mute_key_frames = 0
        self._gave = True

    def note_picture(self, at_ns: int) -> None:
        """A picture came out of the packets, monotonic."""
        self._picture_ns = at_ns
        self.packets = self.key_frames = self.refused = 0

    @property
    def overdue(self) -> bool:
        """Whether the next packet has not come in time."""
        return time.monotonic_ns() - self._waited_since_ns >= self.config.stall_timeout_s * _NS

    @property
    def sign(self) -> Sign:
        """What its packets hold now."""
        missing_s = self.missing_s
        if (self.has_changed or self._is_undecodable) and missing_s >= _UNDECODED_S:
            return Sign.HOPELESS
        if missing_s < self.config.stall_timeout_s:
            return Sign.PICTURES
        if missing_s < self.config.key_frame_timeout_s:
            return Sign.PACKETS
        return Sign.HOPELESS

    @property
    def has_changed(self) -> bool:
        """Whether the video seems to go on in another codec."""
        is_mute = self.mute > _CHANGED_PACKETS and self.mute_key_frames > 0
        return self._may_change and self._gave and is_mute

    @property
    def _is_undecodable(self) -> bool:
        swallowed = self.key_frames if self.packets > _PACKETS else 0
        return max(self.refused, swallowed) >= _KEY_FRAMES

    @property
    def missing_s(self) -> float:
        """Seconds since the last picture, or since the connection began."""
        return (time.monotonic_ns() - self._picture_ns) / _NS

    @property
    def waiting_for(self) -> str:
        """What is missing, in words."""
        if self.key_frames:
            return "packets come, and no picture can be decoded from them"
        return f"waiting for a key frame ({self.packets} packets without one)"
