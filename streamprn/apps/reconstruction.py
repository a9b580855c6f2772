"""A picture to dense 3D faces: detection, crop, network, and everything that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from streamprn.apps import covering, textures
from streamprn.apps.meshes import Mesh, metres_per_pixel
from streamprn.engines.blendshapes import SharedBlendshapes
from streamprn.engines.detectors import best_of_overlapping
from streamprn.engines.predict import QUARTERS, RefineRule, View
from streamprn.engines.predict_host import HostPredictor
from streamprn.errors import InputError
from streamprn.faces.track import on_one_head
from streamprn.kernels import normals, raster, sampling, uv, visibility
from streamprn.pixels import as_rgb
from streamprn.records import FrameImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.predict import Prediction
    from streamprn.engines.protocol import Engine
    from streamprn.engines.topology import Topology
    from streamprn.records import Detection, Face, Float32, Float64, Pose, Roi, UInt8

# How the picture is turned to find faces that are not upright.
_QUARTERS = (1, 2, 3)
# How many detections more than faces are wanted are looked at.
_SPARE = 2
# In pictures up to this longer side one pass finds faces down to about a tenth of it.
_ONE_PASS_PX = 640


class FaceDetector(Protocol):
    """What finds the faces of a picture."""

    def detect(
        self, image: FrameImage, *, min_score: float = 0.5, quarter_turns: int = 0
    ) -> list[Detection]:
        """Faces in the whole picture, turned by quarters before it is searched, best first."""

    def detect_tiled(
        self, image: FrameImage, *, min_score: float = 0.5, quarter_turns: int = 0
    ) -> list[Detection]:
        """Faces too small for one pass over the whole picture."""


@dataclass(frozen=True)
class Reconstruction:
    """One dense 3D face of a picture; costly results are computed when first asked for.

    Attributes:
        image: `(H, W, 3)` uint8, the whole picture.
        charts: texture charts of the topology.
        face: what the engine made of it.
    """

    image: UInt8
    charts: textures.Charts
    face: Face
    _cache: dict[tuple[int, str], UInt8] = field(default_factory=dict, repr=False, compare=False)

    @property
    def topology(self) -> Topology:
        """The meaning of the vertices."""
        return self.charts.topology

    @property
    def id(self) -> int:
        """See `records.Face`; 0 in a picture that is no part of a clip."""
        return self.face.id

    @property
    def score(self) -> float:
        """See `records.Face`, as for all that follows up to `landmarks`."""
        return self.face.score

    @property
    def roi(self) -> Roi:
        """The region that the network saw last."""
        return self.face.roi

    @property
    def vertices(self) -> Float32:
        """`(N, 3)` float32, frame pixels, y down, z towards the camera, minimum 0."""
        return self.face.vertices

    @property
    def box_xyxy(self) -> Float32:
        """`(4,)` float32, bounds of the vertices."""
        return self.face.box_xyxy

    @property
    def pose(self) -> Pose:
        """See `records.Pose`."""
        return self.face.pose

    @property
    def landmarks(self) -> Float32:
        """`(68, 3)` float32, iBUG/300-W order, in the space of `vertices`."""
        return self.face.landmarks

    @property
    def blendshapes(self) -> Float32 | None:
        """`(52,)` float32, see `records.Face`."""
        return self.face.blendshapes

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """`(N,)` bool: the vertex faces the camera and nothing of the face is before it."""
        return visibility.visible_vertices(self.vertices, self.topology.triangles, self.normals)

    @cached_property
    def visible_landmarks(self) -> NDArray[np.bool_]:
        """`(68,)` bool."""
        return self.visible[self.topology.landmarks]

    @cached_property
    def colours(self) -> UInt8:
        """`(N, 3)` uint8 RGB: the picture at every vertex (hidden ones show what hides them)."""
        return sampling.vertex_colours(self.image, self.vertices)

    @cached_property
    def normals(self) -> Float32:
        """`(N, 3)` float32 unit, outward; x right, y **down**, z to the camera."""
        return normals.vertex_normals(self.vertices, self.topology.triangles)

    @cached_property
    def position_map(self) -> Float32:
        """`(256, 256, 3)` float32: the vertices at their texels, frame pixels, 0 elsewhere."""
        return uv.scatter(self.vertices, self.topology.texel)

    @cached_property
    def depth(self) -> Float32:
        """`(H, W)` float32: z of the face in every pixel of the picture, NaN where it is not."""
        height, width = self.image.shape[:2]
        threads = raster.processors()
        return raster.depth(self.vertices, self.topology.triangles, height, width, threads=threads)

    @property
    def camera(self) -> Float64:
        """`(3, 4)` float64: canonical points `(x, y, z, 1)` to frame pixels, y down, and depth."""
        flip = np.diag([1.0, -1.0, 1.0])
        turn = self.pose.scale * flip @ self.pose.rotation
        return np.hstack([turn, self.pose.translation[:, None]])

    @cached_property
    def front_vertices(self) -> Float32:
        """`(N, 3)` float32: the face turned to the camera, at its place and size in the frame."""
        centre = self.pose.translation
        up = (self.vertices.astype(np.float64) - centre) * (1.0, -1.0, 1.0)
        turned = (up @ self.pose.rotation) * (1.0, -1.0, 1.0) + centre
        turned[:, 2] -= turned[:, 2].min()
        middle = 0.5 * (turned[:, :2].min(axis=0) + turned[:, :2].max(axis=0))
        wanted = 0.5 * (self.box_xyxy[:2] + self.box_xyxy[2:])
        turned[:, :2] += wanted - middle
        return turned.astype(np.float32)

    def texture(self, size: int = 256, fill: str = "picture") -> UInt8:
        """`(size, size, 3)` uint8 UV texture.

        Args:
            size: texels a side.
            fill: what hidden texels hold: "picture" (what the picture shows there), "zero",
                "mirror" (the mirrored half of the face, its light matched), or "skin" (the same,
                and skin in place of hair, a hat or the background at the rim).
        """
        key = (size, fill)
        if key not in self._cache:
            surface = textures.Surface(self.image, self.vertices, self.visible, self.charts)
            made = textures.face_texture(surface, size, fill)
            if fill == "skin":
                small = self.texture(256, "mirror")
                made = covering.skin_texture(made, small, self.visible, self.charts)
            self._cache[key] = made
        return self._cache[key]

    @property
    def metres_per_pixel(self) -> float:
        """An estimate from the width between the outer eye corners, free of the head's pose."""
        return metres_per_pixel(self.landmarks)

    def mesh(
        self,
        *,
        front: bool = False,
        texture_size: int | None = None,
        fill: str = "picture",
        masked: bool = False,
    ) -> Mesh:
        """The face as a mesh file holds it: y up, its lowest row of the picture at y = 0.

        Args:
            front: turned to the camera instead of as in the picture.
            texture_size: texels a side; None for vertex colours.
            fill: see `texture`.
            masked: vertex colours of hidden vertices are black.
        """
        points = self.front_vertices if front else self.vertices
        facing = self.normals
        if front:
            flip = np.array([1.0, -1.0, 1.0])
            facing = ((facing * flip) @ self.pose.rotation * flip).astype(np.float32)
        up = points * np.array([1.0, -1.0, 1.0], np.float32)
        up[:, 1] += self.image.shape[0] - 1
        textured = texture_size is not None
        return Mesh(
            vertices=up,
            triangles=self.topology.triangles,
            normals=(facing * (1.0, -1.0, 1.0)).astype(np.float32),
            colours=None if textured else self._mesh_colours(masked),
            uv=self.topology.uv if textured else None,
            texture=self.texture(texture_size, fill) if texture_size is not None else None,
            metres_per_pixel=self.metres_per_pixel,
        ).without_degenerates()

    def _mesh_colours(self, masked: bool) -> UInt8:
        return np.where(self.visible[:, None], self.colours, 0) if masked else self.colours


