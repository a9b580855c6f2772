"""`import streamprn` costs nothing that the caller did not ask for."""

import json
import subprocess
import sys

HEAVY = (
    "av",
    "cv2",
    "cuda",
    "importlib.metadata",
    "llvmlite",
    "msgspec",
    "numba",
    "numpy",
    "onnxruntime",
    "openvino",
    "prometheus_client",
    "pycuda",
    "rich",
    "starlette",
    "tensorrt",
    "tensorrt_rtx",
    "uvicorn",
    "yaml",
    "zmq",
)
VIDEO_AND_NETWORKS = (
    "av",
    "cv2",
    "cuda",
    "numba",
    "onnxruntime",
    "openvino",
    "pycuda",
    "tensorrt",
    "tensorrt_rtx",
)


def _loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_no_library():
    assert not _loaded_after("import streamprn").intersection(HEAVY)


def test_subscribing_loads_no_video_library_no_network_runtime_and_no_compiler():
    loaded = _loaded_after("from streamprn import Subscriber")
    assert "streamprn.wire.subscribe" in loaded
    assert not loaded.intersection(VIDEO_AND_NETWORKS)


def test_a_service_without_http_loads_no_http_library():
    code = (
        "from streamprn.config import Config\nfrom streamprn.serve.service import Service\n"
        "Service(Config.default(), None)"
    )
    assert not _loaded_after(code).intersection({"prometheus_client", "starlette", "uvicorn"})


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    done = subprocess.run(
        [sys.executable, "-c", "import streamprn; streamprn.Nothing"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert "AttributeError: module 'streamprn' has no attribute 'Nothing'" in done.stderr
