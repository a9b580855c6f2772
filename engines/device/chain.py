"""Batches of faces on a device: upload, crops, network, vertices, pose, download.

A batch in flight has a `Slot`: a stream, page-locked buffers, device buffers, and a network context
of its own. With two slots three batches overlap: the upload of one, the network of the one before
it, and the download of the one before that.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.device.slot import Constants, Slot
from streamprn.engines.device.staging import window
from streamprn.engines.device.surface import HeldVertices, SurfaceRenderer, VertexStore
from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.device.contract import Device, Network
    from streamprn.engines.device.face import DeviceFace
    from streamprn.engines.device.spec import ChainSpec
    from streamprn.engines.device.staging import Window
    from streamprn.records import FrameImage, Roi


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
                constants = Constants(device, spec)
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
        """Milliseconds of each of `slot.STAGES` in the last batch; empty if not timed."""
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
        _ = face.visible, face.quantised_vertices, replace(face, image=image).texture
        face.depth_image((64, 64))

    def close(self) -> None:
        """Free everything; the chain cannot be used after. A second call does nothing."""
        # Inside the context: what PyCUDA frees elsewhere, it leaks.
        with contextlib.suppress(BackendError), self._device.current():
            self._slots.clear()
            self._free.clear()
            self.renderer.release()
        self._device.close()