class Reconstructor:
    """Finds the faces of pictures and reconstructs them, one picture at a time.

    Args:
        engine: any engine.
        detector: finds faces where no boxes are given; None to demand boxes.
        max_faces: the most faces of one picture, best score first.
        min_score: of the detector, and of the engine where it scores.
        passes: how often the network may see a face: after a pass whose mesh does not fill the
            crop as it should, or that shows a face turned far away, it is cropped again.
    """

    def __init__(
        self,
        engine: Engine,
        detector: FaceDetector | None = None,
        *,
        max_faces: int = 16,
        min_score: float = 0.5,
        passes: int = 2,
    ) -> None:
        self.engine = engine
        self.detector = detector
        self.max_faces = max_faces
        self.min_score = min_score
        self.passes = passes
        self._charts = textures.Charts(engine.topology)
        self.expressions = SharedBlendshapes()
        rule = RefineRule(min_score=min_score)
        self._predictor = HostPredictor(engine, rule, expressions=self.expressions)

    def reconstruct(
        self,
        image: NDArray[Any],
        boxes: Sequence[Float32] | NDArray[np.float32] | None = None,
        *,
        order: Literal["RGB", "BGR"] = "RGB",
    ) -> list[Reconstruction]:
        """The faces of a picture.

        Args:
            image: grey, colour, or colour with alpha; uint8, uint16, or floating point in 0..1;
                see `streamprn.pixels.as_rgb`.
            boxes: `(K, 4)` face boxes x0, y0, x1, y1 in pixels, in place of detection; such
                faces are kept whatever their score, in the order given.
            order: of the channels; OpenCV's pictures are "BGR".

        Returns:
            Largest face first where they were detected.

        Raises:
            InputError: the array is no picture, or a box no box.
        """
        image = as_rgb(image, order)
        if boxes is not None:
            rois = [self.engine.crop.roi_from_vertices_box(_checked_box(box)) for box in boxes]
            return self.from_rois(image, rois, [1.0] * len(rois))
        thorough = self.max_faces > 1 and max(image.shape[:2]) > _ONE_PASS_PX
        # Some more than wanted: what turns out to be no face must not take the place of one.
        detections = self.detect(image, thorough=thorough)[: self.max_faces + _SPARE]
        rois = [self.engine.crop.roi_from_detection(detection) for detection in detections]
        faces = self.from_rois(image, rois, [found.score for found in detections])
        kept = [face for face in faces if face.score >= self.min_score]
        return sorted(_distinct(kept)[: self.max_faces], key=lambda face: -face.roi.side)

    def of_face(self, image: UInt8, face: Face) -> Reconstruction:
        """What `face` offers and more, of a picture `(H, W, 3)` uint8."""
        return Reconstruction(image, self._charts, face)

    def detect(self, image: UInt8, *, thorough: bool = False) -> list[Detection]:
        """Detections, best first, of faces at any roll.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            thorough: search overlapping tiles too, for small faces beside large ones; otherwise
                only where the whole picture shows none.
        """
        frame = FrameImage.from_rgb(np.ascontiguousarray(image))
        found = self.detect_at(frame, 0, thorough=thorough)
        for turns in _QUARTERS:
            found += self._detector.detect(frame, min_score=self.min_score, quarter_turns=turns)
        if not found:
            for turns in _QUARTERS:
                found += self.detect_at(frame, turns, thorough=True)
        return best_of_overlapping(found)

    def detect_at(
        self, frame: FrameImage, quarter_turns: int, *, thorough: bool = False
    ) -> list[Detection]:
        """Detections in the picture turned by so many quarters, see `detect`."""
        detector, least = self._detector, self.min_score
        found: list[Detection] = []
        if not thorough:
            found = detector.detect(frame, min_score=least, quarter_turns=quarter_turns)
        if not found:
            found = detector.detect_tiled(frame, min_score=least, quarter_turns=quarter_turns)
        return found

    @property
    def _detector(self) -> FaceDetector:
        if self.detector is None:
            raise ValueError("boxes are needed where there is no detector")
        return self.detector

    def from_rois(
        self, image: UInt8, rois: Sequence[Roi], scores: Sequence[float]
    ) -> list[Reconstruction]:
        """Reconstruct the faces in regions of a picture, batched; `scores` where there are none.

        Where the mesh turns out not to lie on a face, the region is tried upside down and lying on
        its side as well.
        """
        frame = FrameImage.from_rgb(np.ascontiguousarray(image))
        found = self._refined(frame, rois)
        lost = [index for index, one in enumerate(found) if one.score < max(self.min_score, 0.5)]
        if lost and self._predictor.score_rule is not None and self.engine.crop.rotate:
            turned = [rois[index].turned(turn) for index in lost for turn in QUARTERS]
            others = self._refined(frame, turned)
            for place, index in enumerate(lost):
                part = others[place * len(QUARTERS) : (place + 1) * len(QUARTERS)]
                found[index] = max([found[index], *part], key=lambda one: one.score)
        return [
            self.of_face(
                frame.rgb, one.face(id=0, score=score if math.isnan(one.score) else one.score)
            )
            for one, score in zip(found, scores, strict=True)
        ]

    def _refined(self, frame: FrameImage, rois: Sequence[Roi]) -> list[Prediction]:
        """Predictions after as many passes as it takes, checked."""
        best: dict[int, Prediction] = {}
        todo = dict(enumerate(rois))
        for _ in range(self.passes):
            found = self._predictor.look([View(frame, roi) for roi in todo.values()])
            again: dict[int, Roi] = {}
            for index, one in zip(todo, found, strict=True):
                worse = index in best and one.score < 0.5 * best[index].score
                if not worse:
                    best[index] = one
                if self._worth_another_pass(one):
                    again[index] = one.next_roi
            todo = again
            if not todo:
                break
        views = [View(frame, best[index].look.roi) for index in range(len(rois))]
        return self._predictor.checked(views, [best[index] for index in range(len(rois))])

    @staticmethod
    def _worth_another_pass(found: Prediction) -> bool:
        next_roi = found.next_roi
        moved = found.look.roi.change_to(next_roi) > 0.04
        return next_roi.is_finite and next_roi.side > 4.0 and (moved or found.look.fit.yaw > 30.0)


def _checked_box(box: Any) -> Float32:
    numbers = np.asarray(box, np.float32)
    sides = numbers[2:] - numbers[:2] if numbers.shape == (4,) else np.zeros(2)
    if not (np.isfinite(numbers).all() and (sides > 0).all()):
        raise InputError(f"a box must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, not {box}")
    return numbers


def _distinct(faces: list[Reconstruction]) -> list[Reconstruction]:
    """Less the faces that lie on the head of one with a better score; in the order as given."""
    kept: list[int] = []
    for index in sorted(range(len(faces)), key=lambda index: -faces[index].score):
        if not any(_on_one_head(faces[index], faces[other]) for other in kept):
            kept.append(index)
    return [faces[index] for index in sorted(kept)]


def _on_one_head(one: Reconstruction, other: Reconstruction) -> bool:
    """By the tips of the noses; a wrong mesh has its nose elsewhere, and much the same region."""
    apart = np.linalg.norm(one.landmarks[30, :2] - other.landmarks[30, :2])
    same_tip = bool(apart < 0.15 * other.roi.side)
    return same_tip or on_one_head(one.roi, other.roi)
