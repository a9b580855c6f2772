"""Configuration files: YAML errors with their line, documents that are up to date."""

import time
from pathlib import Path

import pytest

from streamprn.config import Config, load_config
from streamprn.config.document import main, markdown_text, yaml_text
from streamprn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def load(tmp_path):
    def load_text(content):
        path = tmp_path / "c.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_config(path)

    return load_text


def test_the_example_and_the_reference_page_are_up_to_date():
    remedy = "run `python -m streamprn.config.document`"
    assert (ROOT / "config.yaml").read_text() == yaml_text(), remedy
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown_text(), remedy


def test_the_documents_are_written_by_one_command(tmp_path):
    (tmp_path / "docs").mkdir()
    main(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == yaml_text()
    assert (tmp_path / "docs" / "configuration.md").read_text() == markdown_text()


def test_the_example_says_every_default():
    config = load_config(ROOT / "config.yaml")
    assert len(config.sources) == 1
    assert config.with_overrides({"sources": []}) == Config.default()


def test_an_empty_file_is_all_defaults(load):
    assert load("") == Config.default()
    assert load("# nothing\n") == Config.default()
    assert load("engine:\ndetect:\n") == Config.default()
    assert load("\ufeffengine: {threads: 2}\n").engine.threads == 2


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("engine:\n  thread: 1\n", ["c.yaml:2: engine.thread: unknown key"]),
        ("\n\nengine: {threads: 0}\n", ["c.yaml:3: engine.threads: got 0"]),
        ("sources:\n- uri: a\n  loop: 3\n", ["c.yaml:3: sources.0.loop: got 3"]),
        ("sources:\n- name: a\n", ["c.yaml:2: sources.0: the key 'uri' is missing"]),
        ("sources:\n- uri: a\n  backoff_initial_s: 9\n", ["c.yaml:2: sources.0.backoff_max_s"]),
        ("engine: [\n", ["c.yaml:2", "not valid YAML"]),
        ("engine:\n\tname: a\n", ["c.yaml:2:1: not valid YAML", "tab"]),
        ("engine: {}\nengine: {}\n", ["c.yaml:2:1", "the key 'engine' stands twice"]),
        ("- a\n", ["c.yaml: got a list of 1, expected a section"]),
        ("42\n", ["c.yaml: got 42, expected a section"]),
        ("a: b: c\n", ["c.yaml:1:5: not valid YAML"]),
        ("--- 1\n--- 2\n", ["not valid YAML", "document"]),
        ("engine: !!python/object:os.system {}\n", ["not valid YAML"]),
        ("engine: *nowhere\n", ["not valid YAML", "nowhere"]),
        ("? [a]\n: b\n", ["not valid YAML"]),
        ("geometry: {depth: no}\n", ["geometry.depth: got the text 'no', expected true or false"]),
        ("detect: {min_score: .nan}\n", ["detect.min_score: got nan"]),
        ("detect: {min_score: -.inf}\n", ["detect.min_score: got -inf"]),
        ("detect: {min_score: 1e400}\n", ["detect.min_score: got inf"]),
        (f"engine: {{threads: {'9' * 5000}}}\n", ["c.yaml", "digits"]),
        ("[" * 2000, ["not valid YAML"]),
        (b"\xff\xfe\x00", ["not UTF-8"]),
        (b"a: \x00", ["not valid YAML"]),
        (b"#" * 1_000_001, ["not a configuration file"]),
    ],
)
def test_a_wrong_file_is_one_line_with_the_place(load, content, parts):
    with pytest.raises(ConfigError) as caught:
        load(content)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_scalars_follow_yaml_1_2(load):
    text = "sources: [{uri: 12:30, name: no}, {uri: 2020-13-45}, {uri: 0x10, name: on}]\n"
    config = load(text + "detect: {min_score: 1e-1}\n")
    assert [source.uri for source in config.sources] == ["12:30", "2020-13-45", "16"]
    assert [source.name for source in config.sources] == ["no", None, "on"]
    assert config.detect.min_score == 0.1


def test_anchors_and_merge_keys_work(load):
    config = load("sources:\n- &a {uri: a, loop: true}\n- {<<: *a, uri: b}\n")
    assert [(source.uri, source.loop) for source in config.sources] == [("a", True), ("b", True)]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(tmp_path, name):
    with pytest.raises(ConfigError, match=r"cannot read the configuration.*--write-config"):
        load_config(tmp_path / name)


@pytest.mark.parametrize("bracket", ["[", "{a: ", "[{"])
def test_brackets_without_end_are_refused_at_once(load, bracket):
    began = time.process_time()
    with pytest.raises(ConfigError, match="more than 32 brackets within each other"):
        load(bracket * 200_000)
    assert time.process_time() - began < 5
