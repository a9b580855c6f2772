"""UV textures of faces, with hidden texels left, cleared, or made up from the mirrored half."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.apps.blending import feathered, membrane
from streamprn.errors import InputError
from streamprn.kernels import sampling
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, UInt8

    Mask = NDArray[np.bool_]

FILLS = ("picture", "zero", "mirror", "skin")
_MAX_SIZE = 8192
# The hidden part is made up at this size and enlarged: it is smooth, or half of a face.
_MEMBRANE_SIZE = 256
# Charts of 1024 texels take 12 MB each.
_KEPT_CHARTS = 4
# Texels around the chart that repeat its edge, for readers that interpolate across it.
_BLEED = 8
# z of the unit normal.
_GRAZING = 0.5
_CLEARLY_MORE = 0.15


class Charts:
    """The texture charts of one topology by size, drawn when first asked for.

    Args:
        topology: whose triangles and UV coordinates.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._charts: dict[int, sampling.Chart] = {}
        self._lock = threading.Lock()

    def at(self, size: int) -> sampling.Chart:
        """The chart of `size` texels a side."""
        with self._lock:
            if size not in self._charts:
                if len(self._charts) >= _KEPT_CHARTS:
                    self._charts.pop(next(iter(self._charts)))
                topology = self.topology
                self._charts[size] = sampling.Chart.draw(topology.triangles, topology.uv, size)
            return self._charts[size]


@dataclass(frozen=True, slots=True)
class Surface:
    """A face's surface in its picture.

    Attributes:
        image: `(H, W, 3)` uint8.
        vertices: `(N, 3)` float32, pixels of the picture.
        visible: `(N,)` bool.
        charts: of the vertices' topology.
    """

    image: UInt8
    vertices: Float32
    visible: Mask
    charts: Charts

    def texture(self, size: int) -> UInt8:
        """What the picture shows at every texel."""
        return sampling.texture(self.image, self.vertices, self.charts.at(size))

    def mirrored(self) -> Surface:
        """The surface of the other half at every vertex."""
        mirror = self.charts.topology.mirror
        vertices = np.ascontiguousarray(self.vertices[mirror])
        return Surface(self.image, vertices, self.visible[mirror], self.charts)

    def shown(self, size: int) -> Mask:
        """Texels `(size, size)` bool that are seen; see `visible_texels`."""
        return visible_texels(self.visible, self.charts.topology, size)

    def without_grazing(self) -> Surface:
        """The same, with what is seen at a grazing angle hidden where the other half is not.

        There a pixel spans many texels, and an error of a pixel shows what is behind the face.
        Neither colour nor light can be taken from it.
        """
        topology = self.charts.topology
        facing = vertex_normals(self.vertices, topology.triangles)[:, 2]
        other = np.where(self.visible, facing, np.float32(0.0))[topology.mirror]
        grazing = (facing < _GRAZING) & (other > facing + _CLEARLY_MORE)
        return replace(self, visible=self.visible & ~grazing)


def check_size(size: int) -> int:
    """The texture size, if it is one.

    Raises:
        InputError: it is not in 16..8192.
    """
    if not 16 <= size <= _MAX_SIZE:
        raise InputError(f"texture size {size}: must be between 16 and {_MAX_SIZE} texels")
    return size


def face_texture(surface: Surface, size: int, fill: str) -> UInt8:
    """`(size, size, 3)` uint8 texture of a face; see `Reconstruction.texture`.

    For "skin" it is that of "mirror": what covers the face is told in `apps.covering`.
    """
    check_size(size)
    if fill not in FILLS:
        raise InputError(f"texture fill {fill!r}: must be one of {', '.join(FILLS)}")
    texture = surface.texture(size)
    if fill == "zero":
        texture = np.where(surface.shown(size)[:, :, None], texture, 0).astype(np.uint8)
    elif fill in ("mirror", "skin"):
        texture = _filled_from_mirror(surface, texture)
    return bleed(texture, surface.charts.at(size).mask)


def bleed(texture: UInt8, mask: Mask) -> UInt8:
    """Repeat the texels at the edge of the chart a little beyond it."""
    distance, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    band = (distance > 0) & (distance <= _BLEED)
    nearest = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    nearest[labels[mask]] = texture[mask]
    out = texture.copy()
    out[band] = nearest[labels[band]]
    return out


def visible_texels(visible: Mask, topology: Topology, size: int) -> Mask:
    """`(size, size)` bool: texels of a texture whose surface is seen.

    Specks of a few vertices that the depth test took wrongly are closed.
    """
    seen = vertex_mask_map(visible, topology)
    kernel = np.ones((3, 3), np.uint8)
    closed = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return _enlarged(closed, size) > 0.5


def vertex_mask_map(mask: Mask, topology: Topology) -> Mask:
    """`(256, 256)` bool: a mask of the vertices at their texels."""
    flat = np.zeros(topology.mask.size, bool)
    flat[topology.texel] = mask
    return flat.reshape(topology.mask.shape)


def _enlarged(values: NDArray[np.uint8] | NDArray[np.float32], size: int) -> Float32:
    scaled = cv2.resize(values.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(scaled, np.float32)


def _filled_from_mirror(surface: Surface, own: UInt8) -> UInt8:
    """Own texels where seen, the mirrored ones in the light of the own half elsewhere.

    A membrane carries the difference between the halves from where both are seen into the part
    that is not, so that the light goes on without a seam.
    """
    size = own.shape[0]
    topology = surface.charts.topology
    other = surface.mirrored()
    mirrored, mirror_shown = other.texture(size), other.shown(size)
    shown = surface.without_grazing().shown(size)
    inside = surface.charts.at(size).mask
    # Grazing texels are smeared; the seam lies a little inside of what is seen.
    inner = feathered(shown | ~inside, 0.03 * size)
    step = _light_step(own, mirrored, (inner > 0.5) & mirror_shown, topology)
    base = np.clip(mirrored + step, 0.0, 255.0)
    hole = inside & ~shown & ~mirror_shown
    if hole.any() and not hole[inside].all():
        # Seen on neither side: the colours around.
        best = np.where(shown[:, :, None], own, base).astype(np.float32)
        base = np.where(hole[:, :, None], membrane(best, inside & ~hole, inside), base)
    mixed = base + inner[:, :, None] * (own - base)
    return np.where(inside[:, :, None], np.round(mixed), 0).astype(np.uint8)


def _light_step(own: UInt8, mirrored: UInt8, seen_on_both: Mask, topology: Topology) -> Float32:
    size = own.shape[0]
    small = (_MEMBRANE_SIZE, _MEMBRANE_SIZE)
    difference = cv2.resize(own.astype(np.float32) - mirrored, small, interpolation=cv2.INTER_AREA)
    shared = cv2.resize(seen_on_both.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST)
    known = shared.astype(bool) & topology.mask
    if not known.any():
        return np.zeros((size, size, 3), np.float32)
    # Blurred within what is known: features of one side must not print through to the other.
    weight = known.astype(np.float32)
    sigma = 0.04 * _MEMBRANE_SIZE
    total = cv2.GaussianBlur(difference * weight[:, :, None], (0, 0), sigma)
    weights = cv2.GaussianBlur(weight, (0, 0), sigma)
    smooth = (total / np.maximum(weights, 1e-4)[:, :, None]).astype(np.float32)
    return _enlarged(membrane(smooth, known, topology.mask), size)
