"""Triangles on the pixel grid: coverage, interpolation, packing, normals.

Coverage is watertight in float32. The edge functions take the corners *relative to the pixel*, so
that two triangles that share an edge compute the same differences and products and get exactly
opposite signs (as long as the compiler does not contract them into fused multiply-adds). A
rounded product is monotonic: a sign is never wrong, it can only become 0, and 0 counts as inside.
So no pixel falls between two triangles; where both cover it, the nearer, or else the earlier, wins.
"""

from __future__ import annotations

import math

import numpy as np

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Integer, Real

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
# Pixels; the product of three such coordinates still is a float32.
LIMIT = np.float32(1e12)
ID_MASK = 0xFFFFFFFF


@maths
def edge(ax: Real, ay: Real, bx: Real, by: Real) -> Real:
    """Twice the signed area of pixel, a, b, both given relative to the pixel."""
    return ax * by - bx * ay


@maths
def inside(e0: Real, e1: Real, e2: Real) -> Real:
    """Whether the pixel lies in the triangle of either winding, edges included; false for NaN."""
    forward = (e0 >= ZERO) & (e1 >= ZERO) & (e2 >= ZERO)
    backward = (e0 <= ZERO) & (e1 <= ZERO) & (e2 <= ZERO)
    return (forward | backward) & (e0 + e1 + e2 != ZERO)


@maths
def interpolate(e0: Real, e1: Real, e2: Real, z0: Real, z1: Real, z2: Real) -> Real:
    """Interpolate by the edge functions opposite the corners, within the corners' range."""
    z = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
    low = min(z0, z1, z2)
    high = max(z0, z1, z2)
    return low if not (z > low) else (high if z > high else z)


@maths
def usable(
    x0: Real, y0: Real, z0: Real, x1: Real, y1: Real, z1: Real, x2: Real, y2: Real, z2: Real
) -> Real:
    """Whether a triangle's coordinates are finite, and small enough for products of three."""
    plane = abs(x0) + abs(y0) + abs(x1) + abs(y1) + abs(x2) + abs(y2)
    return plane + abs(z0) + abs(z1) + abs(z2) < LIMIT


@maths
def first_pixel(low: Real) -> Integer:
    """First pixel centre at or after `low`, at least 0; safe for any finite value."""
    return 0 if low <= ZERO else (math.ceil(low) if low < np.float32(1e6) else 1000000)


@maths
def last_pixel(high: Real, size: Integer) -> Integer:
    """Last pixel centre at or before `high`, below `size`; -1 where there is none."""
    if high < ZERO:
        return -1
    return size - 1 if high >= np.float32(size - 1) else int(high)


@maths
def nearer(z: Real, triangle: Integer, old_z: Real, old_triangle: Integer) -> Real:
    """Whether a depth replaces another, NaN for none; of equals the earlier triangle stays."""
    return (not (old_z >= z)) | ((z == old_z) & (triangle < old_triangle))


@maths
def sortable_depth(bits: Integer) -> Integer:
    """Bits of a float32 (as int32) as an int32 that orders as the float does."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@maths
def pack(sortable: Integer, triangle: Integer) -> Integer:
    """Depth and triangle as one int64: the larger is nearer; of equals, the earlier triangle."""
    return (np.int64(sortable) << 32) | np.int64(ID_MASK - triangle)


@maths
def packed_depth(key: Integer) -> Integer:
    """The sortable depth of a packed key; `sortable_depth` turns it back into float32 bits."""
    return key >> 32


@maths
def normal_x(bx: Real, by: Real, bz: Real, cx: Real, cy: Real, cz: Real) -> Real:
    """The x of the outward normal of edges b, c from the first corner, in frame axes (y down)."""
    return bz * cy - by * cz


@maths
def normal_y(bx: Real, by: Real, bz: Real, cx: Real, cy: Real, cz: Real) -> Real:
    """The y of the outward normal, as in `normal_x`."""
    return bx * cz - bz * cx


@maths
def normal_z(bx: Real, by: Real, bz: Real, cx: Real, cy: Real, cz: Real) -> Real:
    """The z of the outward normal, as in `normal_x`: positive where the camera sees the outside."""
    return by * cx - bx * cy
