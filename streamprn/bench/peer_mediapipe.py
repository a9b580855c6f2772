"""MediaPipe Face Mesh (the official Python solution) on a clip; run by the peers' own Python.

`python peer_mediapipe.py FPS SECONDS` reads the name of a clip from standard input, loops the clip
at FPS frames a second (0: as fast as it goes), and prints one JSON object: `latency_ms` of every
frame after a second of warm-up (from the moment it was due, or from reading on), `seconds`,
`faces`, `versions`. Needs only mediapipe.
"""

from __future__ import annotations

import json
import sys
import time

import cv2
import mediapipe  # type: ignore[import-not-found,unused-ignore]


def main(clip: str, fps: float, seconds: float) -> None:
    """Measure and print."""
    mesh = mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1)
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
        found = mesh.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).multi_face_landmarks
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


def _read(capture: cv2.VideoCapture) -> cv2.typing.MatLike:
    good, picture = capture.read()
    if not good:
        capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        good, picture = capture.read()
    if not good:
        raise SystemExit("the clip cannot be read")
    return picture


if __name__ == "__main__":
    main(sys.stdin.read(), float(sys.argv[1]), float(sys.argv[2]))
