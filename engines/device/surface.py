"""What is computed from vertices that are still on the device, for those who asked.

The vertices of a face stay in an array of their own after the batch, so that whoever publishes it
decides later, in another thread, what to compute from them and whether to download them at all.
"""

from __future__ import annotations

import weakref
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.device.staging import window_around
from streamprn.engines.device.upload import FrameUpload, constant
from streamprn.records import QuantisedVertices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.device.contract import Device
    from streamprn.engines.topology import Topology
    from streamprn.errors import BackendError
    from streamprn.kernels.cuda.kernel import Kernel
    from streamprn.kernels.sampling import Chart
    from streamprn.records import FrameImage

    Float32 = NDArray[np.float32]


#: What a renderer keeps after `release`: enough to say that its device was closed.
KEPT = ("_device", "topology", "_texture_size", "failure")


class HeldVertices:
    """The vertices of one face on the device, kept as long as somebody refers to them.

    Attributes:
        array: `(1, N, 3)` float32 on the device, frame pixels, minimum of z 0.
        row: `(32,)` float64 of `streamprn.kernels.cuda.faces`, z settled.
    """

    __slots__ = ("__weakref__", "array", "row")

    def __init__(self, array: Any) -> None:
        self.array = array
        self.row = np.zeros(32)

    def settle(self, row: NDArray[np.float64]) -> None:
        """Take the bounds from the results of the batch, `(32,)` float64, z not settled."""
        self.row = row.copy()
        self.row[25] = np.float32(row[25]) - np.float32(row[22])
        self.row[22] = 0.0

    @property
    def box_xyxy(self) -> Float32:
        """`(4,)` float32, frame pixels."""
        return self.row[[20, 21, 23, 24]].astype(np.float32)


class VertexStore:
    """Arrays for `HeldVertices`, used again when their face is let go.

    Args:
        device: see `Device`.
        count: N.
        ready: how many to make now; more are made when so many faces are held at once.
    """

    def __init__(self, device: Device, count: int, ready: int) -> None:
        self._device, self._shape = device, (1, count, 3)
        self._free = deque(device.zeros(self._shape, np.float32) for _ in range(ready))

    def hold(self) -> HeldVertices:
        """An array that is nobody else's."""
        try:
            array = self._free.popleft()
        except IndexError:
            array = self._device.zeros(self._shape, np.float32)
        held = HeldVertices(array)
        # Last in line: whoever let go of it may still have work in flight that reads it.
        weakref.finalize(held, self._free.append, array).atexit = False
        return held


