"""What a network file is: its tensors, its size, and its work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamprn.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Of one picture, batch 1.

    Attributes:
        inputs: shape by name, the batch as "B", with the element type at the end.
        outputs: the same.
        parameters: how many weights are stored.
        macs: multiply-accumulates of all convolutions and matrix products.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    parameters: int
    macs: int


def inspect_network(path: Path, size: int) -> NetworkInfo:
    """Read an ONNX file, with OpenVINO, and count.

    Args:
        path: the file.
        size: S of the picture `(1, S, S, 3)` that is counted for.

    Raises:
        EngineError: it cannot be read, or does not take such a picture.
    """
    from streamprn.engines.runtimes.openvino import read_network

    model = read_network(path)
    try:
        inputs, outputs = _tensors(model.inputs), _tensors(model.outputs)
        model.reshape([1, size, size, 3])
        operations = model.get_ordered_ops()
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(
            f"{path}: not a network that can be read: {reason}",
            hint="import or build the engine again",
        ) from error
    return NetworkInfo(
        inputs=inputs,
        outputs=outputs,
        parameters=sum(_parameters(operation) for operation in operations),
        macs=sum(_macs(operation) for operation in operations),
    )


def _sizes(port: Any) -> list[int]:
    return [
        dimension.get_length() if dimension.is_static else -1
        for dimension in port.get_partial_shape()
    ]


def _tensors(ports: Any) -> dict[str, str]:
    found = {}
    for port in ports:
        sizes = ", ".join("B" if size < 0 else str(size) for size in _sizes(port))
        found[port.get_any_name()] = f"({sizes}) {port.get_element_type().to_dtype().name}"
    return found


def _parameters(operation: Any) -> int:
    if operation.get_type_name() != "Constant" or not operation.get_element_type().is_real():
        return 0
    return math.prod(int(size) for size in operation.get_output_shape(0))


def _macs(operation: Any) -> int:
    """From the shapes; the weights of a convolution are its second input."""
    kind = operation.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
        return 0
    shapes = [operation.get_input_shape(index) for index in (0, 1)]
    first, weights = ([int(size) for size in shape] for shape in shapes)
    results = math.prod(int(size) for size in operation.get_output_shape(0))
    if kind == "ConvolutionBackpropData":
        return math.prod(first) * math.prod(weights[1:])
    if kind == "MatMul":
        return results * first[-1]
    # (outputs, inputs, rows, columns), with the groups in front where there are some.
    return results * math.prod(weights[2:] if kind == "GroupConvolution" else weights[1:])
