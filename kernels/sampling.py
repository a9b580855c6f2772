"""Colours from the image to the mesh, and from the mesh to an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels import raster
from streamprn.kernels._jit import as_points, as_triangles, cpu_loop, frozen, maths, output
from streamprn.kernels._lanes import (
    add4,
    lane4,
    load_bytes4,
    multiply4,
    pack4,
    spread4,
    subtract4,
)
from streamprn.kernels.maths.sample import clamp, image_replicate, to_byte

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)


def vertex_colours(
    image: NDArray[np.uint8],
    vertices: NDArray[np.float32],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Bilinear colour of the image under each vertex; edge pixels repeated outside.

    Args:
        image: `(H, W, 3)` uint8.
        vertices: `(N, 3)` float32, frame pixels.
        out: `(N, 3)` uint8, C order, or None.

    Returns:
        `out`.
    """
    image, vertices = as_image(image), as_points(vertices)
    out = output(out, vertices.shape, np.uint8)
    _vertex_colours(image, vertices, out)
    return out


@dataclass(frozen=True)
class Chart:
    """The triangles drawn in texture space, once per topology and texture size.

    Attributes:
        triangles: `(T, 3)` int32 of the mesh.
        triangle: `(S, S)` int32, the triangle at each texel, -1 outside the chart.
        barycentric: `(S, S, 2)` float32, weights of its first and second corner.
    """

    triangles: NDArray[np.int32]
    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float32]

    @classmethod
    def draw(cls, triangles: NDArray[np.int32], uv: NDArray[np.float32], size: int) -> Chart:
        """Draw the chart of `uv` `(N, 2)` float32 (u right, v up, 0..1) at S = `size` texels."""
        triangles = as_triangles(triangles)
        flat = np.zeros((uv.shape[0], 3), np.float32)
        flat[:, :2] = texels_from_uv(uv, size, size)
        drawn = raster.rasterise(flat, triangles, size, size)
        return cls(triangles, drawn.triangle, drawn.barycentric)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(S, S)` bool, the texels that the face covers."""
        inside: NDArray[np.bool_] = self.triangle >= 0
        return inside


def texels_from_uv(uv: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Texture coordinates `(N, 2)` in 0..1, v up, as `(N, 2)` float32 column and row."""
    texels: NDArray[np.float32] = np.empty(uv.shape, np.float32)
    texels[:, 0] = uv[:, 0] * width - 0.5
    texels[:, 1] = (1.0 - uv[:, 1]) * height - 0.5
    return texels


def texture(
    image: NDArray[np.uint8],
    vertices: NDArray[np.float32],
    chart: Chart,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The UV texture of a face: at each texel, the image under its point of the surface.

    Args:
        image: `(H, W, 3)` uint8.
        vertices: `(N, 3)` float32, frame pixels, of the chart's mesh.
        chart: see `Chart.draw`.
        out: `(S, S, 3)` uint8, C order, or None.

    Returns:
        `out`, black outside the chart.
    """
    image, vertices = as_image(image), as_points(vertices)
    out = output(out, (*chart.triangle.shape, 3), np.uint8)
    _texture(image, vertices, chart.triangles, chart.triangle, chart.barycentric, out)
    return out


def render(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
    *,
    colours: NDArray[np.uint8] | None = None,
    uv: NDArray[np.float32] | None = None,
    texture: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a coloured or textured mesh.

    Args:
        vertices: `(N, 3)` float32, pixels of the image to draw.
        triangles: `(T, 3)` int32.
        height: H, pixels.
        width: W, pixels.
        colours: `(N, 3)` uint8, a colour per vertex; or else
        uv: `(N, 2)` float32 texture coordinates, u right, v up, and
        texture: `(S, S', 3)` uint8.

    Returns:
        RGB `(H, W, 3)` uint8, black where nothing is drawn, and the coverage `(H, W)` bool.
    """
    drawn = raster.rasterise(vertices, triangles, height, width)
    triangles = as_triangles(triangles)
    rgb = np.zeros((height, width, 3), np.uint8)
    if colours is not None:
        _shade_colours(
            drawn.triangle, drawn.barycentric, triangles, np.ascontiguousarray(colours), rgb
        )
    elif uv is not None and texture is not None:
        texture = as_image(texture)
        places = texels_from_uv(uv, texture.shape[0], texture.shape[1])
        _texture(texture, places, triangles, drawn.triangle, drawn.barycentric, rgb)
    else:
        raise ValueError("render needs colours, or uv and texture")
    coverage: NDArray[np.bool_] = drawn.triangle >= 0
    return rgb, coverage


def as_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(H, W, 3)` uint8, C order; a copy only where the input is something else."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    return frozen(image)  # type: ignore[no-any-return]


@maths
def _colour_at(image: Any, pixels: Any, x: Any, y: Any) -> Any:
    """`maths.sample.image_replicate` of all channels at once, in four lanes.

    Args:
        image: `(H, W, 3)` uint8.
        pixels: the same, flat.
        x: column.
        y: row.
    """
    height, width = image.shape[0], image.shape[1]
    x = clamp(x, ZERO, np.float32(width - 1))
    y = clamp(y, ZERO, np.float32(height - 1))
    c, r = np.int32(x), np.int32(y)
    if c + 2 >= width and r + 2 >= height:
        # The fourth lane of the last pixel would read past the image.
        return pack4(
            image_replicate(image, x, y, 0),
            image_replicate(image, x, y, 1),
            image_replicate(image, x, y, 2),
            ZERO,
        )
    right = np.intp(3 if c + 1 < width else 0)
    below = np.intp(3 * width if r + 1 < height else 0)
    fx, fy = spread4(x - np.float32(c)), spread4(y - np.float32(r))
    place = np.intp(r) * 3 * width + 3 * np.intp(c)
    v00, v01 = load_bytes4(pixels, place), load_bytes4(pixels, place + right)
    v10, v11 = load_bytes4(pixels, place + below), load_bytes4(pixels, place + below + right)
    top = add4(v00, multiply4(subtract4(v01, v00), fx))
    bottom = add4(v10, multiply4(subtract4(v11, v10), fx))
    return add4(top, multiply4(subtract4(bottom, top), fy))


@cpu_loop(fastmath=True)
def _vertex_colours(image: Any, vertices: Any, out: Any) -> None:
    pixels = image.reshape(-1)
    for n in range(vertices.shape[0]):
        colour = _colour_at(image, pixels, vertices[n, 0], vertices[n, 1])
        for channel in range(3):
            out[n, channel] = to_byte(lane4(colour, channel))


@cpu_loop(fastmath=True)
def _texture(image: Any, places: Any, triangles: Any, owner: Any, weights: Any, out: Any) -> None:
    """Colour each pixel of a chart, or of a drawn mesh, by its point in the image.

    Args:
        image: `(H, W, 3)` uint8.
        places: `(N, 2 or more)` float32, where each vertex lies in it.
        triangles: `(T, 3)`.
        owner: see `Raster.triangle`.
        weights: see `Raster.barycentric`.
        out: the owner's shape and 3, uint8; black where it has no triangle.
    """
    pixels = image.reshape(-1)
    for r in range(owner.shape[0]):
        for c in range(owner.shape[1]):
            t = owner[r, c]
            if t < 0:
                out[r, c, 0] = out[r, c, 1] = out[r, c, 2] = 0
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b = weights[r, c, 0], weights[r, c, 1]
            last = ONE - a - b
            x = a * places[i, 0] + b * places[j, 0] + last * places[k, 0]
            y = a * places[i, 1] + b * places[j, 1] + last * places[k, 1]
            colour = _colour_at(image, pixels, x, y)
            for channel in range(3):
                out[r, c, channel] = to_byte(lane4(colour, channel))


@cpu_loop()
def _shade_colours(owner: Any, weights: Any, triangles: Any, colours: Any, rgb: Any) -> None:
    for r in range(owner.shape[0]):
        for c in range(owner.shape[1]):
            t = owner[r, c]
            if t >= 0:
                i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                a, b = weights[r, c, 0], weights[r, c, 1]
                last = ONE - a - b
                for channel in range(3):
                    value = (
                        a * np.float32(colours[i, channel])
                        + b * np.float32(colours[j, channel])
                        + last * np.float32(colours[k, channel])
                    )
                    rgb[r, c, channel] = to_byte(value)
