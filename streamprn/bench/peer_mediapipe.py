"""MediaPipe's face meshes on a clip; run by the Python of an environment that has MediaPipe.

`python peer_mediapipe.py PEER FPS SECONDS` reads the name of a clip from standard input, loops the
clip at FPS frames a second (0: as fast as it goes), and prints one JSON object: `latency_ms` of
every frame after a second of warm-up (from the moment it was due, or from reading on), `seconds`,
`faces`, `versions`. PEER is `mediapipe`, the Python solution of versions before 1.0, or
`mediapipe-tasks` and `mediapipe-tasks-blendshapes`, the Face Landmarker for video, with
`face_landmarker.task` at the root of its environment.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import mediapipe  # type: ignore[import-not-found,unused-ignore]


def main(clip: str, peer: str, fps: float, seconds: float) -> None:
    """Measure and print."""
    look = _solution() if peer == "mediapipe" else _landmarker("blendshapes" in peer)
    capture = cv2.VideoCapture(clip)
    latencies: list[float] = []
    faces = 0
    began = first = 0.0
    due = time.perf_counter()
    while not first or time.perf_counter() - first < seconds:
        if fps:
            due += 1.0 / fps
            time.sleep(max(0.0, due - time.perf_counter()))
        else:
            due = time.perf_counter()
        picture = _read(capture)
        found = look(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        now = time.perf_counter()
        began = began or now
        if now - began < 1.0:
            continue
        first = first or now
        latencies.append((now - due) * 1e3)
        faces += bool(found)
    report = {
        "latency_ms": latencies,
        "seconds": time.perf_counter() - first,
        "faces": faces,
        "versions": f"mediapipe {mediapipe.__version__}, opencv {cv2.__version__}",
    }
    json.dump(report, sys.stdout)


def _solution() -> Callable[[Any], Any]:
    mesh = mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1)
    return lambda rgb: mesh.process(rgb).multi_face_landmarks


def _landmarker(blendshapes: bool) -> Callable[[Any], Any]:
    tasks = mediapipe.tasks
    options = tasks.vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(str(Path(sys.prefix) / "face_landmarker.task")),
        running_mode=tasks.vision.RunningMode.VIDEO,
        output_face_blendshapes=blendshapes,
        num_faces=1,
    )
    landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
    began = time.perf_counter()
    last = -1

    def look(rgb: Any) -> Any:
        nonlocal last
        # Times must grow, by a millisecond at least.
        last = max(last + 1, round(1e3 * (time.perf_counter() - began)))
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
        return landmarker.detect_for_video(image, last).face_landmarks

    return look


def _read(capture: cv2.VideoCapture) -> cv2.typing.MatLike:
    good, picture = capture.read()
    if not good:
        capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        good, picture = capture.read()
    if not good:
        raise SystemExit("the clip cannot be read")
    return picture


if __name__ == "__main__":
    main(sys.stdin.read(), sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
