"""The client distribution: the modules that `Subscriber` needs, and a reader that works on them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import msgspec
import numpy
import pytest
import zmq

from streamprn.records import Kind
from streamprn.wire.publish import Publisher
from tests.support.wire import eventually, make_result, make_topology

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python"
LIBRARIES = {Path(library.__file__).parent.parent for library in (msgspec, numpy, zmq)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    program = f"from hatchling import build; print(build.build_wheel({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CLIENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def _start(installed, program):
    """An interpreter that knows the client and its three libraries, and no editable installs."""
    path = [str(installed), *map(str, LIBRARIES)]
    return subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path += {path!r}\n{program}"],
        cwd=installed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(installed, program):
    process = _start(installed, program)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


def test_it_holds_the_modules_that_a_subscriber_needs_and_no_other(wheel, installed):
    program = (
        "import json, sys, streamprn, streamprn.wire.subscribe\n"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() if 'streamprn' in n]))"
    )
    loaded = {
        Path(name).relative_to(installed).as_posix()
        for name in json.loads(_run(installed, program))
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.endswith(".py")}
    assert loaded == held


def test_its_modules_are_those_of_the_full_package(installed):
    held = sorted(installed.rglob("*.py"))
    assert len(held) > 10
    for module in held:
        assert module.read_bytes() == (ROOT / module.relative_to(installed)).read_bytes()


def test_version_and_libraries_agree_with_the_full_package():
    ours = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    full = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ours["version"] == full["version"]
    assert ours["requires-python"] == full["requires-python"]
    assert set(ours["dependencies"]) < set(full["dependencies"])


def test_it_reads_what_a_publisher_sends(installed):
    with Publisher("tcp://127.0.0.1:*") as publisher:
        program = f"""
from streamprn import Subscriber
with Subscriber({publisher.endpoint!r}, ["cam/"], timeout_s=20) as messages:
    for message in messages:
        if message.kind == "mesh":
            print(message.seq, *message.vertices[1].shape)
            break
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"cv2", "numba", "openvino", "av"}}))
"""
        reader = _start(installed, program)
        try:
            publisher.set_topology("cam", make_topology())
            eventually(lambda: Kind.MESH in publisher.wanted("cam"), 20)
            result = make_result("cam", seq=7)
            publisher.publish(result)
            out, err = reader.communicate(timeout=30)
        finally:
            reader.kill()
            reader.wait()
    assert reader.returncode == 0, err
    rows = len(result.faces[0].vertices)
    assert out.splitlines() == [f"7 {rows} 3", "[]"]


def test_names_of_the_full_package_say_where_they_are(installed):
    done = _start(installed, "from streamprn import Tracker")
    _, err = done.communicate(timeout=30)
    assert "not in streamprn-client: install the full package" in err.splitlines()[-1]
