"""Pictures to look at: what was found, drawn over what it was found in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from streamprn.kernels import pose as pose_kernels
from streamprn.kernels import raster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.records import Float32, Int32, Pose, UInt8

# iBUG/300-W: first and last index of each curve, and whether it is closed.
CURVES = (
    (0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False),
    (36, 41, True), (42, 47, True), (48, 59, True), (60, 67, True),
)  # fmt: skip
GREEN, RED, WHITE, YELLOW = (60, 220, 90), (235, 70, 60), (255, 255, 255), (255, 205, 40)
_AXES = ((235, 70, 60), (60, 220, 90), (70, 130, 255))
# Height of labels over the longer side of the picture.
_LABEL_PART, _LEAST_LABEL_PX = 14.0 / 512.0, 9.0
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4  # cv2 draws at a sixteenth of a pixel
_BOX_EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4))


class Shape(Protocol):
    """What the drawing takes of a topology; see `streamprn.engines.topology.Topology`."""

    @property
    def triangles(self) -> Int32:
        """`(T, 3)` int32."""

    @property
    def uv(self) -> Float32:
        """`(N, 2)` float32, u right, v up."""

    @property
    def canonical(self) -> Float32:
        """`(N, 3)` float32, y up."""

    @property
    def landmarks(self) -> Int32:
        """`(68,)` int32."""


class DrawableFace(Protocol):
    """What the drawing of landmarks, box and pose takes of a face."""

    @property
    def id(self) -> int:
        """Of the face in its stream."""

    @property
    def score(self) -> float:
        """0..1."""

    @property
    def box_xyxy(self) -> Float32:
        """`(4,)` float32: x0, y0, x1, y1, picture pixels."""

    @property
    def landmarks(self) -> Float32:
        """`(68, 3)` float32, picture pixels."""

    @property
    def visible_landmarks(self) -> NDArray[np.bool_]:
        """`(68,)` bool."""

    @property
    def pose(self) -> Pose:
        """Of the head."""

    @property
    def topology(self) -> Shape:
        """Of the engine that found it."""


class MeshedFace(DrawableFace, Protocol):
    """A face with its vertices."""

    @property
    def vertices(self) -> Float32:
        """`(N, 3)` float32, picture pixels."""


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    limited = np.clip(np.nan_to_num(points), -1e5, 1e5)
    return np.asarray(np.round(limited * (1 << _SHIFT)), np.int32)


def _thickness(face: DrawableFace) -> int:
    width = float(face.box_xyxy[2] - face.box_xyxy[0])
    return max(1, round(width / 220.0))


def draw_landmarks(canvas: UInt8, face: DrawableFace, *, by_visibility: bool = False) -> None:
    """Draw the 68 landmarks in place: curves and dots, or hidden ones as red rings."""
    points = _fixed(face.landmarks[:, :2])
    line = _thickness(face)
    if not by_visibility:
        for first, last, closed in CURVES:
            curve = [points[first : last + 1]]
            cv2.polylines(canvas, curve, closed, WHITE, line, cv2.LINE_AA, _SHIFT)
    radius = (2 + line) * (1 << _SHIFT) // 2
    for point, visible in zip(points.tolist(), face.visible_landmarks.tolist(), strict=True):
        colour = GREEN if visible or not by_visibility else RED
        fill = cv2.FILLED if visible or not by_visibility else line
        cv2.circle(canvas, point, radius, colour, fill, cv2.LINE_AA, _SHIFT)


def draw_mesh(canvas: UInt8, face: MeshedFace, lines: int = 48) -> None:
    """Draw a grid of UV lines over the visible surface, in place."""
    step = max(256 // lines, 1)
    x0, y0, x1, y1 = _pixels_around(face, canvas)
    part = canvas[y0:y1, x0:x1]
    height, width = part.shape[:2]
    if min(height, width) < 2:
        return
    _, triangle, weights = raster.rasterise(
        face.vertices - np.array([x0, y0, 0], np.float32),
        face.topology.triangles,
        height,
        width,
        threads=raster.processors(),
    )
    rows, columns = np.nonzero(triangle >= 0)
    if not rows.size:
        return
    corners = face.topology.uv[face.topology.triangles[triangle[rows, columns]]]
    first, second = weights[rows, columns, 0], weights[rows, columns, 1]
    w = np.stack([first, second, 1.0 - first - second], axis=1)
    uv = np.zeros((height, width, 2), np.float32)
    uv[rows, columns] = np.einsum("nk,nkc->nc", w, corners) * (256.0 / step)
    on_line = _grid_lines(uv, triangle >= 0)
    alpha = (0.75 * on_line)[:, :, None]
    tint = np.array([120, 225, 255], np.float32)
    part[:] = np.round(part + alpha * (tint - part)).astype(np.uint8)


def _pixels_around(face: DrawableFace, canvas: UInt8) -> tuple[int, int, int, int]:
    """Columns and rows x0, y0, x1, y1 of the canvas around a face, at least 2 x 2 of them."""
    height, width = canvas.shape[:2]
    low = np.floor(face.box_xyxy[:2]).astype(int) - 2
    high = np.ceil(face.box_xyxy[2:]).astype(int) + 3
    x0, y0 = int(np.clip(low[0], 0, max(width - 2, 0))), int(np.clip(low[1], 0, max(height - 2, 0)))
    x1, y1 = int(np.clip(high[0], x0 + 2, width)), int(np.clip(high[1], y0 + 2, height))
    return x0, y0, x1, y1


def _grid_lines(cells: Float32, inside: NDArray[np.bool_]) -> Float32:
    """`(H, W)` 0..1: nearness to an integer of either coordinate, in pixels of the picture."""
    line = np.zeros(cells.shape[:2], np.float32)
    for axis in range(2):
        values = cells[:, :, axis]
        slope = np.hypot(np.gradient(values, axis=0), np.gradient(values, axis=1))
        distance = np.abs(values - np.round(values)) / np.maximum(slope, 1e-6)
        line = np.maximum(line, np.clip(1.2 - distance, 0.0, 1.0) * (slope < 0.5))
    edge = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return np.where(edge, line, 0.0).astype(np.float32)


def draw_visibility(canvas: UInt8, face: Reconstruction, stride: int = 5) -> None:
    """Draw a sample of the vertices in place, hidden ones red under visible ones green."""
    sample = np.arange(0, len(face.vertices), stride)
    shown = face.visible[sample]
    for wanted, colour in ((False, RED), (True, GREEN)):
        pixels = np.round(np.nan_to_num(face.vertices[sample[shown == wanted], :2])).astype(int)
        height, width = canvas.shape[:2]
        x, y = pixels[:, 0], pixels[:, 1]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        canvas[y[inside], x[inside]] = colour


def draw_pose(canvas: UInt8, face: DrawableFace) -> None:
    """Draw a box around the head and the three axes from the nose, in place."""
    canonical = face.topology.canonical.astype(np.float64)
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    size = high - low
    # As deep behind the face as a head is, and open a little to all sides.
    low = low - size * (0.05, 0.05, 0.6)
    high = high + size * (0.05, 0.12, 0.02)
    corners = np.array([[(low, high)[i >> axis & 1][axis] for axis in range(3)] for i in range(8)])
    projected = _fixed(pose_kernels.project(face.pose, corners.astype(np.float32))[:, :2])
    line = _thickness(face)
    for a, b in _BOX_EDGES:
        front = a & 4 and b & 4
        colour = YELLOW if front else (150, 125, 40)
        width = line + 1 if front else line
        cv2.line(
            canvas, projected[a].tolist(), projected[b].tolist(), colour, width, cv2.LINE_AA, _SHIFT
        )
    _draw_axes(canvas, face, 0.45 * float(size[0]), line + 1)


def _draw_axes(canvas: UInt8, face: DrawableFace, length: float, line: int) -> None:
    origin = face.topology.canonical[face.topology.landmarks[30]]
    ends = np.vstack([origin, origin + length * np.eye(3)]).astype(np.float32)
    start, *tips = _fixed(pose_kernels.project(face.pose, ends)[:, :2]).tolist()
    for tip, colour in zip(tips, _AXES, strict=True):
        cv2.line(canvas, start, tip, colour, line, cv2.LINE_AA, _SHIFT)


def draw_box(canvas: UInt8, face: DrawableFace) -> None:
    """Draw the bounds of the face in place, with its id and score above."""
    x0, y0, x1, y1 = np.nan_to_num(face.box_xyxy).tolist()
    low, high = _fixed(np.array([[x0, y0], [x1, y1]])).tolist()
    cv2.rectangle(canvas, low, high, WHITE, _thickness(face), cv2.LINE_AA, _SHIFT)
    label(canvas, f"face {face.id}  {100.0 * face.score:.0f} %", (x0, y0 - 6.0))


def label(
    canvas: UInt8, text: str, at_xy: tuple[float, float], size_px: float | None = None
) -> None:
    """Write a line of text in place, white on a dark rim, wholly inside of the picture.

    Args:
        canvas: `(H, W, 3)` uint8.
        text: the line; it is made smaller where it is wider than the picture.
        at_xy: its lower left corner, moved where the text would leave the picture.
        size_px: height of its capitals; None goes with the picture: 14 in one of 512 pixels.
    """
    height, width = canvas.shape[:2]
    if size_px is None:
        size_px = max(_LABEL_PART * max(height, width), _LEAST_LABEL_PX)
    scale = size_px / 22.0
    (long, tall), below = cv2.getTextSize(text, _FONT, scale, 1)
    scale *= min(1.0, (width - 2) / max(long, 1), (height - 2) / max(tall + below, 1))
    line = max(1, round(scale))
    (long, tall), below = cv2.getTextSize(text, _FONT, scale, line)
    x = round(float(np.clip(np.nan_to_num(at_xy[0]), 1, max(width - 1 - long, 1))))
    y = round(float(np.clip(np.nan_to_num(at_xy[1]), tall + 1, max(height - 1 - below, 1))))
    # A wider stroke would also be a longer line of text: the rim is the same text, shifted.
    shifts = [(dx, dy) for dy in (-line, 0, line) for dx in (-line, 0, line)]
    for dx, dy in shifts:
        cv2.putText(canvas, text, (x + dx, y + dy), _FONT, scale, (0, 0, 0), line, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), _FONT, scale, WHITE, line, cv2.LINE_AA)


def pose_text(face: DrawableFace) -> str:
    """Yaw, pitch and roll in whole degrees, as a label."""
    pose = face.pose
    return f"yaw {pose.yaw:+.0f}  pitch {pose.pitch:+.0f}  roll {pose.roll:+.0f}"


def depth_picture(depth: Float32) -> UInt8:
    """`(H, W, 3)` uint8 colours of a depth image: near is warm, black where there is no face."""
    known = np.isfinite(depth)
    levels = np.zeros(depth.shape, np.uint8)
    if known.any():
        low, high = float(depth[known].min()), float(depth[known].max())
        levels[known] = np.round(255.0 * (depth[known] - low) / max(high - low, 1e-6))
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, :, ::-1]
    return np.where(known[:, :, None], coloured, 0).astype(np.uint8)


def overlay(image: UInt8, faces: Sequence[Reconstruction], kind: str) -> UInt8:
    """A copy of the picture with all faces drawn.

    Args:
        image: `(H, W, 3)` uint8.
        faces: of this picture.
        kind: "landmarks", "mesh", "pose" or "visibility".
    """
    canvas = np.ascontiguousarray(image).copy()
    for face in faces:
        if kind == "landmarks":
            draw_landmarks(canvas, face)
        elif kind == "mesh":
            draw_mesh(canvas, face)
        elif kind == "pose":
            draw_pose(canvas, face)
            corner = (float(face.box_xyxy[0]), float(face.box_xyxy[1]) - 6.0)
            label(canvas, pose_text(face), corner)
        else:
            draw_visibility(canvas, face)
            draw_landmarks(canvas, face, by_visibility=True)
    return canvas


def overlays(image: UInt8, faces: Sequence[MeshedFace], kinds: Sequence[str]) -> UInt8:
    """A copy of the picture with several things drawn of each face, one over the other.

    Args:
        image: `(H, W, 3)` uint8.
        faces: of this picture.
        kinds: of `DRAWN`.
    """
    canvas = np.ascontiguousarray(image).copy()
    for kind in (kind for kind in DRAWN if kind in kinds):
        for face in faces:
            _DRAW[kind](canvas, face)
    return canvas


_DRAW: dict[str, Callable[[UInt8, MeshedFace], None]] = {
    "mesh": draw_mesh,
    "pose": draw_pose,
    "box": draw_box,
    "landmarks": draw_landmarks,
}
#: What `overlays` draws, from the lowest to the uppermost.
DRAWN = tuple(_DRAW)
OVERLAYS = ("landmarks", "mesh", "pose", "visibility")
