"""Opening an engine: a bundle, the best runtime for it, and its decoder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from streamprn.engines import registry
from streamprn.engines.protocol import (
    CropRule,
    Inference,
    Run,
    Runtime,
    ScoreRule,
    StartingRuntime,
)
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.engines.topology import Topology
from streamprn.errors import BackendError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle
    from streamprn.engines.decoders import Decoder

Backend = Literal["auto", "tensorrt", "openvino", "onnxruntime"]
# The order in which `auto` tries them.
CPU_RUNTIMES: tuple[Backend, ...] = ("openvino", "onnxruntime")
RUNTIMES: tuple[Backend, ...] = ("tensorrt", *CPU_RUNTIMES)


class BundleEngine:
    """The engine of a bundle; implements `protocol.Engine`. One object serves one thread."""

    def __init__(self, bundle: Bundle, runtime: Runtime, reason: str, max_batch: int) -> None:
        self._bundle = bundle
        self._runtime = runtime
        self._reason = reason
        self._max_batch = max_batch
        self._topology = bundle.topology()
        # Its kernels load Numba, which finding and describing engines shall not.
        from streamprn.engines.decoders import open_decoder

        self._decoder: Decoder = open_decoder(bundle, self._topology)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self._bundle.name

    @property
    def bundle(self) -> Bundle:
        """The files that it came from."""
        return self._bundle

    @property
    def topology(self) -> Topology:
        """The meaning of its maps."""
        return self._topology

    @property
    def crop(self) -> CropRule:
        """How to cut its input."""
        return self._bundle.crop

    @property
    def score_rule(self) -> ScoreRule | None:
        """How the score of its faces is made; None where it is the network's own."""
        return self._bundle.score

    @property
    def backend(self) -> str:
        """The runtime in use, with its version and precision, and why it was chosen."""
        return f"{self._runtime.description} ({self._reason})"

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a GPU, which may fail while the program runs."""
        return self._runtime.on_gpu

    @property
    def max_batch(self) -> int:
        """The most crops that `infer` takes in one call."""
        return self._max_batch

    def infer(self, crops: NDArray[np.float32]) -> Inference:
        """Crops `(B, S, S, 3)` float32 RGB in 0..1 to faces; see `protocol.Engine`."""
        outputs = self._runtime.run(self._checked(crops))
        return Inference(*self._decoder.decode(outputs, crops.shape[0]))

    @property
    def can_start(self) -> bool:
        """Whether the runtime computes beside its caller."""
        return isinstance(self._runtime, StartingRuntime)

    def start(self, crops: NDArray[np.float32]) -> StartedBatch:
        """Begin what `infer` does; see `protocol.StartingEngine`."""
        if not isinstance(self._runtime, StartingRuntime):
            raise BackendError(f"{self._runtime.description} computes in its caller's thread alone")
        run = self._runtime.start(self._checked(crops))
        return StartedBatch(run, self._decoder, len(crops))

    def _checked(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        size = self.crop.size
        if crops.shape[1:] != (size, size, 3) or not 1 <= crops.shape[0] <= self._max_batch:
            raise ValueError(
                f"crops must be (1..{self._max_batch}, {size}, {size}, 3), not {crops.shape}"
            )
        return np.ascontiguousarray(crops, np.float32)

    def warm_up(self) -> None:
        """Run once on zeros for every batch size, so that the first face is not late."""
        size = self.crop.size
        counts = range(1, self._max_batch + 1) if self._bundle.batched else (1,)
        for count in counts:
            self.infer(np.zeros((count, size, size, 3), np.float32))

    def close(self) -> None:
        """Free what the runtime holds."""
        self._runtime.close()


class StartedBatch:
    """Crops that the engine of a bundle is at work on; see `protocol.Started`."""

    def __init__(self, run: Run, decoder: Decoder, count: int) -> None:
        self._run = run
        self._decoder = decoder
        self._count = count

    def inference(self) -> Inference:
        """See `protocol.Started`."""
        try:
            return Inference(*self._decoder.decode(self._run.outputs(), self._count))
        finally:
            self._run.release()

    def cancel(self) -> None:
        """See `protocol.Started`."""
        self._run.release()


def open_engine(
    name: str | os.PathLike[str] = registry.DEFAULT,
    *,
    backend: Backend = "auto",
    threads: int = 1,
    max_batch: int = 8,
    precision: str | None = None,
) -> BundleEngine:
    """Open an engine by name, or by the path of its folder.

    Args:
        name: see `registry.find`.
        backend: the runtime, or "auto" for the best one present.
        threads: CPU threads of one inference.
        max_batch: the most crops of one call.
        precision: "fp32", "fp16", "int8", or None for the runtime's choice.

    Raises:
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    if threads < 1 or max_batch < 1:
        raise ValueError("threads and max_batch must be at least 1")
    bundle = registry.find(name)
    bundle.log_notice()
    spec = NetworkSpec.of_bundle(bundle, max_batch=max_batch, threads=threads, precision=precision)
    runtime, reason = open_runtime(spec, backend)
    return BundleEngine(bundle, runtime, reason, max_batch)


def open_runtime(
    spec: NetworkSpec, backend: Backend = "auto", candidates: Sequence[Backend] = RUNTIMES
) -> tuple[Runtime, str]:
    """Compile a network with the runtime asked for, or the best one; also say why that one.

    Args:
        spec: the network.
        backend: the runtime, or "auto" for the first of the candidates that works here.
        candidates: what "auto" tries, in this order.

    Raises:
        BackendError: it cannot be used here; the message says why for each that was tried.
    """
    if backend not in get_args(Backend):
        raise BackendError(
            f"there is no backend {backend!r}",
            hint=f"choose one of: {', '.join(get_args(Backend))}",
        )
    if backend != "auto":
        return _open(backend, spec), "as asked"
    refused = []
    for candidate in candidates:
        try:
            runtime = _open(candidate, spec)
        except BackendError as error:
            refused.append(f"{candidate}: {error.what}")
            continue
        return runtime, "; ".join(["chosen automatically", *refused])
    raise BackendError(f"no runtime can be used: {'; '.join(refused)}", hint="pip install openvino")


def _open(backend: str, spec: NetworkSpec) -> Runtime:
    module = importlib.import_module(f"streamprn.engines.runtimes.{backend}")
    if reason := module.unusable():
        raise BackendError(reason, hint="`--backend auto` takes the best runtime that works here")
    runtime: Runtime = module.open_runtime(spec)
    return runtime
