"""Settings are checked on whatever way they come in, and an error names the key and the bounds."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.config import Config, EngineConfig, SourceConfig
from streamprn.config.document import settings
from streamprn.errors import ConfigError


def _error(mapping):
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(mapping)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_setting_has_a_description_and_every_number_has_bounds():
    for item in settings():
        assert len(item.rule.doc) > 10, item.path
        is_number = isinstance(item.default, int | float) and not isinstance(item.default, bool)
        if is_number and not item.rule.choices:
            assert item.rule.minimum is not None and item.rule.maximum is not None, item.path


def test_a_number_with_a_dimension_has_a_unit():
    for item in settings():
        for suffix, unit in (("_s", "s"), ("_ms", "ms"), ("_hz", "Hz"), ("fps", "frames/s")):
            if item.name.endswith(suffix):
                assert item.rule.unit == unit, item.path


def test_the_defaults_are_valid_and_have_no_source():
    config = Config.default()
    assert config == Config.from_mapping({})
    assert config.sources == ()


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"engin": {}}, ["engin: unknown key", "did you mean 'engine'?"]),
        ({"engine": {"thread": 1}}, ["engine.thread: unknown key", "did you mean 'threads'?"]),
        ({"engine": {"qqqq": 1}}, ["engine.qqqq: unknown key", "known keys: name, backend"]),
        ({3: 4}, ["3: unknown key"]),
        ({"engine": {"threads": 0}}, ["engine.threads: got 0, allowed: 1 to 256 threads"]),
        ({"engine": {"threads": -1}}, ["engine.threads: got -1, allowed: 1 to 256 threads"]),
        ({"engine": {"threads": True}}, ["engine.threads: got true, expected a whole number"]),
        ({"engine": {"threads": 1.0}}, ["engine.threads: got 1.0, expected a whole number"]),
        ({"engine": {"threads": "2"}}, ["engine.threads: got the text '2', expected a whole"]),
        ({"engine": {"threads": None}}, ["engine.threads: got nothing"]),
        ({"engine": {"threads": 10**60}}, ["engine.threads: got 1000", "(61 digits)"]),
        ({"engine": {"name": 3}}, ["engine.name: got 3, expected a text"]),
        ({"engine": {"name": " "}}, ["engine.name: got the text ' '"]),
        ({"engine": {"backend": "opnvino"}}, ["engine.backend", "did you mean 'openvino'?"]),
        ({"engine": [1]}, ["engine: got a list of 1, expected a section"]),
        ({"detect": {"min_score": math.nan}}, ["detect.min_score: got nan, allowed: 0 to 1"]),
        ({"detect": {"min_score": math.inf}}, ["detect.min_score: got inf, allowed: 0 to 1"]),
        ({"detect": {"min_score": 10**400}}, ["detect.min_score: got 1000", "digits"]),
        ({"detect": {"tiled": 1}}, ["detect.tiled: got 1, expected true or false"]),
        ({"track": {"smoothing": {"beta": -0.1}}}, ["track.smoothing.beta: got -0.1", "1/px"]),
        ({"publish": {"bind": "localhost"}}, ["publish.bind", "tcp://HOST:PORT"]),
        ({"record": {"kinds": ["face", "mish"]}}, ["record.kinds.1", "did you mean 'mesh'?"]),
        ({"record": {"kinds": "face"}}, ["record.kinds: got the text 'face', expected a list"]),
        ({"sources": {"uri": "a"}}, ["sources: got a section of keys, expected a list"]),
        ({"sources": [{}]}, ["sources.0: the key 'uri' is missing"]),
        ({"sources": ["a.mp4"]}, ["sources.0: got the text 'a.mp4', expected a section"]),
        ({"sources": [{"uri": ""}]}, ["sources.0.uri: got the text ''"]),
        ({"sources": [{"uri": True}]}, ["sources.0.uri: got true, expected a text"]),
        ({"sources": [{"uri": "a", "name": "a b"}]}, ["sources.0.name", "1 to 64"]),
        ({"sources": [{"uri": "a", "rotate": 45}]}, ["sources.0.rotate", "one of 0, 90, 180, 270"]),
        ({"sources": [{"uri": "a", "name": ""}]}, ["sources.0.name: got the text ''"]),
        ({"sources": [{"uri": "a", "name": "x" * 65}]}, ["sources.0.name", "1 to 64"]),
        ({"sources": [{"uri": "a", "rotate": False}]}, ["sources.0.rotate: got false"]),
        ({"sources": [{"uri": "a", "hwaccel": "vulkan"}]}, ["sources.0.hwaccel", "one of cuda"]),
        ({"sources": [{"uri": "a", "rtsp_transport": "quic"}]}, ["one of tcp, udp"]),
        ({"sources": [{"uri": "a", "max_fps": math.nan}]}, ["max_fps: got nan", "0.01 to 1000"]),
        ({"sources": [{"uri": "a", "max_fps": "30"}]}, ["max_fps: got the text '30'"]),
        ({"sources": [{"uri": "a", "image_fps": 0}]}, ["image_fps: got 0, allowed: 0.01 to 1000"]),
        ({"sources": [{"uri": "a", "stall_timeout_s": math.inf}]}, ["got inf, allowed: 0.1"]),
        ({"sources": [{"uri": "a", "open_timeout_s": True}]}, ["open_timeout_s: got true"]),
        ({"sources": [{"uri": "a", "crop": [0, 0, 1.5, 9]}]}, ["crop.2: got 1.5"]),
        ({"sources": [{"uri": "a", "crop": [0, 0, 0, 9]}]}, ["sources.0.crop", "1 px or more"]),
        ({"sources": [{"uri": "a", "crop": [0, 0, 9]}]}, ["crop: got 3 values, expected 4"]),
        ({"sources": [{"uri": "a", "crop": [0, -1, 9, 9]}]}, ["sources.0.crop.1: got -1"]),
        ({"sources": [{"uri": "a", "boxes": [[9, 0, 1, 1]]}]}, ["sources.0.boxes.0", "x0 < x1"]),
        (
            {"sources": [{"uri": "a", "boxes": [[0, 0, math.nan, 1]]}]},
            ["sources.0.boxes.0.2: got nan"],
        ),
        ({"sources": [{"uri": "a", "options": {"b": []}}]}, ["sources.0.options.b"]),
        (
            {"sources": [{"uri": "a", "backoff_initial_s": 9}]},
            ["sources.0.backoff_max_s: got 1.0", "backoff_initial_s (9.0) or more"],
        ),
        (
            {"sources": [{"uri": "a", "name": "x"}, {"uri": "b", "name": "x"}]},
            ["sources.1.name: 'x' is the name of sources.0 too"],
        ),
        ({"sources": [{"uri": "a"}] * 257}, ["sources: got 257 items"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(mapping, parts):
    message = _error(mapping)
    for part in parts:
        assert part in message


def test_a_section_made_in_python_is_checked_too():
    with pytest.raises(ConfigError, match="threads: got -1, allowed: 1 to 256"):
        EngineConfig(threads=-1)
    with pytest.raises(ConfigError, match="backoff_max_s"):
        SourceConfig("a", backoff_initial_s=9)
    with pytest.raises(ConfigError, match=r"is the name of sources\.0 too"):
        Config(sources=(SourceConfig("a", name="x"), SourceConfig("b", name="x")))


def test_values_take_their_exact_type():
    config = Config.from_mapping(
        {"sources": [{"uri": 0, "max_fps": 5, "options": {"a": 1}}], "detect": {"min_score": 1}}
    )
    (source,) = config.sources
    assert source.uri == "0"
    assert isinstance(source.max_fps, float)
    assert source.options == {"a": "1"}
    assert isinstance(config.detect.min_score, float)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config.default().engine = EngineConfig()


def test_an_override_replaces_one_setting_and_leaves_the_rest():
    config = Config.from_mapping({"sources": [{"uri": "a.mp4", "name": "x"}, {"uri": "b.mp4"}]})
    changed = config.with_overrides(
        {
            "track.smoothing.beta": 0.5,
            "sources.0.loop": True,
            "sources.b.max_fps": 5,
            "record.kinds": ["mesh"],
        }
    )
    assert changed.track.smoothing.beta == 0.5
    assert [source.loop for source in changed.sources] == [True, False]
    assert [source.max_fps for source in changed.sources] == [None, 5.0]
    assert changed.record.kinds == ("mesh",)
    assert changed.engine == config.engine
    assert not config.sources[0].loop


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("engin.threads", 2, ["--set: engin: unknown key", "did you mean 'engine'?"]),
        ("engine.thread", 2, ["--set: engine.thread: unknown key", "'threads'"]),
        ("engine.threads.x", 2, ["--set: engine.threads.x: unknown key"]),
        ("engine.threads.x.y", 2, ["engine.threads", "unknown key"]),
        ("engine.threads", 0, ["--set: engine.threads: got 0, allowed: 1 to 256"]),
        ("sources.1.loop", True, ["sources.1: no such item", "known: 0 to 0 and a"]),
        ("sources.².loop", True, ["sources.²: no such item"]),
        ("sources.zz.loop", True, ["sources.zz: no such item"]),
        ("sources.0.boxes.0", [0, 0, 1, 1], ["no such item", "0 items"]),
        ("", 2, ["unknown key"]),
    ],
)
def test_a_wrong_override_names_the_key(key, value, parts):
    config = Config.from_mapping({"sources": [{"uri": "a.mp4"}]})
    with pytest.raises(ConfigError) as caught:
        config.with_overrides({key: value}, where="--set")
    for part in parts:
        assert part in str(caught.value)


_SOURCES = st.lists(
    st.fixed_dictionaries(
        {"uri": st.text(min_size=1).filter(str.strip)},
        optional={
            "loop": st.booleans(),
            "max_fps": st.none() | st.floats(0.01, 1000),
            "rotate": st.sampled_from([None, 0, 90, 180, 270]),
            "boxes": st.lists(
                st.builds(
                    lambda x, y, w, h: [x, y, x + w, y + h],
                    *(st.floats(-1000, 1000), st.floats(-1000, 1000)),
                    *(st.floats(1, 1000), st.floats(1, 1000)),
                ),
                max_size=3,
            ),
            "options": st.dictionaries(st.text(), st.text(), max_size=2),
        },
    ),
    max_size=4,
).filter(lambda sources: [one["uri"].strip() for one in sources].count("-") < 2)


@given(_SOURCES, st.integers(1, 256), st.floats(0, 1))
def test_a_configuration_survives_being_written_as_plain_values(sources, threads, score):
    config = Config.from_mapping(
        {"sources": sources, "engine": {"threads": threads}, "detect": {"min_score": score}}
    )
    assert Config.from_mapping(config.to_mapping()) == config
    names = config.stream_names()
    assert len(set(names)) == len(names)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([item.path for item in settings()]), _ANYTHING)
def test_any_value_is_taken_or_refused_with_a_config_error(path, value):
    base = Config.from_mapping({"sources": [{"uri": "a"}]})
    try:
        config = base.with_overrides({path.replace("*", "0"): value})
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert Config.from_mapping(config.to_mapping()) == config


SECRET = "hunter2"


@pytest.mark.parametrize(
    "mapping",
    [
        {"publish": {"bind": f"rtsp://admin:{SECRET}@cam/x"}},
        {"publish": {"bind": f"rtsp://{'a' * 40}:{SECRET}{'b' * 40}@cam/x"}},
        {"sources": [{"uri": "x", "name": f"rtsp://admin:a/{SECRET}@cam"}]},
        {"sources": [f"rtsp://admin:{SECRET}@cam/x"]},
        {"sources": [{"uri": "http://cam/x", "options": f"headers: Basic {SECRET}"}]},
        {"sources": [{"uri": "http://cam/x", "options": {"headers": [SECRET]}}]},
    ],
)
def test_a_wrong_value_is_shown_without_its_credentials(mapping):
    assert SECRET not in _error(mapping)


def test_a_choice_in_capitals_names_the_one_meant():
    assert "did you mean 'info'?" in _error({"log": {"level": "INFO"}})


@pytest.mark.parametrize("key", ["publish.curve_secret_file", "record.dir"])
def test_an_empty_path_does_not_count_as_none(key):
    section, name = key.split(".")
    assert f"{key}: got the text ''" in _error({section: {name: ""}})


def test_a_kind_is_recorded_once():
    assert "record.kinds" in _error({"record": {"kinds": ["face", "face"]}})
