"""Follow the faces of a video that OpenCV reads: `python examples/tracker.py clip.mp4`."""

import sys

try:
    import cv2

    from streamprn import Tracker
except ImportError as error:
    sys.exit(f"{error}: run `pip install .` in the checkout of StreamPRN")

if len(sys.argv) != 2:
    sys.exit("usage: python examples/tracker.py clip.mp4")
video = cv2.VideoCapture(sys.argv[1])
if not video.isOpened():
    sys.exit(f"{sys.argv[1]}: OpenCV cannot open it")
with Tracker(max_faces=2) as tracker:
    while (read := video.read())[0]:
        for face in tracker.process(read[1][:, :, ::-1], video.get(cv2.CAP_PROP_POS_MSEC) / 1e3):
            print(f"face {face.id}: yaw {face.pose.yaw:+.1f}, nose at {face.landmarks[30, :2]}")
