"""What `streamprn doctor` says of a GPU, with stand-ins for the libraries of its driver."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler"
)


def report(folder, sources):
    for source, name in sources.items():
        command = ["cc", "-shared", "-fPIC", SUPPORT / source, "-o", folder / name]
        subprocess.run(command, check=True)
    program = (
        "import dataclasses, json; from streamprn.engines.cuda.probe import gpu_report;"
        "from streamprn.engines.tensorrt.probe import look;"
        "print(json.dumps(dataclasses.asdict(gpu_report(look))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DRIVER, DECODER = {"fake_cuda.c": "libcuda.so.1"}, {"fake_nvcuvid.c": "libnvcuvid.so.1"}


def test_device_capability_and_codecs_are_named(tmp_path):
    found = report(tmp_path, DRIVER | DECODER)
    assert found["facts"]["device"] == "Fake GPU"
    assert found["facts"]["compute capability"] == "8.6"
    assert found["facts"]["NVDEC"] == "h264 hevc"
    assert not any(line.startswith(("a GPU", "NVDEC")) for line in found["missing"])


def test_a_driver_without_its_video_part_is_named(tmp_path):
    found = report(tmp_path, DRIVER)
    assert any("without its video part" in line for line in found["missing"])


def test_without_a_driver_the_gpu_is_what_is_missing(tmp_path):
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver")
    found = report(tmp_path, {})
    assert any("there is no NVIDIA driver here" in line for line in found["missing"])
    assert any(line.startswith("NVDEC") for line in found["missing"])
    assert "device" not in found["facts"]
