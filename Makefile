# `make demo` and `make test` need Python >= 3.11 and make; everything else they set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check lint format types imports pytest clean
help:
	@echo "make demo    set up and run the main job on the embedded default (CPU, offline)"
	@echo "make test    set up and run lint, types, import contracts and all tests"
	@echo "make format  format the code"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "StreamPRN needs Python >= 3.11; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/streamprn demo

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

pytest: $(VENV)/.test
	$(BIN)/python -m pytest

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache out
