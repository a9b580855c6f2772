"""The place of one batch on the device: its buffers, its stream, its kernels and its network.

Everything is allocated when a slot is made; only a frame that is larger than any before makes the
upload grow. Frames differ in size, but what follows them is the same sequence for every batch of a
size, so the device may record it once and replay it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.decoders import CENTRE, SCALE, probability
from streamprn.engines.device.face import DeviceFace
from streamprn.engines.device.staging import sequence_of_owners
from streamprn.engines.device.upload import FrameUpload, constant
from streamprn.engines.surfaces import placed
from streamprn.engines.topology import UV_SIZE
from streamprn.records import MeshPoints, Pose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Subdivision
    from streamprn.engines.device.contract import Device, Network
    from streamprn.engines.device.spec import ChainSpec
    from streamprn.engines.device.surface import HeldVertices, SurfaceRenderer
    from streamprn.engines.protocol import CropRule
    from streamprn.kernels.cuda.kernel import Kernel
    from streamprn.records import Roi

#: Points in a batch whose times `Slot.times_ms` tells apart.
STAGES = ("upload", "crop", "network", "geometry", "download")


class Constants:
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
        constants: Constants,
        network: Network,
        *,
        timed: bool = False,
    ) -> None:
        from streamprn.kernels.cuda import faces, sums

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
        self._partial = device.zeros((batch, self.blocks, sums.SUMS), np.float32)
        self._no_steps = device.zeros((1, 1, 3), np.int16)
        self._no_scale_offset = device.zeros((1, 2, 3), np.float32)
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
        # What a network of points gives beside what becomes vertices, page-locked.
        self._said = {
            name: device.pinned((batch, *shape[1:]), np.float32)
            for name, shape in network.outputs.items()
            if spec.subdivision is not None and name in ("points", "logit", "tongue")
        }
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
        from streamprn.kernels.cuda.warp import Strides, warp_rgb, warp_yuv
        from streamprn.kernels.maths.sample import Tone

        size = self._spec.crop.size
        tone = Tone(np.float32(1 / 255), np.float32(0), True)
        tail = (size, tone, Strides(size * size * 3, size * 3, 3, 1), self._crops)
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
                faces.restore_map, grid, maps.reshape(self._spec.max_batch, UV_SIZE**2, 3),
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
            faces.settle_vertices, grid, vertices, self._results[1], False, self._no_steps,
            self._no_scale_offset,
        )  # fmt: skip

    def _download(self, batch: int) -> None:
        pairs = [self._results, self._points]
        pairs += [(host, self._outputs[name]) for name, host in self._said.items()]
        for host, source in pairs:
            self._device.download(host[:batch], source, self.stream)

    def face(
        self, index: int, roi: Roi, held: HeldVertices, renderer: SurfaceRenderer
    ) -> DeviceFace:
        """One face of the batch that has just ended, its small results copied out of the slot."""
        row, rule = self._results[0][index], self._spec.crop
        held.settle(row)
        score = math.nan
        place: Callable[[], MeshPoints | None] = _no_points
        if self._said:
            score = probability(float(self._said["logit"][index]))
            tongue = float(self._said["tongue"][index]) if "tongue" in self._said else 0.0
            place = partial(_place, self._said["points"][index].copy(), tongue, rule, roi)
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
            place=place,
        )


def _no_points() -> None:
    """A network that gives a position map has none."""


def _place(raw: NDArray[np.float32], tongue: float, rule: CropRule, roi: Roi) -> MeshPoints:
    """What the network said, `(P, 3)` in its axes, in the frame."""
    return MeshPoints(placed(raw * SCALE - CENTRE, rule.frame_from_crop(roi)), tongue)


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
