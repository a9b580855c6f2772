"""A face whose vertices are on the host; `streamprn.engines.device.face` has the one on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from streamprn.kernels import uv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from streamprn.camera import Camera, MetricPose
    from streamprn.engines.geometry import FaceGeometry
    from streamprn.records import (
        Face,
        Float32,
        FrameImage,
        Gaze,
        MeshPoints,
        Pose,
        QuantisedVertices,
        Roi,
        UInt8,
    )


@dataclass(frozen=True)
class HostFace:
    """Implements `streamprn.records.Face`; the vertices are made when they are first asked for.

    Attributes:
        id: see `Face`, as are `score` and `roi`.
        score: 0..1.
        roi: the region that the network saw.
        image: the frame that it was found in.
        geometry: of the engine.
        restore: makes the vertices and their box, once.
        place: makes `Face.mesh_points`, once.
    """

    id: int
    score: float
    roi: Roi
    image: FrameImage
    geometry: FaceGeometry
    restore: Callable[[], tuple[Float32, Float32]]
    place: Callable[[], MeshPoints | None]
    _metric: dict[Camera, MetricPose] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_vertices(
        cls,
        other: Face,
        image: FrameImage,
        geometry: FaceGeometry,
        vertices: Float32,
        points: MeshPoints | None = None,
    ) -> HostFace:
        """Another face's `id`, `score` and `roi` with vertices `(N, 3)` and points of one's own."""
        restore = partial(_with_bounds, vertices)
        return cls(other.id, other.score, other.roi, image, geometry, restore, lambda: points)

    @cached_property
    def _restored(self) -> tuple[Float32, Float32]:
        return self.restore()

    @property
    def vertices(self) -> Float32:
        """See `Face.vertices`."""
        return self._restored[0]

    @property
    def box_xyxy(self) -> Float32:
        """See `Face.box_xyxy`."""
        return self._restored[1]

    @cached_property
    def landmarks(self) -> Float32:
        """See `Face.landmarks`."""
        return self.geometry.landmarks(self.vertices)

    @cached_property
    def pose(self) -> Pose:
        """See `Face.pose`."""
        return self.geometry.pose(self.vertices)

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """See `Face.visible`."""
        return self.geometry.visible_landmarks(self.vertices)

    @cached_property
    def quantised_vertices(self) -> QuantisedVertices:
        """See `Face.quantised_vertices`."""
        return self.geometry.quantise(self.vertices)

    @cached_property
    def texture(self) -> UInt8:
        """See `Face.texture`."""
        return self.geometry.texture(self.image, self.vertices)

    @cached_property
    def mesh_points(self) -> MeshPoints | None:
        """See `Face.mesh_points`."""
        return self.place()

    @cached_property
    def blendshapes(self) -> Float32 | None:
        """See `Face.blendshapes`."""
        return self.geometry.blendshapes(self.mesh_points)

    @cached_property
    def gaze(self) -> Gaze | None:
        """See `Face.gaze`."""
        return self.geometry.gaze(self.mesh_points, self.pose)

    def metric_pose(self, camera: Camera) -> MetricPose:
        """See `Face.metric_pose`."""
        if camera not in self._metric:
            self._metric[camera] = self.geometry.metric_pose(self.vertices, camera, self.pose)
        return self._metric[camera]

    def depth_image(self, size_wh: tuple[int, int], others: Sequence[Face] = ()) -> Float32:
        """See `Face.depth_image`."""
        return self.geometry.depth_image(size_wh, [one.vertices for one in (self, *others)])


def _with_bounds(vertices: Float32) -> tuple[Float32, Float32]:
    return vertices, uv.bounds(vertices)
