"""Bounds of what is read, where nobody sets others."""

from __future__ import annotations

from typing import Final

#: Pixels of a picture that is read: 300 MB as RGB.
MAX_PIXELS: Final = 100_000_000
#: The most that anybody may allow: what FFmpeg and OpenCV can count.
MOST_PIXELS: Final = 2_000_000_000
