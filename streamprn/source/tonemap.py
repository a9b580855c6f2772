"""Wide and high-dynamic-range colours as the sRGB that networks, textures and files expect.

PQ (SMPTE ST 2084) and HLG (ARIB STD-B67, ITU-R BT.2100) are decoded to the light of a display,
whose diffuse white of 203 cd/m2 (ITU-R BT.2408) becomes the white of the result. Highlights up to
1000 cd/m2 are rolled off by the curve of ITU-R BT.2390, which leaves all below about 90 cd/m2, and
so faces, as it is. The primaries of BT.2020 are then taken to those of BT.709.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, UInt8

__all__ = ["HLG", "PQ", "WIDE", "to_srgb"]

#: Kinds of transfer: the two of high dynamic range, and that of other video with wide primaries.
PQ, HLG, WIDE = "pq", "hlg", "wide"

WHITE_CD_M2 = 203.0
PEAK_CD_M2 = 1000.0
_SYSTEM_GAMMA = 1.2
_DISPLAY_GAMMA = 2.4  # of BT.1886
_STEPS = 4096
# BT.2020 to BT.709, linear light (ITU-R BT.2087, inverse of its table).
_TO_709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    np.float32,
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EOTF of ST 2084: signal 0..1 to cd/m2."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.power(signal, 1 / m2)
    return 10_000.0 * np.power(np.maximum(power - c1, 0.0) / (c2 - c3 * power), 1 / m1)


def pq_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `pq_light`."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.power(np.maximum(light, 0.0) / 10_000.0, m1)
    return np.power((c1 + c2 * power) / (1.0 + c3 * power), m2)


def hlg_scene(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse OETF of HLG: signal 0..1 to the light of the scene, 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3.0, (np.exp((signal - c) / a) + b) / 12.0)


def rolled_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EETF of BT.2390: cd/m2 up to the peak to cd/m2 up to the white."""
    source = pq_signal(np.asarray(PEAK_CD_M2))
    top = pq_signal(np.asarray(WHITE_CD_M2)) / source
    e = np.minimum(pq_signal(light) / source, 1.0)
    knee = 1.5 * top - 0.5
    t = np.clip((e - knee) / (1.0 - knee), 0.0, 1.0)
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1.0 - knee)
        + (-2 * t**3 + 3 * t**2) * top
    )
    return pq_light(np.where(e < knee, e, curve) * source)


@cache
def _tables(kind: str) -> tuple[Float32, Float32, UInt8]:
    """Light of each 16-bit code; the factor of each step of the roll-off; sRGB of 16-bit light."""
    codes = np.arange(65_536) / 65_535.0
    if kind == PQ:
        light = pq_light(codes) / WHITE_CD_M2
    elif kind == HLG:
        light = hlg_scene(codes)
    else:
        light = codes**_DISPLAY_GAMMA
    steps = np.linspace(0.0, PEAK_CD_M2, _STEPS)
    factor = np.ones(_STEPS)
    if kind != WIDE:
        factor[1:] = rolled_off(steps[1:]) / steps[1:]
    encoded = np.where(codes <= 0.0031308, 12.92 * codes, 1.055 * codes ** (1 / 2.4) - 0.055)
    if kind == WIDE:
        # What comes in by one gamma goes out by the same, as video in BT.709 does.
        encoded = codes ** (1 / _DISPLAY_GAMMA)
    return (
        light.astype(np.float32),
        factor.astype(np.float32),
        np.round(255.0 * encoded).astype(np.uint8),
    )


def to_srgb(rgb: NDArray[np.uint16], kind: str) -> UInt8:
    """Convert a picture in BT.2020 primaries.

    Args:
        rgb: `(H, W, 3)` uint16, the signal 0..65535, C order.
        kind: `PQ`, `HLG` or `WIDE`.

    Returns:
        `(H, W, 3)` uint8 sRGB.
    """
    light, factor, encoded = _tables(kind)
    out = np.empty(rgb.shape, np.uint8)
    scale = np.float32((_STEPS - 1) * WHITE_CD_M2 / PEAK_CD_M2)
    system = np.float32(PEAK_CD_M2 / WHITE_CD_M2 if kind == HLG else 0.0)
    flat = (rgb.reshape(-1, 3), out.reshape(-1, 3))
    _convert(flat[0], light, factor, encoded, _TO_709, _LUMA_2020, scale, system, flat[1])
    return out


@njit(cache=True, nogil=True)
def _convert(rgb, light, factor, encoded, to_709, luma, scale, system, out):  # type: ignore[no-untyped-def]
    last = factor.shape[0] - 1
    for n in range(rgb.shape[0]):
        r, g, b = light[rgb[n, 0]], light[rgb[n, 1]], light[rgb[n, 2]]
        if system > 0.0:
            # The system gamma of HLG (BT.2100), for a display of 1000 cd/m2.
            y = luma[0] * r + luma[1] * g + luma[2] * b
            gain = system * y ** np.float32(_SYSTEM_GAMMA - 1.0)
            r, g, b = gain * r, gain * g, gain * b
        largest = max(r, g, b)
        if largest * scale > last:
            gain = factor[last] * (last / scale) / largest
        else:
            place = largest * scale
            low = min(int(place), last - 1)
            part = place - low
            gain = factor[low] + part * (factor[low + 1] - factor[low])
        for c in range(3):
            value = gain * (to_709[c, 0] * r + to_709[c, 1] * g + to_709[c, 2] * b)
            code = int(min(max(value, 0.0), 1.0) * 65535.0 + 0.5)
            out[n, c] = encoded[code]
