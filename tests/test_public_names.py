"""What the package offers, by name: changing this list is changing the interface."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import streamprn

PUBLIC = [
    "BLENDSHAPES",
    "Config",
    "Face",
    "Kind",
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
    module = importlib.import_module(name)
    for listed in getattr(module, "__all__", ()):
        assert hasattr(module, listed), f"{name}.{listed}"
