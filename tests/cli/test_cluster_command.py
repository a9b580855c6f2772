"""What `streamprn cluster` refuses before anything is started."""

import pytest

CONFIG = "sources: [{uri: testsrc2, name: a}]\npublish: {bind: 'tcp://127.0.0.1:*'}\n"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    return "c.yaml"


@pytest.mark.parametrize("action", ["status", "down"])
def test_where_no_cluster_runs_there_is_nothing_to_show_or_to_end(streamprn, action, tmp_path):
    done = streamprn("cluster", action, "--folder", tmp_path / "f")
    assert done.code == 2
    assert "no cluster runs here" in done.error


@pytest.mark.parametrize("action", ["status", "down"])
def test_the_configuration_says_which_cluster_is_meant(streamprn, action, tmp_path):
    (tmp_path / "config.yaml").write_text("cluster: {folder: there}\n")
    (tmp_path / "c.yaml").write_text("cluster: {folder: elsewhere}\n")
    for words, folder in (
        ((), "there"),
        (("--config", "c.yaml"), "elsewhere"),
        (("--config", "c.yaml", "--folder", "given"), "given"),
    ):
        done = streamprn("cluster", action, *words)
        assert done.code == 2
        assert f"no cluster runs here ({tmp_path / folder})" in done.error


def test_an_address_of_the_configuration_that_is_none_is_named(streamprn, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG + "cluster: {address: nonsense}\n")
    done = streamprn("cluster", "up", "--config", "c.yaml")
    assert done.code == 2
    assert "cluster.address nonsense: expected HOST:PORT" in done.error


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_named(streamprn, config, address):
    for words in (("up", "--config", config, "--address", address), ("join", address)):
        done = streamprn("cluster", *words)
        assert done.code == 2
        assert f"{address}: expected HOST:PORT" in done.error


def test_other_machines_are_let_in_only_over_an_encrypted_network(streamprn, config, monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    done = streamprn("cluster", "up", "--config", config, "--address", "192.0.2.7:6379")
    assert done.code == 2
    assert "192.0.2.7:6379 can be reached from other machines" in done.error
    assert "--insecure" in done.error
    done = streamprn("cluster", "join", "192.0.2.7:6379")
    assert done.code == 2
    assert "RAY_USE_TLS=1" in done.error


def test_publishing_beyond_this_machine_needs_keys_as_elsewhere(streamprn, config, tmp_path):
    words = ("--bind", "tcp://0.0.0.0:*", "--folder", tmp_path / "f")
    done = streamprn("cluster", "up", "--config", config, *words)
    assert done.code == 2
    assert "nothing is encrypted" in done.error


def test_without_ray_the_extra_is_named(streamprn, config, monkeypatch, tmp_path):
    monkeypatch.setattr("streamprn.cluster.machines.find_spec", lambda _: None)
    done = streamprn("cluster", "up", "--config", config, "--folder", tmp_path / "f")
    assert done.code == 2
    assert "pip install 'streamprn[cluster]'" in done.error


def test_a_machine_that_joins_brings_the_token_of_the_head(streamprn, monkeypatch, tmp_path):
    monkeypatch.setattr("streamprn.cluster.machines.find_spec", lambda _: True)
    token = tmp_path / "token"
    words = ("cluster", "join", "127.0.0.1:6379", "--token-file", token, "--folder", tmp_path / "f")
    done = streamprn(*words)
    assert done.code == 2
    assert f"{token}: no token can be read" in done.error
    token.write_text("0" * 64)
    token.chmod(0o644)
    done = streamprn(*words)
    assert done.code == 2
    assert "chmod 600" in done.error


def test_a_folder_that_others_can_write_to_is_refused(streamprn, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    done = streamprn("cluster", "status", "--folder", tmp_path / "open")
    assert done.code == 2
    assert "others own it or can write to it" in done.error


def test_numbers_of_workers_that_cannot_be_are_refused(streamprn, config):
    done = streamprn("cluster", "up", "--config", config, "--workers", "many")
    assert done.code == 2
    assert "--workers many" in done.error


def test_a_folder_for_recordings_that_cannot_be_is_refused(streamprn, config, tmp_path):
    folder = tmp_path / config / "below"
    done = streamprn("cluster", "up", "--config", config, "--record", folder)
    assert done.code == 2
    assert f"{folder}: cannot be used for recordings" in done.error
