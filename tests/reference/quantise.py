"""Vertices as int16 with a scale and an offset per axis: the rule of the wire, in NumPy."""

import numpy as np

MOST_STEPS = np.float32(32767)


def quantise(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Round vertices to 65,535 steps of each axis's range.

    Args:
        vertices: `(N, 3)` float32; values that are not finite count as 0.

    Returns:
        int16 `(N, 3)`, scale `(3,)` float32 and offset `(3,)` float32, so that
        `scale * steps + offset` differs from the vertices by at most half a scale and the rounding
        of float32.
    """
    if vertices.shape[0] == 0:
        return np.zeros((0, 3), np.int16), np.ones(3, np.float32), np.zeros(3, np.float32)
    finite = np.where(np.isfinite(vertices), vertices, np.float32(0))
    half_low, half_high = np.float32(0.5) * finite.min(axis=0), np.float32(0.5) * finite.max(axis=0)
    scale = (half_high - half_low) / MOST_STEPS
    scale = np.where(scale > 0, scale, np.float32(1))
    offset = half_low + half_high
    steps = np.clip(np.rint((finite - offset) / scale), -MOST_STEPS, MOST_STEPS)
    return steps.astype(np.int16), scale, offset
