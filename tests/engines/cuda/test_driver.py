"""How the CUDA driver is called, against a library that keeps device memory on the host."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "support" / "fake_cuda.c"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cuda")
    command = ["cc", "-shared", "-fPIC", SOURCE, "-o", folder / "libcuda.so.1"]
    subprocess.run(command, check=True)
    return folder


def run(library: Path, program: str, **environment: str) -> str:
    settings = os.environ | {"LD_LIBRARY_PATH": str(library)} | environment
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_gpu_has_a_name_and_an_architecture(library):
    program = "from streamprn.engines.cuda import driver; print(driver.device().title)"
    assert run(library, program) == "Fake GPU sm86"


def test_what_is_uploaded_comes_back(library):
    program = """
        import numpy as np
        from streamprn.engines.cuda.driver import driver
        gpu = driver()
        gpu.make_current()
        stream, address = gpu.stream(), gpu.allocate(4 * 6)
        there, back = gpu.pinned((2, 3)), gpu.pinned((2, 3))
        there[:] = np.arange(6).reshape(2, 3)
        back[:] = 0
        gpu.upload(address, there, stream)
        gpu.download(back, address, stream)
        gpu.synchronize(stream)
        print(back.tolist(), back.dtype, back.flags.c_contiguous)
        gpu.free(address)
        gpu.free_pinned(there)
        gpu.free_pinned(back)
        gpu.destroy_stream(stream)
    """
    assert run(library, program) == "[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] float32 True"


@pytest.mark.parametrize(
    ("code", "message"),
    [("100", "the NVIDIA driver finds no GPU"), ("999", "cuInit failed: error (999)")],
)
def test_a_driver_without_a_gpu_is_told_in_one_line(library, code, message):
    program = """
        from streamprn.engines.runtimes.tensorrt import unusable
        print(unusable())
    """
    found = run(library, program, FAKE_CUDA_CODE=code)
    assert found in (message, "neither of the packages tensorrt and tensorrt-rtx is installed")


def test_running_out_of_memory_names_the_call(library):
    program = """
        from streamprn.engines.cuda.driver import driver
        from streamprn.errors import BackendError
        try:
            driver().allocate(2_000_000_000)
        except BackendError as error:
            print(error)
    """
    assert run(library, program) == "cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY (2)"
