"""What happens to a rendered face before a network sees it: surroundings, light, lens, codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, UInt8

Rng = np.random.Generator


def flat(size: int, rng: Rng) -> Float32:
    """One colour."""
    return np.full((size, size, 3), rng.integers(0, 256, 3), np.float32)


def noise(size: int, rng: Rng) -> Float32:
    """Coarse blobs or tiles of any colours."""
    cells = int(rng.choice([3, 5, 9, 17]))
    blobs = rng.integers(0, 256, (cells, cells, 3)).astype(np.float32)
    colour = rng.random()
    blobs = blobs * colour + blobs.mean(2, keepdims=True) * (1 - colour)
    way = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(blobs, (size, size), interpolation=way), np.float32)


def patch(crop: UInt8, size: int, rng: Rng) -> Float32:
    """A piece of another picture's border, enlarged.

    Args:
        crop: `(S, S, 4)` uint8, see `teacher.Taught`.
        size: of the result.
        rng: draws the place.
    """
    side = crop.shape[0]
    cut = int(rng.integers(side // 12, side // 4))
    left, right = rng.integers(0, side // 10), rng.integers(side * 9 // 10 - cut, side - cut)
    x, y = int(rng.choice([left, right])), int(rng.integers(0, side - cut))
    piece = np.ascontiguousarray(crop[y : y + cut, x : x + cut, :3])
    grown = cv2.resize(piece, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.float32)


def background(own: Any, other: UInt8, size: int, rng: Rng) -> Float32:
    """What lies around a face.

    Args:
        own: its blurred surroundings `(size, size, 3)`, or None.
        other: the crop of another face.
        size: side.
        rng: chooses.
    """
    chance = rng.random()
    if own is not None and chance < 0.4:
        return np.asarray(own, np.float32)
    if chance < 0.5:
        return flat(size, rng)
    return noise(size, rng) if chance < 0.7 else patch(other, size, rng)


def occlude(image: Float32, other: UInt8, rng: Rng) -> Float32:
    """An ellipse or a bar of something else before the face."""
    size = image.shape[0]
    mask = np.zeros((size, size), np.uint8)
    centre = rng.uniform(0.08, 0.92, 2) * size
    axes = rng.uniform(0.06, 0.27, 2) * size
    angle = float(rng.uniform(0, 180))
    if rng.random() < 0.7:
        cv2.ellipse(mask, (tuple(centre), tuple(axes * 2), angle), 255, -1)
    else:
        box = cv2.boxPoints((tuple(centre), (axes[0] * 0.8, size * 1.5), angle))
        cv2.fillPoly(mask, [box.astype(np.int32)], 255)
    return np.where(mask[:, :, None] > 0, background(None, other, size, rng), image)


def light(image: Float32, rng: Rng) -> Float32:
    """Grey pictures, gamma, contrast, brightness, tint, and light from a side."""
    if rng.random() < 0.12:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.3:
        gamma = np.exp(rng.normal(0, 0.25, 3)).astype(np.float32)
        image = np.asarray((image.clip(0, 255) / 255) ** gamma * 255, np.float32)
    shift = (rng.normal(0, 20) + rng.normal(0, 6, 3)).astype(np.float32)
    image = (image - np.float32(128)) * np.float32(np.exp(rng.normal(0, 0.2))) + 128 + shift
    if rng.random() < 0.25:
        ramp = np.linspace(-1, 1, image.shape[0], dtype=np.float32)
        across = np.float32(rng.uniform(-0.6, 0.6)) * ramp[None, :, None]
        down = np.float32(rng.uniform(-0.3, 0.3)) * ramp[:, None, None]
        image = image * (1 + across + down)
    return image


def lens(image: Float32, rng: Rng) -> Float32:
    """Low resolution, blur, motion, sharpening, noise."""
    size = image.shape[0]
    image = np.ascontiguousarray(image, np.float32)
    if rng.random() < 0.3:
        part = float(rng.uniform(0.2, 0.8))
        small = cv2.resize(image, None, fx=part, fy=part, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (size, size))
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.6)))
    if rng.random() < 0.1:
        length = int(rng.integers(3, 8))
        image = cv2.blur(image, (length, 1) if rng.random() < 0.6 else (1, length))
    if rng.random() < 0.2:
        soft = cv2.GaussianBlur(image, (0, 0), 1.2)
        image = image + np.float32(rng.uniform(0.3, 1.5)) * (image - soft)
    if rng.random() < 0.25:
        grain = rng.standard_normal((size, size, 1), dtype=np.float32)
        image = image + grain * np.float32(rng.uniform(2, 12))
    return image


def compress(image: UInt8, rng: Rng) -> UInt8:
    """As JPEG of low quality."""
    quality = int(rng.integers(25, 85))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def finish(image: NDArray[Any], other: UInt8, rng: Rng) -> UInt8:
    """All of it: `(S, S, 3)` float32 grey levels to uint8."""
    image = light(image, rng)
    if rng.random() < 0.25:
        image = occlude(image, other, rng)
    out = lens(image, rng).clip(0, 255).astype(np.uint8)
    return compress(out, rng) if rng.random() < 0.2 else out
