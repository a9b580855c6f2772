"""A face as a solid body: the colours of its skins, and a view of it from any side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.kernels import sampling
from streamprn.kernels.normals import vertex_normals
from streamprn.kernels.pose import rotation_from_euler
from streamprn.kernels.visibility import visible_vertices

if TYPE_CHECKING:
    from streamprn.apps.overlays import MeshedFace
    from streamprn.records import Float32, Int32, UInt8

SKINS = ("texture", "normals", "depth", "visibility")
_SEEN, _HIDDEN = (110, 200, 130), (215, 80, 70)
_PLAIN = (208, 190, 178)
_BACKGROUND = (24, 26, 32)
# Light from above the camera and a little from the left; the rest comes from everywhere.
_LIGHT = np.array([-0.25, -0.45, 0.86], np.float32)
_AMBIENT = 0.45
# Part of the shorter side of the picture that the face takes.
_FILL = 0.72


def skin_colours(skin: str, vertices: Float32, triangles: Int32) -> UInt8:
    """Colours that the shape alone tells.

    Args:
        skin: one of `SKINS`; "texture" gives the plain colour of a face without one.
        vertices: `(N, 3)` float32, frame pixels, z towards the camera.
        triangles: `(T, 3)` int32.

    Returns:
        `(N, 3)` uint8 RGB.
    """
    vertices = np.nan_to_num(vertices)
    if skin == "normals":
        normals = vertex_normals(vertices, triangles) * np.array([1.0, -1.0, 1.0], np.float32)
        return np.asarray(np.round(127.5 * (normals + 1.0)), np.uint8)
    if skin == "depth":
        depth = vertices[:, 2]
        levels = 255.0 * (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        column = np.round(levels).astype(np.uint8)[:, None]
        turbo = cv2.applyColorMap(column, cv2.COLORMAP_TURBO)
        return np.ascontiguousarray(turbo[:, 0, ::-1])
    if skin == "visibility":
        normals = vertex_normals(vertices, triangles)
        visible = visible_vertices(vertices, triangles, normals)
        return np.where(visible[:, None], _SEEN, _HIDDEN).astype(np.uint8)
    return np.full((len(vertices), 3), _PLAIN, np.uint8)


def shaded(colours: UInt8, vertices: Float32, triangles: Int32) -> UInt8:
    """The colours `(N, 3)` uint8 under a soft light, by the normals of the vertices."""
    facing = np.maximum(vertex_normals(vertices, triangles) @ (_LIGHT / np.linalg.norm(_LIGHT)), 0)
    light = _AMBIENT + (1.15 - _AMBIENT) * facing
    return np.asarray(np.clip(np.round(colours * light[:, None]), 0, 255), np.uint8)


def solid_view(
    face: MeshedFace | None,
    colours: UInt8 | None,
    size_wh: tuple[int, int],
    *,
    yaw: float = 0.0,
    scale: float | None = None,
) -> UInt8:
    """A picture of the face alone, from a place beside the camera.

    Args:
        face: to draw; None leaves the picture empty.
        colours: `(N, 3)` uint8, of its vertices; None is plain.
        size_wh: of the picture, pixels.
        yaw: degrees around the vertical axis by which the view is turned.
        scale: picture pixels of a frame pixel; None fills the picture.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    width, height = size_wh
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    if face is None or not np.isfinite(face.vertices).all():
        return picture
    triangles = face.topology.triangles
    middle = 0.5 * (face.vertices.min(axis=0) + face.vertices.max(axis=0))
    turned = (face.vertices - middle) @ rotation_from_euler(yaw, 0.0, 0.0).astype(np.float32).T
    if scale is None:
        scale = fitting_scale(face, size_wh)
    vertices = (turned * np.float32(scale)).astype(np.float32)
    if colours is None:
        colours = skin_colours("texture", face.vertices, triangles)
    lit = shaded(colours, vertices, triangles)
    place = np.array([0.5 * (width - 1), 0.5 * (height - 1), 0.0], np.float32)
    drawn, covered = sampling.render(vertices + place, triangles, height, width, colours=lit)
    return np.where(covered[:, :, None], drawn, picture)


def fitting_scale(face: MeshedFace, size_wh: tuple[int, int]) -> float:
    """Picture pixels of a frame pixel, so that the face fills a picture of this size."""
    extent = float(np.ptp(face.vertices, axis=0).max())
    return _FILL * min(size_wh) / max(extent, 1e-6)
