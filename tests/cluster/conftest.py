"""Programs that run as a user starts them, and clients of the standard library."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from streamprn import Subscriber
from streamprn.wire import StatusMessage
from tests.support.wire import eventually

START_S = 90
#: A live source that needs no file; it shows no face.
PICTURE = "lavfi:testsrc2=size=320x240:rate=30,realtime"


class Program:
    """`streamprn` with arguments, its output in a file."""

    def __init__(self, folder, *arguments, name="log", **environment):
        self.log = Path(folder) / name
        self.said_before = 0
        command = [sys.executable, "-m", "streamprn", *map(str, arguments)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdout=log, cwd=folder, env=environment or None
            )

    @property
    def text(self):
        return self.log.read_text()

    def wait_for(self, pattern, timeout_s=START_S):
        """The last match of what it says, once it has said it."""
        eventually(
            lambda: self.process.poll() is not None or re.search(pattern, self.text), timeout_s
        )
        found = list(re.finditer(pattern, self.text))
        assert found, self.text
        return found[-1]

    def workers(self):
        """Process and HTTP address of each worker that was opened last in its slot."""
        found = re.findall(r"worker (\S+): process (\d+),.*(http://[\d.:]+)", self.text)
        return {slot: (int(pid), url) for slot, pid, url in found}

    def end(self, number=signal.SIGINT, timeout_s=20):
        """Its exit code after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


@contextmanager
def program(folder, *arguments, **more):
    """A program that has ended, with all of its children, when the block ends."""
    one = Program(folder, *arguments, **more)
    children = []
    try:
        yield one
    finally:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(one.process.pid).children(recursive=True)
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            try:
                one.process.wait(20)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait(5)
        _, alive = psutil.wait_procs(children, timeout=5)
        for child in alive:
            child.kill()
        print(one.text)
    assert alive == [], "it left processes behind"


def wait_for(condition, timeout_s, every_s=0.3):
    """Wait until something is true that is not for nothing to ask, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(every_s)


def read(subscriber, seconds, until=lambda _: False):
    """Messages of streams other than their states, each with the time at which it came."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end and not until(found):
        message = subscriber.receive(0.2)
        if message is not None and not isinstance(message, StatusMessage):
            found.append((time.monotonic(), message))
    return found


def faces_of(endpoint, streams, seconds=START_S, more=1):
    """Messages `face` of streams, until there are some of each."""
    topics = tuple(f"{stream}/face" for stream in streams)

    def enough(found):
        names = [message.stream for _, message in found]
        return all(names.count(stream) >= more for stream in streams)

    with Subscriber(endpoint, topics, newest=False) as subscriber:
        found = read(subscriber, seconds, enough)
    assert enough(found), f"of {len(found)} messages"
    return found
