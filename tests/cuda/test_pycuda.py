"""The calls of the device against PyCUDA itself; `make test-pycuda` compiles it."""

import ast
import importlib.util
import inspect
import shutil
from pathlib import Path

import pytest

from tests.cuda import stub_driver

include = stub_driver.include_folder()
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is None or include is None or shutil.which("gcc") is None,
    reason="PyCUDA has no wheels and compiles for minutes: make test-pycuda",
)


@pytest.fixture(scope="module")
def driver_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    stub_driver.build(folder, include)
    return folder


def run(code, folder):
    return stub_driver.run(code, folder).stdout


def names_used(variable):
    """Attributes that `gpu.py` reads of `self.<variable>`."""
    from streamprn.engines.cuda import gpu

    tree = ast.parse(inspect.getsource(gpu))
    return sorted(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == variable
    )


def test_every_function_that_the_device_calls_is_in_pycuda(driver_folder):
    used = names_used("_driver")
    assert {"init", "Device", "Stream", "Event", "memcpy_htod_async"} <= set(used)
    code = f"""
import pycuda.driver as driver
from pycuda.tools import DeviceMemoryPool, PageLockedMemoryPool
missing = [name for name in {used} if not hasattr(driver, name)]
for kind, names in (
    (driver.Device, ("retain_primary_context", "compute_capability", "name")),
    (driver.Context, ("push", "pop", "synchronize")),
    (driver.Stream, ("handle", "synchronize")),
    (driver.Event, ("record", "time_since")),
    (DeviceMemoryPool, ("allocate", "stop_holding")),
    (PageLockedMemoryPool, ("allocate", "stop_holding")),
):
    missing += [f"{{kind.__name__}}.{{name}}" for name in names if not hasattr(kind, name)]
print(missing)
"""
    assert run(code, driver_folder).strip() == "[]"


def test_a_driver_without_a_device_is_one_clear_error(driver_folder):
    code = """
from streamprn.engines.cuda.gpu import Gpu
from streamprn.errors import BackendError
try:
    Gpu()
except BackendError as error:
    print(error)
"""
    said = run(code, driver_folder).strip()
    assert "cuInit" in said
    assert "use --backend openvino" in said
    assert "\n" not in said


def test_a_machine_without_a_driver_is_one_clear_error(tmp_path):
    code = """
from streamprn.engines.cuda.gpu import Gpu
from streamprn.errors import BackendError
try:
    Gpu()
except BackendError as error:
    print(error)
"""
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver")
    assert "no NVIDIA driver" in run(code, tmp_path)
