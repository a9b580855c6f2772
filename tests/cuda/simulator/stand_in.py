"""A small engine twice: on the simulated device, and on the CPU from the same stand-in network."""

import numpy as np

from streamprn.engines.device.chain import DeviceChain
from streamprn.engines.device.spec import ChainSpec
from streamprn.engines.protocol import CropRule, Inference
from streamprn.engines.surfaces import MapLayout, MapSurface
from streamprn.engines.topology import Topology
from tests.cuda.simulator.device import SimulatedDevice
from tests.reference.meshes import face_mesh

SIZE = 11
RULE = CropRule(size=SIZE, span=SIZE, box_scale=1.5)


def small_topology():
    """A mesh of 9 x 9 on every fourth texel, from which `CoarseMesh` is made as well."""
    mesh = face_mesh(9)
    count = len(mesh.texel)
    row, column = np.divmod(mesh.texel, 9)
    return Topology(
        name="small",
        texel=(4 * row * 256 + 4 * column).astype(np.int32),
        triangles=mesh.triangles,
        canonical=mesh.canonical,
        landmarks=np.random.default_rng(0).integers(0, count, 68).astype(np.int32),
        pose_weights=np.ones(count, np.float32),
        mirror=np.arange(count, dtype=np.int32),
    )


class MapNetwork:
    """Position maps whose content depends on the crop: a face mesh moved by its mean colours."""

    def __init__(self, topology):
        self.inputs = {"input": (-1, SIZE, SIZE, 3)}
        self.outputs = {"map": (-1, 256, 256, 3)}
        self._topology = topology

    def infer(self, crops):
        maps = np.zeros((len(crops), 256 * 256, 3), np.float32)
        face = self._topology.canonical * np.float32(5) * [1, -1, 1]
        for out, crop in zip(maps, crops, strict=True):
            out[self._topology.texel] = (face + SIZE / 2 + crop.mean((0, 1))) / 2
        return maps.reshape(-1, 256, 256, 3)

    def enqueue(self, arrays, batch, stream):
        crops = arrays["input"]._ary.reshape(-1, SIZE, SIZE, 3)[:batch]
        out = arrays["map"]._ary[:batch]
        stream.put(lambda: np.copyto(out, self.infer(crops)))


class HostEngine:
    """The network as an engine of the CPU."""

    crop = RULE
    max_batch = 3
    backend = "the CPU"
    closed = False
    score_rule = None

    def __init__(self, topology):
        self._network, self._layout = MapNetwork(topology), MapLayout(topology)
        self.topology = topology

    def infer(self, crops):
        maps = self._network.infer(crops) * np.float32(2)
        faces = [MapSurface(one, self._layout) for one in maps]
        return Inference(faces, np.full(len(crops), np.nan, np.float32))

    def close(self):
        self.closed = True


def make_chain(topology, score=None, **options):
    spec = ChainSpec("small", topology, RULE, subdivision=None, unit=2.0, max_batch=3, score=score)
    device, network = SimulatedDevice(lazy=True), MapNetwork(topology)
    return DeviceChain(device, spec, lambda: network, **options), device
