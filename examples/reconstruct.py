"""A picture to meshes: `python examples/reconstruct.py face.jpg OUT_FOLDER`."""

import sys
from pathlib import Path

from streamprn.apps.images import read_image
from streamprn.apps.meshes import write_glb, write_obj
from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine

if len(sys.argv) != 3:
    sys.exit("usage: python examples/reconstruct.py face.jpg OUT_FOLDER")
picture, folder = map(Path, sys.argv[1:])
folder.mkdir(parents=True, exist_ok=True)
reconstructor = Reconstructor(open_engine(), open_detector())
for face in reconstructor.reconstruct(read_image(picture)):
    print(f"face {face.id}: yaw {face.pose.yaw:+.1f}, {face.visible.mean():.0%} of it is seen")
    write_obj(face.mesh(), folder / f"face{face.id}.obj")
    write_glb(face.mesh(texture_size=512, fill="mirror"), folder / f"face{face.id}.glb")
