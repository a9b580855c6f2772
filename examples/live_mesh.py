"""The live mesh in trimesh: `python examples/live_mesh.py ENDPOINT STREAM OUT.glb`.

Needs `pip install trimesh`. Each frame gives vertices; the topology, which comes once, tells how
they hang together.
"""

import sys

import trimesh

from streamprn import Subscriber

if len(sys.argv) != 4:
    sys.exit("usage: python examples/live_mesh.py tcp://127.0.0.1:5870 STREAM OUT.glb")
endpoint, stream, out = sys.argv[1:]
topology = None
with Subscriber(endpoint, [f"{stream}/mesh", f"{stream}/topology"], timeout_s=30) as messages:
    for message in messages:
        if message.kind == "topology":
            topology = message
        elif topology is not None and message.vertices:
            vertices = next(iter(message.vertices.values())) * (1, -1, 1)  # y up, as in glTF
            mesh = trimesh.Trimesh(vertices, topology.triangles, process=False)
            print(f"frame {message.seq}: {len(vertices)} vertices, area {mesh.area:.0f} pixels")
            mesh.export(out)
            break
    else:
        sys.exit(f"no mesh of {stream} came from {endpoint}: is a face in the picture?")
