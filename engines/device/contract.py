"""What the chain asks of a device and of a network.

`streamprn.engines.cuda.gpu` answers on a GPU, and Numba's simulator in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from streamprn.engines.device.staging import Plane
    from streamprn.kernels.cuda.kernel import Kernel


class Device(Protocol):
    """What the chain asks of a GPU. Streams, arrays and events are the device's own objects.

    Everything but `title`, `current` and `close` is called inside `current`.
    """

    @property
    def title(self) -> str:
        """Name and architecture, in words."""

    def current(self) -> AbstractContextManager[None]:
        """Make it the calling thread's device; any number of threads may do so at once.

        Raises:
            BackendError: it has been closed.
        """

    def stream(self) -> Any:
        """A new stream that waits for no other."""

    def event(self) -> Any:
        """A new event, for `record` and `elapsed_ms`."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new device array that kernels take; it is zero before any stream goes on."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A new page-locked host array of zeros."""

    def upload(self, target: Any, source: NDArray[Any], stream: Any) -> None:
        """Copy to the front of a device array, in the stream's order."""

    def download(self, target: NDArray[Any], source: Any, stream: Any) -> None:
        """Copy from the front of a device array, in the stream's order."""

    def copy(self, target: Any, source: Any, start: int, stream: Any) -> None:
        """Fill a device array from the bytes from `start` on of another, in the stream's order."""

    def copy_rows(
        self,
        target: Any,
        start: int,
        plane: Plane,
        first_xy: tuple[int, int],
        size_wh: tuple[int, int],
        stream: Any,
    ) -> None:
        """Copy a window of a plane to the byte `start` of a device array, packed.

        Args:
            target: flat uint8.
            start: where the first row goes.
            plane: in GPU memory.
            first_xy: first byte of each row, and first row.
            size_wh: bytes of each row, and rows.
            stream: in whose order.
        """

    def await_decoders(self, stream: Any) -> None:
        """Let the stream wait for what video decoders have put into the default stream."""

    def launch(self, kernel: Kernel, grid: tuple[int, int], stream: Any, *arguments: Any) -> None:
        """Put a kernel into the stream."""

    def replay(self, key: tuple[Any, ...], stream: Any, work: Callable[[], None]) -> None:
        """Do the work; record it under the key the first time and replay it after, if it can."""

    def forget(self, stream: Any) -> None:
        """Drop the recordings of a stream: their arrays have been replaced."""

    def record(self, event: Any, stream: Any) -> None:
        """Let the event mark this point of the stream."""

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Milliseconds between two events that have been passed."""

    def is_done(self, stream: Any) -> bool:
        """Whether the stream has done all its work, without waiting."""

    def synchronize(self, stream: Any) -> None:
        """Wait until the stream has done all its work."""

    def close(self) -> None:
        """Free everything; a second call does nothing."""


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
