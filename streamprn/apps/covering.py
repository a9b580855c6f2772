"""What covers a face at its rim: hair, a hat, the background beside a mesh that is too wide.

Skin is what has about the brightness and tint of the middle of the face. What has not, and reaches
in from the rim of the texture, covers the face: anywhere above the brows, and in a band along the
rim below. Beside the eyes it must hang down further than the arms of spectacles are wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.apps.blending import LOG_LIGHT, membrane
from streamprn.apps.textures import bleed, vertex_mask_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.apps.textures import Charts
    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, UInt8

    Mask = NDArray[np.bool_]

# Logarithms of linear light: half as bright as the skin; a ratio of channels off by 1.6.
_DARKER_THAN_SKIN = -0.8
_OTHER_TINT = 0.5
# In black, ratios of channels are noise.
_DARKEST = np.float32(np.log(2e-3))
# Texels of the 256 x 256 map.
_MIDDLE = 56
_BAND = 32
_CHIN_BAND = 10
_RIM = 4
_GROWTH = 8
_BROW_GROWTH = 3
_WIDEST_ARM = 60
_MOSTLY = 0.6


def covered_texels(texture: UInt8, seen: Mask, topology: Topology, *, chin: bool = False) -> Mask:
    """`(256, 256)` bool: texels that show something before or beside the face.

    Args:
        texture: `(256, 256, 3)` uint8.
        seen: `(N,)` bool, vertices whose colour tells about the face.
        topology: of the texture.
        chin: whether the shadow below the chin counts.
    """
    darker, off_tint = _unlike_skin(texture, seen, topology)
    first, end = _extent(topology, "eyes", axis=0)
    middle = np.s_[_extent(topology, "nose")[1] :, first:end]
    off_tint[middle] = False
    darker[middle] &= chin & (_depth_in(topology)[middle] < _CHIN_BAND)
    other = (darker | off_tint) & topology.mask
    if not other.any():
        return other
    covered = _reaching_in(other, topology)
    # A brow is hair by itself, and near hair: it is covered as a whole or not at all.
    for area in _features(topology):
        if np.mean(covered[area]) < _MOSTLY:
            covered[_grown(area, topology, _BROW_GROWTH)] = False
    return covered


def occluded_texels(texture: UInt8, seen: Mask, topology: Topology) -> Mask:
    """`(256, 256)` bool: as `covered_texels`, and what reaches in from the rim any distance.

    So a microphone or a mask is found, but not a hand, which has the colour of skin. Eyes and brows
    are unlike skin by themselves and lie near hair: they count where most around them does.
    """
    darker, off_tint = _unlike_skin(texture, seen, topology)
    other = cv2.morphologyEx(
        ((darker | off_tint) & topology.mask).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))
    )
    for area in _features(topology):
        around = _grown(area, topology)
        if np.mean(other[around & ~area]) < _MOSTLY:
            other[around] = 0
    _, labels = cv2.connectedComponents(other.astype(np.uint8))
    from_rim = np.unique(labels[topology.mask & (_depth_in(topology) <= _RIM)])
    deep = _grown(np.isin(labels, from_rim[from_rim > 0]), topology)
    return deep | covered_texels(texture, seen, topology)


def _features(topology: Topology) -> list[Mask]:
    """Each eye and each brow, `(256, 256)` bool."""
    left = np.zeros_like(topology.mask)
    left[:, : topology.mask.shape[1] // 2] = True
    areas = [vertex_mask_map(topology.parts[part], topology) for part in ("eyes", "brows")]
    return [area & side for area in areas for side in (left, ~left)]


def without_cover(texture: UInt8, covered: Mask, inside: Mask) -> UInt8:
    """The texture with what covers it replaced by a smooth continuation of what it does not.

    Args:
        texture: `(S, S, 3)` uint8.
        covered: `(256, 256)` bool; see `covered_texels`.
        inside: `(S, S)` bool, texels of the chart.
    """
    size = texture.shape[0]
    large = cv2.resize(covered.astype(np.float32), (size, size)) > 0.5
    if not (large & inside).any() or large[inside].all():
        return texture
    smooth = membrane(texture.astype(np.float32), inside & ~large, inside)
    return np.asarray(np.where(inside[:, :, None], np.round(smooth), texture), np.uint8)


def skin_texture(mirrored: UInt8, small: UInt8, seen: Mask, charts: Charts) -> UInt8:
    """A texture with the hair, hat or background at its rim replaced by the skin beside them.

    Args:
        mirrored: `(S, S, 3)` uint8, hidden texels made up from the other half.
        small: `(256, 256, 3)` uint8, the same.
        seen: `(N,)` bool, vertices whose colour tells about the face.
        charts: of the texture's topology.
    """
    inside = charts.at(mirrored.shape[0]).mask
    covered = covered_texels(small, seen, charts.topology, chin=True)
    return bleed(without_cover(mirrored, covered, inside), inside)


def _unlike_skin(texture: UInt8, seen: Mask, topology: Topology) -> tuple[Mask, Mask]:
    """`(256, 256)` bool, twice: much darker than skin; of another tint."""
    features = topology.parts["eyes"] | topology.parts["brows"] | topology.parts["lips"]
    probe = vertex_mask_map(seen & ~features, topology) & (_depth_in(topology) > _MIDDLE)
    if not probe.any():
        return np.zeros(topology.mask.shape, bool), np.zeros(topology.mask.shape, bool)
    smooth = cv2.GaussianBlur(bleed(texture, topology.mask), (0, 0), 1.5)
    light = np.maximum(LOG_LIGHT[smooth], _DARKEST)
    luma = light.mean(axis=2)
    tint = light[:, :, :2] - light[:, :, 2:]
    skin_luma, skin_tint = np.median(luma[probe]), np.median(tint[probe], axis=0)
    # A forehead shines: brighter and paler than skin there is skin.
    shine = (luma > skin_luma) & (np.abs(tint).sum(axis=2) < np.abs(skin_tint).sum())
    shine[_extent(topology, "brows")[0] :] = False
    off_tint = np.abs(tint - skin_tint).max(axis=2) > _OTHER_TINT
    return luma < skin_luma + _DARKER_THAN_SKIN, off_tint & ~shine


def _reaching_in(other: Mask, topology: Topology) -> Mask:
    depth = _depth_in(topology)
    above, below = np.zeros(other.shape, bool), np.zeros(other.shape, bool)
    above[: _extent(topology, "brows")[0]] = True
    below[_extent(topology, "nose")[1] :] = True
    beside = other & (depth < _BAND)
    column = np.ones((_WIDEST_ARM, 1), np.uint8)
    hanging = cv2.morphologyEx(beside.astype(np.uint8), cv2.MORPH_OPEN, column) > 0
    reaching = (other & above) | (beside & below) | hanging
    _, labels = cv2.connectedComponents(reaching.astype(np.uint8))
    from_rim = np.unique(labels[topology.mask & (depth <= _RIM)])
    return _grown(np.isin(labels, from_rim[from_rim > 0]), topology)


def _grown(covered: Mask, topology: Topology, by: int = _GROWTH) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray((cv2.dilate(covered.astype(np.uint8), kernel) > 0) & topology.mask)


def _extent(topology: Topology, part: str, axis: int = 1) -> tuple[int, int]:
    """First row and the row after the last of a part; columns with axis 0."""
    lines = np.flatnonzero(vertex_mask_map(topology.parts[part], topology).any(axis=axis))
    return int(lines[0]), int(lines[-1]) + 1


def _depth_in(topology: Topology) -> Float32:
    """Texels to the rim of the chart; the border of the map is rim too."""
    padded = np.pad(topology.mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(distance[1:-1, 1:-1], np.float32)
