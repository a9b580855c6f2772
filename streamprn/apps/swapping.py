"""One face's texture on another face: whole, or a part of it; in pictures and in clips.

The reference's texture (hidden texels made up from its other half) is drawn with the target's own
vertices, so that it takes the target's pose and expression; its colours are matched to the
target's in linear light; the blend then hides the rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.apps import blending, images
from streamprn.apps.blending import ColourMatch, membrane
from streamprn.apps.covering import covered_texels, occluded_texels
from streamprn.apps.textures import vertex_mask_map
from streamprn.errors import InputError
from streamprn.kernels import sampling
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.apps.textures import Charts
    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, UInt8

    Mask = NDArray[np.bool_]

EDITABLE_PARTS = ("face", "eyes", "brows", "nose", "lips")
_LARGEST_TEXTURE, _SMALLEST_TEXTURE = 2048, 128
# Texels of the 256 x 256 map by which a part's mask grows, so that its rim lies on plain skin.
_PART_MARGIN = 7
_CHIN_RAMP = 16
# Levels between the channels of a picture without colour, after JPEG.
_GREY_SPREAD = 6
# Opening of the mouth over its width; below, it counts as closed.
_CLOSED_MOUTH = 0.06
_INNER_LIPS = slice(60, 68)
# z of the normal: less tells nothing about colours.
_LEAST_FACING = 0.35
# The line between closed lips is this much darker than they are, in sRGB.
_LIP_LINE = 0.85


@dataclass(frozen=True)
class ReferenceFace:
    """A face prepared to be put onto others.

    Attributes:
        textures: `(S, S, 3)` uint8, full size first, each half the size of the one before.
        closed: the same with the lips closed over the teeth.
        charts: of its topology.
        mouth_opening: see `mouth_opening`.
    """

    textures: tuple[UInt8, ...]
    closed: tuple[UInt8, ...]
    charts: Charts
    mouth_opening: float

    @property
    def topology(self) -> Topology:
        """The meaning of the texels."""
        return self.charts.topology

    @classmethod
    def of(cls, face: Reconstruction) -> ReferenceFace:
        """Take the texture of a reconstructed face, at about the resolution of its picture.

        Hair, a hat or the background at its rim are replaced by the skin beside them.
        """
        x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
        size = _SMALLEST_TEXTURE
        while size < 1.5 * max(x1 - x0, y1 - y0) and size < _LARGEST_TEXTURE:
            size *= 2
        inside = face.charts.at(size).mask
        texture = face.texture(size, "skin")
        opening = mouth_opening(face.landmarks)
        closed = texture
        if opening >= _CLOSED_MOUTH:
            closed = _with_lips_closed(texture, inside, face.topology)
        return cls(_pyramid(texture), _pyramid(closed), face.charts, opening)

    def texture_for(self, face_px: float, opening: float = 1.0) -> UInt8:
        """The texture that is sampled without aliasing on a face of this many pixels.

        Args:
            face_px: the larger side of the face to draw.
            opening: of its mouth; see `mouth_opening`.
        """
        textures = self.closed if opening < _CLOSED_MOUTH else self.textures
        fitting = (texture for texture in textures if texture.shape[0] <= 1.6 * face_px)
        return next(fitting, textures[-1])


def _pyramid(texture: UInt8) -> tuple[UInt8, ...]:
    textures = [texture]
    while textures[-1].shape[0] > _SMALLEST_TEXTURE:
        half = textures[-1].shape[0] // 2
        small = cv2.resize(textures[-1], (half, half), interpolation=cv2.INTER_AREA)
        textures.append(np.asarray(small, np.uint8))
    return tuple(textures)


def _with_lips_closed(texture: UInt8, inside: Mask, topology: Topology) -> UInt8:
    """The texture with a dark line between the lips instead of teeth, squeezed to a few pixels."""
    size = texture.shape[0]
    mouth = vertex_mask_map(_inner_mouth(topology), topology).astype(np.uint8)
    teeth = cv2.dilate(cv2.resize(mouth, (size, size)), np.ones((3, 3), np.uint8)) > 0
    lips = membrane(texture.astype(np.float32), inside & ~teeth, inside)
    return np.asarray(np.where(teeth[:, :, None], _LIP_LINE * lips, texture), np.uint8)


def mouth_opening(landmarks: Float32) -> float:
    """Distance between the inner lips over the width between their corners; `(68, 3)`."""
    height = float(np.linalg.norm(landmarks[62] - landmarks[66]))
    return height / max(float(np.linalg.norm(landmarks[60] - landmarks[64])), 1e-6)


@dataclass(frozen=True)
class PartMask:
    """Which vertices are replaced, and which tell the colour of the skin.

    Attributes:
        wanted: `(N,)` float32 in 0..1.
        skin: `(N,)` bool.
        inner_mouth: `(N,)` bool, between the lips.
        chin: `(N,)` float32 in 0..1, below the mouth.
    """

    wanted: Float32
    skin: Mask
    inner_mouth: Mask
    chin: Float32

    @classmethod
    def named(cls, part: str, topology: Topology) -> PartMask:
        """A part of `EDITABLE_PARTS`, with a margin of skin around all but the whole face.

        Raises:
            InputError: there is no such part.
        """
        if part not in EDITABLE_PARTS:
            known = ", ".join(EDITABLE_PARTS)
            raise InputError(f"part {part!r}: must be one of {known}, or a mask picture")
        if part == "face":
            return cls.of_map(topology.mask.astype(np.float32), topology)
        area = vertex_mask_map(topology.parts[part], topology).astype(np.uint8)
        size = 2 * _PART_MARGIN + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return cls.of_map(np.asarray(cv2.dilate(area, kernel), np.float32), topology)

    @classmethod
    def of_map(cls, area: NDArray[np.float32], topology: Topology) -> PartMask:
        """From a mask in UV space, `(S, S)` float32 in 0..1, any S."""
        if area.ndim != 2 or area.shape[0] != area.shape[1]:
            raise InputError(
                "the mask must be a square grey picture in UV space",
                hint="draw it over a texture written by reconstruct --texture",
            )
        small = cv2.resize(area, topology.mask.shape[::-1], interpolation=cv2.INTER_AREA)
        features = np.zeros(topology.vertex_count, bool)
        for part in ("eyes", "brows", "lips"):
            features |= topology.parts[part]
        grown = cv2.dilate(
            vertex_mask_map(features, topology).astype(np.uint8), np.ones((5, 5), np.uint8)
        )
        skin = grown.reshape(-1)[topology.texel] == 0
        wanted = np.asarray(small.reshape(-1)[topology.texel], np.float32)
        return cls(wanted, skin, _inner_mouth(topology), _chin(topology))

    @classmethod
    def parse(cls, text: str, topology: Topology) -> PartMask:
        """A part by name, or by the path of a mask picture in UV space (white is replaced)."""
        if text in EDITABLE_PARTS or not Path(text).suffix:
            return cls.named(text, topology)
        area = images.read_image(Path(text)).mean(axis=2) / 255.0
        return cls.of_map(area.astype(np.float32), topology)

    @property
    def empty(self) -> bool:
        """Whether nothing would be replaced."""
        return not (self.wanted > 0.5).any()


def _inner_mouth(topology: Topology) -> Mask:
    lips = topology.uv[topology.landmarks[_INNER_LIPS]] * (256.0, -256.0) + (-0.5, 255.5)
    area = np.zeros(topology.mask.shape, np.uint8)
    cv2.fillPoly(area, [np.round(lips).astype(np.int32)], 1)
    return area.reshape(-1)[topology.texel] > 0


def _chin(topology: Topology) -> Float32:
    rows = topology.texel // topology.mask.shape[1]
    lips = rows[topology.parts["lips"]]
    return np.asarray(np.clip((rows - lips.max()) / _CHIN_RAMP, 0.0, 1.0), np.float32)


class FaceSwapper:
    """Puts a reference face onto faces.

    Args:
        reference: whose texture.
        part: what is replaced.
        match_colours: whether the reference takes the target's colours and light.
        occlusion: whether what covers the middle of the target stays too; see `occluded_texels`.
    """

    def __init__(
        self,
        reference: ReferenceFace,
        part: PartMask,
        *,
        match_colours: bool = True,
        occlusion: bool = False,
    ) -> None:
        if part.empty:
            raise InputError("the mask selects nothing of the face")
        self.reference = reference
        self.part = part
        self.match_colours = match_colours
        self.occlusion = occlusion

    def swap(self, image: UInt8, vertices: Float32) -> UInt8:
        """The picture `(H, W, 3)` uint8 with the face of these vertices `(N, 3)` replaced."""
        patch = self.draw(image, vertices)
        if patch is None:
            return image.copy()
        return patch.blended_into(image, patch.colour_match() if self.match_colours else None)

    def draw(
        self, image: UInt8, vertices: Float32, covering: Float32 | None = None
    ) -> Patch | None:
        """Draw the reference in the place of a face; None where that is outside of the picture.

        Args:
            image: `(H, W, 3)` uint8.
            vertices: `(N, 3)` float32, of the face to replace, pixels of the picture.
            covering: `(N,)` float32, what stays (above 0.5); found in the picture if None.
        """
        if covering is None:
            covering = self.covering(image, vertices)
        normals = vertex_normals(vertices, self.reference.topology.triangles)
        opening = mouth_opening(vertices[self.reference.topology.landmarks])
        box = _box_in(vertices, image)
        if box is None:
            return None
        rows, columns = box
        topology = self.reference.topology
        height, width = rows.stop - rows.start, columns.stop - columns.start
        local = vertices - np.array([columns.start, rows.start, 0.0], np.float32)
        face_px = float(np.ptp(vertices[:, :2], axis=0).max())
        source, coverage = sampling.render(
            local,
            topology.triangles,
            height,
            width,
            uv=topology.uv,
            texture=self.reference.texture_for(face_px, opening),
        )
        attributes, _ = sampling.render(
            local,
            topology.triangles,
            height,
            width,
            colours=self._attributes(normals, opening, covering),
        )
        return Patch(
            box=box,
            source=source,
            target=np.ascontiguousarray(image[box]),
            mask=_clean(coverage & (attributes[:, :, 0] > 127), face_px),
            skin=coverage & (attributes[:, :, 1] > 127),
            chin=np.asarray(attributes[:, :, 2] / 255.0, np.float32),
            face_px=face_px,
        )

    def covering(self, image: UInt8, vertices: Float32) -> Float32:
        """What covers the face and therefore stays: `(N,)` float32, 1 or 0.

        Args:
            image: `(H, W, 3)` uint8.
            vertices: `(N, 3)` float32, of the face to replace, pixels of the picture.
        """
        topology = self.reference.topology
        texture = sampling.texture(image, vertices, self.reference.charts.at(256))
        facing = vertex_normals(vertices, topology.triangles)[:, 2]
        find = occluded_texels if self.occlusion else covered_texels
        covered = find(texture, facing > _LEAST_FACING, topology)
        return covered.reshape(-1)[topology.texel].astype(np.float32)

    def _attributes(self, normals: Float32, opening: float, covering: Float32) -> UInt8:
        """Per vertex, 0..255: whether it is replaced, shows the colour of skin, is of the chin."""
        wanted = np.where(covering > 0.5, np.float32(0.0), self.part.wanted)
        closed = self.reference.mouth_opening < _CLOSED_MOUTH
        if closed and opening > 2.0 * max(self.reference.mouth_opening, 0.5 * _CLOSED_MOUTH):
            # A closed mouth has no texels to show between open lips: the target keeps its own.
            wanted = np.where(self.part.inner_mouth, np.float32(0.0), wanted)
        facing = normals[:, 2]
        out = np.zeros((len(wanted), 3), np.uint8)
        out[:, 0] = 255.0 * np.where(facing > 0.05, wanted, 0.0)
        out[:, 2] = 255.0 * self.part.chin
        out[:, 1] = 255 * (self.part.skin & (facing > _LEAST_FACING) & (covering < 0.5))
        return out


@dataclass(frozen=True)
class Patch:
    """A reference drawn in the place of a face.

    Attributes:
        box: rows and columns of the picture that it covers.
        source: `(h, w, 3)` uint8, the drawn reference.
        target: `(h, w, 3)` uint8, the picture there.
        mask: `(h, w)` bool, what is replaced.
        skin: `(h, w)` bool, where both show skin.
        chin: `(h, w)` float32 in 0..1, below the mouth.
        face_px: the larger side of the face.
    """

    box: tuple[slice, slice]
    source: UInt8
    target: UInt8
    mask: Mask
    skin: Mask
    chin: Float32
    face_px: float

    def colour_match(self) -> ColourMatch:
        """From the reference's skin to the target's; see `blending.match_colours`."""
        return blending.match_colours(self.source, self.target, self.skin)

    def blended_into(self, image: UInt8, match: ColourMatch | None) -> UInt8:
        """A copy of the picture with the patch in it."""
        out = image.copy()
        source: Float32 | UInt8 = (
            self.source if match is None else match.apply(self.source, self._surely_skin())
        )
        if match is not None and _is_grey(self.target):
            source = np.repeat(source.mean(axis=2, keepdims=True), 3, axis=2)
        feather = max(2.0, 0.035 * self.face_px)
        out[self.box] = blending.poisson_blend(self.target, source, self.mask, feather, self.chin)
        return out

    def _surely_skin(self) -> Float32:
        """`(h, w)` float32 in 0..1, fading towards eyes, brows, lips and what covers the face."""
        sigma = max(1.0, 0.01 * self.face_px)
        return np.asarray(cv2.GaussianBlur(self.skin.astype(np.float32), (0, 0), sigma), np.float32)


def _is_grey(rgb: UInt8) -> bool:
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return float(np.percentile(spread, 98)) <= _GREY_SPREAD


def _box_in(vertices: Float32, image: UInt8) -> tuple[slice, slice] | None:
    height, width = image.shape[:2]
    margin = 4
    x0, y0 = np.floor(vertices[:, :2].min(axis=0)).astype(int) - margin
    x1, y1 = np.ceil(vertices[:, :2].max(axis=0)).astype(int) + margin
    rows = slice(max(int(y0), 0), min(int(y1), height))
    columns = slice(max(int(x0), 0), min(int(x1), width))
    if rows.stop - rows.start < 4 or columns.stop - columns.start < 4:
        return None
    return rows, columns


def _clean(mask: Mask, face_px: float) -> Mask:
    """Without specks, and drawn in a little from the outline, where hair and background begin."""
    size = max(3, 2 * round(0.006 * face_px) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), size, size, size, size, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    eroded = cv2.erode(closed, kernel)
    return np.asarray(eroded[size:-size, size:-size] > 0)
