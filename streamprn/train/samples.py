"""Training samples, made on the fly: faces at any angle, and what is no face.

Sample `k` of step `n` depends on the seed, n and k alone, so a run that was stopped goes on with
the very samples that it would have seen, whatever process makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamprn.kernels import attributes, raster
from streamprn.train import augment
from streamprn.train.fitting import FLIP
from streamprn.train.head import HeadMesh
from streamprn.train.layout import load_layout

if TYPE_CHECKING:
    from streamprn.records import Float32, UInt8
    from streamprn.train.dataset import Dataset

Rng = np.random.Generator

# Parts of the samples: no faces at all, and of the faces those in their own picture.
NEGATIVES, OWN = 0.14, 0.3
MOST_YAW, MOST_PITCH = 95.0, 38.0
#: Side of the crop over the box of the points, as the engine's crop rule has it.
TRACK_SCALE = 1.5
_OUTSIDE = -9.0
# What is blurred anyway is drawn so many times smaller.
_COARSE = 4


@dataclass(frozen=True)
class Batch:
    """B samples.

    Attributes:
        images: `(B, S, S, 3)` uint8 RGB.
        points: `(B, 468, 3)` float32 in half sides of the crop from its middle: x right, y down,
            z away from the camera with mean 0. Of position maps: `(B, V, 3)`, their vertices.
        is_face: `(B,)` bool; points of others mean nothing.
    """

    images: UInt8
    points: Float32
    is_face: Any


@dataclass(frozen=True)
class _View:
    """How a face is put into the crop: rotation in the picture, zoom, shift in parts of it."""

    angle: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def matrix(self) -> Float32:
        """`(3, 3)` float32, rotation about the axis of view, y down."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)


