"""How right the pose is far from the middle of the picture: weak perspective and perspective.

`python benchmarks/metric_pose.py [--engine NAME ...]`. A camera that turns in place changes its
picture by a known homography, and the pose of a face by exactly its own turn, whatever the face. So
one photograph is seen by a camera (60 degrees, 960x720) turned towards many sides, and each pose
held against the first one turned. Times are of the last frame's face, one thread.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamprn.camera import Camera, MetricPose
from streamprn.faces.tracker import Tracker, open_engine
from streamprn.records import Face
from streamprn.source.sample_clip import FACE_CENTRE_XY, draw

WIDTH, HEIGHT, HFOV = 960, 720, 60.0
#: The largest turns keep the whole face in the picture.
TURNS_DEG = (-18.0, -9.0, 0.0, 9.0, 18.0)
NODS_DEG = (-5.0, 0.0, 5.0)
SETTLE = 4
#: Of the photograph: a face of 230 pixels, at 60 cm.
ZOOM = 2.2
#: From the axes of a camera (y down, z away) to those of a pose, and back.
FLIP = np.diag([1.0, -1.0, -1.0])

Matrix = NDArray[np.float64]


def views(camera: Camera) -> Iterator[tuple[Matrix, NDArray[np.uint8]]]:
    """The turn of the camera, which takes old directions to new ones, and what it sees."""
    x, y = FACE_CENTRE_XY
    middle = np.array([[ZOOM, 0, WIDTH / 2 - ZOOM * x], [0, ZOOM, HEIGHT / 2 - ZOOM * y]])
    picture = draw([middle], WIDTH, HEIGHT)
    inside = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    angles = [(nod, turn) for nod in NODS_DEG for turn in TURNS_DEG]
    for nod, turn in sorted(angles, key=lambda angle: abs(angle[0]) + abs(angle[1])):
        matrix = _about(0, nod) @ _about(1, turn)
        homography = inside @ matrix @ np.linalg.inv(inside)
        yield (
            matrix,
            cv2.warpPerspective(picture, homography, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC),
        )


def _about(axis: int, degrees: float) -> Matrix:
    vector = np.zeros(3)
    vector[axis] = np.radians(degrees)
    return np.asarray(cv2.Rodrigues(vector)[0], np.float64)


def angle_between(one: Matrix, other: Matrix) -> float:
    """Degrees."""
    cosine = (np.trace(one @ other.T) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def errors(engine: str) -> tuple[dict[str, list[float]], Face]:
    """Degrees by kind of pose, per cent of the distance, and the last face."""
    camera = Camera.of_view(HFOV, WIDTH, HEIGHT)
    found: dict[str, list[float]] = {"weak": [], "metric": [], "place": []}
    first: Face | None = None
    opened = open_engine(engine)
    for turn, picture in views(camera):
        tracker = Tracker(opened)
        for step in range(SETTLE):
            (face,) = tracker.process(picture, step / 30)
        pose = face.metric_pose(camera)
        first = first or face
        start = first.metric_pose(camera)
        turned = FLIP @ turn @ FLIP
        found["weak"].append(angle_between(face.pose.rotation, turned @ first.pose.rotation))
        found["metric"].append(angle_between(pose.rotation, turned @ start.rotation))
        away = np.linalg.norm(pose.eyes_mm - turn @ start.eyes_mm)
        found["place"].append(100 * float(away / np.linalg.norm(start.eyes_mm)))
    opened.close()
    return found, face


def _fit(face: Face) -> Callable[[], MetricPose]:
    """One fit again, which the face itself would keep."""
    geometry: Any = face.geometry  # type: ignore[attr-defined]
    camera = Camera.of_view(HFOV, WIDTH, HEIGHT)
    return partial(geometry.metric_pose, face.vertices, camera, face.pose)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", nargs="+", default=["facemesh", "facemesh2", "prn"])
    args = parser.parse_args()
    print(
        f"{WIDTH}x{HEIGHT}, {HFOV:.0f} degrees: median and largest error over "
        f"{len(TURNS_DEG) * len(NODS_DEG) - 1} turned views"
    )
    print(f"{'':12}{'weak pose':>20}{'metric pose':>20}{'place, % of distance':>24}{'ms':>8}")
    for name in args.engine:
        found, face = errors(name)
        cells = {key: np.array(values[1:]) for key, values in found.items()}
        texts = {key: f"{np.median(value):.2f} / {value.max():.2f}" for key, value in cells.items()}
        ms = 1e3 * min(timeit.repeat(_fit(face), number=1, repeat=60))
        print(f"{name:12}{texts['weak']:>20}{texts['metric']:>20}{texts['place']:>24}{ms:8.2f}")


if __name__ == "__main__":
    main()
