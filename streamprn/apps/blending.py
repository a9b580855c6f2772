"""Putting one face's colours into another picture: colour transfer and gradient-domain blending.

The blend is Poisson image editing (Perez, Gangnet, Blake, 2003) with the source's gradients. Its
solution is the source plus a harmonic *membrane* that takes the difference between target and
source at the rim of the mask into its inside, so only the membrane is solved: a Laplace equation,
from coarse to fine. Solving it in place avoids the patch moving when its mask touches the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numba import njit

from streamprn.apps.images import linear_from_srgb, srgb_from_linear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, Float64, UInt8

    Mask = NDArray[np.bool_]

_LINEAR = linear_from_srgb(np.arange(256) / 255.0)
_SWEEPS = 24
_COARSEST_PX = 4
# Rim differences above this are hair, a hand or the background, not a difference of skin.
_LARGEST_RIM_STEP = 60.0


@dataclass(frozen=True, slots=True)
class ColourMatch:
    """An affine map of linear RGB, `matrix @ colour + offset`: `(3, 3)` and `(3,)` float64."""

    matrix: Float64
    offset: Float64

    @classmethod
    def identity(cls) -> ColourMatch:
        """Leaves colours as they are."""
        return cls(np.eye(3), np.zeros(3))

    def towards(self, other: ColourMatch, part: float) -> ColourMatch:
        """This match moved by `part` (0..1) to another, for smoothing over time."""
        return ColourMatch(
            self.matrix + part * (other.matrix - self.matrix),
            self.offset + part * (other.offset - self.offset),
        )

    def apply(self, rgb: UInt8) -> Float32:
        """Map sRGB pixels `(..., 3)` uint8; returns sRGB float32 in 0..255, not rounded."""
        mapped = _LINEAR[rgb] @ self.matrix.T.astype(np.float32) + self.offset.astype(np.float32)
        return np.asarray(255.0 * srgb_from_linear(np.clip(mapped, 0.0, 1.0)), np.float32)


def match_colours(source: UInt8, target: UInt8, mask: Mask) -> ColourMatch:
    """The linear-light map that gives `source` the mean and covariance of `target` in `mask`.

    The optimal transport between two Gaussians (Monge-Kantorovich; Pitie and Kokaram, 2007). Its
    stretch is bounded to a factor of 2, so that a flatly lit face cannot blow up noise.

    Args:
        source: `(H, W, 3)` uint8 sRGB.
        target: `(H, W, 3)` uint8 sRGB.
        mask: `(H, W)` bool, the pixels to compare (skin, seen in both).
    """
    if int(mask.sum()) < 16:
        return ColourMatch.identity()
    a = _LINEAR[source[mask]].astype(np.float64)
    b = _LINEAR[target[mask]].astype(np.float64)
    floor = 1e-5 * np.eye(3)
    cov_a, cov_b = np.cov(a.T) + floor, np.cov(b.T) + floor
    root = _matrix_power(cov_a, 0.5)
    inverse = _matrix_power(cov_a, -0.5)
    matrix = inverse @ _matrix_power(root @ cov_b @ root, 0.5) @ inverse
    values, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.clip(values, 0.5, 2.0)) @ vectors.T
    return ColourMatch(matrix, b.mean(axis=0) - matrix @ a.mean(axis=0))


def _matrix_power(symmetric: Float64, power: float) -> Float64:
    values, vectors = np.linalg.eigh(symmetric)
    powered = np.maximum(values, 1e-12) ** power
    return np.asarray((vectors * powered) @ vectors.T, np.float64)


@njit(cache=True, nogil=True, fastmath=True)
def _relax_texel(values, free, y, x):  # type: ignore[no-untyped-def]
    # At the picture's border a texel is its own neighbour: no flow. Texels that do not exist
    # hold 0, so the sum may take them in.
    up, down = max(y - 1, 0), min(y + 1, values.shape[0] - 1)
    left, right = max(x - 1, 0), min(x + 1, values.shape[1] - 1)
    count = int(free[up, x] >= 0) + int(free[down, x] >= 0)
    count += int(free[y, left] >= 0) + int(free[y, right] >= 0)
    if count == 0:
        return
    scale = np.float32(1.0 / count)
    for c in range(values.shape[2]):
        total = values[up, x, c] + values[down, x, c] + values[y, left, c] + values[y, right, c]
        # Over-relaxation by 1.5 halves the sweeps needed.
        values[y, x, c] += np.float32(1.5) * (total * scale - values[y, x, c])


@njit(cache=True, nogil=True, fastmath=True)
def _relax(values, free, sweeps):  # type: ignore[no-untyped-def]
    """Gauss-Seidel on the free texels (1), between fixed ones (0); texels of -1 do not exist."""
    for _ in range(sweeps):
        for y in range(values.shape[0]):
            for x in range(values.shape[1]):
                if free[y, x] == 1:
                    _relax_texel(values, free, y, x)


@njit(cache=True, nogil=True)
def _coarsen(values, free):  # type: ignore[no-untyped-def]
    height, width, channels = values.shape
    h, w = (height + 1) // 2, (width + 1) // 2
    coarse = np.zeros((h, w, channels), np.float32)
    kind = np.full((h, w), -1, np.int8)
    for y in range(h):
        for x in range(w):
            known = 0
            for j in range(2 * y, min(2 * y + 2, height)):
                for i in range(2 * x, min(2 * x + 2, width)):
                    if free[j, i] == 0:
                        known += 1
                        for c in range(channels):
                            coarse[y, x, c] += values[j, i, c]
                    elif free[j, i] == 1 and kind[y, x] < 0:
                        kind[y, x] = 1
            if known > 0:
                kind[y, x] = 0
                for c in range(channels):
                    coarse[y, x, c] /= known
    return coarse, kind


@njit(cache=True, nogil=True)
def _prolong(coarse, values, free):  # type: ignore[no-untyped-def]
    height, width, channels = values.shape
    for y in range(height):
        for x in range(width):
            if free[y, x] == 1:
                for c in range(channels):
                    values[y, x, c] = coarse[y // 2, x // 2, c]


def membrane(values: Float32, known: Mask, domain: Mask) -> Float32:
    """Fill `domain` harmonically from the `known` values; no flow through its outer edge.

    Args:
        values: `(H, W, C)` float32, read where `known`.
        known: `(H, W)` bool.
        domain: `(H, W)` bool, where values are wanted; `known` counts as part of it.

    Returns:
        `(H, W, C)` float32: `values` where known, their harmonic continuation in the rest of
        the domain, 0 elsewhere and in parts of the domain that touch no known value.
    """
    free = np.where(known, 0, np.where(domain, 1, -1)).astype(np.int8)
    first = np.where(known[:, :, None], values, 0.0).astype(np.float32)
    levels = [(first, free)]
    while min(levels[-1][1].shape) > _COARSEST_PX:
        levels.append(_coarsen(*levels[-1]))
    coarsest, kinds = levels[-1]
    fixed = kinds == 0
    if fixed.any():
        coarsest[kinds == 1] = coarsest[fixed].mean(axis=0)
    _relax(coarsest, kinds, 4 * _SWEEPS)
    for (fine, kind), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _prolong(coarse, fine, kind)
        _relax(fine, kind, _SWEEPS)
    return levels[0][0]


def feathered(mask: Mask, width_px: float) -> Float32:
    """`(H, W)` float32 in 0..1: 0 outside of the mask, rising smoothly to 1 within `width_px`.

    The border of the picture is no edge: a face that leaves the picture is not faded there.
    """
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    if padded.all():
        return np.ones(mask.shape, np.float32)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip(distance / max(width_px, 1.0), 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), np.float32)


def poisson_blend(
    target: UInt8, source: Float32 | UInt8, mask: Mask, feather_px: float = 6.0
) -> UInt8:
    """Lay `source` into `target` within `mask`, without a seam.

    Args:
        target: `(H, W, 3)` uint8.
        source: `(H, W, 3)` uint8 or float32 in 0..255, meaningful where `mask`.
        mask: `(H, W)` bool.
        feather_px: width of the fade at the rim, pixels.

    Returns:
        `(H, W, 3)` uint8; pixels outside of the mask are those of `target`.
    """
    out = target.copy()
    box = bounds(mask, margin=2)
    if box is None:
        return out
    inner = np.ascontiguousarray(mask[box])
    back = target[box].astype(np.float32)
    front = np.where(inner[:, :, None], source[box], 0.0).astype(np.float32)
    alpha = feathered(inner, feather_px)
    step = _rim_difference(back - front, inner, alpha)
    rim = inner & (alpha < 0.5)
    patch = front + membrane(step, rim, inner)
    mixed = back + alpha[:, :, None] * (np.clip(patch, 0.0, 255.0) - back)
    out[box] = np.where(inner[:, :, None], np.round(mixed), back).astype(np.uint8)
    return out


def _rim_difference(difference: Float32, mask: Mask, alpha: Float32) -> Float32:
    """The difference near the rim, averaged over its neighbourhood.

    One hair at the rim would otherwise draw a streak across the whole face.
    """
    weight = (mask & (alpha < 0.999)).astype(np.float32)
    bounded = np.clip(difference, -_LARGEST_RIM_STEP, _LARGEST_RIM_STEP) * weight[:, :, None]
    sigma = max(1.0, 0.02 * max(mask.shape))
    total = cv2.GaussianBlur(bounded, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    weights = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(total / np.maximum(weights, 1e-4)[:, :, None], np.float32)


def bounds(mask: Mask, margin: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns around the true pixels of `mask`, or None where there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    height, width = mask.shape
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + 1 + margin, height)),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + 1 + margin, width)),
    )
