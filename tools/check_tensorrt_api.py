"""Hold the names that the TensorRT layer calls against the real bindings of TensorRT 10 and 11.

    python tools/check_tensorrt_api.py [FOLDER]

Downloads the binding wheels (1.3 MB each; they hold no TensorRT) into FOLDER, puts empty libraries
in the place of TensorRT's own, made with the C compiler, imports each in a process of its own, and
prints what is missing. Exit code 1 where something is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {"10": "tensorrt-cu12-bindings", "11": "tensorrt-cu13-bindings"}
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
PROBE = """
import json, sys
import tensorrt_bindings as trt
used = json.loads(sys.argv[1])
missing = [f"{name}.{member}" for name, members in used.items() for member in members
           if not hasattr(getattr(trt, name, None), member)]
for name in ("FLOAT", "HALF"):
    if not hasattr(trt.DataType, name): missing.append(f"DataType.{name}")
if not hasattr(trt.BuilderFlag, "TF32"): missing.append("BuilderFlag.TF32")
if not hasattr(trt.TensorIOMode, "INPUT"): missing.append("TensorIOMode.INPUT")
flags = [name for name in ("FP16", "INT8", "TF32") if hasattr(trt.BuilderFlag, name)]
creation = list(trt.NetworkDefinitionCreationFlag.__members__)
print(f"{trt.__version__}: builder flags {flags}, network flags {creation}")
print("missing:", ", ".join(missing) or "nothing")
sys.exit(bool(missing))
"""


def main() -> int:
    from streamprn.engines.tensorrt.api import USED

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch).resolve()
        return max(check(version, folder / version, USED) for version in WHEELS)


def check(version: str, folder: Path, used: object) -> int:
    import json

    folder.mkdir(parents=True, exist_ok=True)
    unpack(version, folder)
    compile_stubs(version, folder)
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-W", "ignore", "-c", PROBE, json.dumps(used)]
    return subprocess.run(command, env=environment, check=False).returncode


def unpack(version: str, folder: Path) -> None:
    requirement = f"{WHEELS[version]}=={version}.*"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement]
    if not list(folder.glob("*.whl")):
        subprocess.run([*command, "--dest", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)


def compile_stubs(version: str, folder: Path) -> None:
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in LIBRARIES:
        name = f"{library}.so.{version}"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", source, "-o", folder / name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
