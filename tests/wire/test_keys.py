"""Encryption: key files, lists of clients, and addresses that strangers reach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import zmq

from streamprn import Publisher, Subscriber
from streamprn.errors import InputError, PublishError
from streamprn.records import Kind
from streamprn.wire.bind import CurveKeys, check_exposure, public_key, read_public_key
from tests.support.wire import eventually, make_result

LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def keys(tmp_path):
    return CurveKeys.create(tmp_path / "server")


def secret_file(tmp_path):
    return tmp_path / "server" / "server.key_secret"


@pytest.mark.parametrize("mode", [0o666, 0o640, 0o604])
def test_a_secret_key_that_others_may_read_is_refused(tmp_path, keys, mode):
    path = secret_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(InputError, match="other users can read or write the secret key") as caught:
        CurveKeys.load(path)
    assert f"chmod 600 {path}" in caught.value.hint


def test_a_secret_key_of_another_user_is_refused_and_one_of_this_user_or_root_is_not(
    tmp_path, keys, monkeypatch
):
    path = secret_file(tmp_path)
    assert CurveKeys.load(path) == keys
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert CurveKeys.load(path) == keys
        monkeypatch.undo()
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match="belongs to another user") as caught:
        CurveKeys.load(path)
    assert "chooses the secret key" in caught.value.hint


@pytest.mark.parametrize("read", [CurveKeys.load, read_public_key])
def test_what_is_no_small_file_holds_no_key_up(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(5000))
    for path, reason in (
        (tmp_path / "pipe", "not a file"),
        (tmp_path, "not a file"),
        (Path("/dev/zero"), "not a file"),
        (tmp_path / "large", "too long"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(InputError, match=reason):
            read(path)


def test_two_keys_that_are_no_pair_are_refused(tmp_path, keys):
    path = secret_file(tmp_path)
    other = zmq.curve_keypair()[0].decode()
    path.write_text(path.read_text().replace(keys.public, other))
    with pytest.raises(InputError, match="no pair"):
        CurveKeys.load(path)


def test_a_key_that_is_too_short_is_called_so(tmp_path, keys):
    path = secret_file(tmp_path)
    path.write_text(path.read_text().replace(keys.secret, keys.secret[:30]))
    with pytest.raises(InputError, match="secret key has 30 characters, not 40"):
        CurveKeys.load(path)


def test_a_secret_key_belongs_to_its_owner_from_the_first_moment_and_is_never_overwritten(
    tmp_path, keys
):
    assert os.stat(secret_file(tmp_path)).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "server" / "server.key").st_mode & 0o777 == 0o644
    with pytest.raises(InputError, match="exists already"):
        CurveKeys.create(tmp_path / "server")
    assert CurveKeys.load(secret_file(tmp_path)) == keys


def test_only_listed_clients_read_and_the_list_changes_while_it_runs(tmp_path, keys, caplog):
    clients = {name: CurveKeys.create(tmp_path / "all", name) for name in ("alice", "bob")}
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    shutil.copy(tmp_path / "all" / "alice.key", allowed)
    with (
        Publisher(LOOPBACK, curve=keys, allow=allowed, heartbeat_s=0.1) as publisher,
        Subscriber(
            publisher.endpoint,
            "cam1/face",
            server_key=tmp_path / "server" / "server.key",
            client_keys=clients["alice"],
        ) as alice,
        Subscriber(
            publisher.endpoint, "cam1/mesh", server_key=keys.public, client_keys=clients["bob"]
        ) as bob,
    ):
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})
        publisher.publish(make_result())
        assert alice.receive(2).kind is Kind.FACE
        eventually(lambda: f"public key {clients['bob'].public} is refused" in caplog.text)
        assert bob.receive(0.1) is None
        shutil.copy(tmp_path / "all" / "bob.key", allowed)

        def bob_is_in():
            bob.receive(0.05)
            return publisher.wanted("cam1") == {Kind.FACE, Kind.MESH}

        eventually(bob_is_in, 10)
        assert caplog.text.count("is refused") == 1


def test_a_list_that_becomes_unreadable_lets_in_whom_it_let_in(tmp_path, keys, caplog):
    alice = CurveKeys.create(tmp_path / "allowed", "alice")
    with Publisher(LOOPBACK, curve=keys, allow=tmp_path / "allowed", heartbeat_s=0.1) as publisher:
        (tmp_path / "allowed" / "bad.key").write_text("rubbish")
        eventually(lambda: "stay as they are" in caplog.text)
        with Subscriber(publisher.endpoint, "cam1/face", server_key=keys.public, client_keys=alice):
            eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})


@pytest.mark.parametrize("text", [None, "rubbish"])
def test_a_list_that_cannot_be_read_does_not_start(tmp_path, keys, text):
    folder = tmp_path / "allowed"
    if text is not None:
        folder.mkdir()
        (folder / "a.key").write_text(text)
    with pytest.raises(InputError, match="allowed"):
        Publisher(LOOPBACK, curve=keys, allow=folder)


def test_a_public_key_is_read_from_either_file(tmp_path, keys):
    for name in ("server.key", "server.key_secret"):
        assert read_public_key(tmp_path / "server" / name) == keys.public


@pytest.mark.parametrize("given", ["the key", "a Path", "a name", "a name below ."])
def test_a_subscriber_takes_the_key_or_its_file_as_a_path_or_a_name(
    tmp_path, keys, monkeypatch, given
):
    monkeypatch.chdir(tmp_path / "server")
    server_key = {
        "the key": keys.public,
        "a Path": tmp_path / "server" / "server.key",
        "a name": str(tmp_path / "server" / "server.key"),
        "a name below .": "server.key",
    }[given]
    with (
        Publisher(LOOPBACK, curve=keys) as publisher,
        Subscriber(publisher.endpoint, "cam1/face", server_key=server_key),
    ):
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})


def test_a_text_that_is_neither_a_key_nor_a_file_is_refused(tmp_path):
    for text in ("", "server.key", "x\0y", "a" * 5000, "a" * 39 + "~", "é" * 40):
        with pytest.raises(InputError, match=r"no CURVE key .* and no file") as caught:
            public_key(text)
        assert ".key file" in caught.value.hint
    (tmp_path / "other").write_text("rubbish")
    with pytest.raises(InputError, match="holds no public CURVE key"):
        public_key(str(tmp_path / "other"))


def test_a_name_that_could_be_a_key_is_taken_for_neither(tmp_path, keys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "k" * 40
    shutil.copy(tmp_path / "server" / "server.key", name)
    with pytest.raises(InputError, match="can be a CURVE key and names a file"):
        public_key(name)
    assert public_key(f"./{name}") == public_key(Path(name)) == keys.public


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:5870", "tcp://*:5870", "tcp://192.168.1.5:1"])
def test_addresses_that_others_reach_need_keys_and_a_list(bind):
    for encrypted, allowed in ((False, False), (True, False), (False, True)):
        with pytest.raises(InputError, match="other machines"):
            check_exposure(bind, encrypted=encrypted, allowed=allowed, insecure=False)
        check_exposure(bind, encrypted=encrypted, allowed=allowed, insecure=True)
    check_exposure(bind, encrypted=True, allowed=True, insecure=False)


@pytest.mark.parametrize(
    "bind", ["tcp://127.0.0.1:5870", "tcp://[::1]:1", "ipc:///a", "inproc://a"]
)
def test_addresses_of_this_machine_need_none(bind):
    check_exposure(bind, encrypted=False, allowed=False, insecure=False)


def test_a_relative_ipc_file_is_not_taken_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Publisher("ipc://faces"), pytest.raises(PublishError, match="in use"):
        Publisher("ipc://faces")
