"""A stand-in for the CUDA driver's library: every name of `cuda.h`, and no device.

With it PyCUDA imports and its errors can be tested on a machine without a driver.
"""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]

NO_DEVICE = 100
HEADERS = ("cuda.h", "cudaProfiler.h", "cudaGL.h", "cudaEGL.h", "cudaVDPAU.h")


def include_folder():
    """Where `cuda.h` is: of this Python's packages, else of a toolkit; None without."""
    found = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/include/cuda.h"))
    places = [path.parent for path in found] + [Path("/usr/local/cuda/include")]
    return next((place for place in places if (place / "cuda.h").is_file()), None)


def names(include):
    """Functions of the driver's interface, with the versioned names behind the macros."""
    text = "".join((include / name).read_text() for name in HEADERS if (include / name).is_file())
    plain = set(re.findall(r"\bCUresult\s+(?:CUDAAPI\s+)?(cu[A-Z]\w+)\s*\(", text))
    macros = set(re.findall(r"#\s*define\s+cu\w+\s+(?:__CUDA_API_\w+\()?(cu[A-Z]\w+)", text))
    return sorted(plain | macros | {f"{name}_v2" for name in plain})


#: Text for every code: PyCUDA prints it.
ERROR_TEXT = """
int cuGetErrorName(int code, const char **text) { *text = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuGetErrorString(int code, const char **text) {
    *text = "no CUDA-capable device is detected";
    return 0;
}
"""
HOST_DRIVER = Path(__file__).with_name("host_driver.c")


def build(folder, include):
    """Compile `libcuda.so.1`, and `libcuda.so` beside it to link against."""
    return _compile(folder, include, ERROR_TEXT)


def build_host(folder, include):
    """The same with the host as its device: see `host_driver.c`."""
    return _compile(folder, include, HOST_DRIVER.read_text())


def run(program, folder):
    """The output of a Python program for which the library in `folder` is the driver's."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def _compile(folder, include, own):
    """What `own` defines, and a function that finds no device for every other name."""
    there = set(re.findall(r"^int (cu\w+)\(", own, re.MULTILINE))
    others = [name for name in names(include) if name not in there]
    stubs = "".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in others)
    listed = "".join(f'"{name}", ' for name in sorted(there))
    table = f"const char *const host_names[] = {{{listed}0}};\n"
    (folder / "stub.c").write_text(own + stubs + table)
    library = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *flags, "-o", library, folder / "stub.c"], check=True, timeout=60)
    (folder / "libcuda.so").symlink_to(library.name)
    return library


if __name__ == "__main__":
    import sys

    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("libcuda.so*"):
        old.unlink()
    build(target, include_folder())
