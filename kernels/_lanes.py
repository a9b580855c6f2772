"""Four float32 side by side in one vector register, for CPU loops.

LLVM's vectoriser needs many like iterations. The inner loops here are short (the three coordinates
of a vertex, the three colours of a pixel), and Numba turns off the pass that would join them. So
the CPU loops say it themselves: a vertex or a pixel is a value of four lanes, the fourth unused.
`<4 x float>` is LLVM's own type, which every processor that Numba supports can carry out.

Inside compiled functions only. Offsets count elements from the start of a C-ordered array; nobody
checks them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic, models, register_model

from streamprn.kernels._jit import maths

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LANES",
    "add4",
    "lane4",
    "load4",
    "load_bytes4",
    "max4",
    "min4",
    "multiply4",
    "pack4",
    "spread4",
    "store3",
    "store4",
    "subtract4",
]

LANES = 4
_FLOAT4 = ir.VectorType(ir.FloatType(), LANES)
_BYTE4 = ir.VectorType(ir.IntType(8), LANES)
_FLAGS = ("contract", "reassoc", "nsz", "arcp")


class Lanes(types.Type):  # type: ignore[misc]
    """Numba's type of so many float32 lanes."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Float{count}")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Lanes) -> None:
        super().__init__(manager, type_, ir.VectorType(ir.FloatType(), type_.count))


float4 = Lanes(LANES)


def _address(context: Any, builder: Any, type_: Any, array: Any, offset: Any, vector: Any) -> Any:
    data = context.make_array(type_)(context, builder, array).data
    place = builder.gep(data, [offset])
    return builder.bitcast(place, ir.PointerType(vector))


@intrinsic  # type: ignore[untyped-decorator]
def load4(_context: Any, array: Any, offset: Any) -> Any:
    """Four float32 of an array, from an element on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset = arguments
        address = _address(context, builder, signature.args[0], array, offset, _FLOAT4)
        return builder.load(address, align=4)

    return float4(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_bytes4(_context: Any, array: Any, offset: Any) -> Any:
    """Four uint8 of an array, from an element on, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset = arguments
        address = _address(context, builder, signature.args[0], array, offset, _BYTE4)
        return builder.uitofp(builder.load(address, align=1), _FLOAT4)

    return float4(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store4(_context: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write all four lanes to a float32 array, from an element on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, value = arguments
        address = _address(context, builder, signature.args[0], array, offset, _FLOAT4)
        builder.store(value, address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, float4), generate


@intrinsic  # type: ignore[untyped-decorator]
def pack4(_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four float32 side by side."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        value = ir.Constant(_FLOAT4, ir.Undefined)
        for lane, one in enumerate(arguments):
            value = builder.insert_element(value, one, ir.IntType(32)(lane))
        return value

    return float4(types.float32, types.float32, types.float32, types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def lane4(_context: Any, value: Any, lane: Any) -> Any:
    """One lane, 0..3."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        value, lane = arguments
        return builder.extract_element(value, builder.trunc(lane, ir.IntType(32)))

    return types.float32(float4, types.intp), generate


@maths
def store3(array: Any, offset: Any, value: Any) -> None:
    """Write three lanes: where a fourth would pass the end, or meet what was written before."""
    for lane in range(3):
        array[offset + lane] = lane4(value, lane)


def spread_value(builder: Any, value: Any, count: int) -> Any:
    """LLVM's vector of so many times the same value."""
    nothing = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, nothing, zeros)


def spread(lanes: Lanes) -> Any:
    """What puts one float32 into all lanes."""

    def operation(_context: Any, value: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return spread_value(builder, arguments[0], lanes.count)

        return lanes(types.float32), generate

    operation.__doc__ = "One float32 in all lanes."
    return intrinsic(operation)


def binary(lanes: Lanes, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """What joins two values of lanes to a third one.

    Args:
        lanes: type of all three.
        combine: from LLVM's builder and two of its values to the third.
    """

    def operation(_context: Any, first: Any, second: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return combine(builder, *arguments)

        return lanes(lanes, lanes), generate

    operation.__doc__ = combine.__doc__
    return intrinsic(operation)


def added(builder: Any, a: Any, b: Any) -> Any:
    """Lane by lane `a + b`."""
    return builder.fadd(a, b, flags=_FLAGS)


def subtracted(builder: Any, a: Any, b: Any) -> Any:
    """Lane by lane `a - b`."""
    return builder.fsub(a, b, flags=_FLAGS)


def multiplied(builder: Any, a: Any, b: Any) -> Any:
    """Lane by lane `a * b`."""
    return builder.fmul(a, b, flags=_FLAGS)


def lesser(builder: Any, a: Any, b: Any) -> Any:
    """The lesser of each lane; the second where one is NaN."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def greater(builder: Any, a: Any, b: Any) -> Any:
    """The greater of each lane; the second where one is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


spread4 = spread(float4)
add4 = binary(float4, added)
subtract4 = binary(float4, subtracted)
multiply4 = binary(float4, multiplied)
min4 = binary(float4, lesser)
max4 = binary(float4, greater)

if config.DISABLE_JIT:
    from streamprn.kernels._lanes_plain import (
        add4,
        lane4,
        load4,
        load_bytes4,
        max4,
        min4,
        multiply4,
        pack4,
        spread4,
        store4,
        subtract4,
    )
