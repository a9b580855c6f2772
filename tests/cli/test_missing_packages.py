"""What a default install lacks is said before the work, with a hint that is true."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamprn.source import sample_clip

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names: str) -> None:
        for name in names:
            for module in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
                monkeypatch.delitem(sys.modules, module)
            monkeypatch.setitem(sys.modules, name, None)

    sample_clip.astronaut.cache_clear()
    yield hide
    sample_clip.astronaut.cache_clear()


@pytest.mark.timed
@pytest.mark.parametrize(
    ("missing", "arguments", "parts"),
    [
        (
            "onnxruntime",
            ["engine", "verify", "facemesh"],
            ["onnxruntime, one of the two runtimes", "usable here: openvino", "pip install onnxr"],
        ),
        (
            "skimage",
            ["demo"],
            ["scikit-image, which is not installed", "pip install scikit-image", "streamprn run V"],
        ),
        ("skimage", ["bench"], ["pip install scikit-image"]),
        ("pythonosc", ["bridge", "vmc"], ["VMC needs the package python-osc", "streamprn[bridge]"]),
        ("paho", ["bridge", "mqtt"], ["MQTT needs the package paho-mqtt", "streamprn[bridge]"]),
        ("matplotlib", ["bench", "x.mp4", "--plot", "x.png"], ["pip install matplotlib"]),
        (
            "onnx",
            ["engine", "import-prnet", "--weights", "a", "--data", "b"],
            ["writing a network needs the package onnx", "streamprn[convert]"],
        ),
    ],
)
def test_a_missing_package_is_said_at_once(streamprn, without, missing, arguments, parts):
    without(missing)
    began = time.monotonic()
    done = streamprn(*arguments)
    assert time.monotonic() - began < 3
    assert done.code == 2
    for part in parts:
        assert part in done.error
    assert done.out == ""


def test_a_plot_of_an_unknown_kind_is_refused_before_anything_is_measured(streamprn):
    done = streamprn("bench", "x.mp4", "--plot", "x.docx")
    assert done.code == 2
    assert "no plot can be written in this format" in done.error
    assert done.out == ""


@pytest.mark.timed
def test_a_missing_key_file_is_refused_before_the_engine_is_opened(streamprn, elsewhere):
    began = time.monotonic()
    setting = "publish.curve_secret_file=keys/server.key_secret"
    done = streamprn("run", "testsrc2", "--engine", "nope", "--set", setting)
    assert time.monotonic() - began < 3
    assert done.code == 2
    assert "keys/server.key_secret: no CURVE key can be read: No such file" in done.error
    # The hint works as it stands.
    command = done.error.partition("`streamprn ")[2].partition("`")[0].replace("NAME", "server")
    assert streamprn(*command.split()).code == 0
    assert (elsewhere / "server.key_secret").is_file()


@pytest.mark.parametrize(
    ("example", "missing", "hint"),
    [
        ("subscriber.py", "msgpack", "pip install pyzmq msgpack"),
        ("tracker.py", "cv2", "pip inst"),
        ("ros2_bridge.py", "rclpy", "set up ROS 2"),
    ],
)
def test_an_example_says_what_it_lacks(example, missing, hint):
    code = f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv = [{example!r}]\n"
    code += f"runpy.run_path({str(EXAMPLES / example)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["subscriber.py"], "usage:"),
        (["tracker.py"], "usage:"),
        (["tracker.py", "none.mp4"], "none.mp4: OpenCV cannot open it"),
    ],
)
def test_an_example_says_how_it_is_called(arguments, words):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_evaluation_says_first_that_there_will_be_no_curve(streamprn, without, elsewhere):
    without("matplotlib")
    folder = elsewhere / "set"
    folder.mkdir()
    (folder / "image1.jpg").write_bytes(b"none")
    (folder / "image1.mat").write_bytes(b"none")
    done = streamprn("evaluate", folder, "--out", elsewhere / "out")
    assert "there will be no curve.png" in done.err
    assert (elsewhere / "out").is_dir()


def test_an_extra_that_a_hint_names_exists():
    import tomllib

    root = EXAMPLES.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    named = set()
    for path in [*root.glob("streamprn/**/*.py"), *root.glob("engines/**/*.py")]:
        text = path.read_text()
        for part in text.split("streamprn[")[1:]:
            named.add(part.partition("]")[0])
    assert named
    assert {name for name in named if name.isidentifier()} <= set(extras["optional-dependencies"])
