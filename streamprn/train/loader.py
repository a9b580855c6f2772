"""Batches made ahead by other processes, in the order of the steps."""

from __future__ import annotations

import queue
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any

from streamprn.errors import StreamPRNError
from streamprn.train.processes import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamprn.train.labels import AnySampler
    from streamprn.train.samples import Batch

_AHEAD = 3
_POLL_S = 2.0


class Loader:
    """Makes the batches of steps `first`, `first + 1`, ...; use it as a context manager.

    Args:
        open_sampler: opens what makes the samples, in each process.
        count: samples a batch.
        first: step to begin with.
        processes: how many make batches, each every so many steps.
    """

    def __init__(
        self, open_sampler: Callable[[], AnySampler], count: int, first: int, processes: int
    ) -> None:
        context = get_context("spawn")
        self._queues: list[Any] = [context.Queue(_AHEAD) for _ in range(processes)]
        self._workers = [
            context.Process(
                target=_work,
                args=(open_sampler, count, first + k, processes, made),
                daemon=True,
            )
            for k, made in enumerate(self._queues)
        ]

    def __enter__(self) -> Iterator[Batch]:
        with one_blas_thread():
            for worker in self._workers:
                worker.start()
        return self._batches()

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(_POLL_S)
        for made in self._queues:
            made.cancel_join_thread()
            made.close()

    def _batches(self) -> Iterator[Batch]:
        while True:
            for worker, made in zip(self._workers, self._queues, strict=True):
                yield _next(worker, made)


def _next(worker: Any, made: Any) -> Batch:
    while True:
        try:
            batch: Batch | StreamPRNError = made.get(timeout=_POLL_S)
        except queue.Empty:
            if not worker.is_alive():
                raise StreamPRNError(
                    f"a process that makes training samples ended with code {worker.exitcode}",
                    hint="its message stands above; the checkpoint is kept, run the same again",
                ) from None
            continue
        if isinstance(batch, StreamPRNError):
            raise batch
        return batch


def _work(
    open_sampler: Callable[[], AnySampler], count: int, first: int, stride: int, made: Any
) -> None:
    """The body of a process: every `stride`-th batch from `first`, or why there is none."""
    import cv2

    cv2.setNumThreads(1)
    parent = parent_process()
    step = first
    try:
        sampler = open_sampler()
        while _put(made, sampler.batch(step, count), parent):
            step += stride
    except StreamPRNError as error:
        _put(made, error, parent)
        return
    # Nobody will read what is still on its way.
    made.cancel_join_thread()


def _put(made: Any, batch: Batch | StreamPRNError, parent: Any) -> bool:
    """Hand a batch over; False where the program that wants it is no more, killed perhaps."""
    while parent is None or parent.is_alive():
        try:
            made.put(batch, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
