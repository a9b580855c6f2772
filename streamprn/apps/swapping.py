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
from streamprn.apps.blending import ColourMatch
from streamprn.apps.textures import vertex_mask_map
from streamprn.errors import InputError
from streamprn.kernels import sampling
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, UInt8

    Mask = NDArray[np.bool_]

EDITABLE_PARTS = ("face", "eyes", "brows", "nose", "lips")
_LARGEST_TEXTURE, _SMALLEST_TEXTURE = 2048, 128
# Texels of the 256 x 256 map by which a part's mask grows, so that its rim lies on plain skin.
_PART_MARGIN = 7
# Opening of the mouth over its width; below, it counts as closed.
_CLOSED_MOUTH = 0.06
_INNER_LIPS = slice(60, 68)
# Logarithms of linear light: half as bright as the nose; a ratio of channels off by 1.6.
_DARKER_THAN_SKIN = -0.8
_OTHER_TINT = 0.5


@dataclass(frozen=True)
class ReferenceFace:
    """A face prepared to be put onto others.

    Attributes:
        textures: `(S, S, 3)` uint8, full size first, each half the size of the one before.
        topology: the meaning of its texels.
        mouth_opening: see `mouth_opening`.
        bare: `(N,)` bool, false where hair or a hat covers the forehead.
    """

    textures: tuple[UInt8, ...]
    topology: Topology
    mouth_opening: float
    bare: Mask

    @classmethod
    def of(cls, face: Reconstruction) -> ReferenceFace:
        """Take the texture of a reconstructed face, at about the resolution of its picture."""
        x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
        size = _SMALLEST_TEXTURE
        while size < 1.5 * max(x1 - x0, y1 - y0) and size < _LARGEST_TEXTURE:
            size *= 2
        textures = [face.texture(size, "mirror")]
        while textures[-1].shape[0] > _SMALLEST_TEXTURE:
            half = textures[-1].shape[0] // 2
            textures.append(
                np.asarray(
                    cv2.resize(textures[-1], (half, half), interpolation=cv2.INTER_AREA), np.uint8
                )
            )
        return cls(tuple(textures), face.topology, mouth_opening(face.landmarks), bare_skin(face))

    def texture_for(self, face_px: float) -> UInt8:
        """The texture that is sampled without aliasing on a face of this many pixels."""
        fitting = (texture for texture in self.textures if texture.shape[0] <= 1.6 * face_px)
        return next(fitting, self.textures[-1])


def mouth_opening(landmarks: Float32) -> float:
    """Distance between the inner lips over the width between their corners; `(68, 3)`."""
    height = float(np.linalg.norm(landmarks[62] - landmarks[66]))
    return height / max(float(np.linalg.norm(landmarks[60] - landmarks[64])), 1e-6)


def bare_skin(face: Reconstruction) -> Mask:
    """`(N,)` bool: false where something that is no skin reaches in over the forehead.

    Skin is what has about the brightness and tint of the nose and the middle of the face.
    """
    topology = face.topology
    texture = cv2.GaussianBlur(face.texture(256, "mirror"), (0, 0), 1.5)
    light = np.log(np.maximum(images.linear_from_srgb(texture / 255.0), 2e-3))
    luma = light.mean(axis=2)
    tint = light[:, :, :2] - light[:, :, 2:]
    probe = vertex_mask_map(topology.parts["nose"] & face.visible, topology)
    if not probe.any():
        return np.ones(topology.vertex_count, bool)
    darker = luma < np.median(luma[probe]) + _DARKER_THAN_SKIN
    other = np.abs(tint - np.median(tint[probe], axis=0)).max(axis=2) > _OTHER_TINT
    return ~_reaching_in((darker | other) & topology.mask, topology)