class Sampler:
    """Makes batches of a data set.

    Args:
        data: see `Dataset`.
        size: S, side of the crops.
        seed: of everything that is drawn.
        held_out: whether `batch` draws from the held-out faces, to test rather than to train.
    """

    #: Angles at which held-out faces are looked at; None is as in their pictures.
    yaws: tuple[float | None, ...] = (None, 30.0, 60.0, 85.0)

    def __init__(
        self, data: Dataset, size: int = 128, seed: int = 0, *, held_out: bool = False
    ) -> None:
        self._data = data
        self._size = size
        self._seed = seed
        self._mesh = HeadMesh(data)
        self._mirror = load_layout().mirror
        self._seen = np.flatnonzero(data.held_out == held_out)
        self._held = np.flatnonzero(data.held_out)

    def batch(self, step: int, count: int) -> Batch:
        """The training samples of a step."""
        rngs = [np.random.default_rng((self._seed, step, k)) for k in range(count)]
        faces = [int(self._seen[rng.integers(len(self._seen))]) for rng in rngs]
        heads = self._mesh.shapes(self._data, faces)
        made = [self._draw(*one) for one in zip(faces, heads, rngs, strict=True)]
        return _stack(made)

    def held_out(self, yaw: float | None, count: int, first: int = 0) -> Batch:
        """Faces that training does not see, unspoiled, turned to `yaw` degrees or as they are."""
        chosen = np.resize(self._held, first + count)[first:].tolist()
        heads = self._mesh.shapes(self._data, chosen)
        made = []
        for face, head in zip(chosen, heads, strict=True):
            rng = np.random.default_rng((self._seed, 10**9, face))
            if yaw is None:
                image, points = self._own(face, _View(), rng)
            else:
                turn = self._turn(face, self._toward(face, yaw, rng), 0.0)
                image, points = self._render(face, head, turn, _View(), rng)
            made.append((image.clip(0, 255).astype(np.uint8), points, True))
        return _stack(made)

    def _draw(self, face: int, head: Float32, rng: Rng) -> tuple[UInt8, Float32, bool]:
        """One sample of a face, or of something else."""
        is_face = bool(rng.random() >= NEGATIVES)
        other = self._other(rng)
        if is_face:
            image, points = self._face(face, head, _view(rng), rng)
        else:
            image, points = self._no_face(face, head, rng)
        done = augment.finish(image, other, rng)
        if rng.random() < 0.5:
            done = np.ascontiguousarray(done[:, ::-1])
            points = points[self._mirror] * np.array([-1, 1, 1], np.float32)
        return done, points, is_face

    def _face(self, face: int, head: Float32, view: _View, rng: Rng) -> tuple[Float32, Float32]:
        if rng.random() < OWN:
            return self._own(face, view, rng)
        return self._render(
            face, head, self._turn(face, self._yaw(face, rng), _pitch(rng)), view, rng
        )

    def _no_face(self, face: int, head: Float32, rng: Rng) -> tuple[Float32, Float32]:
        """The back of a head, surroundings alone, a crop beside the face, a face upside down."""
        kind = rng.random()
        if kind < 0.25:
            turn = self._turn(face, float(rng.uniform(135, 225)), _pitch(rng))
            return self._render(face, head, turn, _view(rng), rng, bald=False)
        if kind < 0.4:
            image = augment.background(None, self._other(rng), self._size, rng)
            for _ in range(rng.integers(0, 4)):
                image = augment.occlude(image, self._other(rng), rng)
            return image, np.zeros_like(self._data.shape[0])
        if kind < 0.75:
            return self._own(face, _wrong_view(rng), rng)
        upside_down = _View(math.radians(rng.uniform(130, 230)), math.exp(rng.normal(0, 0.12)))
        return self._face(face, head, upside_down, rng)

    def _other(self, rng: Rng) -> UInt8:
        return np.asarray(self._data.crops[self._seen[rng.integers(len(self._seen))]])

    def _toward(self, face: int, yaw: float, rng: Rng) -> float:
        """The yaw to the side to which the face looks already, if it does."""
        own = float(self._data.angles[face, 1])
        side = math.copysign(1, own) if abs(own) > 8 else float(rng.choice([-1, 1]))
        return side * yaw

    def _yaw(self, face: int, rng: Rng) -> float:
        chance = rng.random()
        if chance < 0.2:
            return float(self._data.angles[face, 1] + rng.normal(0, 8))
        low = 0 if chance < 0.65 else 45
        return self._toward(face, float(rng.uniform(low, MOST_YAW)), rng)

    def _turn(self, face: int, yaw: float, pitch: float) -> Float32:
        """The rotation of a face, turned to a yaw and by a pitch, degrees."""
        d = -math.radians(yaw - float(self._data.angles[face, 1]))
        p = math.radians(pitch)
        about_y = np.array(
            [[math.cos(d), 0, math.sin(d)], [0, 1, 0], [-math.sin(d), 0, math.cos(d)]]
        )
        about_x = np.array(
            [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
        )
        return np.asarray(about_x @ about_y @ self._data.rotation[face], np.float32)

    def _place(self, points: Float32, view: _View) -> tuple[float, Float32]:
        """Zoom and shift that put points of a picture, turned already, into the crop."""
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        scale = float(self._size / TRACK_SCALE / (high - low).max() * view.zoom)
        middle = self._size * (np.array([0.5, 0.5]) + view.shift) - 0.5
        return scale, np.asarray(middle - scale * (low + high) / 2, np.float32)

    def _normalise(self, points: Float32) -> Float32:
        """Pixels of the crop, z to the camera, to the units of `Batch.points`."""
        half = np.float32(self._size / 2)
        out = (points + np.array([0.5, 0.5, 0], np.float32)) / half - np.array(
            [1, 1, 0], np.float32
        )
        out[:, 2] = out[:, 2].mean() - out[:, 2]
        return np.asarray(out, np.float32)

    def _own(self, face: int, view: _View, rng: Rng) -> tuple[Float32, Float32]:
        """A face as its picture shows it."""
        crop = np.asarray(self._data.crops[face])
        turned = np.asarray(self._data.points[face]) @ view.matrix.T
        scale, shift = self._place(turned, view)
        matrix = np.c_[scale * view.matrix[:2, :2], shift]
        keep = rng.random() < 0.4
        border = cv2.BORDER_REPLICATE if keep else cv2.BORDER_CONSTANT
        drawn = cv2.warpAffine(crop, matrix, (self._size,) * 2, borderMode=border)
        image = drawn[:, :, :3].astype(np.float32)
        if not keep:
            alpha = drawn[:, :, 3:].astype(np.float32) / 255
            around = augment.background(None, self._other(rng), self._size, rng)
            image = image * alpha + around * (1 - alpha)
        points = scale * turned + np.append(shift, 0)
        return image, self._normalise(points)

    def _render(
        self, face: int, head: Float32, turn: Float32, view: _View, rng: Rng, *, bald: bool = True
    ) -> tuple[Float32, Float32]:
        """A face turned by `turn` `(3, 3)`, model to picture with y up; see `_texture_places`."""
        data = self._data
        crop = np.asarray(data.crops[face])
        whole = (turn.T * FLIP) @ view.matrix.T
        points = data.shape[face] @ whole
        scale, shift = self._place(points, view)
        moved = np.append(shift, 0).astype(np.float32)
        placed = np.asarray(scale * (head @ whole) + moved, np.float32)
        drawn = raster.rasterise(placed, self._mesh.triangles, self._size, self._size)
        at = self._texture_places(face, head, rng, bald=bald)
        source = attributes.interpolate(drawn, self._mesh.triangles, at, _OUTSIDE)
        seen = cv2.remap(crop, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        alpha = cv2.erode(seen[:, :, 3], np.ones((3, 3), np.uint8))
        alpha = cv2.GaussianBlur(alpha, (3, 3), 0).astype(np.float32)[:, :, None] / 255
        around = augment.background(
            self._around(face, view, rng), self._other(rng), self._size, rng
        )
        image = seen[:, :, :3].astype(np.float32) * alpha + around * (1 - alpha)
        return image, self._normalise(scale * points + moved)

    def _texture_places(self, face: int, head: Float32, rng: Rng, *, bald: bool) -> Float32:
        """`(V, 2)` pixels of the crop from which each vertex of the head has its colour.

        The picture shows no back of the head; its vertices take the colour of what they would
        cover, or (more often) that of the hair above the forehead. Unless the head may be `bald`,
        every vertex does: a head seen from behind.
        """
        data = self._data
        up = data.scale[face] * (head @ data.rotation[face].T) + data.translation[face]
        at = up[:, :2] * FLIP[:2]
        if not bald or rng.random() < 0.65:
            hair = (self._mesh.back & (head[:, 1] > self._mesh.chin)) | (not bald)
            rows = np.flatnonzero(data.crops[face][:, data.crops.shape[2] // 2, 3])
            low, high = at[hair, 1].min(initial=0), at[hair, 1].max(initial=1)
            top = max(low, float(rows[0]) + 2 if len(rows) else 0.0)
            bottom = float(data.points[face][:, 1].min())
            part = (at[hair, 1] - low) / max(high - low, 1)
            at[hair, 1] = top + part * max(bottom - top - 2, 2)
        return np.ascontiguousarray(at, np.float32)

    def _around(self, face: int, view: _View, rng: Rng) -> Float32:
        """The blurred picture itself."""
        turned = np.asarray(self._data.points[face]) @ view.matrix.T
        scale, shift = self._place(turned, view)
        matrix = np.c_[scale * view.matrix[:2, :2], shift] / _COARSE
        crop = np.ascontiguousarray(self._data.crops[face][:, :, :3])
        side = self._size // _COARSE
        seen = cv2.warpAffine(crop, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(4, 12)) / _COARSE)
        return np.asarray(cv2.resize(soft, (self._size,) * 2), np.float32)


def _view(rng: Rng) -> _View:
    """Crops as a detector and a tracker give them."""
    zoom = math.exp(np.clip(rng.normal(0, 0.12), -0.33, 0.33))
    angle = rng.uniform(-0.9, 0.9) if rng.random() < 0.2 else rng.normal(0, 0.16)
    x, y = rng.normal(0, 0.055, 2).clip(-0.16, 0.16)
    return _View(float(angle), zoom, (float(x), float(y)))


def _wrong_view(rng: Rng) -> _View:
    """A crop with a part of a face, or with one far too small."""
    if rng.random() < 0.5:
        way, far = rng.uniform(0, math.tau), rng.uniform(0.5, 0.8)
        return _View(float(rng.normal(0, 0.2)), 1.0, (far * math.cos(way), far * math.sin(way)))
    zoom = rng.uniform(2.5, 4) if rng.random() < 0.5 else rng.uniform(0.2, 0.4)
    x, y = rng.uniform(-0.3, 0.3, 2)
    return _View(float(rng.normal(0, 0.2)), float(zoom), (float(x), float(y)))


def _pitch(rng: Rng) -> float:
    return float(np.clip(rng.normal(0, 12), -MOST_PITCH, MOST_PITCH))


def _stack(made: list[tuple[UInt8, Float32, bool]]) -> Batch:
    images, points, faces = zip(*made, strict=True)
    return Batch(np.stack(images), np.stack(points), np.array(faces, bool))
