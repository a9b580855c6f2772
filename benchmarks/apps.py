"""Time of the offline programs on this machine: `python benchmarks/apps.py [--repeat N]`.

- every output of `reconstruct --all` for one face of a 512x512 picture, without the network;
- the depth image at 640x480, 1080p and 4K, also of a face that fills the picture, with one thread
  and with as many as there are processors;
- swapping a face through a 640x480 clip, decoding and encoding included.

The least of several runs is printed: it is what the code costs when nothing else runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from streamprn.apps import outputs
from streamprn.apps.clip_writing import ClipWriter
from streamprn.apps.clips import swap_clip
from streamprn.apps.outputs import OutputOptions, PictureFiles
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.kernels import raster


def least(run: Callable[[], object], repeat: int) -> float:
    """Milliseconds of the fastest of some runs, after one that compiles."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def fresh(face: Reconstruction) -> Reconstruction:
    """The same face with nothing computed yet."""
    return dataclasses.replace(face, _cache={})


def time_outputs(face: Reconstruction, reconstructor: Reconstructor, repeat: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kinds in (*((kind,) for kind in outputs.KINDS), tuple(outputs.KINDS)):
            options = OutputOptions(kinds=kinds)

            def write(options: OutputOptions = options) -> None:
                files = PictureFiles(
                    face.image,
                    [fresh(face)],
                    reconstructor.engine.crop,
                    Path(folder),
                    options,
                )
                outputs.write_outputs(files, "picture")

            name = kinds[0] if len(kinds) == 1 else "all outputs"
            print(f"reconstruct, {name:<12} {least(write, repeat):8.1f} ms a face")


def time_depth(face: Reconstruction, repeat: int) -> None:
    cases = (
        *((640, 480, 300), (640, 480, 460)),
        *((1920, 1080, 300), (1920, 1080, 675), (1920, 1080, 1060)),
        *((3840, 2160, 1350), (3840, 2160, 2120)),
    )
    for width, height, face_px in cases:
        centred = face.vertices - face.vertices.mean(axis=0)
        zoom = face_px / float(np.ptp(centred[:, 1]))
        placed = (centred * zoom + np.array([width / 2, height / 2, 0])).astype(np.float32)
        depth = np.empty((height, width), np.float32)
        draw = partial(raster.depth, placed, face.topology.triangles, height, width, depth)
        both = [least(partial(draw, threads=n), 5 * repeat) for n in (1, raster.processors())]
        print(
            f"depth image {width}x{height}, face of {face_px} px high {both[0]:8.2f} ms, "
            f"{raster.processors()} threads {both[1]:8.2f} ms"
        )


def write_clip(path: Path, picture: np.ndarray, frames: int) -> None:
    with ClipWriter(path, Fraction(30)) as writer:
        for n in range(frames):
            c, s = 1.6 * math.cos(0.2 * math.sin(n / 9)), 1.6 * math.sin(0.2 * math.sin(n / 9))
            turn = np.array([[c, -s], [s, c]])
            shift = np.array([320 + 60 * math.sin(n / 12), 240]) - turn @ (224.0, 120.0)
            writer.write(cv2.warpAffine(picture, np.column_stack([turn, shift]), (640, 480)))


def time_clip(face: Reconstruction, reconstructor: Reconstructor) -> None:
    swapper = FaceSwapper(ReferenceFace.of(face), PartMask.named("face", face.topology))
    with tempfile.TemporaryDirectory() as folder:
        clip, out = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        write_clip(clip, face.image, 90)
        start = time.perf_counter()
        frames = swap_clip(reconstructor, swapper, clip, out).frames
        rate = frames / (time.perf_counter() - start)
        print(f"swap, 640x480 clip            {rate:8.1f} frames a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    from skimage import data

    reconstructor = Reconstructor(open_engine(threads=2), open_detector())
    picture = np.asarray(data.astronaut(), np.uint8)
    face = reconstructor.reconstruct(picture)[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {reconstructor.engine.backend}")
    print(f"{face.topology.vertex_count} vertices, {len(face.topology.triangles)} triangles")
    took = least(lambda: reconstructor.reconstruct(picture), repeat)
    print(f"detection, crops and network  {took:8.1f} ms a picture")
    time_outputs(face, reconstructor, repeat)
    time_depth(face, repeat)
    time_clip(face, reconstructor)


if __name__ == "__main__":
    main()
