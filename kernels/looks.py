"""Where the points of a grid lie on a face, and how alike two faces are at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import cpu_loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]

__all__ = ["likeness", "normalise", "place"]

ZERO, ONE = np.float32(0.0), np.float32(1.0)
#: Luma that varies less, in levels of 255, is that of a wall.
FLAT = np.float32(1.0)


def place(
    carriers: Float32,
    normals: Float32,
    landmarks: Float32,
    facing: tuple[float, float, float],
    frame_from_crop: Float32,
    size_wh: tuple[int, int],
    grazing: float,
) -> tuple[Float32, Float32, float]:
    """The points of a grid in a frame, and how well each is seen.

    Args:
        carriers: `(N, P)` float32, C order, weights that carry landmarks to points.
        normals: `(N, 3)` float32, C order, unit normals of the points in the head's frame.
        landmarks: `(P, 3)` float32, crop pixels.
        facing: where the camera stands, unit, in the head's frame.
        frame_from_crop: `(2, 3)` float32.
        size_wh: of the frame, pixels.
        grazing: cosine below which a point counts nothing.

    Returns:
        Points `(N, 2)` float32, frame pixels; weights `(N,)` float32, 0..1: the cosine between a
        normal and the camera, 0 outside the frame; and their sum.
    """
    count = len(carriers)
    points, weights = np.empty((count, 2), np.float32), np.empty(count, np.float32)
    total = _place(
        carriers,
        normals,
        np.ascontiguousarray(landmarks, np.float32),
        tuple(np.float32(one) for one in facing),
        tuple(np.asarray(frame_from_crop, np.float32).ravel()),
        (np.float32(size_wh[0]), np.float32(size_wh[1])),
        np.float32(grazing),
        points,
        weights,
    )
    return points, weights, float(total)


def normalise(luma: Float32, weights: Float32) -> None:
    """Take a mean off luma and divide it by its deviation, or by one level if that is less.

    Args:
        luma: `(N,)` float32, C order, 0..255; changed in place.
        weights: `(N,)` float32, C order, of which some are more than 0.
    """
    _normalise(luma, weights)


def likeness(one: Float32, of_one: Float32, two: Float32, of_two: Float32) -> tuple[float, ...]:
    """How alike the colours of two faces are at the points that both show.

    Args:
        one: `(3, N)` float32, C order: luma of any mean and deviation, and two of chroma.
        of_one: `(N,)` float32, C order, weights of its points.
        two: of the other face.
        of_two: its weights.

    Returns:
        Sum of the products of the weights; weighted correlation of the luma, -1..1; weighted mean
        distance of the chroma, in its unit. The last two are NaN where the sum is 0.
    """
    return tuple(float(number) for number in _likeness(one, of_one, two, of_two))


@cpu_loop(fastmath=True)
def _place(
    carriers: Any,
    normals: Any,
    landmarks: Any,
    facing: Any,
    matrix: Any,
    size: Any,
    grazing: Any,
    points: Any,
    weights: Any,
) -> Any:
    # Landmarks in the frame first: the weights of a point sum to one, so they carry them as well.
    pins = np.empty((2, landmarks.shape[0]), np.float32)
    for p in range(landmarks.shape[0]):
        x, y = landmarks[p, 0], landmarks[p, 1]
        pins[0, p] = matrix[0] * x + matrix[1] * y + matrix[2]
        pins[1, p] = matrix[3] * x + matrix[4] * y + matrix[5]
    total = ZERO
    for n in range(carriers.shape[0]):
        x = y = ZERO
        for p in range(carriers.shape[1]):
            x += carriers[n, p] * pins[0, p]
            y += carriers[n, p] * pins[1, p]
        points[n, 0], points[n, 1] = x, y
        seen = normals[n, 0] * facing[0] + normals[n, 1] * facing[1] + normals[n, 2] * facing[2]
        inside = x >= ZERO and y >= ZERO and x < size[0] and y < size[1]
        weights[n] = min(seen, ONE) if seen >= grazing and inside else ZERO
        total += weights[n]
    return total


@cpu_loop(fastmath=True)
def _normalise(luma: Any, weights: Any) -> None:
    total = mean = square = ZERO
    for n in range(luma.shape[0]):
        total += weights[n]
        mean += weights[n] * luma[n]
    mean /= total
    for n in range(luma.shape[0]):
        luma[n] -= mean
        square += weights[n] * luma[n] * luma[n]
    share = ONE / max(np.sqrt(square / total), FLAT)
    for n in range(luma.shape[0]):
        luma[n] *= share


@cpu_loop(fastmath=True)
def _likeness(one: Any, of_one: Any, two: Any, of_two: Any) -> Any:
    total = mean_one = mean_two = apart = ZERO
    for n in range(of_one.shape[0]):
        weight = of_one[n] * of_two[n]
        total += weight
        mean_one += weight * one[0, n]
        mean_two += weight * two[0, n]
        blue, red = one[1, n] - two[1, n], one[2, n] - two[2, n]
        apart += weight * np.sqrt(blue * blue + red * red)
    mean_one, mean_two = mean_one / total, mean_two / total
    square_one = square_two = product = ZERO
    for n in range(of_one.shape[0]):
        weight = of_one[n] * of_two[n]
        a, b = one[0, n] - mean_one, two[0, n] - mean_two
        square_one += weight * a * a
        square_two += weight * b * b
        product += weight * a * b
    tiny = np.float32(1e-12)
    correlation = product / np.sqrt(max(square_one, tiny * total) * max(square_two, tiny * total))
    return total, correlation, apart / total
