"""Make the picture of docs/bridges.md: `python -m tools.bridge_axes docs/bridges.png`.

The head is the astronaut's (NASA, public domain, with scikit-image), turned by known angles; the
numbers below are what the bridges send for it.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.export_tables import openface_angles
from streamprn.bridge import turns
from streamprn.kernels import pose
from streamprn.records import Eye, Gaze, Pose, Roi
from streamprn.wire import Face
from tools.gallery import draw_mesh, open_scene

if TYPE_CHECKING:
    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.records import Float32

_HEADS = (
    ("at rest", (0, 0, 0)),
    ("to the subject's right: yaw +30", (30, 0, 0)),
    ("up: pitch +20", (0, 20, 0)),
    ("clockwise: roll +20", (0, 0, 20)),
)
# Yaw and pitch of the gaze, and whether the left eye is closed.
_EYES = (
    ("eyes straight ahead", (0, 0), False),
    ("eyes to the right: yaw +20", (20, 0), False),
    ("eyes up: pitch +15", (0, 15), False),
    ("the left eye closed", (0, 0), True),
)
_SIZE = 300
_AXES = (("x", "#d62728"), ("y", "#2ca02c"), ("z", "#1f77b4"))


def _face(angles: tuple[float, float, float], looks: tuple[float, float] = (0.0, 0.0)) -> Face:
    rotation = pose.rotation_from_euler(*angles)
    turned = Pose(rotation, 1.0, np.zeros(3), *angles, pose.quaternion_from_rotation(rotation))
    direction = rotation @ pose.rotation_from_euler(*looks, 0.0)[:, 2]
    eye = Eye(direction.astype(np.float32), *looks, 0.3)
    box = np.zeros(4, np.float32)
    points = np.zeros((68, 3), np.float32)
    return Face(1, 1.0, box, Roi(0, 0, 1), turned, points, gaze=Gaze(eye, eye))


def _numbers(values: Any, digits: int) -> str:
    return "  ".join(f"{value:+.{digits}f}" if abs(value) > 1e-9 else "0" for value in values)


def _head_lines(angles: tuple[float, float, float]) -> list[str]:
    face = _face(angles)
    turn = turns.head(face)
    return [
        _numbers(angles, 0),
        _numbers(turns.unity(turn), 2),
        _numbers(turns.arkit_euler(turn), 0),
        _numbers(turns.unreal_rotator(turn), 3),
        _numbers(openface_angles(face.pose.rotation), 2),
    ]


def _eye_lines(looks: tuple[float, float], closed: bool) -> list[str]:
    _, turn = turns.eyes(_face((0, 0, 0), looks))
    return [
        _numbers(looks, 0),
        _numbers(turns.unity(turn), 2),
        _numbers(turns.arkit_euler(turn), 0),
        _numbers(turns.unreal_rotator(turn), 3),
        "eyeBlinkLeft 1" if closed else "eyeBlinkLeft 0",
    ]


_HEAD_NAMES = (
    "Pose: yaw pitch roll °",
    "VMC Head: x y z w",
    "iFacialMocap head: x y z °",
    "Live Link: yaw pitch roll /180°",
    "CSV pose_R: x y z rad",
)
_EYE_NAMES = (
    "gaze in the head: yaw pitch °",
    "VMC LeftEye: x y z w",
    "iFacialMocap leftEye: x y z °",
    "Live Link: yaw pitch roll /180°",
    "expressions",
)


def _turned(face: Reconstruction, angles: tuple[float, float, float]) -> Float32:
    up = (face.front_vertices * (1.0, -1.0, 1.0)).astype(np.float64)
    up -= up.mean(axis=0)
    turned = up @ pose.rotation_from_euler(*angles).T
    return (turned * (1.0, -1.0, 1.0)).astype(np.float32)


def _draw_head(axes: Any, face: Reconstruction, angles: tuple[float, float, float]) -> None:
    axes.imshow(draw_mesh(face, _turned(face, angles), clay=False, size=_SIZE))
    rotation = pose.rotation_from_euler(*angles)
    middle, length = _SIZE / 2, 0.36 * _SIZE
    for (name, colour), axis in zip(_AXES, rotation.T, strict=True):
        # Seen a little from the side and from above, so that z is not a point.
        x, y = axis[0] - 0.28 * axis[2], axis[1] - 0.2 * axis[2]
        tip = (middle + length * x, middle - length * y)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", xy=tip, xytext=(middle, middle), arrowprops=arrow)
        axes.annotate(name, xy=tip, color=colour, weight="bold", fontsize=11)
    sides = {"fontsize": 8, "color": "#444444", "ha": "center", "va": "top"}
    axes.text(0.08 * _SIZE, 1.0 * _SIZE, "its right", **sides)
    axes.text(0.92 * _SIZE, 1.0 * _SIZE, "its left", **sides)


def _draw_eyes(axes: Any, looks: tuple[float, float], closed: bool) -> None:
    from matplotlib.patches import Circle, Ellipse

    axes.set_xlim(0, 300)
    axes.set_ylim(125, 20)
    axes.set_aspect("equal")
    yaw, pitch = (math.radians(angle) for angle in looks)
    for x, is_left in ((90, False), (210, True)):
        white = Ellipse((x, 75), 90, 44, facecolor="white", edgecolor="#333333", lw=1.5)
        if is_left and closed:
            axes.plot([x - 45, x, x + 45], [75, 82, 75], color="#333333", lw=2)
            continue
        axes.add_patch(white)
        # Of a globe whose radius is 0.395 of the eye's width.
        place = (x - 35 * math.sin(yaw), 75 - 35 * math.sin(pitch) * math.cos(yaw))
        for radius, colour in ((18, "#5b8fb9"), (8, "#111111")):
            iris = Circle(place, radius, facecolor=colour)
            axes.add_patch(iris)
            iris.set_clip_path(white)
    sides = {"fontsize": 8, "color": "#444444", "ha": "center"}
    axes.text(90, 118, "right eye", **sides)
    axes.text(210, 118, "left eye", **sides)


def _write(axes: Any, names: tuple[str, ...] | None, lines: list[str]) -> None:
    mono = {"fontsize": 7.5, "family": "monospace", "ha": "center", "va": "top"}
    for row, line in enumerate(lines):
        below = -0.09 - row * 0.1 * (1.0 if axes.images else 2.8)
        axes.text(0.5, below, line, transform=axes.transAxes, **mono)
        if names is not None:
            axes.text(
                -0.06, below, names[row], transform=axes.transAxes, fontsize=8, ha="right", va="top"
            )


def make(path: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl
    from PIL import Image

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    face = open_scene().astronaut
    figure = plt.figure(figsize=(11.5, 6.6), facecolor="white")
    grid = figure.add_gridspec(
        2, 4, left=0.2, right=0.985, top=0.94, bottom=0.2, hspace=0.62, height_ratios=(2.0, 0.95)
    )
    for column, (title, angles) in enumerate(_HEADS):
        axes = figure.add_subplot(grid[0, column])
        _draw_head(axes, face, angles)
        axes.set_title(title, fontsize=10)
        _write(axes, None if column else _HEAD_NAMES, _head_lines(angles))
        axes.axis("off")
    for column, (title, looks, closed) in enumerate(_EYES):
        axes = figure.add_subplot(grid[1, column])
        _draw_eyes(axes, looks, closed)
        axes.set_title(title, fontsize=10)
        _write(axes, None if column else _EYE_NAMES, _eye_lines(looks, closed))
        axes.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    # A palette is enough, and a third of the size.
    Image.open(drawn).convert("RGB").quantize(160).save(path, optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/bridges.png"))
