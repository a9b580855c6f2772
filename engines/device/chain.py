"""One batch of faces on a device: upload, crops, network, vertices, pose, download.

A batch lives in a `Slot`: a stream, page-locked buffers, device buffers, and a network context of
its own. With two slots the upload of a batch overlaps the network of the one before and the
download of the one before that. Everything is allocated when a slot is made; only a frame that is
larger than any before makes the upload grow. After the frames, whose sizes differ, the rest of a
batch is the same sequence while its size stays, so the device may record it once and replay it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streamprn.engines.device.staging import (
    COLOUR_COLUMNS,
    FRAME_COLUMNS,
    Stage,
    bytes_of,
    sequence_of_owners,
    window,
)
from streamprn.engines.topology import UV_SIZE
from streamprn.errors import BackendError, EngineError
from streamprn.records import Pose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.protocol import CropRule
    from streamprn.engines.topology import Topology
    from streamprn.kernels.cuda.kernel import Kernel
    from streamprn.records import FrameImage, Roi

#: Points in a batch whose times `DeviceChain.times_ms` tells apart.
STAGES = ("upload", "crop", "network", "geometry", "download")

MAP_TEXELS = UV_SIZE * UV_SIZE


class Device(Protocol):
    """What the chain asks of a GPU. Streams, arrays and marks are the device's own objects."""

    @property
    def title(self) -> str:
        """Name and architecture, in words."""

    def stream(self) -> Any:
        """A new stream."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new device array that kernels take."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A new page-locked host array of zeros."""

    def upload(self, target: Any, source: NDArray[Any], stream: Any) -> None:
        """Copy to the front of a device array, in the stream's order."""

    def download(self, target: NDArray[Any], source: Any, stream: Any) -> None:
        """Copy from the front of a device array, in the stream's order."""

    def launch(self, kernel: Kernel, grid: tuple[int, int], stream: Any, *arguments: Any) -> None:
        """Put a kernel into the stream."""

    def replay(self, key: tuple[Any, ...], stream: Any, work: Callable[[], None]) -> None:
        """Do the work; record it under the key the first time and replay it after, if it can."""

    def forget(self, stream: Any) -> None:
        """Drop the recordings of a stream: their arrays have been replaced."""

    def mark(self, stream: Any) -> Any:
        """A point in the stream whose time can be told."""

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Milliseconds between two marks that have been passed."""

    def synchronize(self, stream: Any) -> None:
        """Wait until the stream has done all its work."""

    def close(self) -> None:
        """Free everything."""


class Network(Protocol):
    """A network whose input and outputs are device arrays."""

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape by name, -1 for the batch."""

    @property
    def outputs(self) -> Mapping[str, tuple[int, ...]]:
        """The same of the outputs."""

    def enqueue(self, arrays: Mapping[str, Any], batch: int, stream: Any) -> None:
        """Put one inference into the stream."""


@dataclass(frozen=True)
class ChainSpec:
    """What a chain computes: the engine's data.

    Attributes:
        name: of the bundle.
        topology: see `Topology`.
        crop: how a face becomes the network's input.
        subdivision: the UV operator of a network that gives points, else None.
        unit: crop pixels per unit of a network that gives position maps.
        max_batch: faces of one batch.
    """

    name: str
    topology: Topology
    crop: CropRule
    subdivision: Subdivision | None
    unit: float = 1.0
    max_batch: int = 8

    @classmethod
    def of_bundle(cls, bundle: Bundle, max_batch: int) -> ChainSpec:
        """The chain of an engine bundle.

        Raises:
            EngineError: the bundle is damaged.
        """
        topology = bundle.topology()
        points = bundle.decoder == "subdivision"
        subdivision = bundle.subdivision(topology) if points else None
        return cls(bundle.name, topology, bundle.crop, subdivision, bundle.output_scale, max_batch)


