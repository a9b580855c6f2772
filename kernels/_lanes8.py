"""Eight float32 side by side in vector registers: eight pixels of a row, for CPU loops.

Where each pixel reads its own place of a picture, LLVM's vectoriser gives up. So the loops say it
themselves, as `_lanes` does: the coordinates of eight pixels are one value, and `bilinear8` fetches
the bytes around them one pixel at a time and mixes them eight at a time.

Inside compiled functions only. Nobody checks coordinates and offsets. The first byte of a word is
its lowest one, as on every processor that Numba supports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from streamprn.kernels._jit import maths
from streamprn.kernels._lanes import (
    Lanes,
    added,
    binary,
    greater,
    lesser,
    multiplied,
    spread,
    spread_value,
    subtracted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LANES8",
    "add8",
    "bilinear8",
    "bilinear_rgb8",
    "max8",
    "min8",
    "multiply8",
    "ramp8",
    "scale8",
    "spread8",
    "store_colours8",
]

LANES8 = 8
_INT = ir.IntType(32)
_LONG = ir.IntType(64)
_FLOAT8 = ir.VectorType(ir.FloatType(), LANES8)
_INT8 = ir.VectorType(_INT, LANES8)
_LONG8 = ir.VectorType(_LONG, LANES8)


float8 = Lanes(LANES8)


def _shuffled(builder: Any, first: Any, second: Any, order: Sequence[int]) -> Any:
    lanes = ir.Constant(ir.VectorType(_INT, len(order)), list(order))
    return builder.shuffle_vector(first, second, lanes)


@intrinsic  # type: ignore[untyped-decorator]
def ramp8(_context: Any) -> Any:
    """0, 1, ... 7."""

    def generate(_: Any, __: Any, ___: Any, ____: Any) -> Any:
        return ir.Constant(_FLOAT8, [float(lane) for lane in range(LANES8)])

    return float8(), generate


spread8 = spread(float8)
add8 = binary(float8, added)
multiply8 = binary(float8, multiplied)
min8 = binary(float8, lesser)
max8 = binary(float8, greater)


@maths
def scale8(value: Any, scale: Any, bias: Any) -> Any:
    """`value * scale + bias` with float32 that are the same in all lanes."""
    return add8(multiply8(value, spread8(scale)), spread8(bias))


def _around(
    builder: Any,
    data: Any,
    stride: Any,
    x: Any,
    y: Any,
    pixel: int,
    words: Sequence[int],
    word: Any,
) -> tuple[list[Any], list[Any], Any, Any]:
    """What lies around eight places of a picture, and where within their squares they are.

    Args:
        builder: of LLVM.
        data: pointer to the first byte.
        stride: bytes of a row.
        x: columns.
        y: rows.
        pixel: bytes of one.
        words: how many bytes behind a pixel's first the words stand that are read.
        word: LLVM's integer type of one.

    Returns:
        The words of the upper row, as 32 bits each, those of the lower one, and the parts of a
        pixel across and down.
    """
    column, row = builder.fptosi(x, _INT8), builder.fptosi(y, _INT8)
    inside = builder.mul(builder.zext(column, _LONG8), ir.Constant(_LONG8, [pixel] * LANES8))
    places = builder.add(
        builder.mul(builder.zext(row, _LONG8), spread_value(builder, stride, LANES8)), inside
    )
    nothing = ir.Constant(ir.VectorType(word, LANES8), ir.Undefined)
    above, below = [nothing] * len(words), [nothing] * len(words)
    for lane in range(LANES8):
        upper = builder.gep(data, [builder.extract_element(places, _INT(lane))])
        lower = builder.gep(upper, [stride])
        for found, start in ((above, upper), (below, lower)):
            for index, offset in enumerate(words):
                place = builder.bitcast(builder.gep(start, [_LONG(offset)]), ir.PointerType(word))
                read = builder.load(place, align=1)
                found[index] = builder.insert_element(found[index], read, _INT(lane))
    across = subtracted(builder, x, builder.sitofp(column, _FLOAT8))
    down = subtracted(builder, y, builder.sitofp(row, _FLOAT8))
    above, below = ([builder.zext(one, _INT8) for one in found] for found in (above, below))
    return above, below, across, down


def _byte(builder: Any, words: Any, index: int) -> Any:
    """The byte of each word that comes so many places after its first in memory, as float32."""
    moved = builder.lshr(words, ir.Constant(_INT8, [8 * index] * LANES8))
    return builder.uitofp(builder.and_(moved, ir.Constant(_INT8, [255] * LANES8)), _FLOAT8)


def _mixed(builder: Any, first: Any, second: Any, part: Any) -> Any:
    step = multiplied(builder, subtracted(builder, second, first), part)
    return added(builder, first, step)


@intrinsic  # type: ignore[untyped-decorator]
def bilinear8(_context: Any, plane: Any, stride: Any, x: Any, y: Any) -> Any:
    """Eight bilinear samples of a plane: `maths.sample.mix` in eight lanes.

    Args:
        plane: `(H * stride,)` uint8.
        stride: of a row, intp.
        x: columns, each with another one right of it.
        y: rows, each with another one below.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, stride, x, y = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        (above,), (below,), across, down = _around(
            builder, data, stride, x, y, 1, (0,), ir.IntType(16)
        )
        top, bottom = (
            _mixed(builder, _byte(builder, row, 0), _byte(builder, row, 1), across)
            for row in (above, below)
        )
        return _mixed(builder, top, bottom, down)

    return float8(plane, types.intp, float8, float8), generate


@intrinsic  # type: ignore[untyped-decorator]
def bilinear_rgb8(_context: Any, pixels: Any, stride: Any, x: Any, y: Any) -> Any:
    """Red, green and blue of eight bilinear samples of a picture.

    Args:
        pixels: `(H * W * 3,)` uint8.
        stride: 3 W, intp.
        x: columns, each with another one right of it.
        y: rows, each with another one below.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, stride, x, y = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        # Four bytes from a pixel's first, and the last four of the six: nothing beyond is read.
        above, below, across, down = _around(builder, data, stride, x, y, 3, (0, 2), _INT)
        colours = []
        for colour in range(3):
            top, bottom = (
                _mixed(
                    builder, _byte(builder, left, colour), _byte(builder, right, colour + 1), across
                )
                for left, right in (above, below)
            )
            colours.append(_mixed(builder, top, bottom, down))
        return context.make_tuple(builder, signature.return_type, colours)

    return types.UniTuple(float8, 3)(pixels, types.intp, float8, float8), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_colours8(_context: Any, array: Any, offset: Any, red: Any, green: Any, blue: Any) -> Any:
    """Write eight pixels of three colours to a float32 array, from an element on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, *colours = arguments
        red, green, blue = colours
        data = context.make_array(signature.args[0])(context, builder, array).data
        every = list(range(2 * LANES8))
        two = _shuffled(builder, red, green, every)
        third = _shuffled(builder, blue, blue, every)
        order = [lane + LANES8 * colour for lane in range(LANES8) for colour in range(3)]
        pixels = _shuffled(builder, two, third, order)
        place = builder.bitcast(builder.gep(data, [offset]), ir.PointerType(pixels.type))
        builder.store(pixels, place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, float8, float8, float8), generate


if config.DISABLE_JIT:
    from streamprn.kernels._lanes_plain import (
        add8,
        bilinear8,
        bilinear_rgb8,
        max8,
        min8,
        multiply8,
        ramp8,
        spread8,
        store_colours8,
    )
