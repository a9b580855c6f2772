"""Putting one face's colours into another picture: colour transfer and gradient-domain blending.

The blend is Poisson image editing (Perez, Gangnet, Blake, 2003) with the source's gradients. Its
solution is the source plus a harmonic *membrane* that takes the difference between target and
source at the rim of the mask into its inside, so only the membrane is solved: a Laplace equation,
from coarse to fine. Solving it in place avoids the patch moving when its mask touches the border.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numba import njit

from streamprn.apps.images import linear_from_srgb, srgb_from_linear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, Float64, UInt8

    Mask = NDArray[np.bool_]

# Logarithm of the linear light of an sRGB value 0..255.
LOG_LIGHT = np.log(np.maximum(linear_from_srgb(np.arange(256) / 255.0), 3e-4))
_SWEEPS = 24
_FEWEST_SKIN_PIXELS = 16
_COARSEST_PX = 4
# Rim differences above this are hair, a hand or the background, not a difference of skin.
_LARGEST_RIM_STEP = 80.0
_LEAST_RIM_WEIGHT = 0.02
_EDGE_PX = 2.5
# Logarithm of linear light above the skin's from which a pixel of skin is a highlight for sure.
_HIGHLIGHT_STEP = 0.15


@dataclass(frozen=True, slots=True)
class ColourMatch:
    """Takes one face's skin to another's: brightness, contrast and tint, in linear light.

    Colours are taken as logarithms of linear light, split into brightness (their mean) and tint
    (red over green, green over blue). A tint moves as far as it is that of the skin itself: neutral
    things (eyes, teeth, spectacles) stay neutral, and skin that is half as warm as the rest stays
    half as warm. Plain gains of the channels, or matched covariances (Pitie and Kokaram's
    transport), turn them blue or green where two pictures differ much.

    What is brighter than the skin, on skin, is skin in more light with white light upon it
    (Shafer's dichromatic reflection), so that a highlight is never colder than the skin below it,
    and no nearer to white than it was.

    Attributes:
        have: `(3,)` float64, logarithm of the linear light of the source's skin.
        want: `(3,)` float64, of the target's.
        shadows: what differences of brightness below that of the skin are multiplied by.
        highlights: the same above it.
        tints: what differences of tint from that of the skin are multiplied by, on skin: a face
            between a blue sky and the sun has more of them than one in a room.
    """

    have: Float64
    want: Float64
    shadows: float = 1.0
    highlights: float = 1.0
    tints: float = 1.0

    @classmethod
    def identity(cls) -> ColourMatch:
        """Leaves colours as they are."""
        return cls(np.zeros(3), np.zeros(3))

    def towards(self, other: ColourMatch, part: float) -> ColourMatch:
        """This match moved by `part` (0..1) to another, for smoothing over time."""
        return ColourMatch(
            self.have + part * (other.have - self.have),
            self.want + part * (other.want - self.want),
            self.shadows + part * (other.shadows - self.shadows),
            self.highlights + part * (other.highlights - self.highlights),
            self.tints + part * (other.tints - self.tints),
        )

    def apply(self, rgb: UInt8, skin: Float32 | None = None) -> Float32:
        """Map sRGB pixels.

        Args:
            rgb: `(..., 3)` uint8.
            skin: `(...)` float32 in 0..1, where it is known to be skin; nowhere if None.

        Returns:
            `(..., 3)` float32, sRGB in 0..255, not rounded.
        """
        flat = rgb.reshape(-1, 3)
        known = np.zeros(len(flat), np.float32) if skin is None else skin.reshape(-1)
        out = np.empty(flat.shape, np.float32)
        _apply_match(
            flat,
            known,
            LOG_LIGHT,
            self.have.astype(np.float32),
            self.want.astype(np.float32),
            np.float32(self.shadows),
            np.float32(self.highlights),
            np.float32(self.tints),
            out,
        )
        return np.asarray(255.0 * srgb_from_linear(out).reshape(rgb.shape), np.float32)


@njit(cache=True, nogil=True)
def _apply_match(rgb, skin, log_light, have, want, shadows, highlights, tints, out):  # type: ignore[no-untyped-def]
    mean_have, mean_want = have.mean(), want.mean()
    ours, theirs = np.exp(have), np.exp(want)
    light = np.empty(3, np.float32)
    lit, whites = np.empty(3, np.float32), np.empty(3, np.float32)
    for n in range(rgb.shape[0]):
        for c in range(3):
            light[c] = log_light[rgb[n, c]]
        step = light.mean() - mean_have
        # Far below the skin's brightness the contrast is the source's own: black stays black.
        low = min(max(step, np.float32(-1.0)), np.float32(0.0))
        high = max(step, np.float32(0.0))
        bright = mean_want + shadows * low + highlights * high + (step - low - high)
        red = _tint(light[0] - light[1], have[0] - have[1], want[0] - want[1])
        blue = _tint(light[2] - light[1], have[2] - have[1], want[2] - want[1])
        calm = skin[n] * (np.float32(1.0) - tints)
        red += calm * (want[0] - want[1] - red)
        blue += calm * (want[2] - want[1] - blue)
        green = bright - (red + blue) / np.float32(3.0)
        out[n, 0] = min(np.exp(green + red), np.float32(1.0))
        out[n, 1] = min(np.exp(green), np.float32(1.0))
        out[n, 2] = min(np.exp(green + blue), np.float32(1.0))
        part = skin[n] * min(high / np.float32(_HIGHLIGHT_STEP), np.float32(1.0))
        if part > 0.0:
            _light_up(np.exp(light), ours, theirs, highlights, tints, whites, lit)
            for c in range(3):
                out[n, c] += part * (lit[c] - out[n, c])


@njit(cache=True, nogil=True)
def _tint(value, have, want):  # type: ignore[no-untyped-def]
    """The logarithm of a ratio of channels, taken from the skin that has one to the other."""
    least = np.float32(0.01)
    alike = (value * have + least) / (have * have + least)
    alike = min(max(alike, np.float32(0.0)), np.float32(1.0))
    # On paler skin the tints that are not the skin's own are as much paler: no green cheeks.
    paler = np.sqrt((want * want + least) / (have * have + least))
    keep = min(max(paler, np.float32(0.4)), np.float32(1.0))
    return alike * want + keep * (value - alike * have)


@njit(cache=True, nogil=True)
def _light_up(light, have, want, contrast, tints, whites, out):  # type: ignore[no-untyped-def]
    """Linear light on skin, taken from one skin to the other; see `ColourMatch`."""
    mean, mean_have = light.mean(), have.mean()
    # How much brighter the skin itself is: by its colour, without the white upon it.
    alike, own = np.float32(0.0), np.float32(0.01) * mean_have * mean_have
    alike += np.float32(0.01) * mean * mean_have
    for c in range(3):
        alike += (light[c] - mean) * (have[c] - mean_have)
        own += (have[c] - mean_have) * (have[c] - mean_have)
    have_top, want_top = have.max(), want.max()
    gain = min(alike / own, mean / mean_have, np.float32(0.98) / have_top)
    gain = max(gain, np.float32(1.0))
    # No nearer to white than it was: sunlit skin becomes pale skin in the sun, not a white patch.
    room = (gain - np.float32(1.0)) * have_top / max(np.float32(1.0) - have_top, np.float32(0.02))
    most = np.float32(1.0) + room * (np.float32(1.0) - want_top) / want_top
    gain_want = min(gain**contrast, max(most, np.float32(1.0)))
    # As much white as makes it as bright as it should be, and no nearer to white than it was.
    bright = want.mean() * (mean / mean_have) ** contrast
    before, white = np.float32(0.0), np.float32(0.0)
    for c in range(3):
        skin, other = have[c] * gain, min(want[c] * gain_want, np.float32(1.0))
        share = np.float32(0.0)
        if light[c] < skin:
            other *= (light[c] / skin) ** tints
        else:
            share = (light[c] - skin) / max(np.float32(1.0) - skin, np.float32(0.02))
            share = min(share, np.float32(1.0))
        out[c] = other
        whites[c] = (np.float32(1.0) - other) * share
        before += other / np.float32(3.0)
        white += whites[c] / np.float32(3.0)
    part = min(max((bright - before) / max(white, np.float32(1e-6)), np.float32(0.0)), 1.0)
    for c in range(3):
        out[c] += part * whites[c]


def match_colours(source: UInt8, target: UInt8, mask: Mask) -> ColourMatch:
    """The map that gives `source` the mean colour and the contrast of `target` in `mask`.

    Args:
        source: `(H, W, 3)` uint8 sRGB.
        target: `(H, W, 3)` uint8 sRGB.
        mask: `(H, W)` bool, the pixels to compare (skin, seen in both).
    """
    if int(mask.sum()) < _FEWEST_SKIN_PIXELS:
        return ColourMatch.identity()
    have = LOG_LIGHT[source[mask]].astype(np.float64)
    want = LOG_LIGHT[target[mask]].astype(np.float64)
    typical_have, typical_want = _typical(have), _typical(want)
    low_have, high_have = _spread(have, typical_have)
    low_want, high_want = _spread(want, typical_want)
    match = ColourMatch(
        typical_have,
        typical_want,
        shadows=float(np.clip(low_want / low_have, 0.5, 1.4)),
        highlights=float(np.clip(high_want / high_have, 0.25, 1.4)),
    )
    matched = np.log(np.maximum(linear_from_srgb(match.apply(source[mask]) / 255.0), 3e-4))
    tints = _tint_spread(want) / _tint_spread(matched)
    return replace(match, tints=float(np.clip(tints, 0.3, 1.0)))


def _typical(light: Float64) -> Float64:
    """The mean, in linear light, of the middle of logarithmic colours `(N, 3)` by brightness.

    The light's own mean: shadows are more saturated than the skin that one remembers.
    """
    brightness = light.mean(axis=1)
    low, high = np.percentile(brightness, (10, 95))
    middle = (brightness >= low) & (brightness <= high)
    return np.asarray(np.log(np.exp(light[middle]).mean(axis=0)), np.float64)


def _spread(light: Float64, typical: Float64) -> tuple[float, float]:
    """How far logarithmic colours `(N, 3)` reach below and above the typical brightness."""
    low, high = np.percentile(light.mean(axis=1) - typical.mean(), (15, 96))
    return max(-float(low), 0.02), max(float(high), 0.02)


def _tint_spread(light: Float64) -> float:
    """How far the tints of most of the logarithmic colours `(N, 3)` lie apart."""
    low, high = np.percentile(light[:, ::2] - light[:, 1:2], (10, 90), axis=0)
    return max(float(np.linalg.norm(high - low)), 0.02)


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


def feathered(mask: Mask, width_px: float | Float32) -> Float32:
    """`(H, W)` float32 in 0..1: 0 outside of the mask, rising smoothly to 1 within `width_px`.

    The width is one number, or `(H, W)`: that of each pixel. The border of the picture is no edge:
    a face that leaves the picture is not faded there.
    """
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    if padded.all():
        return np.ones(mask.shape, np.float32)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip(distance / np.maximum(width_px, 1.0), 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), np.float32)


def poisson_blend(
    target: UInt8,
    source: Float32 | UInt8,
    mask: Mask,
    feather_px: float = 6.0,
    edge: Float32 | None = None,
) -> UInt8:
    """Lay `source` into `target` within `mask`, without a seam.

    Args:
        target: `(H, W, 3)` uint8.
        source: `(H, W, 3)` uint8 or float32 in 0..255, meaningful where `mask`.
        mask: `(H, W)` bool.
        feather_px: width of the fade at the rim, pixels.
        edge: `(H, W)` float32 in 0..1, where the patch may end sharply against what is darker: the
            shadow below a chin would show through a fade as a dark line. Nowhere if None.

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
    alpha = feathered(
        inner,
        feather_px if edge is None else _fade_widths(back - front, inner, feather_px, edge[box]),
    )
    step, trusted = _rim_difference(back - front, inner, alpha)
    rim = inner & (alpha < 0.5) & trusted
    patch = front + membrane(step, rim, inner)
    mixed = back + alpha[:, :, None] * (np.clip(patch, 0.0, 255.0) - back)
    out[box] = np.where(inner[:, :, None], np.round(mixed), back).astype(np.uint8)
    return out


def _fade_widths(difference: Float32, mask: Mask, feather_px: float, edge: Float32) -> Float32:
    """`(H, W)` float32: how wide the fade is at each pixel; see `poisson_blend`."""
    weight = np.where(mask & (feathered(mask, 2.0) < 1.0), np.float32(1.0), np.float32(0.0))
    darker = np.clip(-difference.mean(axis=2) / (0.5 * _LARGEST_RIM_STEP), 0.0, 1.0)
    total = cv2.GaussianBlur(darker * weight, (0, 0), feather_px)
    share = total / np.maximum(cv2.GaussianBlur(weight, (0, 0), feather_px), 1e-4)
    sharp = edge * np.clip(share, 0.0, 1.0)
    return np.asarray(feather_px + sharp * (min(_EDGE_PX, feather_px) - feather_px), np.float32)


def _rim_difference(difference: Float32, mask: Mask, alpha: Float32) -> tuple[Float32, Mask]:
    """The difference near the rim, averaged over its neighbourhood, and where it is known.

    One hair at the rim would otherwise draw a streak across the whole face. Where all of the rim
    differs too much (at a silhouette, the background) the difference is taken from elsewhere.
    """
    largest = np.abs(difference).max(axis=2)
    alike = np.clip(2.0 - largest / (0.5 * _LARGEST_RIM_STEP), 0.0, 1.0)
    weight = np.where(mask & (alpha < 0.999), alike, 0.0).astype(np.float32)
    sigma = max(1.0, 0.02 * max(mask.shape))
    total = cv2.GaussianBlur(
        difference * weight[:, :, None], (0, 0), sigma, borderType=cv2.BORDER_REFLECT
    )
    weights = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    smooth = np.asarray(total / np.maximum(weights, 1e-4)[:, :, None], np.float32)
    return smooth, np.asarray(weights > _LEAST_RIM_WEIGHT)


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
