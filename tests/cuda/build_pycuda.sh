#!/usr/bin/env bash
# Compiles PyCUDA from its source package with the CUDA headers of PyPI and a stand-in for the
# driver's library, and installs it into the Python given: `build_pycuda.sh PYTHON`.
set -euo pipefail
python=$1
"$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("pycuda") is None)' && exit 0
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install -q --disable-pip-version-check \
  nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-profiler-api
root=$("$python" -c 'import sysconfig, pathlib; print(sorted(pathlib.Path(sysconfig.get_path("purelib")).glob("nvidia/*/include/cuda.h"))[-1].parent.parent)')
"$python" "$here/stub_driver.py" "$work/lib"
export CUDA_ROOT=$root PATH=$root/bin:$PATH
"$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary=pycuda -d "$work" pycuda
tar -xzf "$work"/pycuda-*.tar.gz -C "$work"
cat > "$(echo "$work"/pycuda-*/)siteconf.py" <<CONF
CUDA_ROOT = "$root"
CUDA_ENABLE_CURAND = False
USE_SHIPPED_BOOST = True
CUDADRV_LIB_DIR = ["$work/lib"]
CUDADRV_LIBNAME = ["cuda"]
CONF
"$python" -m pip install -q --disable-pip-version-check "$work"/pycuda-*/
