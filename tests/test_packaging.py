"""What is installed is what the tree holds, and nothing lands outside the package."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILT_FROM = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "config.yaml",
    "pyproject.toml",
)
DOCUMENTS = ("docs", "examples", "clients")
LINKED = ("engines", "kernels")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _packages_of(folder, name):
    found = {name}
    for child in folder.iterdir():
        if child.name != "__pycache__" and (child / "__init__.py").is_file():
            found |= _packages_of(child, f"{name}.{child.name}")
    return found


def test_the_listed_packages_are_those_of_the_tree(project):
    listed = project["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(_packages_of(ROOT / "streamprn", "streamprn"))
    assert len(listed) == len(set(listed))


def test_kernels_and_engines_are_relative_links_into_the_top_level():
    for name in LINKED:
        link = ROOT / "streamprn" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


def _build(source, hook, out):
    program = f"from setuptools import build_meta; print(build_meta.{hook}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, tree)
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("streamprn", "tools", *LINKED, *DOCUMENTS):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignore)
    return _build(tree, "build_sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return _build(source, "build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_sdist_holds_what_the_readme_links_to(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    links = set(re.findall(r"\]\(([\w/.-]+)\)", (ROOT / "README.md").read_text()))
    assert len(links) > 5
    assert links | {"config.yaml", "examples/subscriber.py"} <= names


def test_a_wheel_built_from_the_sdist_installs_one_package(wheel_names):
    assert {name.split("/")[0].split("-")[0] for name in wheel_names} == {"streamprn"}


def test_the_wheel_holds_every_module_once(wheel_names):
    wanted = {
        f"streamprn/{path.relative_to(folder).as_posix()}"
        for folder, tops in ((ROOT / "streamprn", ("",)), (ROOT, LINKED))
        for top in tops
        for path in (folder / top).rglob("*.py")
        if folder == ROOT or path.relative_to(folder).parts[0] not in LINKED
    }
    built = {name for name in wheel_names if name.endswith(".py")}
    assert built == wanted


def test_neither_wheel_nor_sdist_holds_the_tools_of_development(sdist, wheel_names):
    with tarfile.open(sdist) as archive:
        parts = {part for name in archive.getnames() for part in name.split("/")}
    assert "tools" not in parts
    files = {name.rsplit("/", 1)[1] for name in wheel_names} | parts
    for name in ("gallery.py", "roofline.py", "toolchain.py", "check_tensorrt_api.py"):
        assert list((ROOT / "tools").rglob(name))
        assert name not in files


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason="numba-cuda missing: pip install '.[cuda-tools]' (Linux)",
)
def test_an_installed_wheel_exports_its_kernels(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-m", "streamprn.kernels.export", "ptx", "--cc", "75"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert ".entry warp_yuv(" in (tmp_path / "ptx" / "warp_yuv.ptx").read_text()


def test_the_wheel_holds_the_networks_their_provenance_and_the_licence(wheel_names):
    for name in (
        "streamprn/py.typed",
        "streamprn/engines/facemesh/manifest.yaml",
        "streamprn/engines/facemesh/network.onnx",
        "streamprn/engines/facemesh/network.fp16.onnx",
        "streamprn/engines/facemesh/operator.npz",
        "streamprn/engines/facemesh/topology.npz",
        "streamprn/engines/facemesh/PROVENANCE.md",
        "streamprn/engines/facemesh2/manifest.yaml",
        "streamprn/engines/facemesh2/network.onnx",
        "streamprn/engines/facemesh2/network.fp16.onnx",
        "streamprn/engines/facemesh2/blendshapes.onnx",
        "streamprn/engines/facemesh2/PROVENANCE.md",
        "streamprn/engines/prn/manifest.yaml",
        "streamprn/engines/prn/network.onnx",
        "streamprn/engines/prn/network.fp16.onnx",
        "streamprn/engines/prn/MODEL_CARD.md",
        "streamprn/engines/blazeface/detectors.yaml",
        "streamprn/engines/blazeface/short.onnx",
        "streamprn/engines/blazeface/full.onnx",
        "streamprn/engines/blazeface/PROVENANCE.md",
    ):
        assert name in wheel_names
    licences = {name.rsplit("/", 1)[1] for name in wheel_names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_gives_the_program(wheel_names):
    assert any(name.endswith("entry_points.txt") for name in wheel_names)
