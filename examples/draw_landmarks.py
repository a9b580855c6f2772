"""Draw a frame with its landmarks: `python examples/draw_landmarks.py ENDPOINT STREAM OUT.png`."""

import sys

import cv2

from streamprn import Subscriber

if len(sys.argv) != 4:
    sys.exit("usage: python examples/draw_landmarks.py tcp://127.0.0.1:5870 STREAM OUT.png")
endpoint, stream, out = sys.argv[1:]
with Subscriber(endpoint, f"{stream}/image", timeout_s=30) as messages:
    for message in messages:
        picture = message.image[:, :, ::-1].copy()  # OpenCV's pictures are BGR
        for face in message.faces:
            seen = face.visible if face.visible is not None else [True] * 68
            for (x, y, _), visible in zip(face.landmarks, seen, strict=True):
                colour = (0, 255, 0) if visible else (0, 0, 255)
                cv2.circle(picture, (round(float(x)), round(float(y))), 2, colour, cv2.FILLED)
        cv2.imwrite(out, picture)
        print(f"{out}: frame {message.seq}, {len(message.faces)} faces")
        break
    else:
        sys.exit(
            f"no picture of {stream} came from {endpoint}: is it running? see `streamprn watch`"
        )
