"""Functions that libraries call back, out of which no exception may come.

What a signal raises in one is lost in the library that called it, and the program goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["called_back", "is_called_back"]

_codes: set[CodeType] = set()


def called_back(function: Function) -> Function:
    """Mark a function that a library calls back."""
    _codes.add(function.__code__)
    return function


def is_called_back(frame: FrameType | None) -> bool:
    """Whether a marked function is at work in a frame or in what called it."""
    while frame is not None:
        if frame.f_code in _codes:
            return True
        frame = frame.f_back
    return False
