"""Two streams in one event loop: `python examples/asyncio_faces.py ENDPOINT STREAM STREAM`."""

import asyncio
import sys

from streamprn import Subscriber


async def follow(endpoint: str, stream: str, frames: int = 10) -> None:
    with Subscriber(endpoint, f"{stream}/face", timeout_s=30) as messages:
        async for message in messages:
            yaws = ", ".join(f"{face.id}: {face.pose.yaw:+.1f}" for face in message.faces)
            print(f"{stream} {message.seq}: {yaws or 'nobody'}")
            frames -= 1
            if frames == 0:
                return


async def main(endpoint: str, *streams: str) -> None:
    await asyncio.gather(*(follow(endpoint, stream) for stream in streams))


if len(sys.argv) < 3:
    sys.exit("usage: python examples/asyncio_faces.py tcp://127.0.0.1:5870 STREAM [STREAM ...]")
asyncio.run(main(*sys.argv[1:]))