def _reaching_in(covered: Mask, topology: Topology) -> Mask:
    """`(N,)` bool: the parts of `covered` that reach in from above the brows, grown."""
    brows = vertex_mask_map(topology.parts["brows"], topology)
    above = np.zeros(covered.shape, bool)
    above[: int(np.flatnonzero(brows.any(axis=1))[0])] = True
    rim = topology.mask & ~cv2.erode(topology.mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    _, labels = cv2.connectedComponents((covered & above).astype(np.uint8))
    from_rim = np.unique(labels[rim & above & covered])
    reaching = np.isin(labels, from_rim[from_rim > 0]).astype(np.uint8)
    grown = cv2.dilate(reaching, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)))
    return np.asarray(grown.reshape(-1)[topology.texel] > 0)


@dataclass(frozen=True)
class PartMask:
    """Which vertices are replaced, and which tell the colour of the skin.

    Attributes:
        wanted: `(N,)` float32 in 0..1.
        skin: `(N,)` bool.
        inner_mouth: `(N,)` bool, between the lips.
    """

    wanted: Float32
    skin: Mask
    inner_mouth: Mask

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
        return cls(wanted, skin, _inner_mouth(topology))

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


class FaceSwapper:
    """Puts a reference face onto faces.

    Args:
        reference: whose texture.
        part: what is replaced.
        match_colours: whether the reference takes the target's colours and light.
    """

    def __init__(
        self, reference: ReferenceFace, part: PartMask, *, match_colours: bool = True
    ) -> None:
        if part.empty:
            raise InputError("the mask selects nothing of the face")
        self.reference = reference
        self.part = part
        self.match_colours = match_colours

    def swap(self, image: UInt8, vertices: Float32) -> UInt8:
        """The picture `(H, W, 3)` uint8 with the face of these vertices `(N, 3)` replaced."""
        patch = self.draw(image, vertices)
        if patch is None:
            return image.copy()
        return patch.blended_into(image, patch.colour_match() if self.match_colours else None)

    def draw(self, image: UInt8, vertices: Float32) -> Patch | None:
        """Draw the reference in the place of a face; None where that is outside of the picture.

        Args:
            image: `(H, W, 3)` uint8.
            vertices: `(N, 3)` float32, of the face to replace, pixels of the picture.
        """
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
            texture=self.reference.texture_for(face_px),
        )
        attributes, _ = sampling.render(
            local, topology.triangles, height, width, colours=self._attributes(normals, opening)
        )
        return Patch(
            box=box,
            source=source,
            target=np.ascontiguousarray(image[box]),
            mask=_clean(coverage & (attributes[:, :, 0] > 127), face_px),
            skin=coverage & (attributes[:, :, 1] > 127),
            face_px=face_px,
        )

    def _attributes(self, normals: Float32, opening: float) -> UInt8:
        """Per vertex, 0..255: whether it is replaced, and whether it shows the colour of skin."""
        wanted = np.where(self.reference.bare, self.part.wanted, np.float32(0.0))
        closed = self.reference.mouth_opening < _CLOSED_MOUTH
        if closed and opening > 2.0 * max(self.reference.mouth_opening, 0.5 * _CLOSED_MOUTH):
            # A closed mouth has no texels to show between open lips: the target keeps its own.
            wanted = np.where(self.part.inner_mouth, np.float32(0.0), wanted)
        facing = normals[:, 2]
        out = np.zeros((len(wanted), 3), np.uint8)
        out[:, 0] = 255.0 * np.where(facing > 0.05, wanted, 0.0)
        out[:, 1] = 255 * (self.part.skin & (facing > 0.35))
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
        face_px: the larger side of the face.
    """

    box: tuple[slice, slice]
    source: UInt8
    target: UInt8
    mask: Mask
    skin: Mask
    face_px: float

    def colour_match(self) -> ColourMatch:
        """From the reference's skin to the target's; see `blending.match_colours`."""
        return blending.match_colours(self.source, self.target, self.skin)

    def blended_into(self, image: UInt8, match: ColourMatch | None) -> UInt8:
        """A copy of the picture with the patch in it."""
        out = image.copy()
        source = self.source if match is None else match.apply(self.source)
        feather = max(2.0, 0.035 * self.face_px)
        out[self.box] = blending.poisson_blend(self.target, source, self.mask, feather)
        return out


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
