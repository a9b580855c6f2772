"""Every kernel against what one would use instead, in one run, on the facemesh topology.

    python benchmarks/kernels.py [--rounds 200] [--json FILE]

A kernel and its baseline take turns, so that a busy machine slows both alike; read the ratio and
the minimum first. One thread each: OpenCV's own threads are off. Compilation is not timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

from streamprn.bench.machine import describe
from streamprn.engines import registry
from streamprn.kernels import normals, pose, raster, sampling, uv, visibility, warp
from streamprn.kernels.quantise import quantise
from streamprn.records import YuvPlanes

Work = Callable[[], Any]
FACE_PX = 300
CROP = 192


@dataclass(frozen=True)
class Case:
    """One kernel on one size; `baseline` does the same work in another way, or is None."""

    name: str
    size: str
    work: Work
    baseline_name: str = ""
    baseline: Work | None = None


@dataclass(frozen=True)
class Figures:
    """Milliseconds over all rounds; the ratio is of minima, baseline over kernel."""

    name: str
    size: str
    min: float
    median: float
    p99: float
    baseline: str = ""
    baseline_min: float | None = None
    baseline_median: float | None = None
    ratio: float | None = None


def once_ms(work: Work) -> float:
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6


def measure(case: Case, rounds: int) -> Figures:
    case.work()
    times, others = [], []
    if case.baseline is not None:
        case.baseline()
        # A slow baseline is run for about two seconds, not for all rounds.
        every = max(1, round(once_ms(case.baseline) * rounds / 2000))
    for index in range(rounds):
        times.append(once_ms(case.work))
        if case.baseline is not None and index % every == 0:
            others.append(once_ms(case.baseline))
    return Figures(
        case.name,
        case.size,
        min(times),
        float(np.median(times)),
        float(np.quantile(times, 0.99)),
        case.baseline_name,
        min(others) if others else None,
        float(np.median(others)) if others else None,
        min(others) / min(times) if others else None,
    )


def prnet_pose(vertices: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """Pose as PRNet's code gets it: an affine least-squares fit over all vertices in NumPy."""
    homogeneous = np.hstack([canonical, np.ones((len(canonical), 1), np.float32)])
    return np.linalg.lstsq(homogeneous, vertices, rcond=None)[0].T


