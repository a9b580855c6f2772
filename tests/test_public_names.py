"""What the package offers, by name: changing this list is changing the interface."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import streamprn

PUBLIC = [
    "BLENDSHAPES",
    "Camera",
    "Config",
    "Face",
    "Kind",
    "MetricPose",
    "Pipeline",
    "Pose",
    "Predictor",
    "Publisher",
    "Smoothing",
    "SourceConfig",
    "StreamPRNError",
    "Subscriber",
    "Tracker",
    "__version__",
    "open_engine",
]


def test_the_package_offers_exactly_these_names():
    assert sorted(streamprn.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(streamprn))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_had_and_says_what_it_is(name):
    found = getattr(streamprn, name)
    assert name == "__version__" or found.__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = streamprn.nonesuch


def rooms():
    # The peer runs in an environment of its own, with the peer.
    skip = (
        "streamprn.__main__",
        "streamprn.kernels",
        "streamprn.engines",
        "streamprn.bench.peer_mediapipe",
    )
    for module in pkgutil.walk_packages(streamprn.__path__, "streamprn."):
        if not module.name.startswith(skip):
            yield module.name


@pytest.mark.parametrize("name", list(rooms()))
def test_every_name_that_a_module_lists_is_there(name):
    if name.startswith("streamprn.train."):
        pytest.importorskip("torch", reason="training is tested with PyTorch: make test-train")
    if name.startswith("streamprn.cluster."):
        pytest.importorskip("ray", reason="workers are tested with Ray: make test-cluster")
    module = importlib.import_module(name)
    for listed in getattr(module, "__all__", ()):
        assert hasattr(module, listed), f"{name}.{listed}"


def _named_in_the_reference():
    text = (Path(__file__).parent.parent / "docs" / "reference.md").read_text()
    for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
        try:
            yield importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, name = path.rpartition(".")
            yield getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_shows_every_public_name(name):
    shown = list(_named_in_the_reference())
    assert len(shown) > 20
    found = getattr(streamprn, name)
    home = sys.modules.get(getattr(found, "__module__", ""))
    assert name == "__version__" or any(one is found or one is home for one in shown)
