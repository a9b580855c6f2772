"""The faults: how each is made, and how its cause goes away."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.rig.pest import Pest
from benchmarks.rig.stage import NEIGHBOUR, Guest
from streamprn.errors import StreamPRNError
from streamprn.wire.record import read
from streamprn.wire.segments import recordings

__all__ = ["FAULTS", "Fault", "WrongError"]

Act = Callable[[Guest], None]
_WATCH_S = 4.0


class WrongError(Exception):
    """Something beside the recovery was not as it must be."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: for the table and `--only`.
        strike: makes it.
        heal: takes its cause away, and returns when that is done.
        hold_s: how long it lasts.
        guest: arguments of `Guest`.
        stage: arguments of `Stage`, where it needs one of its own.
        back: when all is well again after a moment, monotonic ns; None: not in time.
        told: whether a subscriber must be told of it meanwhile.
    """

    name: str
    strike: Act
    heal: Act
    hold_s: float = 4.0
    guest: dict[str, Any] = field(default_factory=dict)
    stage: str = ""
    back: Callable[[Guest, int], int | None] | None = None
    told: bool = False

    def back_ns(self, guest: Guest, since_ns: int, until_s: float) -> int | None:
        """When all streams show faces captured since then; None: not in time."""
        if self.back is not None:
            return self.back(guest, since_ns)
        end = time.monotonic() + until_s
        found = [
            guest.stage.ears.face_ns(name, since_ns, max(0.0, end - time.monotonic()))
            for name in guest.streams
        ]
        return None if None in found else max(ns for ns in found if ns is not None)


def _switch(**switches: object) -> Act:
    return lambda guest: guest.camera.set(**switches)


def _line(*, held: bool = False, trickling: bool = False) -> Act:
    def act(guest: Guest) -> None:
        guest.line.held, guest.line.trickling = held, trickling

    return act


def _nothing(_: Guest) -> None:
    pass


def _cameras(kind: str) -> Iterable[Fault]:
    """What happens to cameras and servers of every kind."""
    title = {"rtsp": "RTSP", "mjpeg": "MJPEG", "hls": "HLS"}[kind]
    direct, relayed = {"kind": kind}, {"kind": kind, "relayed": True}
    yield Fault(
        f"{title} server killed",
        lambda guest: guest.camera.kill(),
        lambda guest: guest.camera.start(),
        guest=direct,
        told=True,
    )
    yield Fault(
        f"{title} server frozen",
        lambda guest: guest.camera.freeze(),
        lambda guest: guest.camera.thaw(),
        hold_s=5.0,
        guest=direct,
        told=True,
    )
    yield Fault(
        f"{title} half-open: connected, nothing passes",
        _line(held=True),
        _line(),
        hold_s=5.0,
        guest=relayed,
        told=True,
    )
    yield Fault(
        f"{title} trickling: 1000 bytes/s",
        _line(trickling=True),
        _line(),
        hold_s=5.0,
        guest=relayed,
        told=True,
    )
    gaps = partial(_longest_gap, watch_s=8.0)
    yield Fault(f"{title} closing every 3 s", _close, _nothing, 0.0, guest=relayed, back=gaps)
    if kind == "hls":
        return
    end = {"rtsp": "drop_clients", "mjpeg": "drop"}[kind]
    refused = partial(_refuse, end)
    yield Fault(
        f"{title} 401 for 1.5 s",
        refused(credentials=["a", "b"]),
        _switch(credentials=None),
        hold_s=1.5,
        guest=direct,
        told=True,
    )
    away = {"rtsp": {"path": "/away"}, "mjpeg": {"away": True}}[kind]
    here = {"rtsp": {"path": "/live"}, "mjpeg": {"away": False}}[kind]
    yield Fault(f"{title} 404", refused(**away), _switch(**here), guest=direct, told=True)


def _refuse(end: str, **switches: object) -> Act:
    def act(guest: Guest) -> None:
        guest.camera.set(**switches)
        guest.camera.call(end)

    return act


def _close(guest: Guest) -> None:
    guest.line.closing_s = 3.0
    guest.line.cut()


def _pictures() -> Iterable[Fault]:
    """What happens to what cameras send."""
    udp = {"kind": "rtsp", "settings": {"rtsp_transport": "udp"}}
    rtsp = {"kind": "rtsp"}
    yield Fault(
        "UDP: a third of the packets lost", _switch(loss=0.33), _switch(loss=0.0), guest=udp
    )
    yield Fault("UDP: all packets lost", _switch(loss=1.0), _switch(loss=0.0), guest=udp, told=True)
    gap: dict[str, Any] = {"heal": _nothing, "hold_s": 0.0, "back": _longest_gap}
    yield Fault("resolution change in mid-stream", _turn("clip", 1, 0), **gap, guest=rtsp)
    yield Fault(
        "codec change in mid-stream (MPEG-TS)",
        _calls("second", "first"),
        **gap,
        guest={"kind": "udp"},
    )
    yield Fault("every slice garbage", _switch(corrupt=1.0), _switch(corrupt=0.0), guest=rtsp)
    hour = 3600 * 90_000
    yield Fault("clock jumps by an hour", _turn("shift", hour, 0), **gap, guest=rtsp)
    yield Fault(
        "ten of twenty streams dead",
        lambda guest: guest.camera.kill(),
        lambda guest: guest.camera.start(),
        guest={"kind": "rtsp", "count": 10, "beside": 9, "fps": 2.0},
        told=True,
    )
    yield Fault(
        "DNS failure",
        _dns_gone,
        _dns_back,
        guest={**rtsp, "host": "camera.test"},
        stage="dns",
        told=True,
    )


def _longest_gap(guest: Guest, since_ns: int, watch_s: float = _WATCH_S) -> int | None:
    """As long after as a subscriber waited longest for the next face, in the seconds around."""
    time.sleep(watch_s)
    now = time.monotonic_ns()
    longest = 0
    for name in guest.streams:
        frames = guest.stage.ears.between(name, since_ns - 500_000_000, now)
        times = [one.received_ns for one in frames if one.faces]
        if not times or now - times[-1] > 1_000_000_000:
            return guest.stage.ears.face_ns(name, now, 10.0)
        longest = max([longest, *(after - one for one, after in pairwise(times))])
    return since_ns + longest


def _turn(name: str, one: object, other: object) -> Act:
    """Set a switch to the one value and to the other, in turn."""

    def act(guest: Guest) -> None:
        value = guest.scratch[name] = other if guest.scratch.get(name) == one else one
        guest.camera.set(**{name: value})

    return act


def _calls(one: str, other: str) -> Act:
    def act(guest: Guest) -> None:
        name = guest.scratch["call"] = other if guest.scratch.get("call") == one else one
        guest.camera.call(name)

    return act


def _dns_gone(guest: Guest) -> None:
    hosts = guest.stage.folder / "hosts"
    hosts.write_text("")
    guest.camera.call("drop_clients")


def _dns_back(guest: Guest) -> None:
    (guest.stage.folder / "hosts").write_text("127.0.0.1 camera.test\n")


def _pests() -> Iterable[Fault]:
    """What subscribers and strangers do."""
    titles = {
        "computing": "to compare with: a program that only computes",
        "stalled": "subscriber to everything that never reads",
        "strings": "subscriber that repeats 100,000 subscriptions",
        "big": "subscriber to topics of 1 MB",
        "visitors": "200 subscribers who come and go",
        "garbage": "random bytes at both ports",
        "loris": "slow loris: 100 connections to each port",
    }
    for kind, title in titles.items():
        yield Fault(f"{title}, killed", partial(_come, kind), _leave, back=_serves_newcomers)


def _come(kind: str, guest: Guest) -> None:
    service = guest.service
    guest.pest = Pest(kind, (service.publish_port, service.http_port))


def _leave(guest: Guest) -> None:
    assert guest.pest is not None
    guest.pest.leave()
    guest.pest = None


def _serves_newcomers(guest: Guest, since_ns: int) -> int | None:
    """When who subscribes only now sees a face, and the control interface answers."""
    from benchmarks.rig.ears import Ears

    with Ears(guest.service.endpoint, [NEIGHBOUR]) as newcomer:
        found = newcomer.face_ns(NEIGHBOUR, since_ns, 10.0)
    if guest.service.ask("GET", "/healthz")[0] != 200:
        raise WrongError("/healthz does not answer")
    return found


def _process() -> Iterable[Fault]:
    """What happens to the process."""
    yield Fault(
        "publisher kill -9, started again", _kill, _start, 3.0, stage="recording", told=True
    )
    yield Fault("SIGTERM under load, started again", _terminate, _start, 0.5, stage="recording")
    for number in (signal.SIGHUP, signal.SIGPIPE):
        name = f"{number.name} under load"
        yield Fault(name, _send(number), _nothing, 0.0, stage="recording", back=_longest_gap)
    yield Fault(
        "no descriptor left, camera killed",
        _no_descriptors,
        _descriptors,
        guest={"kind": "rtsp"},
        told=True,
    )
    yield Fault("engine failure, started again", _break_engine, _mend_engine, 3.0, stage="engine")
    yield Fault("disk full", _fill, _empty, 4.0, stage="disk", back=_records)


def _kill(guest: Guest) -> None:
    time.sleep(random.random())
    guest.service.kill()


def _start(guest: Guest) -> None:
    guest.service.start()
    guest.service.wait_ready()
    _check_recordings(guest)


def _terminate(guest: Guest) -> None:
    time.sleep(random.random())
    code = guest.service.end()
    if code != 0:
        guest.service.kill()
        raise WrongError(f"SIGTERM ends with {code}")


def _check_recordings(guest: Guest) -> None:
    """Whether all that was recorded can be read; the file in hand may lack its last message."""
    for segments in recordings(guest.stage.folder / "recorded").values():
        for segment in segments:
            try:
                for _ in read(Path(segment)):
                    pass
            except StreamPRNError as error:
                raise WrongError(f"a recording is damaged: {error}") from error


def _send(number: int) -> Act:
    def act(guest: Guest) -> None:
        time.sleep(random.random())
        guest.service.signal(number)
        time.sleep(0.1)
        if guest.service.wait(0) is not None:
            raise WrongError(f"it ended: {guest.service.said()}")

    return act


def _no_descriptors(guest: Guest) -> None:
    process = guest.service.process
    guest.scratch["limit"] = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (3, guest.scratch["limit"][1]))
    guest.camera.kill()
    guest.camera.start()


def _descriptors(guest: Guest) -> None:
    guest.service.process.rlimit(resource.RLIMIT_NOFILE, guest.scratch["limit"])


def _break_engine(guest: Guest) -> None:
    (guest.stage.folder / "broken").touch()
    code = guest.service.wait(10.0)
    if not code:
        raise WrongError(f"a broken engine ends it with {code}")


def _mend_engine(guest: Guest) -> None:
    (guest.stage.folder / "broken").unlink()
    guest.service.start()
    guest.service.wait_ready()


def _fill(guest: Guest) -> None:
    ballast = guest.stage.folder / "recorded" / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _empty(guest: Guest) -> None:
    (guest.stage.folder / "recorded" / "ballast").unlink()


def _records(guest: Guest, since_ns: int) -> int | None:
    """When something was written to the recording after that."""
    folder = guest.stage.folder / "recorded"
    since_s = time.time() - (time.monotonic_ns() - since_ns) / 1e9
    end = since_ns + 10_000_000_000
    while time.monotonic_ns() < end:
        files = recordings(folder)[NEIGHBOUR]
        if any(file.stat().st_mtime > since_s and file.stat().st_size for file in files[-2:]):
            found = time.monotonic_ns()
            _check_recordings(guest)
            return found
        time.sleep(0.02)
    return None


FAULTS = (
    *_cameras("rtsp"),
    *_cameras("mjpeg"),
    *_cameras("hls"),
    *_pictures(),
    *_pests(),
    *_process(),
)
