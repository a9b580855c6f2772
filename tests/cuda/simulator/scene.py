"""A small face, its crop and its frame, as the kernels take them."""

from dataclasses import dataclass

import numpy as np

from streamprn.engines.cuda import launch as on_stream
from streamprn.kernels.cuda import faces, sums
from streamprn.kernels.pose import Reference
from tests.reference.meshes import face_mesh


@dataclass
class Scene:
    maps: np.ndarray
    texel: np.ndarray
    triangles: np.ndarray
    matrices: np.ndarray
    reference: Reference
    landmarks: np.ndarray

    @property
    def faces(self) -> int:
        return self.maps.shape[0]

    @property
    def vertices(self) -> int:
        return self.texel.shape[0]

    @property
    def reference_row(self) -> np.ndarray:
        return np.array([*self.reference.centre, self.reference.spread], np.float64)


def similarity(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]], np.float32)


def make_scene(size: int = 12, faces_count: int = 2) -> Scene:
    rng = np.random.default_rng(7)
    mesh = face_mesh(size)
    maps = np.zeros((faces_count, 256 * 256, 3), np.float32)
    for face in range(faces_count):
        crop = mesh.in_frame(31.5 + face, 30.0, 50.0)
        maps[face, mesh.texel] = crop + rng.normal(0, 0.3, crop.shape).astype(np.float32)
    matrices = np.stack(
        [similarity(0.7 - 0.2 * k, 0.3 * k, 5.0 + k, 3.0) for k in range(faces_count)]
    )
    weights = rng.uniform(0.5, 2.0, len(mesh.texel)).astype(np.float32)
    return Scene(
        maps=maps,
        texel=mesh.texel,
        triangles=mesh.triangles,
        matrices=matrices.astype(np.float32),
        reference=Reference(mesh.canonical, weights),
        landmarks=rng.integers(0, len(mesh.texel), 68).astype(np.int32),
    )


@dataclass
class Restored:
    vertices: np.ndarray
    partial: np.ndarray
    results: np.ndarray
    points: np.ndarray
    steps: np.ndarray
    scale_offset: np.ndarray
    blocks: int


def launch(kernel, grid, *arguments):
    on_stream.launch(kernel, grid, 0, *arguments)


def empty_results(scene: Scene, blocks: int) -> Restored:
    b, n = scene.faces, scene.vertices
    return Restored(
        vertices=np.full((b, n, 3), np.nan, np.float32),
        partial=np.full((b, blocks, sums.SUMS), np.nan, np.float32),
        results=np.full((b, faces.RESULT_COLUMNS), np.nan),
        points=np.full((b, 68, 3), np.nan, np.float32),
        steps=np.zeros((b, n, 3), np.int16),
        scale_offset=np.zeros((b, 2, 3), np.float32),
        blocks=blocks,
    )


def restore(scene: Scene, blocks: int = 1, unit: float = 1.0) -> Restored:
    out = empty_results(scene, blocks)
    launch(
        faces.restore_map,
        (blocks, scene.faces),
        scene.maps,
        np.float32(unit),
        scene.texel,
        scene.matrices,
        scene.reference.table,
        out.vertices,
        out.partial,
    )
    finish(scene, out)
    return out


def finish(scene: Scene, out: Restored) -> None:
    launch(
        faces.finish_faces,
        (1, scene.faces),
        out.partial,
        out.blocks,
        scene.reference_row,
        scene.landmarks,
        out.vertices,
        out.results,
        out.points,
    )
    launch(
        faces.settle_vertices,
        (1, scene.faces),
        out.vertices,
        out.results,
        True,
        out.steps,
        out.scale_offset,
    )
