"""A small chain for a device without kernels: its spec, and a network that does nothing."""

import numpy as np

from streamprn.engines.device.spec import ChainSpec
from streamprn.engines.protocol import CropRule
from streamprn.engines.topology import Topology
from tests.reference.meshes import face_mesh

RULE = CropRule(size=16, span=16, box_scale=1.5)


def small_spec():
    mesh = face_mesh(9)
    count = len(mesh.texel)
    topology = Topology(
        name="small",
        texel=mesh.texel,
        triangles=mesh.triangles,
        canonical=mesh.canonical,
        landmarks=np.arange(68, dtype=np.int32) % count,
        pose_weights=np.ones(count, np.float32),
        mirror=np.arange(count, dtype=np.int32),
    )
    return ChainSpec("small", topology, RULE, subdivision=None, max_batch=2)


class ZeroNetwork:
    def __init__(self):
        self.inputs = {"input": (-1, 16, 16, 3)}
        self.outputs = {"map": (-1, 256, 256, 3)}

    def enqueue(self, arrays, batch, stream):
        pass
