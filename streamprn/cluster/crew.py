"""The workers of one proxy: started, watched, replaced, and given their streams.

A worker that dies is noticed by Ray at once. Its streams go to those that live, and a new worker
takes its place and, where that is worth it, some of the streams. A stream belongs to one run at a
time: the proxy lets nothing of another one through.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ray

from streamprn.cluster.member import PLACING, Member, drop, in_words
from streamprn.cluster.placement import better, loads, measured, place
from streamprn.errors import StreamExistsError
from streamprn.records import SourceState, SourceStatus
from streamprn.wire.proxy import Upstream

if TYPE_CHECKING:
    from streamprn.cluster.desk import ProxyClient
    from streamprn.cluster.worker import Hello, Report
    from streamprn.config import SourceConfig
    from streamprn.serve.problems import Problem
    from streamprn.wire.bind import CurveKeys
    from streamprn.wire.proxy import Proxy

__all__ = ["Crew"]

#: Between two looks at the workers; a death is seen at once.
TICK_S = 0.1
#: Between two reports of a worker.
REPORT_S = 2.0
#: A worker that does not answer for so long is replaced.
PATIENCE_S = 15.0
#: How long streams wait for the workers that had them when an earlier head ended.
EXPECT_S = 20.0
#: Before a worker is started again that could not be opened.
RETRY_S = 5.0

log = logging.getLogger("streamprn.cluster")


class Crew:
    """Keeps workers alive, and every stream at one of them. Any thread may call.

    Args:
        slots: names the workers that there are to be, now.
        launch: starts the actor of a slot; does not wait for it.
        proxy: reads from the workers.
        on_event: told of workers that come and go, in words.
        keys: of the proxy, for workers that encrypt.
        expected: where streams were before; they wait some time for these workers.
        costs: of streams, as measured before.
        in_touch: whether what tells of workers can be believed; once not, no more is done.

    Attributes:
        cut_off: set where it cannot.
    """

    def __init__(
        self,
        slots: Callable[[], Collection[str]],
        launch: Callable[[str], Any],
        proxy: Proxy | ProxyClient,
        on_event: Callable[[str], None] = lambda _: None,
        *,
        keys: CurveKeys | None = None,
        expected: Mapping[str, str] = MappingProxyType({}),
        costs: Mapping[str, float] = MappingProxyType({}),
        in_touch: Callable[[], bool] = lambda: True,
    ) -> None:
        self._slots = slots
        self._launch = launch
        self._proxy = proxy
        self._say = on_event
        self._keys = keys
        self._expected = dict(expected)
        self._expected_until_s = time.monotonic() + EXPECT_S
        self._in_touch = in_touch
        self.cut_off = threading.Event()
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)
        self._members: dict[str, Member] = {}
        self._not_before_s: dict[str, float] = {}
        self._sources: dict[str, SourceConfig] = {}
        self._where: dict[str, str] = {}
        #: What came of giving a stream to its worker; none while that is under way.
        self._outcomes: dict[str, Problem | None] = {}
        self._paused: set[str] = set()
        self._costs = dict(costs)
        self._lost = 0
        self._turned_s = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="crew", daemon=True)
        self._thread.start()

    # --- what others ask --------------------------------------------------------------------------

    @property
    def members(self) -> tuple[Member, ...]:
        """Those that are open."""
        with self._lock:
            return tuple(one for one in self._members.values() if one.hello is not None)

    @property
    def idle_s(self) -> float:
        """How long ago the workers were last looked at, in seconds."""
        return time.monotonic() - self._turned_s

    @property
    def lost(self) -> int:
        """Workers that died."""
        return self._lost

    @property
    def names(self) -> tuple[str, ...]:
        """Of all streams, placed or not."""
        with self._lock:
            return tuple(self._sources)

    @property
    def sources(self) -> dict[str, SourceConfig]:
        """Their settings, by name."""
        with self._lock:
            return dict(self._sources)

    def member_of(self, stream: str) -> Member | None:
        """The worker that has a stream; None while it waits for one."""
        with self._lock:
            return self._members.get(self._where.get(stream, ""))

    def paused(self, stream: str) -> bool:
        """Whether a stream is to be paused."""
        with self._lock:
            return stream in self._paused

    def problem(self, stream: str) -> Problem | None:
        """Why its worker could not take a stream; None where it could, or has not answered."""
        with self._lock:
            return self._outcomes.get(stream)

    def settled(self, stream: str, timeout_s: float) -> Problem | None:
        """Wait until its worker has taken a stream, or refused it; see `problem`."""
        with self._settled:
            self._settled.wait_for(
                lambda: stream in self._outcomes or stream not in self._where, timeout_s
            )
            return self._outcomes.get(stream)

    def add(self, source: SourceConfig) -> None:
        """Add a stream, which has a name; it is placed as soon as there is a worker.

        Raises:
            StreamExistsError: the name is taken.
        """
        assert source.name is not None
        with self._lock:
            if source.name in self._sources:
                raise StreamExistsError(
                    f"there is a stream {source.name!r} already",
                    hint="remove it, or choose another name",
                )
            self._sources[source.name] = source
            self._place(source.name)

    def keep(self, source: SourceConfig, *, paused: bool) -> None:
        """Note the settings that a stream is to have wherever it goes.

        One that its worker could not take is given away anew.
        """
        assert source.name is not None
        with self._lock:
            if source.name in self._sources:
                self._sources[source.name] = source
                (self._paused.add if paused else self._paused.discard)(source.name)
                if self._outcomes.get(source.name) is not None:
                    self._where.pop(source.name, None)
                    self._place(source.name)

    def remove(self, stream: str) -> None:
        """Remove a stream."""
        with self._lock:
            self._sources.pop(stream, None)
            self._paused.discard(stream)
            self._costs.pop(stream, None)
            self._outcomes.pop(stream, None)
            member = self._members.get(self._where.pop(stream, ""))
        if member is not None:
            drop(member, stream)
        self._proxy.tell(SourceStatus(stream, SourceState.ENDED, "removed", wall_ns=time.time_ns()))
        self._proxy.release(stream)

    def reports(self) -> Mapping[str, dict[str, Any]]:
        """Every stream as its worker last showed it; none that was never shown."""
        with self._lock:
            found = {}
            for stream, slot in self._where.items():
                member = self._members.get(slot)
                shown = member.report.streams if member and member.report else ()
                found.update({one["name"]: one for one in shown if one["name"] == stream})
            return found

    def state(self) -> dict[str, Any]:
        """What a crew after this one needs to go on with the same streams."""
        with self._lock:
            return {
                "sources": dict(self._sources),
                "paused": set(self._paused),
                "costs": dict(self._costs),
                "where": {**self._expected, **self._where},
            }

    def close(self, timeout_s: float = 3.0) -> None:
        """End all workers."""
        self._done.set()
        self._thread.join(timeout_s)
        with self._lock:
            members, self._members = list(self._members.values()), {}
        ray.wait(
            [one.actor.stop.remote() for one in members] or [ray.put(None)],
            num_returns=max(1, len(members)),
            timeout=timeout_s,
        )
        for one in members:
            ray.kill(one.actor)

    # --- the thread -------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._done.is_set():
            try:
                self._turn()
            except Exception:  # it must go on: without it no worker would be replaced
                log.exception("the workers cannot be watched")
                self._done.wait(1.0)

    def _turn(self) -> None:
        self._turned_s = time.monotonic()
        self._fill()
        if self._expected and self._turned_s > self._expected_until_s:
            with self._lock:
                self._expected.clear()
                self._place_all()
        with self._lock:
            waiting = [ref for one in self._members.values() for ref in one.waiting]
        if not waiting:
            self._done.wait(TICK_S)
            return
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=TICK_S)
        for ref in ready:
            self._answered(ref)
        self._ask()

    def _fill(self) -> None:
        """Start the workers that are missing."""
        now = time.monotonic()
        for slot in self._slots():
            if slot in self._members or now < self._not_before_s.get(slot, 0):
                continue
            member = Member(slot, self._launch(slot), asked_s=now)
            member.waiting[member.actor.hello.remote()] = ("hello", "")
            with self._lock:
                self._members[slot] = member

    def _ask(self) -> None:
        now = time.monotonic()
        for one in list(self._members.values()):
            if one.hello is None or now < one.due_s:
                continue
            if ("report", "") not in one.waiting.values():
                one.waiting[one.actor.report.remote()] = ("report", "")
                one.asked_s, one.due_s = now, now + REPORT_S
            elif now - one.asked_s > PATIENCE_S:
                ray.kill(one.actor)
                self._lose(one, f"did not answer for {PATIENCE_S:g} s")

    def _answered(self, ref: Any) -> None:
        found = [one for one in self._members.values() if ref in one.waiting]
        if not found:
            return
        (member,) = found
        what, stream = member.waiting.pop(ref)
        try:
            value = ray.get(ref)
        except ray.exceptions.RayError as error:
            if not self._in_touch():
                # Whether the worker has gone nobody can tell; it may publish on.
                self._done.set()
                self.cut_off.set()
                return
            self._lose(member, in_words(error))
            return
        if what == "hello":
            self._welcome(member, value)
        elif what == "report":
            self._note(member, value)
        elif what == "wait":
            self._lose(member, value or "its pipeline ended")
        else:
            self._taken(member, stream, value)

    def _welcome(self, member: Member, hello: Hello) -> None:
        member.hello = hello
        member.waiting[member.actor.wait.remote()] = ("wait", "")
        self._proxy.connect(
            Upstream(hello.endpoint, hello.run, hello.server_key, self._keys)
            if hello.server_key
            else Upstream(hello.endpoint, hello.run)
        )
        self._say(f"worker {member.slot}: process {hello.pid}, {hello.backend}, {hello.url}")
        with self._lock:
            if hello.streams:
                self._adopt(member, hello)
            self._place_all()
            self._balance()

    def _adopt(self, member: Member, hello: Hello) -> None:
        """Let a worker that was found go on with its streams, but for those that others have."""
        wanted = {}
        for stream in hello.streams:
            if stream in self._sources and stream not in self._where:
                self._where[stream] = member.slot
                self._outcomes[stream] = None
                self._proxy.assign(stream, hello.run)
                wanted[stream] = self._sources[stream], stream in self._paused
        member.actor.settle.options(concurrency_group=PLACING).remote(wanted)
        self._say(f"worker {member.slot} goes on with {len(wanted)} streams")

    def _lose(self, member: Member, cause: str) -> None:
        self._lost += member.hello is not None
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(member.actor)  # where it lives: its successor takes its place
        with self._lock:
            self._members.pop(member.slot, None)
            self._not_before_s[member.slot] = time.monotonic() + (
                0.0 if member.hello is not None else RETRY_S
            )
            orphans = [stream for stream, slot in self._where.items() if slot == member.slot]
            for stream in orphans:
                self._expected.pop(stream, None)
                del self._where[stream]
                self._outcomes.pop(stream, None)
                self._proxy.tell(
                    SourceStatus(
                        stream, SourceState.RECONNECTING, "its worker ended", wall_ns=time.time_ns()
                    )
                )
                self._place(stream)
        if member.hello is not None:
            self._proxy.disconnect(member.hello.endpoint)
        self._say(f"worker {member.slot} ended: {cause}; {len(orphans)} streams move")

    def _note(self, member: Member, report: Report) -> None:
        member.report = report
        rates = {one["name"]: one["fps"] for one in report.streams}
        frames = sum(rates.values())
        with self._lock:
            for stream, rate in rates.items():
                if frames > 0 and self._where.get(stream) == member.slot:
                    cores = report.cores * rate / frames
                    self._costs[stream] = measured(self._costs.get(stream), cores)
                if self._where.get(stream) != member.slot:
                    drop(member, stream)  # another's by now
            if all(one.report is not None for one in self.members):
                self._balance()

    def _taken(self, member: Member, stream: str, problem: Problem | None) -> None:
        with self._settled:
            if self._where.get(stream) != member.slot:
                return
            self._outcomes[stream] = problem
            self._settled.notify_all()
        if problem is not None:
            log.warning("%s: %s", stream, problem.detail, extra={"stream": stream})
            self._proxy.tell(
                SourceStatus(stream, SourceState.FAILED, problem.detail, wall_ns=time.time_ns())
            )

    # --- placement, with the lock held ------------------------------------------------------------

    def _open(self) -> list[str]:
        return [one.slot for one in self.members]

    def _place_all(self) -> None:
        for stream in self._sources:
            if stream not in self._where:
                self._place(stream)

    def _place(self, stream: str) -> None:
        former = self._expected.get(stream)
        if former is not None and former not in self._open():
            return  # it may come back soon, with the stream
        slot = former or place(self._where, self._costs, self._open())
        if slot is not None:
            self._give(stream, self._members[slot])

    def _give(self, stream: str, member: Member) -> None:
        assert member.hello is not None
        self._where[stream] = member.slot
        self._outcomes.pop(stream, None)
        self._proxy.assign(stream, member.hello.run)
        paused = stream in self._paused
        source = replace(self._sources[stream], name=stream)
        take = member.actor.take.options(concurrency_group=PLACING)
        member.waiting[take.remote(source, paused=paused)] = ("take", stream)

    def _balance(self) -> None:
        """Move one stream where that is worth it; the next one after the next report."""
        move = better(self._where, self._costs, self._open())
        if move is None:
            return
        stream, slot = move
        drop(self._members[self._where[stream]], stream)
        self._give(stream, self._members[slot])
        self._say(f"{stream} moves to worker {slot}")

    def load(self) -> Mapping[str, float]:
        """Cores that each worker's streams take, as measured."""
        with self._lock:
            return loads(self._where, self._costs, self._open())
