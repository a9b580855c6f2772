"""From position maps to faces: vertices in the frame, landmarks, pose, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.topology import UV_SIZE
from streamprn.kernels import pose, raster, sampling, smoothing, uv, visibility
from streamprn.records import NO_VERTICES, FaceResult, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.records import Frame, ResidentFace, RestoredFace

LANDMARK_COUNT = 68


@dataclass(frozen=True, slots=True)
class Smoothing:
    """One Euro filter (Casiez et al., CHI 2012) over every vertex of a followed face.

    The cut-off rises with the vertex's speed, so that a still face is calm and a moving one is
    not late: at rest the filter adds `1 / (2 pi min_cutoff_hz)` seconds of lag, in motion less.

    Attributes:
        min_cutoff_hz: cut-off at rest.
        beta: how fast the cut-off rises, Hz per (pixel per second), which is 1/px.
        derivative_cutoff_hz: cut-off of the speed itself.
    """

    min_cutoff_hz: float = 1.5
    beta: float = 0.05
    derivative_cutoff_hz: float = 1.0


class Smoother:
    """Keeps one filter per face id of one stream."""

    def __init__(self, settings: Smoothing) -> None:
        self.settings = settings
        self._last_ns = 0
        self._filters: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def smooth(self, faces: Sequence[RestoredFace], at_ns: int) -> list[RestoredFace]:
        """Filtered faces, with their bounds; the vertices are changed in place.

        Args:
            faces: of one frame; filters of faces that are not among them are forgotten.
            at_ns: when the frame was captured.
        """
        dt_s = max(at_ns - self._last_ns, 1_000_000) / 1e9
        self._last_ns = at_ns
        kept = {}
        for face in faces:
            known = self._filters.get(face.id)
            if known is None:
                known = (face.vertices.copy(), np.zeros_like(face.vertices))
            smoothing.one_euro(
                face.vertices,
                *known,
                dt_s=dt_s,
                min_cutoff_hz=self.settings.min_cutoff_hz,
                beta_per_px=self.settings.beta,
                derivative_cutoff_hz=self.settings.derivative_cutoff_hz,
            )
            kept[face.id] = known
        self._filters = kept
        return [replace(face, box_xyxy=uv.bounds(face.vertices)) for face in faces]


class CoarseMesh:
    """Every fourth texel of a topology: enough to tell which landmarks can be seen.

    The whole mesh would take ten times as long. Over the poses within 90 degrees of yaw and 40 of
    pitch and roll the two agree on 97 of 100 landmarks; the others lie on the outline.
    """

    STRIDE = 4
    SIDE = 128

    def __init__(self, topology: Topology) -> None:
        index = np.full(UV_SIZE * UV_SIZE, -1, np.int32)
        index[topology.texel] = np.arange(topology.vertex_count, dtype=np.int32)
        grid = index.reshape(UV_SIZE, UV_SIZE)[:: self.STRIDE, :: self.STRIDE]
        quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1)
        quads = quads.reshape(-1, 4)
        quads = quads[(quads >= 0).all(axis=1)]
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        if _uv_winding(topology.uv, topology.triangles) != _uv_winding(topology.uv, triangles):
            triangles = triangles[:, ::-1]
        self._vertices, flat = np.unique(triangles, return_inverse=True)
        self._triangles = np.ascontiguousarray(flat.reshape(-1, 3), np.int32)
        gap = topology.uv[self._vertices][None] - topology.uv[topology.landmarks][:, None]
        self._landmarks = (gap**2).sum(axis=2).argmin(axis=1).astype(np.int32)

    def visible_landmarks(self, vertices: NDArray[np.float32]) -> NDArray[np.bool_]:
        """`(68,)` bool: the landmark faces the camera and nothing of the face is before it."""
        return visibility.visible_landmarks(
            vertices[self._vertices], self._triangles, self._landmarks, side=self.SIDE
        )


def _uv_winding(uv: NDArray[np.float32], triangles: NDArray[np.int32]) -> float:
    a, b, c = (uv[triangles[:, corner]].astype(np.float64) for corner in range(3))
    ab, ac = b - a, c - a
    return float(np.sign((ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).sum()))


class FaceGeometry:
    """Computes results from vertices, for one topology.

    Args:
        topology: of the engine.
        texture_size: T, side of UV textures in texels.
        quantised: whether meshes of faces on a GPU are wanted as levels, not as vertices.
    """

    def __init__(
        self, topology: Topology, texture_size: int = 256, *, quantised: bool = False
    ) -> None:
        self.topology = topology
        self.texture_size = texture_size
        self._quantised = quantised
        self._coarse = CoarseMesh(topology)
        self._reference = pose.Reference(topology.canonical, topology.pose_weights)

    def faces(
        self, frame: Frame, restored: Sequence[RestoredFace], wanted: Set[Kind]
    ) -> tuple[FaceResult, ...]:
        """Results of every face: always pose and landmarks, the rest as `wanted` needs it.

        Visibility of the landmarks goes with `Kind.FACE`, the UV texture with `Kind.TEXTURE`.
        """
        return tuple(self._face(frame, face, wanted) for face in restored)

    @cached_property
    def _chart(self) -> sampling.Chart:
        topology = self.topology
        return sampling.Chart.draw(topology.triangles, topology.uv, self.texture_size)

    def _face(self, frame: Frame, face: RestoredFace, wanted: Set[Kind]) -> FaceResult:
        if face.resident is not None:
            return self._resident_face(frame, face, face.resident, wanted)
        topology = self.topology
        result = FaceResult(
            id=face.id,
            score=face.score,
            box_xyxy=face.box_xyxy,
            roi=face.roi,
            vertices=face.vertices,
            landmarks=face.vertices[topology.landmarks],
            pose=pose.estimate(face.vertices, self._reference),
        )
        if Kind.FACE in wanted:
            result = replace(result, visible=self._coarse.visible_landmarks(face.vertices))
        if Kind.TEXTURE in wanted:
            result = replace(
                result, texture=sampling.texture(frame.image.rgb, face.vertices, self._chart)
            )
        return result

    def _resident_face(
        self, frame: Frame, face: RestoredFace, resident: ResidentFace, wanted: Set[Kind]
    ) -> FaceResult:
        """The results of a face on a GPU, which is asked for no more than somebody wants."""
        mesh = Kind.MESH in wanted
        return FaceResult(
            id=face.id,
            score=face.score,
            box_xyxy=face.box_xyxy,
            roi=face.roi,
            vertices=resident.vertices() if mesh and not self._quantised else NO_VERTICES,
            landmarks=resident.landmarks,
            pose=resident.pose,
            visible=resident.visible_landmarks() if Kind.FACE in wanted else None,
            texture=resident.texture(frame.image) if Kind.TEXTURE in wanted else None,
            levels=resident.levels() if mesh and self._quantised else None,
        )

    def depth(
        self, frame_size_wh: tuple[int, int], faces: Sequence[RestoredFace]
    ) -> NDArray[np.float32]:
        """`(H, W)` float32 depth image over all faces: nearest z, NaN where there is none."""
        resident = [face.resident for face in faces if face.resident is not None]
        if resident:
            return resident[0].depth(resident[1:], frame_size_wh)
        width, height = frame_size_wh
        depth = np.full((height, width), np.nan, np.float32)
        for face in faces:
            raster.depth(
                face.vertices, self.topology.triangles, height, width, out=depth, merge=True
            )
        return depth
