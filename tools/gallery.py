"""Make the pictures of docs/gallery.md: `python -m tools.gallery docs/gallery`.

The faces are public-domain portraits that come with Python packages: the astronaut Eileen Collins
(NASA, with scikit-image) and Rear Admiral Grace Hopper (US Navy, with Matplotlib).
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.apps import images, outputs, overlays
from streamprn.apps.reconstruction import Reconstructor
from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace
from streamprn.errors import InputError
from streamprn.kernels import normals, pose, sampling, warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.records import Float32, UInt8

_TILE = 320
_GAP = 6


@dataclass(frozen=True)
class Scene:
    """The two portraits, their faces, and what reconstructs them."""

    reconstructor: Reconstructor
    astronaut: Reconstruction
    admiral: Reconstruction


def portraits() -> tuple[UInt8, UInt8]:
    """The astronaut and the admiral, `(H, W, 3)` uint8.

    Raises:
        InputError: the packages that hold them are not installed.
    """
    try:
        from matplotlib.cbook import get_sample_data
        from skimage import data
    except ImportError as error:
        raise InputError(
            f"the gallery needs {error.name}", hint="pip install 'streamprn[demo,plot]'"
        ) from error
    path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    return np.asarray(data.astronaut(), np.uint8), images.read_image(path)


def open_scene() -> Scene:
    """Open the default engine and reconstruct both portraits."""
    from streamprn.engines.detectors import open_detector
    from streamprn.engines.engine import open_engine

    reconstructor = Reconstructor(open_engine(), open_detector())
    first, second = (reconstructor.reconstruct(image)[0] for image in portraits())
    return Scene(reconstructor, first, second)


def strip(pictures: Sequence[UInt8], labels: Sequence[str] = (), height: int = _TILE) -> UInt8:
    """Pictures side by side on white, scaled to one height, each with its label below."""
    tiles = []
    for index, picture in enumerate(pictures):
        zoom = height / picture.shape[0]
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        size_wh = (max(round(picture.shape[1] * zoom), 1), height)
        tile = np.asarray(cv2.resize(picture, size_wh, interpolation=how), np.uint8)
        foot = 22 if labels else 0
        framed = np.full((height + foot, tile.shape[1] + _GAP, 3), 255, np.uint8)
        framed[:height, : tile.shape[1]] = tile
        if labels:
            _write(framed, labels[index], (2, height + 16))
        tiles.append(framed)
    return np.hstack(tiles)[:, :-_GAP]


def _write(canvas: UInt8, text: str, at_xy: tuple[int, int]) -> None:
    font, colour = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)
    cv2.putText(canvas, text, at_xy, font, 0.45, colour, 1, cv2.LINE_AA)


def around(picture: NDArray[np.uint8], face: Reconstruction, margin: float = 0.35) -> UInt8:
    """The square part of a picture around a face."""
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    half = (0.5 + margin) * max(x1 - x0, y1 - y0)
    cx, cy = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
    rows = slice(max(round(cy - half), 0), round(cy + half))
    columns = slice(max(round(cx - half), 0), round(cx + half))
    return np.ascontiguousarray(picture[rows, columns])


def draw_overlays(scene: Scene) -> UInt8:
    """The four overlays."""
    face = scene.admiral
    pictures = [
        around(overlays.overlay(face.image, [face], kind), face) for kind in overlays.OVERLAYS
    ]
    return strip(pictures, overlays.OVERLAYS)


def draw_maps(scene: Scene) -> UInt8:
    """The crop, the depth image and the position map."""
    face = scene.admiral
    rule = scene.reconstructor.engine.crop
    crop = warp.warp_rgb(face.image, rule.frame_from_crop(face.roi), rule.size, scale=1.0)[0]
    depth = around(overlays.depth_picture(outputs.depth_of(face.image.shape[:2], [face])), face)
    low = face.vertices.min(axis=0)
    level = 255.0 * (face.vertices - low) / np.ptp(face.vertices, axis=0)
    map_picture = np.zeros((256 * 256, 3), np.uint8)
    map_picture[face.topology.texel] = level
    pictures = [np.clip(crop, 0, 255).astype(np.uint8), depth, map_picture.reshape(256, 256, 3)]
    return strip(pictures, ("crop", "depth", "position map"))


def turned(face: Reconstruction, yaw: float, pitch: float = 0.0) -> Float32:
    """`(N, 3)` float32: the face turned from the front, about its middle."""
    up = (face.front_vertices * (1.0, -1.0, 1.0)).astype(np.float64)
    up -= up.mean(axis=0)
    turn = up @ pose.rotation_from_euler(yaw, pitch, 0.0).T
    return (turn * (1.0, -1.0, 1.0)).astype(np.float32)


def draw_mesh(face: Reconstruction, vertices: Float32, *, clay: bool, size: int = _TILE) -> UInt8:
    """The mesh on white: in its colours, or in grey under a lamp."""
    zoom = 0.9 * 2 * size / float(np.ptp(face.front_vertices[:, 1]))
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0)) * (1.0, 1.0, 0.0)
    placed = ((vertices - middle) * zoom + np.array([size, size, 0])).astype(np.float32)
    colours = face.colours
    if clay:
        facing = normals.vertex_normals(placed, face.topology.triangles)
        lamp = np.array([-0.35, -0.45, 0.82], np.float32)
        light = 60.0 + 180.0 * np.clip(facing @ lamp, 0.0, 1.0)
        colours = np.repeat(light[:, None], 3, axis=1).astype(np.uint8)
    rgb, covered = sampling.render(
        placed, face.topology.triangles, 2 * size, 2 * size, colours=colours
    )
    white = np.where(covered[:, :, None], rgb, 255).astype(np.uint8)
    return np.asarray(cv2.resize(white, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def draw_meshes(scene: Scene) -> UInt8:
    """The mesh from three sides, coloured and grey."""
    rows = []
    for face in (scene.admiral, scene.astronaut):
        views = [(turned(face, yaw, pitch)) for yaw, pitch in ((0, 0), (35, 0), (-35, 12))]
        pictures = [draw_mesh(face, view, clay=clay) for clay in (False, True) for view in views]
        rows.append(strip(pictures, height=230))
    return np.vstack(rows)


def draw_textures(scene: Scene) -> UInt8:
    """A turned face, and its texture with every fill."""
    face = scene.admiral
    view = turned(face, 38.0, 0.0) + np.array([150, 150, 0], np.float32)
    rgb, covered = sampling.render(
        view, face.topology.triangles, 300, 300, uv=face.topology.uv, texture=face.texture(512)
    )
    ground = cv2.GaussianBlur(cv2.resize(face.image, (300, 300)), (0, 0), 30)
    picture = np.where(covered[:, :, None], rgb, ground).astype(np.uint8)
    seen = scene.reconstructor.reconstruct(picture)[0]
    fills = [seen.texture(512, fill) for fill in ("picture", "zero", "mirror")]
    return strip([picture, *fills], ("a turned head", "--fill picture", "zero", "mirror"))


def draw_swaps(scene: Scene) -> UInt8:
    """Each face on the other."""
    pictures = []
    for face, other in ((scene.astronaut, scene.admiral), (scene.admiral, scene.astronaut)):
        part = PartMask.named("face", face.topology)
        swapped = FaceSwapper(ReferenceFace.of(other), part).swap(face.image, face.vertices)
        pictures += [around(face.image, face, 0.5), around(swapped, face, 0.5)]
    return strip(pictures, ("target", "swap", "target", "swap"))


def draw_edits(scene: Scene) -> UInt8:
    """Every part of the admiral's face replaced by the astronaut's."""
    face, reference = scene.admiral, ReferenceFace.of(scene.astronaut)
    pictures = []
    parts = ("eyes", "brows", "nose", "lips")
    for part in parts:
        edit = FaceSwapper(reference, PartMask.named(part, face.topology))
        pictures.append(around(edit.swap(face.image, face.vertices), face, 0.1))
    return strip(pictures, [f"--part {part}" for part in parts])


def draw_group(scene: Scene) -> UInt8:
    """Several faces of one picture, at several sizes and rolls."""
    ground = np.full((420, 980, 3), 128, np.uint8)
    places = ((scene.astronaut, 1.7, -18.0, 160), (scene.admiral, 1.0, 12.0, 480))
    for face, zoom, roll, x in (*places, (scene.astronaut, 2.4, 8.0, 800)):
        c, s = (zoom * f(math.radians(roll)) for f in (math.cos, math.sin))
        turn = np.array([[c, -s], [s, c]])
        centre = 0.5 * (face.box_xyxy[:2] + face.box_xyxy[2:])
        matrix = np.column_stack([turn, np.array([x, 190]) - turn @ centre])
        half = slice(max(x - 160, 0), x + 180)
        drawn = cv2.warpAffine(face.image, matrix, (980, 420), borderMode=cv2.BORDER_REPLICATE)
        ground[:, half] = drawn[:, half]
    faces = scene.reconstructor.reconstruct(ground)
    picture = overlays.overlay(ground, faces, "pose")
    for face in faces:
        overlays.draw_landmarks(picture, face)
    return picture


PICTURES = {
    "overlays.jpg": draw_overlays,
    "maps.jpg": draw_maps,
    "meshes.jpg": draw_meshes,
    "textures.jpg": draw_textures,
    "swap.jpg": draw_swaps,
    "edit.jpg": draw_edits,
    "group.jpg": draw_group,
}


def make(folder: Path) -> list[Path]:
    """Write all pictures of the gallery; returns their paths."""
    scene = open_scene()
    paths = []
    for name, draw in PICTURES.items():
        images.write_image(folder / name, draw(scene), quality=88)
        paths.append(folder / name)
    return paths


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/gallery"))
