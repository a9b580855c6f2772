"""A worker process and who keeps it, without Ray: found again, replaced, ended."""

import contextlib
import os
import signal
import threading
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from streamprn import Subscriber
from streamprn.cluster.folder import ClusterFolder
from streamprn.cluster.keeper import FOLDER, Keeper, Order
from streamprn.cluster.process import Detached
from streamprn.config import Config, SourceConfig
from streamprn.errors import StreamPRNError
from streamprn.wire import StatusMessage
from streamprn.wire.bind import CurveKeys
from tests.cluster.conftest import PICTURE, wait_for

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    found = ClusterFolder(tmp_path / "f")
    monkeypatch.setenv(FOLDER, str(found.path))
    yield found
    for path in found.workers:
        Detached(path).end()


@pytest.fixture
def keep(folder):
    """Makes keepers, which let go in the end."""
    with contextlib.ExitStack() as opened:
        yield lambda **changes: opened.enter_context(contextlib.closing(Keeper(order(**changes))))


def order(**changes):
    config = Config.from_mapping({"publish": {"bind": "tcp://127.0.0.1:*"}})
    return replace(Order(config, 0, 1, "", None, None), **changes)


def test_a_worker_outlives_its_keeper_and_is_found_with_its_streams(keep):
    first = keep()
    hello = first.hello()
    assert hello.streams == ()
    assert first.take(SourceConfig(uri=PICTURE, name="a"), paused=False) is None
    first.close()
    second = keep()
    again = second.hello()
    assert (again.pid, again.run, again.streams) == (hello.pid, hello.run, ("a",))
    # Whoever is new in front of it reads it at the same place.
    with Subscriber(again.endpoint, "a/face") as subscriber:
        assert any(subscriber.receive(0.5) for _ in range(10))
    second.settle({})
    assert second.call("streams") == []
    second.stop()
    assert second.wait() is not None
    assert not os.path.exists(f"/proc/{hello.pid}/exe")


def test_a_worker_with_other_settings_than_now_is_not_taken_over(keep):
    first = keep()
    pid = first.hello().pid
    first.close()
    other = Config.from_mapping(
        {"publish": {"bind": "tcp://127.0.0.1:*"}, "detect": {"max_faces": 2}}
    )
    second = keep(config=other)
    assert second.hello().pid != pid
    wait_for(lambda: not os.path.exists(f"/proc/{pid}/exe"), 5, 0.05)


def test_a_second_keeper_waits_for_the_first(keep, monkeypatch):
    monkeypatch.setattr("streamprn.cluster.keeper.LOCK_S", 0.3)
    first = keep()
    first.hello()
    with pytest.raises(StreamPRNError, match="another cluster keeps this worker"):
        keep().hello()


def test_a_worker_that_hangs_is_ended_and_said_to_have(keep, monkeypatch):
    monkeypatch.setattr("streamprn.cluster.keeper.PATIENCE_S", 0.5)
    monkeypatch.setattr("streamprn.cluster.process.END_S", 0.5)
    keeper = keep()
    pid = keeper.hello().pid
    said = []
    watching = threading.Thread(target=lambda: said.append(keeper.wait()))
    watching.start()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(OSError, match="was not answered"):
        keeper.report()
    watching.join(10)
    assert said == ["its process ended"]


def test_what_keeps_a_worker_from_starting_is_said(keep):
    config = Config.from_mapping({"engine": {"name": "no-such-engine"}})
    with pytest.raises(StreamPRNError, match="no-such-engine"):
        keep(config=config).hello()


def test_a_worker_of_another_machine_is_read_by_those_on_the_list_alone(keep, tmp_path):
    proxy, stranger = (CurveKeys.create(tmp_path / name, name) for name in ("proxy", "stranger"))
    readers = (("proxy", proxy.public),)
    keeper = keep(address="127.0.0.1", readers=readers, token=TOKEN)
    hello = keeper.hello()
    assert hello.endpoint.startswith("tcp://127.0.0.1:")
    assert keeper.take(SourceConfig(uri=PICTURE, name="a"), paused=False) is None

    def heard(**keys):
        with Subscriber(hello.endpoint, "a/status", **keys) as subscriber:
            found = (subscriber.receive(0.5) for _ in range(4))
            return any(isinstance(one, StatusMessage) and one.stream == "a" for one in found)

    assert heard(server_key=hello.server_key, client_keys=proxy)
    assert not heard(server_key=hello.server_key, client_keys=stranger)
    assert not heard()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{hello.url}/streams", timeout=5)
    assert keeper.fetch("/streams").status == 200