@dataclass(frozen=True, slots=True)
class DeviceFace:
    """A face as it comes from the device.

    Attributes:
        roi: the region that the network saw.
        score: 0..1, NaN where the network gives none.
        box_xyxy: `(4,)` float32, bounds of the vertices, frame pixels.
        landmarks: `(68, 3)` float32 frame pixels.
        pose: see `streamprn.records.Pose`.
        vertices: `(N, 3)` float32 frame pixels, or None where not asked for.
    """

    roi: Roi
    score: float
    box_xyxy: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose: Pose
    vertices: NDArray[np.float32] | None

    def in_crop(self, rule: CropRule) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Bounds and landmarks in crop pixels, as `CropRule.next_roi` takes them.

        Args:
            rule: the chain's.

        Returns:
            The box `(4,)` of the vertices (of the landmarks where the vertices did not come
            back), and the landmarks `(68, 3)`, z not shifted; both float32.
        """
        matrix = rule.crop_from_frame(self.roi)
        points = self.landmarks if self.vertices is None else self.vertices
        placed = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        box = np.concatenate([placed.min(axis=0), placed.max(axis=0)]).astype(np.float32)
        landmarks = self.landmarks / np.float32(rule.depth_scale(self.roi))
        landmarks[:, :2] = self.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return box, landmarks


@dataclass(slots=True)
class Ticket:
    """A batch on its way; `DeviceChain.collect` takes it once."""

    slot: Slot
    rois: tuple[Roi, ...]
    with_vertices: bool
    marks: list[Any]


class _Constants:
    """The arrays that all slots share."""

    def __init__(self, device: Device, spec: ChainSpec) -> None:
        from streamprn.kernels.pose import Reference

        topology = spec.topology
        reference = Reference(topology.canonical, topology.pose_weights)
        row = np.array([*reference.centre, reference.spread], np.float64)
        self._device = device
        self._stream = device.stream()
        self.table = self._constant(reference.table)
        self.reference = self._constant(row)
        self.landmarks = self._constant(topology.landmarks)
        self.texel = self._constant(topology.texel)
        if spec.subdivision is not None:
            self._add_subdivision(spec.subdivision)
        device.synchronize(self._stream)

    def _add_subdivision(self, subdivision: Subdivision) -> None:
        operator = subdivision.operator
        ends = np.array([subdivision.sources.shape[0]])
        starts = np.concatenate([subdivision.starts, ends]).astype(np.int32)
        sources = subdivision.sources.astype(np.int32)
        # As `streamprn.engines.decoders.SubdivisionDecoder`: corners to centres, z to the camera.
        unit = np.array([[1, 1, -1], [-0.5, -0.5, 0]], np.float32)
        stages = (
            (unit, starts, sources, subdivision.weights),
            (
                np.array([[1, 1, 1], [0, 0, 0]], np.float32),
                *(operator.indptr1, operator.indices1, operator.weights1),
            ),
        )
        self.stages = [[self._constant(array) for array in stage] for stage in stages]
        self.indices2 = self._constant(operator.indices2)
        self.weights2 = self._constant(operator.weights2)

    def _constant(self, array: NDArray[Any]) -> Any:
        array = np.ascontiguousarray(array)
        target = self._device.zeros(array.shape, array.dtype)
        self._device.upload(target, array, self._stream)
        self._device.synchronize(self._stream)
        return target


class Slot:
    """The buffers, the stream and the network context of one batch at a time."""

    def __init__(
        self, device: Device, spec: ChainSpec, constants: _Constants, network: Network
    ) -> None:
        from streamprn.kernels.cuda import faces

        self._device, self._spec, self._constants = device, spec, constants
        self.network = network
        self.stream = device.stream()
        self._batch = 0
        batch, count, size = spec.max_batch, spec.topology.vertex_count, spec.crop.size
        self.blocks = faces.restore_map.blocks(count, faces.MAX_BLOCKS)
        self._tables: dict[str, tuple[NDArray[Any], Any]] = {
            "frames": self._pair((batch, FRAME_COLUMNS), np.int32),
            "colours": self._pair((batch, COLOUR_COLUMNS), np.float32),
            "owner": self._pair((batch,), np.int32),
            "matrices": self._pair((batch, 2, 3), np.float32),
        }
        self._results = self._pair((batch, faces.RESULT_COLUMNS), np.float64)
        self._points = self._pair((batch, faces.LANDMARKS, 3), np.float32)
        self._vertices = self._pair((batch, count, 3), np.float32)
        self._partial = device.zeros((batch, self.blocks, faces.SUMS), np.float32)
        self._no_levels = device.zeros((1, 1, 3), np.int16)
        self._no_steps = device.zeros((1, 2, 3), np.float32)
        self._crops = device.zeros((batch * size * size * 3,), np.float32)
        self._outputs = {
            name: device.zeros((batch, *shape[1:]), np.float32)
            for name, shape in network.outputs.items()
        }
        self._moved = self._control = None
        if spec.subdivision is not None:
            rows = spec.subdivision.starts.shape[0], spec.subdivision.operator.control_count
            self._moved = device.zeros((batch, rows[0], 3), np.float32)
            self._control = device.zeros((batch, rows[1], 3), np.float32)
        self._logits = device.pinned((batch,), np.float32)
        self._pool: tuple[NDArray[np.uint8], Any] = self._pair((1,), np.uint8)
        self.stage = self._stage()

    def _pair(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], Any]:
        return self._device.pinned(shape, dtype), self._device.zeros(shape, dtype)

    def _stage(self) -> Stage:
        return Stage(self._pool[0], self._tables["frames"][0], self._tables["colours"][0])

    def reserve(self, nbytes: int) -> None:
        """Make room for the pixels of a batch, with a quarter to spare."""
        if nbytes > self._pool[0].size:
            self._device.synchronize(self.stream)
            self._device.forget(self.stream)
            self._pool = self._pair((nbytes + nbytes // 4,), np.uint8)
            self.stage = self._stage()

    def fill(self, matrices: NDArray[np.float32], owners: Sequence[int]) -> None:
        """Write the tables of a batch on the host side."""
        self._tables["matrices"][0][: len(matrices)] = matrices
        self._tables["owner"][0][:] = sequence_of_owners(self._spec.max_batch, owners)

    def enqueue(self, batch: int, with_vertices: bool, *, timed: bool) -> list[Any]:
        """Put a whole batch into the stream; the marks between its stages where timed."""
        device, stream = self._device, self.stream
        if batch != self._batch:
            # A recording holds the shapes that the network had, and is wrong once they change.
            device.forget(stream)
            self._batch = batch
        if not timed:
            device.upload(self._pool[1], self._pool[0][: self.stage.used], stream)
            device.replay(
                ("vertices", with_vertices), stream, lambda: self._work(batch, with_vertices)
            )
            return []
        marks = [device.mark(stream)]
        device.upload(self._pool[1], self._pool[0][: self.stage.used], stream)
        for step in (
            self._upload_tables,
            lambda: self._crop(batch),
            lambda: self._infer(batch),
            lambda: self._restore(batch),
            lambda: self._download(batch, with_vertices),
        ):
            step()
            marks.append(device.mark(stream))
        return marks

    def _work(self, batch: int, with_vertices: bool) -> None:
        self._upload_tables()
        self._crop(batch)
        self._infer(batch)
        self._restore(batch)
        self._download(batch, with_vertices)

    def _upload_tables(self) -> None:
        for host, target in self._tables.values():
            self._device.upload(target, host, self.stream)

    def _crop(self, batch: int) -> None:
        from streamprn.kernels.cuda.warp import warp_rgb, warp_yuv

        size = self._spec.crop.size
        tables = {name: pair[1] for name, pair in self._tables.items()}
        layout = (size * size * 3, size * 3, 3, 1)
        tail = (size, np.float32(1 / 255), np.float32(0), True, *layout, self._crops)
        grid = (warp_yuv.blocks(size * size), batch)
        faces = (tables["owner"], tables["matrices"])
        pool, frames = self._pool[1], tables["frames"]
        self._launch(warp_yuv, grid, pool, frames, tables["colours"], *faces, *tail)
        self._launch(warp_rgb, grid, pool, frames, *faces, *tail)

    def _launch(self, kernel: Kernel, grid: tuple[int, int], *arguments: Any) -> None:
        self._device.launch(kernel, grid, self.stream, *arguments)

    def _infer(self, batch: int) -> None:
        (name,) = self.network.inputs
        self.network.enqueue({name: self._crops, **self._outputs}, batch, self.stream)

    def _restore(self, batch: int) -> None:
        from streamprn.kernels.cuda import faces

        shared = self._constants
        matrices, vertices = self._tables["matrices"][1], self._vertices[1]
        grid = (self.blocks, batch)
        if self._control is None:
            (maps,) = self._outputs.values()
            self._launch(
                faces.restore_map, grid, maps.reshape(self._spec.max_batch, MAP_TEXELS, 3),
                np.float32(self._spec.unit), shared.texel, matrices, shared.table, vertices,
                self._partial,
            )  # fmt: skip
        else:
            source = self._outputs["points"]
            for stage, target in zip(shared.stages, (self._moved, self._control), strict=True):
                rows = faces.subdivide_control.blocks(target.shape[1])
                self._launch(faces.subdivide_control, (rows, batch), source, *stage, target)
                source = target
            self._launch(
                faces.restore_control, grid, self._control, shared.indices2, shared.weights2,
                matrices, shared.table, vertices, self._partial,
            )  # fmt: skip
        self._launch(
            faces.finish_faces, (1, batch), self._partial, self.blocks, shared.reference,
            shared.landmarks, vertices, self._results[1], self._points[1],
        )  # fmt: skip
        self._launch(
            faces.settle_vertices, grid, vertices, self._results[1], False, self._no_levels,
            self._no_steps,
        )  # fmt: skip

    def _download(self, batch: int, with_vertices: bool) -> None:
        pairs = [self._results, self._points]
        if with_vertices:
            pairs.append(self._vertices)
        if self._control is not None:
            pairs.append((self._logits, self._outputs["logit"]))
        for host, source in pairs:
            self._device.download(host[:batch], source, self.stream)

    def faces(self, rois: Sequence[Roi], with_vertices: bool) -> list[DeviceFace]:
        """What the batch gave, copied out of the slot."""
        return [self._face(index, roi, with_vertices) for index, roi in enumerate(rois)]

    def _face(self, index: int, roi: Roi, with_vertices: bool) -> DeviceFace:
        row = self._results[0][index]
        score = math.nan
        if self._control is not None:
            score = 1 / (1 + math.exp(-min(60.0, max(-60.0, float(self._logits[index])))))
        return DeviceFace(
            roi=roi,
            score=score,
            box_xyxy=row[[20, 21, 23, 24]].astype(np.float32),
            landmarks=self._points[0][index].copy(),
            pose=pose_of(row),
            vertices=self._vertices[0][index].copy() if with_vertices else None,
        )


def pose_of(row: NDArray[np.float64]) -> Pose:
    """The pose of a row `(32,)` of the results; see `streamprn.kernels.cuda.faces`."""
    yaw, pitch, roll = row[13:16].tolist()
    return Pose(
        rotation=row[:9].reshape(3, 3).copy(),
        scale=float(row[9]),
        translation=row[10:13].copy(),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        quaternion=row[16:20].copy(),
    )


class DeviceChain:
    """Frames and regions in, faces out, all of it on a device.

    Used by one thread. `submit` does not wait while a slot is free; `collect` waits for its batch.

    Args:
        device: see `Device`.
        spec: what to compute.
        open_network: makes a network with an execution context of its own, one for each slot.
        slots: batches in flight; 2 overlap copies with the network.
        timed: measure the stages with the device's own clock; batches are then not replayed.
    """

    def __init__(
        self,
        device: Device,
        spec: ChainSpec,
        open_network: Callable[[], Network],
        *,
        slots: int = 2,
        timed: bool = False,
    ) -> None:
        self._device, self.spec, self._timed = device, spec, timed
        constants = _Constants(device, spec)
        self._slots = [Slot(device, spec, constants, open_network()) for _ in range(slots)]
        self._free = deque(self._slots)
        self._times: dict[str, float] = {}

    @property
    def backend(self) -> str:
        """Where it runs, in words."""
        return f"device chain on {self._device.title}"

    @property
    def max_batch(self) -> int:
        """The most faces of one batch."""
        return self.spec.max_batch

    def process(
        self,
        frames: Sequence[FrameImage],
        views: Sequence[tuple[int, Roi]],
        *,
        with_vertices: bool = True,
    ) -> list[DeviceFace]:
        """Faces of the views, in their order: `submit` and `collect` in one."""
        return self.collect(self.submit(frames, views, with_vertices=with_vertices))

    def submit(
        self,
        frames: Sequence[FrameImage],
        views: Sequence[tuple[int, Roi]],
        *,
        with_vertices: bool = True,
    ) -> Ticket:
        """Start a batch.

        Args:
            frames: at most `max_batch` pictures, of any sizes and streams.
            views: at most `max_batch` regions, each with the index of its frame.
            with_vertices: whether all vertices shall come back, or landmarks and pose alone.

        Raises:
            BackendError: every slot is taken, or the device failed.
        """
        if not 1 <= len(views) <= self.max_batch or len(frames) > self.max_batch:
            raise EngineError(
                f"a batch holds 1 to {self.max_batch} faces, not {len(views)} of {len(frames)}"
            )
        if not self._free:
            raise BackendError("every slot of the device chain is taken", hint="collect first")
        slot = self._free.popleft()
        try:
            owners = [owner for owner, _ in views]
            matrices = np.stack([self.spec.crop.frame_from_crop(roi) for _, roi in views])
            self._place(slot, frames, owners, matrices)
            slot.fill(matrices, owners)
            marks = slot.enqueue(len(views), with_vertices, timed=self._timed)
        except BaseException:
            self._free.append(slot)
            raise
        return Ticket(slot, tuple(roi for _, roi in views), with_vertices, marks)

    def _place(
        self,
        slot: Slot,
        frames: Sequence[FrameImage],
        owners: Sequence[int],
        matrices: NDArray[np.float32],
    ) -> None:
        size = self.spec.crop.size
        used = sorted(set(owners))
        chosen = np.asarray(owners)
        parts = {
            index: window(
                matrices[chosen == index], size, (frames[index].width, frames[index].height)
            )
            for index in used
        }
        slot.reserve(sum(bytes_of(frames[index], part) for index, part in parts.items()))
        slot.stage.clear()
        for index, part in parts.items():
            slot.stage.place(index, frames[index], part)

    def collect(self, ticket: Ticket) -> list[DeviceFace]:
        """Wait for a batch; its faces in the order of its views.

        Raises:
            BackendError: the device failed.
        """
        slot = ticket.slot
        try:
            self._device.synchronize(slot.stream)
            faces = slot.faces(ticket.rois, ticket.with_vertices)
        finally:
            self._free.append(slot)
        for stage, first, last in zip(STAGES, ticket.marks, ticket.marks[1:], strict=False):
            self._times[stage] = self._device.elapsed_ms(first, last)
        return faces

    @property
    def times_ms(self) -> Mapping[str, float]:
        """Milliseconds of each of `STAGES` in the last batch, by the device; empty if not timed."""
        return self._times

    def warm_up(self) -> None:
        """Run every batch size once, so that kernels are loaded and sequences recorded."""
        from streamprn.records import FrameImage, Roi

        image = FrameImage.from_rgb(np.zeros((64, 64, 3), np.uint8))
        for batch in range(1, self.max_batch + 1):
            for _ in self._slots:
                for wanted in (True, False):
                    self.process([image], [(0, Roi(32, 32, 48))] * batch, with_vertices=wanted)

    def close(self) -> None:
        """Free everything; the chain cannot be used after."""
        self._device.close()
