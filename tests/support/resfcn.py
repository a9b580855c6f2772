"""The PRN network with random weights: it runs the plumbing, and says nothing about faces."""

from __future__ import annotations

import math

import numpy as np

from streamprn.engines.resfcn256.architecture import convolutions, variables

Arrays = dict[str, np.ndarray]


def random_variables(seed: int = 0) -> Arrays:
    """All 245 variables, drawn so that activations keep a variance near 1 through the network."""
    rng = np.random.default_rng(seed)
    gain = {}
    for conv in convolutions():
        taps = conv.kernel**2 / (conv.stride**2 if conv.transposed else 1)
        gain[f"{conv.name}/weights"] = math.sqrt(2.0 / (taps * conv.inputs))
    arrays: Arrays = {}
    for name, shape in variables().items():
        part = name.rpartition("/")[2]
        if part == "weights":
            value = gain[name] * rng.standard_normal(shape)
        elif part == "gamma":
            value = rng.uniform(0.7, 1.3, shape)
        elif part == "moving_variance":
            block_output = name.count("/") == 3 and "resBlock" in name
            value = rng.uniform(0.5, 1.5, shape) * (2.0 if block_output else 1.0)
        else:
            value = 0.2 * rng.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays
