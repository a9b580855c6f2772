"""Read faces and meshes with nothing but pyzmq and msgpack (see docs/wire-format.md)."""

import struct
import sys

try:
    import msgpack
    import zmq
except ImportError as error:
    sys.exit(f"{error}: pip install pyzmq msgpack")

if len(sys.argv) != 3:
    sys.exit("usage: python examples/subscriber.py tcp://127.0.0.1:5870 STREAM")
endpoint, stream = sys.argv[1:]
socket = zmq.Context().socket(zmq.SUB)
socket.connect(endpoint)
for kind in ("face", "mesh", "status"):
    socket.subscribe(f"{stream}/{kind}")

while True:
    topic, packed, *arrays = socket.recv_multipart()
    header = msgpack.unpackb(packed)
    print(topic.decode(), header["seq"], header.get("status", ""))
    for face in header["faces"]:
        x, y, z = face["landmarks"][30]
        print(f"  face {face['id']}: yaw {face['pose']['yaw']:.1f}, nose tip at {x:.1f}, {y:.1f}")
    for about, data in zip(header["arrays"], arrays, strict=True):
        if about["name"] == "vertices" and about["dtype"] == "<f4":
            points = list(struct.iter_unpack("<3f", data))
            print(f"  face {about['face']}: {len(points)} vertices, the first at {points[0]}")