class SurfaceRenderer:
    """Vertices, visibility, textures, quantised vertices and depth images of held faces.

    Every method waits for its result. One thread at a time may use it, beside the chain's.
    `failure` is what the device last said to somebody who asked for a face, or None.

    Args:
        device: the chain's.
        topology: of the engine.
        texture_size: T, side of textures in texels.
    """

    def __init__(self, device: Device, topology: Topology, texture_size: int = 256) -> None:
        self._device, self.topology, self._texture_size = device, topology, texture_size
        self.failure: BackendError | None = None
        count = topology.vertex_count
        with device.current():
            self._stream = device.stream()
            self._upload = FrameUpload(device, 1, self._stream)
            self._row = device.pinned((1, 32), np.float64), device.zeros((1, 32), np.float64)
            self._first = device.zeros((1,), np.int32)
            self._triangles = constant(self._device, self._stream, topology.triangles)
            self._vertices: Float32 = device.pinned((1, count, 3), np.float32)
            self._image = self._image_of_size(1)

    def vertices(self, held: HeldVertices) -> Float32:
        """`(N, 3)` float32 frame pixels, the caller's own."""
        with self._device.current():
            self._device.download(self._vertices, held.array, self._stream)
            self._device.synchronize(self._stream)
            vertices: Float32 = self._vertices[0].copy()
            return vertices

    def visible_landmarks(self, held: HeldVertices) -> NDArray[np.bool_]:
        """`(68,)` bool: the landmark faces the camera and nothing of the face is before it."""
        from streamprn.kernels.cuda import surface

        side = surface.SIDE
        landmarks, start, others, host, visible = self._visibility
        with self._device.current():
            self._send(held)
            keys = self._draw([held], (side, side), boxed=True)
            self._launch(
                surface.visible_landmarks, landmarks.size, held.array, landmarks, start, others,
                self._row[1], keys, visible,
            )  # fmt: skip
            self._device.download(host, visible, self._stream)
            self._device.synchronize(self._stream)
            seen: NDArray[np.bool_] = host[0].astype(np.bool_)
            return seen

    def texture(self, held: HeldVertices, image: FrameImage) -> NDArray[np.uint8]:
        """`(T, T, 3)` uint8 RGB, as `streamprn.kernels.sampling.texture`."""
        from streamprn.kernels.cuda.surface import face_textures

        triangle, weights, host, out = self._chart
        part = window_around(held.box_xyxy, (image.width, image.height))
        with self._device.current():
            self._upload.place({0: (image, part)})
            self._upload.send_pixels()
            self._upload.send_tables()
            frames, colours = self._upload.frames, self._upload.colours
            self._launch(
                face_textures, triangle.size, self._upload.pool, frames, colours, self._first,
                held.array, self._triangles, triangle, weights, out,
            )  # fmt: skip
            self._device.download(host, out, self._stream)
            self._device.synchronize(self._stream)
            self._upload.release()
            texture: NDArray[np.uint8] = host[0].copy()
            return texture

    def quantised_vertices(self, held: HeldVertices) -> QuantisedVertices:
        """As `streamprn.kernels.quantise.quantise`."""
        from streamprn.kernels.cuda.faces import settle_vertices

        host_steps, steps, host_scale_offset, scale_offset = self._quantised
        with self._device.current():
            self._send(held)
            count = self.topology.vertex_count
            self._launch(
                settle_vertices, count, held.array, self._row[1], True, steps, scale_offset
            )
            self._device.download(host_steps, steps, self._stream)
            self._device.download(host_scale_offset, scale_offset, self._stream)
            self._device.synchronize(self._stream)
            scale, offset = host_scale_offset[0].copy()
            return QuantisedVertices(host_steps[0].copy(), scale, offset)

    def depth(self, faces: Sequence[HeldVertices], size_wh: tuple[int, int]) -> Float32:
        """`(H, W)` float32: z of the nearest surface of the faces, NaN where there is none."""
        from streamprn.kernels.cuda.surface import resolve_depth

        width, height = size_wh
        pixels = width * height
        with self._device.current():
            keys = self._draw(faces, size_wh, boxed=False)
            _, host, depth = self._image
            self._launch(resolve_depth, pixels, keys.reshape(pixels), depth[:pixels])
            self._device.download(host[:pixels], depth, self._stream)
            self._device.synchronize(self._stream)
            return host[:pixels].reshape(height, width).copy()

    def release(self) -> None:
        """Let go of all buffers, inside `Device.current`; faces may outlive the chain."""
        for name in [name for name in self.__dict__ if name not in KEPT]:
            del self.__dict__[name]

    def _draw(self, faces: Sequence[HeldVertices], size_wh: tuple[int, int], *, boxed: bool) -> Any:
        """Keys `(1, H, W)` of faces drawn into one image."""
        from streamprn.kernels.cuda.surface import clear_keys, draw_triangles

        width, height = size_wh
        pixels = width * height
        flat = self._image_of(pixels)[0][:pixels]
        keys = flat.reshape(1, height, width)
        self._launch(clear_keys, pixels, flat)
        count = self.topology.triangles.shape[0]
        for held in faces:
            self._launch(
                draw_triangles, count, held.array, self._triangles, self._row[1], self._first,
                boxed, keys,
            )  # fmt: skip
        return keys

    def _image_of(self, pixels: int) -> tuple[Any, Float32, Any]:
        """Keys and depth of at least so many pixels; larger than any before makes them grow."""
        if self._image[1].size < pixels:
            self._device.synchronize(self._stream)
            self._image = self._image_of_size(pixels)
        return self._image

    def _image_of_size(self, pixels: int) -> tuple[Any, Float32, Any]:
        device = self._device
        return (
            device.zeros((pixels,), np.int64),
            device.pinned((pixels,), np.float32),
            device.zeros((pixels,), np.float32),
        )

    def _send(self, held: HeldVertices) -> None:
        """Upload the row of a face; the stream has nothing in flight that reads another's."""
        self._row[0][0] = held.row
        self._device.upload(self._row[1], self._row[0], self._stream)

    def _launch(self, kernel: Kernel, elements: int, *arguments: Any) -> None:
        grid = (kernel.blocks(elements), 1)
        self._device.launch(kernel, grid, self._stream, *arguments)

    @cached_property
    def _visibility(self) -> tuple[Any, ...]:
        from streamprn.kernels.cuda.surface import adjacency

        topology = self.topology
        start, others = adjacency(topology.triangles, topology.vertex_count)
        shape = (1, topology.landmarks.size)
        with self._device.current():
            constants = [
                constant(self._device, self._stream, one)
                for one in (topology.landmarks, start, others)
            ]
            pair = self._device.pinned(shape, np.uint8), self._device.zeros(shape, np.uint8)
        return *constants, *pair

    @cached_property
    def _chart(self) -> tuple[Any, ...]:
        from streamprn.kernels.sampling import Chart

        size = self._texture_size
        chart: Chart = Chart.draw(self.topology.triangles, self.topology.uv, size)
        shape = (1, size, size, 3)
        with self._device.current():
            constants = [
                constant(self._device, self._stream, one)
                for one in (chart.triangle, chart.barycentric)
            ]
            pair = self._device.pinned(shape, np.uint8), self._device.zeros(shape, np.uint8)
        return *constants, *pair

    @cached_property
    def _quantised(self) -> tuple[Any, ...]:
        shape, device = (1, self.topology.vertex_count, 3), self._device
        with device.current():
            return (
                device.pinned(shape, np.int16),
                device.zeros(shape, np.int16),
                device.pinned((1, 2, 3), np.float32),
                device.zeros((1, 2, 3), np.float32),
            )
