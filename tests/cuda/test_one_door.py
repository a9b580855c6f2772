"""CUDA is entered through `engines/cuda/` alone; kernels are declared in one module.

Import contracts see whole packages. This sees what they cannot: `numba.cuda`, libraries that
`ctypes` or `importlib` load, and launches.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "engines" / "cuda"
DECLARATIONS = ROOT / "kernels" / "cuda" / "kernel.py"
PACKAGES = re.compile(r"(pycuda|cuda|numba_cuda|numba\.cuda)(\.|$)")
LIBRARIES = re.compile(r"libcuda|nvcuda|nvcuvid")


def entries(source):
    """Where a module enters CUDA: names of modules, of libraries, and `dispatcher`."""
    tree = ast.parse(source)
    texts = docstrings(tree)
    for node in ast.walk(tree):
        for name in names(node):
            if PACKAGES.match(name):
                yield name
        if isinstance(node, ast.Attribute) and node.attr == "dispatcher":
            yield "dispatcher"
        text = node.value if isinstance(node, ast.Constant) and node not in texts else None
        if isinstance(text, str) and LIBRARIES.search(text):
            yield text


def names(node):
    """Full names of the modules that a node imports, also by `import_module`."""
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{one.name}" for one in node.names]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
        "import_module",
        "__import__",
    ):
        return [one.value for one in node.args if isinstance(one, ast.Constant)]
    return []


def docstrings(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    ]


def modules():
    for folder in ("engines", "kernels", "streamprn"):
        # The links `streamprn/engines` and `streamprn/kernels` are not followed.
        yield from (path for path in (ROOT / folder).rglob("*.py") if path.resolve() == path)


def test_no_other_module_enters_cuda():
    others = [path for path in modules() if DOOR not in path.parents and path != DECLARATIONS]
    assert len(others) > 100
    found = {str(path.relative_to(ROOT)): list(entries(path.read_text())) for path in others}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_declares_kernels_neither_launches_nor_loads_a_driver():
    assert set(entries(DECLARATIONS.read_text())) <= {"numba.cuda", "dispatcher"}
    tree = ast.parse(DECLARATIONS.read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "cuda"
    }
    assert used == {"jit", "compile"}


@pytest.mark.parametrize(
    "source",
    [
        "from numba import cuda",
        "import numba.cuda",
        "from numba.cuda import libdevice",
        "def load():\n    import pycuda.driver",
        "from cuda.bindings import driver",
        "import ctypes\nctypes.CDLL('libcuda.so.1')",
        "from ctypes.util import find_library\nNAME = 'nvcuda.dll'",
        "import importlib\nimportlib.import_module('pycuda.driver')",
        "kernel.dispatcher[1, 32](array)",
    ],
)
def test_every_way_in_is_seen(source):
    assert list(entries(source))


@pytest.mark.parametrize(
    "source",
    ["import numba", "from streamprn.engines.cuda import driver", "'''Not libcuda.'''"],
)
def test_what_only_sounds_like_cuda_is_not_taken_for_it(source):
    assert list(entries(source)) == []
