"""What is computed from the vertices of a face: landmarks, pose, visibility, texture, depth."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.topology import UV_SIZE
from streamprn.kernels import gaze, perspective, pose, raster, sampling, visibility
from streamprn.kernels.quantise import quantise
from streamprn.records import QuantisedVertices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from streamprn.camera import Camera, MetricPose
    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, FrameImage, Gaze, MeshPoints, Pose, UInt8

    #: Makes `Face.blendshapes` of points, asked by any number of threads.
    Expressions = Callable[[MeshPoints], Float32]


#: The landmarks around each eye, the subject's right one first (iBUG order).
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)


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

    def visible_landmarks(self, vertices: Float32) -> NDArray[np.bool_]:
        """`(68,)` bool: the landmark faces the camera and nothing of the face is before it."""
        return visibility.visible_landmarks(
            vertices[self._vertices], self._triangles, self._landmarks, side=self.SIDE
        )


def _uv_winding(uv: NDArray[np.float32], triangles: NDArray[np.int32]) -> float:
    a, b, c = (uv[triangles[:, corner]].astype(np.float64) for corner in range(3))
    ab, ac = b - a, c - a
    return float(np.sign((ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).sum()))


class FaceGeometry:
    """Computes results from vertices `(N, 3)` float32 in frame pixels, for one topology.

    Args:
        topology: of the engine.
        texture_size: T, side of UV textures in texels.
        expressions: makes blendshapes, as `streamprn.engines.blendshapes.SharedBlendshapes`; None
            for faces without.
    """

    def __init__(
        self,
        topology: Topology,
        texture_size: int = 256,
        expressions: Expressions | None = None,
    ) -> None:
        self.topology = topology
        self.texture_size = texture_size
        self.expressions = expressions

    @cached_property
    def _reference(self) -> pose.Reference:
        return pose.Reference(self.topology.canonical, self.topology.pose_weights)

    @cached_property
    def _coarse(self) -> CoarseMesh:
        return CoarseMesh(self.topology)

    @cached_property
    def _chart(self) -> sampling.Chart:
        topology = self.topology
        return sampling.Chart.draw(topology.triangles, topology.uv, self.texture_size)

    def landmarks(self, vertices: Float32) -> Float32:
        """`(68, 3)` float32, frame pixels."""
        return vertices[self.topology.landmarks]

    def pose(self, vertices: Float32) -> Pose:
        """See `streamprn.kernels.pose.estimate`."""
        return pose.estimate(vertices, self._reference)

    @cached_property
    def _metric_reference(self) -> perspective.MetricReference:
        topology = self.topology
        eyes = topology.landmarks[RIGHT_EYE], topology.landmarks[LEFT_EYE]
        return perspective.MetricReference(topology.canonical, topology.pose_weights, eyes)

    def metric_pose(self, vertices: Float32, camera: Camera, start: Pose) -> MetricPose:
        """See `streamprn.kernels.perspective.refine`."""
        return perspective.refine(vertices, self._metric_reference, camera, start)

    def visible_landmarks(self, vertices: Float32) -> NDArray[np.bool_]:
        """`(68,)` bool; see `CoarseMesh`."""
        return self._coarse.visible_landmarks(vertices)

    def quantise(self, vertices: Float32) -> QuantisedVertices:
        """See `streamprn.kernels.quantise.quantise`."""
        return QuantisedVertices(*quantise(vertices))

    def texture(self, image: FrameImage, vertices: Float32) -> UInt8:
        """`(T, T, 3)` uint8 RGB: the image at every texel."""
        return sampling.texture(image.rgb, vertices, self._chart)

    def blendshapes(self, points: MeshPoints | None) -> Float32 | None:
        """`(52,)` float32, see `streamprn.records.Face`; None without points or `expressions`.

        Raises:
            BackendError: the network of expressions cannot be used, or failed.
        """
        if points is None or self.expressions is None:
            return None
        return self.expressions(points)

    def gaze(self, points: MeshPoints | None, head: Pose) -> Gaze | None:
        """See `streamprn.kernels.gaze.estimate`; None where the points have no irises."""
        if points is None or len(points.xyz_px) < gaze.POINTS:
            return None
        return gaze.estimate(points.xyz_px, head.rotation)

    def depth_image(self, size_wh: tuple[int, int], faces: Iterable[Float32]) -> Float32:
        """`(H, W)` float32: nearest z over the vertices of several faces, NaN where none is."""
        width, height = size_wh
        depth = np.full((height, width), np.nan, np.float32)
        for vertices in faces:
            raster.depth(vertices, self.topology.triangles, height, width, out=depth, merge=True)
        return depth
