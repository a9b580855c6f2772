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
FLAGS = ("contract", "reassoc", "nsz", "arcp")


class Float4(types.Type):  # type: ignore[misc]
    """Numba's type of four float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Float4")


float4 = Float4()


@register_model(Float4)
class _Float4Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Float4) -> None:
        super().__init__(manager, type_, _FLOAT4)


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
def spread4(_context: Any, value: Any) -> Any:
    """One float32 in all four lanes."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        first = builder.insert_element(
            ir.Constant(_FLOAT4, ir.Undefined), arguments[0], ir.IntType(32)(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_FLOAT4, ir.Undefined), zeros)

    return float4(types.float32), generate


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


def binary(type_: types.Type, combine: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    """What joins two values of lanes to a third one.

    Args:
        type_: of all three.
        combine: from LLVM's builder and two of its values to the third.
        doc: of the function.
    """

    def operation(_context: Any, first: Any, second: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return combine(builder, *arguments)

        return type_(type_, type_), generate

    operation.__doc__ = doc
    return intrinsic(operation)


def select(comparison: str) -> Callable[[Any, Any, Any], Any]:
    """The first of two where the comparison holds, lane by lane, else the second."""
    return lambda builder, a, b: builder.select(builder.fcmp_ordered(comparison, a, b), a, b)


add4 = binary(
    float4, lambda builder, a, b: builder.fadd(a, b, flags=FLAGS), "Lane by lane `a + b`."
)
subtract4 = binary(float4, lambda builder, a, b: builder.fsub(a, b, flags=FLAGS), "`a - b`.")
multiply4 = binary(float4, lambda builder, a, b: builder.fmul(a, b, flags=FLAGS), "`a * b`.")
min4 = binary(float4, select("<"), "The lesser of each lane; the second where one is NaN.")
max4 = binary(float4, select(">"), "The greater of each lane; the second where one is NaN.")

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
