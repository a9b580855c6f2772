"""One batch of faces on a device: upload, crops, network, vertices, pose, download.

A batch lives in a `Slot`: a stream, page-locked buffers, device buffers, and a network context of
its own. With two slots the upload of a batch overlaps the network of the one before and the
download of the one before that. Everything is allocated when a slot is made; only a frame that is
larger than any before makes the upload grow. After the frames, whose sizes differ, the rest of a
batch is the same sequence while its size stays, so the device may record it once and replay it.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.decoders import CENTRE, SCALE, probability
from streamprn.engines.device.staging import sequence_of_owners, window
from streamprn.engines.device.surface import HeldVertices, SurfaceRenderer, VertexStore
from streamprn.engines.device.upload import FrameUpload, constant
from streamprn.engines.topology import UV_SIZE
from streamprn.errors import BackendError, EngineError
from streamprn.records import Pose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.device.contract import Device, Network
    from streamprn.engines.device.staging import Window
    from streamprn.engines.protocol import CropRule
    from streamprn.engines.topology import Topology
    from streamprn.kernels.cuda.kernel import Kernel
    from streamprn.records import FrameImage, Roi

#: Points in a batch whose times `DeviceChain.times_ms` tells apart.
STAGES = ("upload", "crop", "network", "geometry", "download")

MAP_TEXELS = UV_SIZE * UV_SIZE


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
    """A face of which the vertices are still on the device.

    It is a `streamprn.engines.protocol.Surface` and a `streamprn.records.ResidentFace`.

    Attributes:
        roi: the region that the network saw.
        score: 0..1, NaN where the network gives none.
        box_xyxy: `(4,)` float32, bounds of the vertices, frame pixels.
        box_crop_xyxy: `(4,)` float32, the same in crop pixels.
        landmarks: `(68, 3)` float32 frame pixels.
        pose: see `streamprn.records.Pose`.
        crop_from_frame: `(2, 3)` float32, the inverse of the crop.
        depth_scale: frame pixels per crop pixel.
        held: the vertices.
        renderer: computes from them.
    """

    roi: Roi
    score: float
    box_xyxy: NDArray[np.float32]
    box_crop_xyxy: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose: Pose
    crop_from_frame: NDArray[np.float32]
    depth_scale: float
    held: HeldVertices
    renderer: SurfaceRenderer

    def outline(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `streamprn.engines.protocol.Surface.outline`."""
        return self.box_crop_xyxy, self._in_crop(self.landmarks)

    def _in_crop(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = self.crop_from_frame
        placed = points / np.float32(self.depth_scale)
        placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return placed

    def restore(
        self, frame_from_crop: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The vertices, downloaded, and their box; `frame_from_crop` is that of `roi`."""
        return self.vertices(), self.box_xyxy

    def position_map(self) -> NDArray[np.float32]:
        """See `streamprn.engines.protocol.Surface.position_map`."""
        flat = np.zeros((MAP_TEXELS, 3), np.float32)
        flat[self.renderer.topology.texel] = self._in_crop(self.vertices())
        return flat.reshape(UV_SIZE, UV_SIZE, 3)

    def vertices(self) -> NDArray[np.float32]:
        """`(N, 3)` float32 frame pixels, downloaded now."""
        return self.renderer.vertices(self.held)

    def visible_landmarks(self) -> NDArray[np.bool_]:
        """`(68,)` bool; see `SurfaceRenderer.visible_landmarks`."""
        return self.renderer.visible_landmarks(self.held)

    def texture(self, image: FrameImage) -> NDArray[np.uint8]:
        """`(T, T, 3)` uint8 RGB of its frame; see `SurfaceRenderer.texture`."""
        return self.renderer.texture(self.held, image)

    def levels(self) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
        """int16 vertices, scale and offset; see `SurfaceRenderer.levels`."""
        return self.renderer.levels(self.held)

    def depth(self, others: Sequence[DeviceFace], size_wh: tuple[int, int]) -> NDArray[np.float32]:
        """`(H, W)` float32 depth image of this face and others; see `SurfaceRenderer.depth`."""
        return self.renderer.depth([self.held, *(other.held for other in others)], size_wh)


@dataclass(slots=True)
class Ticket:
    """A batch on its way; `DeviceChain.collect` takes it once.

    `frames` keeps decoded pictures alive until the device has read them.
    """

    slot: Slot
    rois: tuple[Roi, ...]
    frames: tuple[FrameImage, ...]
    held: tuple[HeldVertices, ...]
    collected: bool = False


class _Constants:
    """The arrays that all slots share."""

    def __init__(self, device: Device, spec: ChainSpec) -> None:
        from streamprn.kernels.pose import Reference

        topology = spec.topology
        reference = Reference(topology.canonical, topology.pose_weights)
        row = np.array([*reference.centre, reference.spread], np.float64)
        self._device = device
        self._stream = device.stream()
        self.table = constant(self._device, self._stream, reference.table)
        self.reference = constant(self._device, self._stream, row)
        self.landmarks = constant(self._device, self._stream, topology.landmarks)
        self.texel = constant(self._device, self._stream, topology.texel)
        if spec.subdivision is not None:
            self._add_subdivision(spec.subdivision)
        device.synchronize(self._stream)

    def _add_subdivision(self, subdivision: Subdivision) -> None:
        operator = subdivision.operator
        stages = (
            (np.stack([SCALE, -CENTRE]), *subdivision.rows),
            (
                np.array([[1, 1, 1], [0, 0, 0]], np.float32),
                *(operator.indptr1, operator.indices1, operator.weights1),
            ),
        )
        self.stages = [
            [constant(self._device, self._stream, array) for array in stage] for stage in stages
        ]
        self.indices2 = constant(self._device, self._stream, operator.indices2)
        self.weights2 = constant(self._device, self._stream, operator.weights2)


class Slot:
    """The buffers, the stream and the network context of one batch at a time."""

    def __init__(
        self,
        device: Device,
        spec: ChainSpec,
        constants: _Constants,
        network: Network,
        *,
        timed: bool = False,
    ) -> None:
        from streamprn.kernels.cuda import faces

        self._device, self._spec, self._constants = device, spec, constants
        self.network = network
        self.stream = device.stream()
        self._batch = 0
        batch, count, size = spec.max_batch, spec.topology.vertex_count, spec.crop.size
        self.blocks = faces.restore_map.blocks(count, faces.MAX_BLOCKS)
        self.upload = FrameUpload(device, batch, self.stream)
        self._owner = self._pair((batch,), np.int32)
        self._matrices = self._pair((batch, 2, 3), np.float32)
        self._results = self._pair((batch, faces.RESULT_COLUMNS), np.float64)
        self._points = self._pair((batch, faces.LANDMARKS, 3), np.float32)
        self._vertices = device.zeros((batch, count, 3), np.float32)
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
        self._events = [device.event() for _ in range(len(STAGES) + 1)] if timed else []

    def _pair(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], Any]:
        return self._device.pinned(shape, dtype), self._device.zeros(shape, dtype)

    def fill(self, matrices: NDArray[np.float32], owners: Sequence[int]) -> None:
        """Write the tables of a batch on the host side."""
        self._matrices[0][: len(matrices)] = matrices
        self._owner[0][:] = sequence_of_owners(self._spec.max_batch, owners)

    def enqueue(self, batch: int, held: Sequence[HeldVertices]) -> None:
        """Put a whole batch into the stream; its vertices go to `held`."""
        device, stream = self._device, self.stream
        if batch != self._batch:
            # A recording holds the shapes that the network had, and is wrong once they change.
            device.forget(stream)
            self._batch = batch
        self._mark(0)
        self.upload.send_pixels()
        device.replay((batch,), stream, lambda: self._work(batch))
        for index, one in enumerate(held):
            nbytes = 12 * self._spec.topology.vertex_count
            device.copy(one.array, self._vertices, index * nbytes, stream)

    def _mark(self, stage: int) -> None:
        if self._events:
            self._device.record(self._events[stage], self.stream)

    def times_ms(self) -> dict[str, float]:
        """Milliseconds of each of `STAGES` in the batch that has just ended; empty if not timed."""
        pairs = zip(STAGES, self._events, self._events[1:], strict=False)
        return {name: self._device.elapsed_ms(first, last) for name, first, last in pairs}

    def _work(self, batch: int) -> None:
        steps = (
            lambda _: self._upload_tables(),
            self._crop,
            self._infer,
            self._restore,
            self._download,
        )
        for index, step in enumerate(steps):
            step(batch)
            self._mark(index + 1)

    def _upload_tables(self) -> None:
        self.upload.send_tables()
        for host, target in (self._owner, self._matrices):
            self._device.upload(target, host, self.stream)

    def _crop(self, batch: int) -> None:
        from streamprn.kernels.cuda.warp import warp_rgb, warp_yuv

        size = self._spec.crop.size
        layout = (size * size * 3, size * 3, 3, 1)
        tail = (size, np.float32(1 / 255), np.float32(0), True, *layout, self._crops)
        grid = (warp_yuv.blocks(size * size), batch)
        faces = (self._owner[1], self._matrices[1])
        pool, frames = self.upload.pool, self.upload.frames
        self._launch(warp_yuv, grid, pool, frames, self.upload.colours, *faces, *tail)
        self._launch(warp_rgb, grid, pool, frames, *faces, *tail)

    def _launch(self, kernel: Kernel, grid: tuple[int, int], *arguments: Any) -> None:
        self._device.launch(kernel, grid, self.stream, *arguments)

    def _infer(self, batch: int) -> None:
        (name,) = self.network.inputs
        self.network.enqueue({name: self._crops, **self._outputs}, batch, self.stream)

    def _restore(self, batch: int) -> None:
        from streamprn.kernels.cuda import faces

        shared = self._constants
        matrices, vertices = self._matrices[1], self._vertices
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

    def _download(self, batch: int) -> None:
        pairs = [self._results, self._points]
        if self._control is not None:
            pairs.append((self._logits, self._outputs["logit"]))
        for host, source in pairs:
            self._device.download(host[:batch], source, self.stream)

    def face(
        self, index: int, roi: Roi, held: HeldVertices, renderer: SurfaceRenderer
    ) -> DeviceFace:
        """One face of the batch that has just ended, its small results copied out of the slot."""
        row, rule = self._results[0][index], self._spec.crop
        held.settle(row)
        score = math.nan
        if self._control is not None:
            score = probability(float(self._logits[index]))
        return DeviceFace(
            roi=roi,
            score=score,
            box_xyxy=held.box_xyxy,
            box_crop_xyxy=row[27:31].astype(np.float32),
            landmarks=self._points[0][index].copy(),
            pose=pose_of(row),
            crop_from_frame=crop_from_frame(rule, roi),
            depth_scale=rule.depth_scale(roi),
            held=held,
            renderer=renderer,
        )


def crop_from_frame(rule: CropRule, roi: Roi) -> NDArray[np.float32]:
    """`rule.crop_from_frame`, `(2, 3)` float32; zeros where the region is not finite."""
    if not math.isfinite(roi.cx + roi.cy + roi.side + roi.roll):
        return np.zeros((2, 3), np.float32)
    return rule.crop_from_frame(roi)


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

    Used by one thread at a time, whichever that is. `submit` does not wait while a slot is free;
    `collect` waits for its batch. What faces offer besides is computed by `renderer`, which another
    thread may use meanwhile.

    Args:
        device: see `Device`; closed with the chain, and at once where the chain cannot be made.
        spec: what to compute.
        open_network: makes a network with an execution context of its own, one for each slot.
        slots: batches in flight; 2 overlap copies with the network.
        timed: measure the stages with the device's own clock.
        texture_size: T, side of textures in texels.
        network: what runs the network, in words.
    """

    def __init__(
        self,
        device: Device,
        spec: ChainSpec,
        open_network: Callable[[], Network],
        *,
        slots: int = 2,
        timed: bool = False,
        texture_size: int = 256,
        network: str = "",
    ) -> None:
        self._device, self.spec, self._network = device, spec, network
        self._times: dict[str, float] = {}
        try:
            with device.current():
                constants = _Constants(device, spec)
                self._slots = [
                    Slot(device, spec, constants, open_network(), timed=timed) for _ in range(slots)
                ]
                ready = spec.max_batch * (slots + 2)
                self._store = VertexStore(device, spec.topology.vertex_count, ready)
                self.renderer = SurfaceRenderer(device, spec.topology, texture_size)
        except BaseException:
            device.close()
            raise
        self._free = deque(self._slots)

    @property
    def backend(self) -> str:
        """Where it runs, in words."""
        parts = (self._network, self._device.title, "device chain")
        return ", ".join(part for part in parts if part)

    @property
    def max_batch(self) -> int:
        """The most faces of one batch."""
        return self.spec.max_batch

    @property
    def slots(self) -> int:
        """How many batches may be in flight."""
        return len(self._slots)

    @property
    def free_slots(self) -> int:
        """How many more may be submitted now."""
        return len(self._free)

    def is_done(self, ticket: Ticket) -> bool:
        """Whether `collect` would not have to wait.

        Raises:
            BackendError: the device failed.
        """
        with self._device.current():
            return self._device.is_done(ticket.slot.stream)

    def process(
        self, frames: Sequence[FrameImage], views: Sequence[tuple[int, Roi]]
    ) -> list[DeviceFace]:
        """Faces of the views, in their order: `submit` and `collect` in one."""
        return self.collect(self.submit(frames, views))

    def submit(self, frames: Sequence[FrameImage], views: Sequence[tuple[int, Roi]]) -> Ticket:
        """Start a batch.

        Args:
            frames: at most `max_batch` pictures, of any sizes and streams.
            views: at most `max_batch` regions, each with the index of its frame.

        Raises:
            EngineError: there are more.
            BackendError: every slot is taken, or the device failed.
        """
        if not 1 <= len(views) <= self.max_batch or len(frames) > self.max_batch:
            raise EngineError(
                f"a batch holds 1 to {self.max_batch} faces, not {len(views)} of {len(frames)}"
            )
        if not self._free:
            raise BackendError("every slot of the device chain is taken", hint="collect first")
        slot = self._free.popleft()
        with self._device.current():
            try:
                owners = [owner for owner, _ in views]
                matrices = np.stack([self.spec.crop.frame_from_crop(roi) for _, roi in views])
                slot.upload.place(self._parts(frames, owners, matrices))
                slot.fill(matrices, owners)
                held = tuple(self._store.hold() for _ in views)
                slot.enqueue(len(views), held)
            except BaseException:
                self._abandon(slot)
                raise
        return Ticket(slot, tuple(roi for _, roi in views), tuple(frames), held)

    def _abandon(self, slot: Slot) -> None:
        """Take a slot back after a failure, once nothing of it is in flight any more."""
        # A lost device says so again; what it said first is what is raised.
        with contextlib.suppress(BackendError):
            self._device.synchronize(slot.stream)
        self._free.append(slot)

    def _parts(
        self,
        frames: Sequence[FrameImage],
        owners: Sequence[int],
        matrices: NDArray[np.float32],
    ) -> dict[int, tuple[FrameImage, Window]]:
        """The pictures that have a view, by index, each with the window that its crops read."""
        size, chosen = self.spec.crop.size, np.asarray(owners)
        parts = {}
        for index in sorted(set(owners)):
            image = frames[index]
            part = window(matrices[chosen == index], size, (image.width, image.height))
            parts[index] = image, part
        return parts

    def collect(self, ticket: Ticket) -> list[DeviceFace]:
        """Wait for a batch; its faces in the order of its views.

        Raises:
            BackendError: the device failed, or the batch was collected before.
        """
        if ticket.collected:
            raise BackendError("a batch of the device chain was collected twice")
        ticket.collected = True
        slot = ticket.slot
        try:
            with self._device.current():
                self._device.synchronize(slot.stream)
                self._times = slot.times_ms()
            slot.upload.release()
            return [
                slot.face(index, roi, held, self.renderer)
                for index, (roi, held) in enumerate(zip(ticket.rois, ticket.held, strict=True))
            ]
        finally:
            self._free.append(slot)

    @property
    def times_ms(self) -> Mapping[str, float]:
        """Milliseconds of each of `STAGES` in the last batch, by the device; empty if not timed."""
        return self._times

    def warm_up(self) -> None:
        """Run every batch size in every slot, so that kernels and plans are loaded.

        Ends with one face, the usual batch, often enough to record it.
        """
        from streamprn.records import FrameImage, Roi

        image = FrameImage.from_rgb(np.zeros((64, 64, 3), np.uint8))
        for batch in (*range(self.max_batch, 0, -1), 1, 1):
            for _ in self._slots:
                (face, *_) = self.process([image], [(0, Roi(32, 32, 48))] * batch)
        face.visible_landmarks()
        face.texture(image)
        face.levels()
        self.renderer.depth([face.held], (64, 64))

    def close(self) -> None:
        """Free everything; the chain cannot be used after. A second call does nothing."""
        # Inside the context: what PyCUDA frees elsewhere, it leaks.
        with contextlib.suppress(BackendError), self._device.current():
            self._slots.clear()
            self._free.clear()
            self.renderer.release()
        self._device.close()
