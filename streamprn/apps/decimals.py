"""Numbers as text, fast: the lines of an OBJ file in one pass over a byte buffer.

Formatting 55,000 vertices and 110,000 triangles in Python takes seconds; here, milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, Int32, UInt8

VERTEX_DIGITS = 4
_COLOUR_DIGITS = 4
# Sign, ten digits before the point, the point, six after it, and the space.
_NUMBER_BYTES = 19
_SPACE, _NEWLINE, _SLASH, _POINT, _MINUS, _ZERO, _LETTER_F = (ord(c) for c in " \n/.-0f")


@njit(cache=True, nogil=True, inline="always")
def _put_integer(out, at, value):  # type: ignore[no-untyped-def]
    digits = 1
    bound = 10
    while value >= bound:
        digits += 1
        bound *= 10
    for place in range(digits - 1, -1, -1):
        out[at + place] = _ZERO + value % 10
        value //= 10
    return at + digits


@njit(cache=True, nogil=True, inline="always")
def _put_decimal(out, at, value, digits, power):  # type: ignore[no-untyped-def]
    if not np.isfinite(value):
        value = 0.0
    # Ten digits before the point are the room in the buffer; no picture is that large.
    scaled = np.int64(np.round(min(max(value, -1e9), 1e9) * power))
    if scaled < 0:
        out[at] = _MINUS
        at += 1
        scaled = -scaled
    at = _put_integer(out, at, scaled // power)
    out[at] = _POINT
    at += 1
    rest = scaled % power
    for place in range(digits - 1, -1, -1):
        out[at + place] = _ZERO + rest % 10
        rest //= 10
    return at + digits


@njit(cache=True, nogil=True)
def _rows(out, prefix, values, digits, colours):  # type: ignore[no-untyped-def]
    power = 10**digits
    colour_power = 10**_COLOUR_DIGITS
    at = 0
    for row in range(values.shape[0]):
        for letter in prefix:
            out[at] = letter
            at += 1
        for column in range(values.shape[1]):
            out[at] = _SPACE
            at = _put_decimal(out, at + 1, np.float64(values[row, column]), digits, power)
        for column in range(colours.shape[1]):
            out[at] = _SPACE
            at = _put_decimal(
                out, at + 1, colours[row, column] / 255.0, _COLOUR_DIGITS, colour_power
            )
        out[at] = _NEWLINE
        at += 1
    return at


@njit(cache=True, nogil=True)
def _faces(out, triangles, with_uv):  # type: ignore[no-untyped-def]
    at = 0
    for row in range(triangles.shape[0]):
        out[at] = _LETTER_F
        at += 1
        for column in range(3):
            index = np.int64(triangles[row, column]) + 1
            out[at] = _SPACE
            at = _put_integer(out, at + 1, index)
            out[at] = _SLASH
            at += 1
            if with_uv:
                at = _put_integer(out, at, index)
            out[at] = _SLASH
            at = _put_integer(out, at + 1, index)
        out[at] = _NEWLINE
        at += 1
    return at


def format_rows(prefix: str, values: Float32, digits: int) -> bytes:
    """Lines of `prefix` and the numbers of each row of `values` `(N, K)`, fixed decimals."""
    return _format(prefix, values, digits, np.zeros((len(values), 0), np.uint8))


def format_vertices(vertices: Float32, colours: UInt8 | None) -> bytes:
    """OBJ `v` lines of `(N, 3)` coordinates, followed by colours `(N, 3)` as 0..1 if given."""
    if colours is None:
        colours = np.zeros((len(vertices), 0), np.uint8)
    return _format("v", vertices, VERTEX_DIGITS, colours)


def _format(prefix: str, values: Float32, digits: int, colours: UInt8) -> bytes:
    rows, columns = values.shape
    width = len(prefix) + 1 + _NUMBER_BYTES * (columns + colours.shape[1])
    out = np.empty(max(rows * width, 1), np.uint8)
    letters = np.frombuffer(prefix.encode("ascii"), np.uint8)
    end = int(_rows(out, letters, np.ascontiguousarray(values), digits, colours))
    return out[:end].tobytes()


def format_faces(triangles: Int32, *, with_uv: bool) -> bytes:
    """OBJ `f` lines of `(T, 3)` zero-based indices: the same index for position, uv and normal."""
    out: NDArray[np.uint8] = np.empty(max(len(triangles) * (3 + 3 * 33), 1), np.uint8)
    end = int(_faces(out, np.ascontiguousarray(triangles), with_uv))
    return out[:end].tobytes()
