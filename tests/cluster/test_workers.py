"""`streamprn run --workers 2` with a real Ray: one address, and workers that are killed."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from streamprn import Subscriber
from streamprn.source.sample_clip import make_clip
from streamprn.wire import StatusMessage, record, segments
from tests.support.wire import eventually

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="workers are tested with Ray: make test-cluster"
)
START_S = 90


@dataclass
class Running:
    process: subprocess.Popen
    log: Path
    endpoint: str = ""
    seen: dict = field(default_factory=dict)

    def workers(self):
        """Process and HTTP address of each worker that lives now, by its slot."""
        found = re.findall(r"worker (\d): process (\d+),.*(http://[\d.:]+)", self.log.read_text())
        return {int(slot): (int(pid), url) for slot, pid, url in found}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    clip = make_clip(folder / "a.mp4").uri
    command = [sys.executable, "-m", "streamprn", "run", "--workers", "2", "--loop", clip]
    command += [str(folder / "b.mp4"), "--bind", "tcp://127.0.0.1:*", "--record", "recordings"]
    (folder / "b.mp4").write_bytes((folder / "a.mp4").read_bytes())
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, cwd=folder)
    one = Running(process, folder / "log")
    try:
        eventually(lambda: process.poll() is not None or len(one.workers()) == 2, START_S)
        one.endpoint = re.search(r"publishing on (\S+);", one.log.read_text())[1]
        yield one
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        print(one.log.read_text())


def read(subscriber, seconds, until=lambda _: False):
    """Messages of `face`, each with the time at which it came."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end and not until(found):
        message = subscriber.receive(0.2)
        if message is not None and not isinstance(message, StatusMessage):
            found.append((time.monotonic(), message))
    return found


def both(found):
    return {message.stream for _, message in found} == {"a", "b"}


def streams_of(url):
    with urllib.request.urlopen(f"{url}/streams", timeout=5) as answer:
        return [one["name"] for one in json.load(answer)["streams"]]


def sent(url):
    page = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()
    return float(re.search(r"^streamprn_publish_messages_total (\S+)", page, re.MULTILINE)[1])


def quiet(urls):
    """What the workers have sent, where they send heartbeats alone; else None."""
    before = [sent(url) for url in urls]
    time.sleep(0.5)
    now = [sent(url) for url in urls]
    return now if all(b - a < 5 for a, b in zip(before, now, strict=True)) else None


@pytest.mark.timeout(200)
def test_streams_of_all_workers_come_from_one_address_and_from_several_processes(running):
    with Subscriber(running.endpoint, ("a/face", "b/face"), newest=False) as subscriber:
        found = read(subscriber, START_S, both)
    assert both(found)
    assert len({message.run for _, message in found}) == 2
    # The first worker that was ready may have been given both; it must have let go of one.
    assert sorted(name for _, url in running.workers().values() for name in streams_of(url)) == [
        "a",
        "b",
    ]


@pytest.mark.timeout(200)
def test_a_worker_sends_nothing_that_nobody_asked_for(running):
    urls = [url for _, url in running.workers().values()]
    # Who read before has gone; the workers hear of it through the proxy.
    before, end = quiet(urls), time.monotonic() + 10
    while before is None and time.monotonic() < end:
        before = quiet(urls)
    assert before is not None, "workers go on sending though nobody reads"
    with Subscriber(running.endpoint, "a/face", newest=False) as subscriber:
        assert read(subscriber, START_S, lambda found: len(found) > 30)
    grown = [sent(url) - earlier for url, earlier in zip(urls, before, strict=True)]
    assert sorted(more > 20 for more in grown) == [False, True]


@pytest.mark.timeout(200)
def test_streams_of_a_killed_worker_go_on_elsewhere_within_five_seconds(running):
    with Subscriber(running.endpoint, ("a/face", "b/face"), newest=False) as subscriber:
        before = read(subscriber, START_S, both)
        runs = {message.stream: message.run for _, message in before}
        pid, _ = running.workers()[0]
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        after = read(subscriber, 30, lambda _: running.workers()[0][0] != pid)
        after += read(subscriber, 3)
    assert running.workers()[0][0] != pid, "no worker took its place"
    for stream, run in runs.items():
        times = [at for at, message in after if message.stream == stream]
        assert max(b - a for a, b in itertools.pairwise([killed, *times])) < 5
        # From one run at a time: once another one sends, the former is not heard again.
        order = [run, *(message.run for _, message in after if message.stream == stream)]
        changes = [a for a, b in itertools.pairwise(order) if a != b]
        assert len(changes) == len(set(changes))
    assert any(message.run != runs[message.stream] for _, message in after)


@pytest.mark.timeout(200)
def test_every_worker_records_its_streams_and_one_that_took_over_goes_on(running):
    folder = running.log.parent / "recordings"

    def runs_of(stream):
        """Of the frames in each file, in order, down to the last whole message."""
        found = [
            {one.run for one in record.read(path)} for path in segments.segments(folder / stream)
        ]
        return list(itertools.chain.from_iterable(found))

    eventually(lambda: all(runs_of(stream) for stream in "ab"), 10)
    pid, url = running.workers()[1]
    (stream,) = streams_of(url)[:1]
    before = runs_of(stream)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(runs_of(stream)) > len(before), 30)
    assert len(set(runs_of(stream))) == len(runs_of(stream))
    assert runs_of(stream)[: len(before)] == before
