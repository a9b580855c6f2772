"""How kernels are compiled, and the small helpers that their wrappers share.

Numba's disk cache notices a change of the file that holds a compiled loop, not of the functions
that are inlined into it. `cpu_loop` therefore adds the state of `maths/` and `_lanes.py` to the
stamp.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

from streamprn import paths

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_log = logging.getLogger("streamprn.kernels")
F = TypeVar("F", bound=Callable[..., Any])

# Contraction and reassociation only: NaN and infinity keep their meaning.
NAN_SAFE = {"contract", "reassoc", "nsz", "arcp"}


def maths(function: F) -> F:
    """Compile a scalar function to be inlined into CPU loops and CUDA kernels."""
    compiled: F = numba.njit(inline="always", error_model="numpy")(function)
    return compiled


def cpu_loop(*, fastmath: bool = False) -> Callable[[F], F]:
    """Compile a CPU loop: releases the GIL, cached below `STREAMPRN_HOME` (or NUMBA_CACHE_DIR).

    Where that cannot be written it is cached among the temporary files, or not at all.

    Its arguments are arrays, scalars and plain tuples. The index of the cache would refer to the
    class of a NamedTuple by name, and could not be read once a later version renames the class.

    Args:
        fastmath: allow contraction and reassociation (not the NaN-unsafe flags).
    """

    def compile_(function: F) -> F:
        with _cache_at_home() as cached:
            compiled: F = numba.njit(
                nogil=True,
                cache=cached,
                error_model="numpy",
                fastmath=NAN_SAFE if fastmath else False,
            )(function)
        _stamp_with_maths(compiled)
        _keep_going_without_cache(compiled)
        return compiled

    return compile_


def inner(*, fastmath: bool = False) -> Callable[[F], F]:
    """Compile a part of CPU loops that Python never calls: no wrappers, no cache file.

    The cached loop holds its code; both are in one file, whose change Numba notices.

    Args:
        fastmath: as of `cpu_loop`.
    """

    def compile_(function: F) -> F:
        compiled: F = numba.njit(
            nogil=True,
            error_model="numpy",
            fastmath=NAN_SAFE if fastmath else False,
            no_cpython_wrapper=True,
            no_cfunc_wrapper=True,
        )(function)
        return compiled

    return compile_


@contextmanager
def _cache_at_home() -> Iterator[bool]:
    """Let Numba choose our cache for what is declared inside; other packages keep theirs.

    It chooses when a function is declared, and by a setting of the whole process.

    Yields:
        Whether there is a place for a cache.
    """
    given = numba.config.CACHE_DIR
    folder = paths.writable(Path(given) if given else paths.cache() / "kernels")
    numba.config.CACHE_DIR = str(folder or "")
    try:
        yield folder is not None
    finally:
        numba.config.CACHE_DIR = given


def _maths_stamp() -> tuple[float, int]:
    here = Path(__file__).parent
    states = [path.stat() for path in (*here.glob("_lanes*.py"), *(here / "maths").glob("*.py"))]
    return max(state.st_mtime for state in states), sum(state.st_size for state in states)


def _stamp_with_maths(compiled: Any) -> None:
    cache_file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if cache_file is not None and hasattr(cache_file, "_source_stamp"):
        cache_file._source_stamp = (cache_file._source_stamp, _maths_stamp())


def _keep_going_without_cache(compiled: Any) -> None:
    """Let a cache that cannot be read or written any more, as on a full disk, end no program."""
    cache: Any = getattr(compiled, "_cache", None)  # none where nothing is compiled

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except OSError as error:
                _log.debug("%s: compiled without its cache: %s", compiled.__name__, error)
            except Exception as error:  # noqa: BLE001  half a pickle may raise anything
                _log.warning(
                    "%s: its cache is damaged, and is made anew: %s: %s",
                    compiled.__name__,
                    type(error).__name__,
                    error,
                )
                with suppress(OSError):
                    cache.flush()
            return None

        return call

    if hasattr(cache, "_cache_file"):
        cache.load_overload = guarded(cache.load_overload)
        cache.save_overload = guarded(cache.save_overload)


def output(out: Any, shape: tuple[int, ...], dtype: DTypeLike, name: str = "out") -> Any:
    """`out` if it fits, a new uninitialised array if it is None.

    Raises:
        ValueError: shape, dtype or layout differ: a compiled loop would write past its end.
    """
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous {np.dtype(dtype)} {shape}")
    return out


def frozen(array: Any) -> Any:
    """The array in C order and read-only, so that one compiled version serves every caller.

    Numba compiles anew for each layout and for read-only arrays; the first frame of a camera must
    not wait for that. A copy is made only of arrays that are not in C order.
    """
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def as_points(points: Any, name: str = "vertices") -> NDArray[np.float32]:
    """`(N, 3)` float32, C order; a copy only where the input is something else."""
    array: NDArray[np.float32] = np.ascontiguousarray(points, np.float32)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"{name} must be (N, 3), not {array.shape}")
    return array


def as_triangles(triangles: Any) -> NDArray[np.int32]:
    """`(T, 3)` int32, C order; a copy only where the input is something else."""
    array: NDArray[np.int32] = np.ascontiguousarray(triangles, np.int32)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"triangles must be (T, 3), not {array.shape}")
    return array


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[Any]] = {}


_scratch = _Scratch()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A work array that this thread keeps between calls; its content is undefined."""
    size = prod(shape)
    buffer = _scratch.buffers.get(name)
    if buffer is None or buffer.size < size or buffer.dtype != dtype:
        buffer = _scratch.buffers[name] = np.empty(size, dtype)
    return buffer[:size].reshape(shape)
