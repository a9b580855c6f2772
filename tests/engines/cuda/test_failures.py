import pytest

from streamprn.engines.cuda.failures import explain, explained
from streamprn.engines.cuda.probe import gpu_report
from streamprn.engines.tensorrt.probe import look
from streamprn.errors import BackendError, EngineError


class MemoryError_(Exception):
    pass


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cuMemAlloc failed: out of memory", "out of memory"),
        ("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
        ("libcuda.so.1: cannot open shared object file: No such file", "no NVIDIA driver"),
        ("CUDA driver library cannot be found.", "no NVIDIA driver"),
        ("cuInit failed: no CUDA-capable device is detected", "no GPU"),
        ("CUDA_ERROR_NO_DEVICE", "no GPU"),
        ("CUDA_ERROR_NO_BINARY_FOR_GPU", "another GPU"),
        ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
         "too old"),
        ("CUDA_ERROR_ILLEGAL_ADDRESS", "kernel failed"),
        ("cuCtxSynchronize failed: unknown error", "lost"),
        ("something new", "something new"),
    ],
)  # fmt: skip
def test_a_failure_of_the_driver_names_the_situation_and_the_next_step(text, what):
    error = explain(MemoryError_(text))
    assert what in str(error)
    assert error.hint
    assert "\n" not in str(error)


def test_errors_of_the_program_itself_go_through_unchanged():
    with pytest.raises(EngineError, match="mine"), explained():
        raise EngineError("mine")


def test_the_cause_is_kept():
    with pytest.raises(BackendError) as caught, explained():
        raise MemoryError_("cuMemAlloc failed: out of memory")
    assert isinstance(caught.value.__cause__, MemoryError_)


def test_the_report_never_raises_and_says_what_is_missing():
    report = gpu_report(look)
    assert report.facts or report.missing
    if "device" not in report.facts:
        assert any("GPU" in line for line in report.missing)