def numpy_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = -np.cross(b - a, c - a)
    total = np.stack(
        [
            sum(np.bincount(triangles[:, k], face[:, axis], len(vertices)) for k in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def numpy_restore(position_map: np.ndarray, texel: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    points = position_map.reshape(-1, 3)[texel]
    vertices = np.empty_like(points)
    vertices[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    z = points[:, 2] * np.sqrt(np.linalg.det(matrix[:, :2]))
    vertices[:, 2] = z - z.min()
    return vertices


class Scene:
    """A frontal canonical face of the facemesh engine in frames of noise."""

    def __init__(self) -> None:
        bundle = registry.find("facemesh")
        self.topology = bundle.topology()
        self.operator = bundle.subdivision(self.topology).operator
        self.rng = np.random.default_rng(0)
        canonical = self.topology.canonical
        self.unit = canonical / np.ptp(canonical[:, 0])

    def vertices(self, height: int, width: int, face_px: int = FACE_PX) -> np.ndarray:
        vertices = self.unit * np.float32(face_px) * np.float32([1, -1, 1])
        vertices += np.float32([width / 2 + 0.3, height / 2 + 0.2, 0])
        vertices[:, 2] -= vertices[:, 2].min()
        return np.ascontiguousarray(vertices, np.float32)

    def image(self, height: int, width: int) -> np.ndarray:
        smooth = self.rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
        return np.ascontiguousarray(cv2.resize(smooth, (width, height)))


def crop_matrix(step: float, height: int, width: int) -> np.ndarray:
    """A crop around the frame's centre, turned by 0.1 rad, `step` frame pixels a crop pixel."""
    cos, sin, half = step * np.cos(0.1), step * np.sin(0.1), (CROP - 1) / 2
    return np.float32(
        [
            [cos, -sin, width / 2 - half * (cos - sin)],
            [sin, cos, height / 2 - half * (sin + cos)],
        ]
    )


def planes_of(image: np.ndarray) -> YuvPlanes:
    height, width = image.shape[:2]
    packed = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    chroma = packed[height:].reshape(2, height // 2, width // 2)
    return YuvPlanes(packed[:height], chroma[0], chroma[1])


def warp_cases(scene: Scene) -> Iterator[Case]:
    height, width = 480, 640
    image = scene.image(height, width)
    planes = planes_of(image)
    packed = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    out = np.empty((1, CROP, CROP, 3), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for step in (1.2, 2.0, 3.2):
        matrix = crop_matrix(step, height, width)
        size = f"{CROP}x{CROP}, step {step}"

        def of_rgb(matrix: np.ndarray = matrix) -> np.ndarray:
            crop = cv2.warpAffine(image, matrix, (CROP, CROP), flags=flags)
            return crop.astype(np.float32) * np.float32(1 / 255)

        def of_planes(matrix: np.ndarray = matrix) -> np.ndarray:
            rgb = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)
            crop = cv2.warpAffine(rgb, matrix, (CROP, CROP), flags=flags)
            return crop.astype(np.float32) * np.float32(1 / 255)

        yield Case(
            "warp_rgb",
            size,
            lambda matrix=matrix: warp.warp_rgb(image, matrix, CROP, out),
            "OpenCV warpAffine, no anti-aliasing",
            of_rgb,
        )
        yield Case(
            "warp_yuv",
            size + ", 640x480",
            lambda matrix=matrix: warp.warp_yuv(planes, matrix, CROP, out),
            "OpenCV cvtColor + warpAffine",
            of_planes,
        )


def uv_cases(scene: Scene) -> Iterator[Case]:
    operator, texel = scene.operator, scene.topology.texel
    n, m = len(texel), operator.control_count
    points = scene.rng.random((1, operator.point_count, 3), np.float32)
    maps = np.empty((1, uv.UV_SIZE, uv.UV_SIZE, 3), np.float32)
    control = uv.control_points(points, operator)
    stage1 = sparse.csr_matrix((operator.weights1, operator.indices1, operator.indptr1))
    stage2 = sparse.csr_matrix(
        (operator.weights2.ravel(), operator.indices2.ravel(), np.arange(0, 3 * n + 1, 3)),
        shape=(n, m),
    )

    def scipy_subdivide() -> None:
        maps.reshape(-1, 3)[texel] = stage2 @ (stage1 @ points[0])

    yield Case(
        "uv.control_points, uv.position_map_of",
        f"{n} texels",
        lambda: uv.position_map_of(
            uv.control_points(points, operator, control)[0], operator, maps[0]
        ),
        "SciPy CSR",
        scipy_subdivide,
    )
    vertices = scene.vertices(480, 640)
    position_map, matrix = uv.scatter(vertices, texel), crop_matrix(1.2, 480, 640)
    out = np.empty_like(vertices)
    yield Case(
        "uv.restore_with_bounds",
        f"{n} vertices",
        lambda: uv.restore_with_bounds(position_map, texel, matrix, out),
        "NumPy",
        lambda: numpy_restore(position_map, texel, matrix),
    )
    yield Case(
        "uv.control_points",
        f"{m} points",
        lambda: uv.control_points(points, operator, control),
        "SciPy CSR",
        lambda: stage1 @ points[0],
    )
    yield Case(
        "uv.restore_control",
        f"{n} vertices",
        lambda: uv.restore_control(control[0], operator, matrix, out),
        "the map, then its vertices",
        lambda: uv.restore_with_bounds(
            uv.position_map_of(control[0], operator, maps[0]), texel, matrix, out
        ),
    )
    yield Case("uv.bounds", f"{n} vertices", lambda: uv.bounds(vertices))
    yield Case("quantise", f"{n} vertices", lambda: quantise(vertices))


def geometry_cases(scene: Scene) -> Iterator[Case]:
    topology = scene.topology
    triangles, canonical = topology.triangles, topology.canonical
    vertices = scene.vertices(480, 640)
    n, size = len(vertices), f"{len(vertices)} vertices"
    reference = pose.Reference(canonical, topology.pose_weights)
    yield Case(
        "pose.estimate",
        size,
        lambda: pose.estimate(vertices, reference),
        "NumPy least squares (PRNet)",
        lambda: prnet_pose(vertices, canonical),
    )
    for height, width in ((480, 640), (1080, 1920)):
        placed = scene.vertices(height, width)
        depth = np.empty((height, width), np.float32)
        yield Case(
            "raster.depth",
            f"{width}x{height}, {len(triangles)} triangles",
            lambda placed=placed, h=height, w=width, out=depth: raster.depth(
                placed, triangles, h, w, out
            ),
        )
    filling = scene.vertices(1080, 1920, face_px=round(1060 / float(np.ptp(scene.unit[:, 1]))))
    depth = np.empty((1080, 1920), np.float32)
    for threads in sorted({1, raster.processors()}):
        yield Case(
            f"raster.depth, threads={threads}",
            "1920x1080, a face of 1060 px",
            lambda threads=threads, out=depth: raster.depth(
                filling, triangles, 1080, 1920, out, threads=threads
            ),
        )
    buffers = raster.rasterise(vertices, triangles, 480, 640)
    yield Case(
        "raster.rasterise",
        f"640x480, {len(triangles)} triangles",
        lambda: raster.rasterise(vertices, triangles, 480, 640, buffers),
    )
    found = np.empty((n, 3), np.float32)
    yield Case(
        "normals.vertex_normals",
        size,
        lambda: normals.vertex_normals(vertices, triangles, found),
        "NumPy bincount",
        lambda: numpy_normals(vertices, triangles),
    )
    yield Case(
        "visibility.visible_vertices",
        size,
        lambda: visibility.visible_vertices(vertices, triangles),
    )


def sampling_cases(scene: Scene) -> Iterator[Case]:
    topology, image = scene.topology, scene.image(480, 640)
    vertices = scene.vertices(480, 640)
    x, y = (np.ascontiguousarray(vertices[None, :, k]) for k in range(2))
    rows = 8  # OpenCV limits a remap to 32,767 columns
    length = len(vertices) // rows * rows
    x, y = x[:, :length].reshape(rows, -1), y[:, :length].reshape(rows, -1)
    colours = np.empty(vertices.shape, np.uint8)
    yield Case(
        "sampling.vertex_colours",
        f"{len(vertices)} vertices",
        lambda: sampling.vertex_colours(image, vertices, colours),
        "OpenCV remap",
        lambda: cv2.remap(image, x, y, cv2.INTER_LINEAR),
    )
    for size in (256, 512):
        chart = sampling.Chart.draw(topology.triangles, topology.uv, size)
        out = np.empty((size, size, 3), np.uint8)
        yield Case(
            "sampling.texture",
            f"{size}x{size}",
            lambda chart=chart, out=out: sampling.texture(image, vertices, chart, out),
        )
    yield Case(
        "sampling.render",
        "640x480",
        lambda: sampling.render(vertices, topology.triangles, 480, 640, colours=colours),
    )


def all_cases() -> Iterator[Case]:
    scene = Scene()
    for family in (warp_cases, uv_cases, geometry_cases, sampling_cases):
        yield from family(scene)


def print_table(results: list[Figures]) -> None:
    table = Table(title="Kernels, milliseconds, one thread")
    for head in ("kernel", "size"):
        table.add_column(head)
    for head in ("min", "median", "p99"):
        table.add_column(head, justify="right")
    table.add_column("baseline")
    table.add_column("min", justify="right")
    table.add_column("ratio", justify="right")
    for f in results:
        other = ["", ""] if f.ratio is None else [f"{f.baseline_min:.3f}", f"{f.ratio:.1f}x"]
        times = [f"{value:.3f}" for value in (f.min, f.median, f.p99)]
        table.add_row(f.name, f.size, *times, f.baseline, *other)
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="calls of each kernel")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    results = [measure(case, arguments.rounds) for case in all_cases()]
    print_table(results)
    if arguments.json:
        report = {"machine": describe(), "kernels": [asdict(figures) for figures in results]}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
