"""The camera's picture with what was found in it, in a size that a page shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from streamprn.apps import overlays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.records import Float32, Pose, UInt8
    from streamprn.view.shown import Moment
    from streamprn.wire import Face, TopologyMessage

__all__ = ["camera_picture", "small_depth"]

#: The longer side of what is sent to the browser, pixels.
LONGEST_PX = 960
_NO_PICTURE = (32, 34, 40)


@dataclass(frozen=True)
class _Drawn:
    """See `overlays.MeshedFace`."""

    id: int
    score: float
    box_xyxy: Float32
    landmarks: Float32
    pose: Pose
    topology: TopologyMessage
    visible_landmarks: NDArray[np.bool_]
    vertices: Float32


def camera_picture(moment: Moment, kinds: Sequence[str]) -> UInt8:
    """The frame with its faces drawn over, `(H, W, 3)` uint8; dark where there is no picture."""
    width, height = moment.size_wh
    scale = min(1.0, LONGEST_PX / max(width, height))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if moment.image is None:
        picture = np.full((size[1], size[0], 3), _NO_PICTURE, np.uint8)
    elif scale < 1.0:
        picture = np.asarray(cv2.resize(moment.image, size, interpolation=cv2.INTER_AREA))
    else:
        picture = moment.image
    if moment.topology is None:
        # Neither of these two looks at the topology, which a recording of faces alone lacks.
        kinds = [kind for kind in kinds if kind in ("landmarks", "box")]
    topology = cast("TopologyMessage", moment.topology)
    faces = [_scaled(face, moment, topology, scale) for face in moment.faces]
    if not all(len(face.vertices) for face in faces):
        kinds = [kind for kind in kinds if kind != "mesh"]
    return overlays.overlays(picture, faces, kinds)


def _scaled(face: Face, moment: Moment, topology: TopologyMessage, scale: float) -> _Drawn:
    factor = np.float32(scale)
    vertices = moment.vertices.get(face.id, np.empty((0, 3), np.float32))
    pose = replace(
        face.pose, scale=face.pose.scale * scale, translation=face.pose.translation * scale
    )
    return _Drawn(
        face.id,
        face.score,
        face.box_xyxy * factor,
        face.landmarks * factor,
        pose,
        topology,
        np.ones(len(face.landmarks), np.bool_),
        vertices * factor,
    )


def small_depth(moment: Moment) -> UInt8 | None:
    """The depth image in colours, `(H, W, 3)` uint8, black where there is no face."""
    if moment.depth is None:
        return None
    height, width = moment.depth.shape
    step = max(1, -(-max(width, height) // LONGEST_PX))
    return overlays.depth_picture(moment.depth[::step, ::step])
