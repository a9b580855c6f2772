"""A `contract.Device` in host memory, with the asynchrony of a real one."""

import ctypes
import threading
from contextlib import contextmanager

import numpy as np
from numba import cuda, typeof

from streamprn.engines.cuda.launch import argument, launch
from streamprn.errors import BackendError

ONE_KERNEL = threading.Lock()


class Stream:
    """Work in order: done at once, or as late as a GPU may, when somebody waits for it."""

    def __init__(self, lazy):
        self.lazy, self.waiting, self.recording, self.graphs = lazy, [], None, {}

    def put(self, work):
        if self.recording is not None:
            self.recording.append(work)
        elif self.lazy:
            self.waiting.append(work)
        else:
            work()

    def finish(self):
        work, self.waiting = self.waiting, []
        for one in work:
            one()


class SimulatedDevice:
    """Keeps an account of allocations, of launches and of what was recorded.

    A lazy one does nothing before `synchronize`: what reads a buffer too late then shows. A replay
    repeats what was recorded, with the arrays of then, as a CUDA graph does.
    """

    title = "Numba's simulator"

    def __init__(self, lazy=False):
        self.lazy = lazy
        self.allocations = self.recordings = self.replays = 0
        self.calls, self.closed, self.fail_on = [], False, None
        self.awaited = self.clock = 0
        self._depth = threading.local()

    @contextmanager
    def current(self):
        if self.closed:
            raise BackendError("closed")
        self._depth.value = getattr(self._depth, "value", 0) + 1
        try:
            yield
        finally:
            self._depth.value -= 1

    def _check(self):
        assert getattr(self._depth, "value", 0) > 0, "called outside of current()"

    def stream(self):
        self._check()
        return Stream(self.lazy)

    def event(self):
        self._check()
        self.allocations += 1
        return [None]

    def zeros(self, shape, dtype):
        self._check()
        self.allocations += 1
        return cuda.to_device(np.zeros(shape, dtype))

    def pinned(self, shape, dtype):
        self._check()
        self.allocations += 1
        return np.zeros(shape, dtype)

    def upload(self, target, source, stream):
        self._check()
        to = target._ary.reshape(-1)[: source.size]
        stream.put(lambda: np.copyto(to, source.reshape(-1)))

    def download(self, target, source, stream):
        self._check()
        assert target.flags.c_contiguous
        from_ = source._ary.reshape(-1)[: target.size]
        stream.put(lambda: np.copyto(target.reshape(-1), from_))

    def copy(self, target, source, start, stream):
        self._check()
        to, from_ = (one._ary.reshape(-1).view(np.uint8) for one in (target, source))
        stream.put(lambda: np.copyto(to, from_[start : start + to.size]))

    def copy_rows(self, target, start, plane, first_xy, size_wh, stream):
        self._check()
        (x, y), (width, height) = first_xy, size_wh
        assert x >= 0
        assert x + width <= plane.pitch
        nbytes = (y + height) * plane.pitch
        memory = (ctypes.c_uint8 * nbytes).from_address(plane.address)
        rows = np.frombuffer(memory, np.uint8).reshape(-1, plane.pitch)[y : y + height]
        to = target._ary[start : start + width * height].reshape(height, width)
        stream.put(lambda: np.copyto(to, rows[:, x : x + width]))

    def await_decoders(self, stream):
        self._check()
        self.awaited += 1

    def launch(self, kernel, grid, stream, *arguments):
        self._check()
        if kernel.name == self.fail_on:
            raise BackendError("the GPU is out of memory")
        self.calls.append(kernel.name)
        # What a GPU would compile for: it must be what the compile tests proved.
        values = [getattr(value, "_ary", value) for value in arguments]
        assert tuple(typeof(argument(value)) for value in values) == tuple(kernel.signature.args)

        def work():
            self.clock += 1
            # The simulator itself runs one kernel at a time.
            with ONE_KERNEL:
                launch(kernel, grid, 0, *arguments)

        stream.put(work)

    def replay(self, key, stream, work):
        self._check()
        if key not in stream.graphs:
            stream.recording = []
            try:
                work()
                stream.graphs[key] = stream.recording
            finally:
                stream.recording = None
            self.recordings += 1
        else:
            self.replays += 1
        for one in stream.graphs[key]:
            stream.put(one)

    def forget(self, stream):
        self._check()
        stream.graphs.clear()

    def record(self, event, stream):
        self._check()
        stream.put(lambda: event.__setitem__(0, self.clock))

    def elapsed_ms(self, first, last):
        self._check()
        return float(last[0] - first[0])

    def is_done(self, stream):
        self._check()
        return not stream.waiting

    def synchronize(self, stream):
        self._check()
        stream.finish()

    def close(self):
        self.closed = True
