"""Faces as engines give them: enough for tracking at once, vertices when somebody wants them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from streamprn.kernels import uv
from streamprn.records import MeshPoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.kernels.uv import Operator

IDENTITY = np.eye(2, 3, dtype=np.float32)
#: Every so many vertices, and the outline, tell the bounds of a face.
BOUNDS_STRIDE = 8


class ControlLayout:
    """What all `ControlSurface`s of an engine share.

    Args:
        operator: from control points to texels.
        topology: of the engine.
    """

    def __init__(self, operator: Operator, topology: Topology) -> None:
        self.operator = operator
        self.landmark_indices = np.ascontiguousarray(operator.indices2[topology.landmarks])
        self.landmark_weights = np.ascontiguousarray(operator.weights2[topology.landmarks])


class ControlSurface:
    """A face as the control points of a subdivision surface; see `protocol.Surface`.

    Args:
        control: `(M, 4)` float32, see `streamprn.kernels.uv.control_points`; kept, not copied.
        layout: see `ControlLayout`.
        points: see the attribute; kept, not copied.
        tongue: see the attribute.

    Attributes:
        points: `(P, 3)` float32 crop pixels, what the network said: for the MediaPipe networks 468
            points of the mesh, and for `facemesh2` 10 more of the irises, the subject's right one
            first, each as its centre and four points around it.
        tongue: probability that the tongue is put out, 0 where the network does not tell.
    """

    __slots__ = ("_control", "_layout", "points", "tongue")

    def __init__(
        self,
        control: NDArray[np.float32],
        layout: ControlLayout,
        points: NDArray[np.float32],
        tongue: float = 0.0,
    ) -> None:
        self._control = control
        self._layout = layout
        self.points = points
        self.tongue = tongue

    def outline(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `protocol.Surface.outline`; the box is that of the control points."""
        layout = self._layout
        return uv.outline(self._control, layout.landmark_indices, layout.landmark_weights)

    def restore(
        self, frame_from_crop: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `protocol.Surface.restore`."""
        return uv.restore_control(self._control, self._layout.operator, frame_from_crop)

    def position_map(self) -> NDArray[np.float32]:
        """See `protocol.Surface.position_map`."""
        return uv.position_map_of(self._control, self._layout.operator)

    def mesh_points(self, frame_from_crop: NDArray[np.float32]) -> MeshPoints:
        """See `protocol.Surface.mesh_points`."""
        return MeshPoints(placed(self.points, frame_from_crop), self.tongue)


def placed(
    points: NDArray[np.float32], frame_from_crop: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Points `(P, 3)` of a crop in the frame; `(2, 3)` similarity, z is multiplied by its scale."""
    turn = frame_from_crop[:, :2]
    out = points * np.float32(np.hypot(turn[0, 0], turn[1, 0]))
    out[:, :2] = points[:, :2] @ turn.T + frame_from_crop[:, 2]
    return out


class MapLayout:
    """What all `MapSurface`s of an engine share.

    Args:
        topology: of the engine.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    @cached_property
    def bounds_texel(self) -> NDArray[np.int32]:
        """Texels enough to bound a face: the edge of the mask, and every eighth of the others."""
        mask, texel = self.topology.mask, self.topology.texel
        padded = np.pad(mask, 1)
        inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        edge = np.flatnonzero((mask & ~inside).reshape(-1))
        return np.union1d(edge, texel[::BOUNDS_STRIDE]).astype(np.int32)

    @cached_property
    def landmark_texel(self) -> NDArray[np.int32]:
        """`(68,)` flat texel index of the landmarks."""
        return self.topology.texel[self.topology.landmarks]


class MapSurface:
    """A face as a position map; see `protocol.Surface`.

    Args:
        position_map: `(256, 256, 3)` float32, see `protocol.Surface.position_map`; kept.
        layout: see `MapLayout`.
    """

    __slots__ = ("_layout", "_map")

    def __init__(self, position_map: NDArray[np.float32], layout: MapLayout) -> None:
        self._map = position_map
        self._layout = layout

    def outline(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `protocol.Surface.outline`."""
        _, box = uv.restore_with_bounds(self._map, self._layout.bounds_texel, IDENTITY)
        return box, self._map.reshape(-1, 3)[self._layout.landmark_texel]

    def restore(
        self, frame_from_crop: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `protocol.Surface.restore`."""
        return uv.restore_with_bounds(self._map, self._layout.topology.texel, frame_from_crop)

    def position_map(self) -> NDArray[np.float32]:
        """See `protocol.Surface.position_map`."""
        return self._map

    def mesh_points(self, frame_from_crop: NDArray[np.float32]) -> None:
        """See `protocol.Surface.mesh_points`: a map does not tell where MediaPipe's points are."""
        del frame_from_crop
