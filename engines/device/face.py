"""A face whose vertices are still on the device; `streamprn.engines.face` has the other one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from streamprn.errors import BackendError, FaceLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamprn.camera import Camera, MetricPose
    from streamprn.engines.device.surface import HeldVertices, SurfaceRenderer
    from streamprn.engines.geometry import FaceGeometry
    from streamprn.records import FrameImage, Gaze, MeshPoints, Pose, QuantisedVertices, Roi


@dataclass(frozen=True)
class DeviceFace:
    """Implements `streamprn.records.Face`; what is asked for is computed on the device.

    Attributes:
        roi: the region that the network saw.
        score: 0..1, NaN where the network gives none.
        box_xyxy: `(4,)` float32, bounds of the vertices, frame pixels.
        box_crop_xyxy: `(4,)` float32, the same in crop pixels.
        landmarks: `(68, 3)` float32 frame pixels.
        pose: see `streamprn.records.Pose`.
        crop_from_frame: `(2, 3)` float32, the inverse of the crop.
        depth_scale: frame pixels per crop pixel.
        held: the vertices.
        renderer: computes from them.
        place: makes `Face.mesh_points`, once.
        id: see `Face`; 0 until the face is followed.
        image: the frame that it was found in, for `texture`.
        geometry: of the engine, for `blendshapes` and `gaze`, which the CPU computes.
    """

    roi: Roi
    score: float
    box_xyxy: NDArray[np.float32]
    box_crop_xyxy: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose: Pose
    crop_from_frame: NDArray[np.float32]
    depth_scale: float
    held: HeldVertices
    renderer: SurfaceRenderer
    place: Callable[[], MeshPoints | None]
    id: int = 0
    image: FrameImage | None = None
    geometry: FaceGeometry | None = None
    _metric: dict[Camera, MetricPose] = field(default_factory=dict, init=False, repr=False)

    def outline(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `streamprn.engines.protocol.Surface.outline`."""
        matrix = self.crop_from_frame
        placed = self.landmarks / np.float32(self.depth_scale)
        placed[:, :2] = self.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return self.box_crop_xyxy, placed

    @cached_property
    def vertices(self) -> NDArray[np.float32]:
        """See `Face.vertices`; downloaded now."""
        with self._asking():
            return self.renderer.vertices(self.held)

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """See `Face.visible`."""
        with self._asking():
            return self.renderer.visible_landmarks(self.held)

    @cached_property
    def quantised_vertices(self) -> QuantisedVertices:
        """See `Face.quantised_vertices`."""
        with self._asking():
            return self.renderer.quantised_vertices(self.held)

    @cached_property
    def texture(self) -> NDArray[np.uint8]:
        """See `Face.texture`."""
        if self.image is None:
            raise ValueError("a face without its frame has no texture")
        with self._asking():
            return self.renderer.texture(self.held, self.image)

    @cached_property
    def mesh_points(self) -> MeshPoints | None:
        """See `Face.mesh_points`."""
        return self.place()

    @cached_property
    def blendshapes(self) -> NDArray[np.float32] | None:
        """See `Face.blendshapes`."""
        return self._geometry.blendshapes(self.mesh_points)

    @cached_property
    def gaze(self) -> Gaze | None:
        """See `Face.gaze`."""
        return self._geometry.gaze(self.mesh_points, self.pose)

    @property
    def _geometry(self) -> FaceGeometry:
        if self.geometry is None:
            raise ValueError("a face without its engine's geometry has no blendshapes and no gaze")
        return self.geometry

    def metric_pose(self, camera: Camera) -> MetricPose:
        """See `Face.metric_pose`; the CPU computes it, from the vertices that are downloaded."""
        if self.geometry is None:
            raise ValueError("a face without its engine's geometry has no metric pose")
        if camera not in self._metric:
            self._metric[camera] = self.geometry.metric_pose(self.vertices, camera, self.pose)
        return self._metric[camera]

    def depth_image(
        self, size_wh: tuple[int, int], others: Sequence[DeviceFace] = ()
    ) -> NDArray[np.float32]:
        """See `Face.depth_image`."""
        with self._asking():
            return self.renderer.depth([one.held for one in (self, *others)], size_wh)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except BackendError as error:
            self.renderer.failure = error
            raise FaceLostError(error.what, hint=error.hint) from error
