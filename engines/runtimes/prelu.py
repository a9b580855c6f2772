"""PReLU as OpenVINO computes it fastest.

OpenVINO fuses a PReLU with a slope per channel into the convolution before it. With AVX-512 its
kernels then take up to twice as long (2026.4, 1x1 convolutions of 8 and 16 channels); written as

    max(x, 0) + slope * min(x, 0)

which is the same number bit for bit, it becomes a loop of its own behind the convolution, and a
network of Face Mesh takes a fifth to a quarter less time. With AVX2 the fused one is faster.
Figures: docs/engines.md.
"""

from __future__ import annotations

from typing import Any


def pays() -> bool:
    """Whether this processor gains from it: one with AVX-512."""
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("avx512f", False))


def split(model: Any) -> int:
    """Write every PReLU of an OpenVINO model as above, in place; returns how many there were.

    Those whose slopes are a vector stay: OpenVINO lays such a one along the channels, and a
    product would lay it along the last axis.
    """
    from openvino import opset13 as operators

    count = 0
    for node in model.get_ops():
        if node.get_type_name() != "PRelu":
            continue
        x, slope = node.input_value(0), node.input_value(1)
        if slope.get_partial_shape().rank.get_length() == 1:
            continue
        zero = operators.constant(0.0, x.get_element_type())
        negative = operators.multiply(operators.minimum(x, zero), slope)
        made = operators.add(operators.maximum(x, zero), negative)
        made.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(made.output(0))
        count += 1
    return count
