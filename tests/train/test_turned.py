"""The engine `prn` on a face that is turned further than its photograph shows it."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")


from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.engine import open_engine
from streamprn.train.samples import Sampler


@pytest.mark.parametrize("yaw", [40.0, 60.0, 75.0])
def test_it_turns_further_with_the_head_than_facemesh_does(data, yaw):
    side = 256
    batch = Sampler(data, side).held_out(yaw, 2)
    read = {}
    for name in ("facemesh", "prn"):
        reconstructor = Reconstructor(open_engine(name, backend="onnxruntime"))
        found = []
        for image, points in zip(batch.images, batch.points, strict=True):
            places = (points[:, :2] + 1) * (side / 2) - 0.5
            box = np.concatenate([places.min(0), places.max(0)])
            (face,) = reconstructor.reconstruct(image, [box])
            found.append(abs(face.pose.yaw))
        read[name] = float(np.mean(found))
    # On a head without ears or hair both stay behind.
    assert abs(read["prn"] - yaw) < abs(read["facemesh"] - yaw) - 1
