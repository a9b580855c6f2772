"""What the CUDA driver says, as errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamprn.errors import BackendError, StreamPRNError

# First match wins. PyCUDA writes `cuMemAlloc failed: out of memory`, Numba and the bindings
# `CUDA_ERROR_OUT_OF_MEMORY`; both are looked for without case and with spaces for underscores.
CAUSES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("out of memory",),
        "the GPU is out of memory",
        "close other programs on it, or lower engine.max_batch",
    ),
    (
        ("libcuda", "driver library cannot be found", "nvcuda.dll"),
        "there is no NVIDIA driver here",
        "install it, or use --backend openvino",
    ),
    (("no device", "no cuda-capable"), "the driver finds no GPU", "use --backend openvino"),
    (
        ("insufficient driver", "unsupported ptx", "system driver mismatch"),
        "the NVIDIA driver is too old for this CUDA",
        "update the driver",
    ),
    (
        ("no binary for gpu", "no kernel image", "invalid device kernel image"),
        "the program was built for another GPU",
        "streamprn engine build --rebuild",
    ),
    (
        ("illegal address", "illegal memory", "launch failed", "launch failure", "misaligned"),
        "a kernel failed and took its context along",
        "restart; report it with `streamprn doctor`",
    ),
    (
        ("context is destroyed", "device unavailable", "device lost", "device removed",
         "unknown error", "ecc", "hardware stack"),
        "the GPU was lost",
        "restart the program; see `nvidia-smi`",
    ),
)  # fmt: skip


def explain(error: BaseException) -> BackendError:
    """The situation behind an exception of PyCUDA, Numba, or NVIDIA's bindings."""
    text = f"{type(error).__name__}: {error}"
    plain = text.lower().replace("_", " ")
    for signs, what, hint in CAUSES:
        if any(sign in plain for sign in signs):
            return BackendError(f"{what}: {error}", hint=hint)
    return BackendError(f"the GPU failed: {text}", hint="use --backend openvino")


@contextmanager
def explained() -> Iterator[None]:
    """Raise `BackendError` for whatever a GPU library raises inside.

    Raises:
        BackendError: with the cause; errors of StreamPRN's own go through unchanged.
    """
    try:
        yield
    except StreamPRNError:
        raise
    except Exception as error:
        raise explain(error) from error
