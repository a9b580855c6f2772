"""A thread that reads one source and puts its frames into a channel."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from streamprn.config.address import SourceKind
from streamprn.errors import (
    CredentialsError,
    InputError,
    SourceError,
    SourceRefusedError,
    StreamPRNError,
)
from streamprn.records import SourceState, SourceStatus
from streamprn.redact import redact_text
from streamprn.source.content import Content
from streamprn.source.control import Control
from streamprn.source.deliver import Delivery, SourceCounters
from streamprn.source.gate import Gate
from streamprn.source.interrupt import interruptible
from streamprn.source.opening import (
    describe_error,
    gives_single_pictures,
    is_finite,
    open_video,
    rewind,
)
from streamprn.source.orientation import UPRIGHT
from streamprn.source.pictures import content_of, list_pictures, read_animation, read_picture
from streamprn.source.playback import Playback
from streamprn.source.timing import Backoff, Pacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamprn.channel import Channel
    from streamprn.config import Address, SourceConfig
    from streamprn.records import Frame

__all__ = ["SourceCounters", "SourceReader"]

_log = logging.getLogger("streamprn.source")
_NS = 1_000_000_000
# A connection that held this long was a good one: the next failure starts at the shortest delay.
_STEADY_S = 2.0
# A live stream whose packets come in bursts (HLS) is played at its own speed; when the clocks
# drift further apart than this, playing starts again from now.
_LIVE_REBASE_S = 2.0


class SourceReader:
    """Reads one source in a thread of its own until it ends or `stop` is called; may be paused.

    A finite source (file, image, folder, filter graph) ends with the state `ended`, or `failed`
    with a cause; one that is looped and has played is tried again instead. A camera or network
    stream is connected again for ever (wrong credentials, path or crop: slowly). The channel is
    closed when no more frames will come.

    Args:
        config: how to read the source.
        address: where it is, and the name of its stream.
        channel: where frames go.
        on_status: called from the reader's thread at every change of state.
        first_seq: the number of the first frame.
    """

    def __init__(
        self,
        config: SourceConfig,
        address: Address,
        channel: Channel[Frame],
        on_status: Callable[[SourceStatus], None],
        *,
        first_seq: int = 0,
    ) -> None:
        self.config = config
        self.address = address
        self.channel = channel
        self._on_status = on_status
        self._control = Control()
        self._thread = threading.Thread(
            target=self._run, name=f"source {address.name}", daemon=True
        )
        self._status = SourceStatus(address.name, SourceState.CONNECTING)
        self._delivery = Delivery(config, address, channel, first_seq)
        self._counters = self._delivery.counters
        self._gate = Gate(self._control, address, self._report, lambda: self._status.state)
        self._playback = Playback(config, address, self._delivery, self._gate, self._report)
        self._endless = False

    # -- control ---------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the source runs on a clock of its own, so that only its newest frame counts."""
        return self.address.live

    @property
    def status(self) -> SourceStatus:
        """The last state reported."""
        return self._status

    @property
    def counters(self) -> SourceCounters:
        """A snapshot of the counters."""
        return replace(self._counters, dropped=self.channel.statistics().dropped)

    @property
    def next_seq(self) -> int:
        """The number that the next frame gets."""
        return self._delivery.next_seq

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start reading; once only."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the source to end; whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def pause(self) -> None:
        """Take no more frames until `resume`; from any thread, and returns at once.

        A camera or network stream is disconnected meanwhile. Anything else keeps its place: its
        clock stands still, so that no frame is late for the pause. The frame in hand is still
        handed over; with the state `paused` none is left.
        """
        self._control.pause()

    def resume(self) -> None:
        """Go on after `pause`, without delay; from any thread, and returns at once."""
        self._control.resume()

    def stop(self, timeout: float = 1.0) -> bool:
        """Stop reading, whatever the thread is waiting for.

        Args:
            timeout: seconds to wait for the thread; with 0 it ends by itself, soon.

        Returns:
            Whether the thread has ended. If not, it is stuck in a system call: it delivers
            nothing more, ends at the next timeout of that call, and does not keep the process.
        """
        self._control.stop()
        self.channel.close()
        if self._thread.ident is None:
            return True
        return self.join(timeout)

    # -- thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with interruptible(self._must_leave_off):
                if self.address.reconnects:
                    self._run_live()
                else:
                    self._run_finite()
        except StreamPRNError as error:
            self._report(SourceState.FAILED, str(error))
        except av.FFmpegError as error:
            self._report(SourceState.FAILED, str(describe_error(error, self.address)))
        except Exception as error:  # noqa: BLE001
            # A thread's last line of defence: a stream must not die without a word. The traceback
            # of another library may hold the address.
            trace = redact_text(traceback.format_exc())
            _log.error("source %s: unexpected error\n%s", self.address.name, trace)
            self._report(SourceState.FAILED, f"unexpected {type(error).__name__}: {error}")
        finally:
            self.channel.close()
            self._playback.let_go()

    def _must_leave_off(self) -> bool:
        self._playback.note_silence()
        return self._gate.interrupted or self._playback.overdue or self._playback.endless

    def _report(self, state: SourceState, cause: str = "", attempt: int = 0) -> None:
        self._status = SourceStatus(self.address.name, state, cause, attempt, time.time_ns())
        try:
            self._on_status(self._status)
        except Exception:  # noqa: BLE001
            # Somebody else's code: its failure must not end the stream.
            _log.exception("source %s: the status callback failed", self.address.name)

    # -- finite sources --------------------------------------------------------------------------

    def _run_finite(self) -> None:
        self._report(SourceState.CONNECTING)
        pacer = Pacer(self._control) if self.config.realtime else None
        play = {
            Content.CLIP: self._play_video,
            Content.ANIMATION: self._play_animation,
        }.get(content_of(self.address), self._play_pictures)
        backoff = self._new_backoff()
        while True:
            before = self._played
            try:
                cause = play(pacer)
            except StreamPRNError as error:
                if not (self._loops and self._played):
                    raise
                # It worked: a folder of the network comes back, a file is written anew.
                self._wait_for_return(error, backoff)
                if self._control.stopped:
                    break
                continue
            backoff.reset()
            if not self._loops or self._control.stopped or self._played == before:
                break
        self._report(SourceState.ENDED, "stopped" if self._control.stopped else cause)

    def _wait_for_return(self, error: StreamPRNError, backoff: Backoff) -> None:
        delay = backoff.next_s()
        self._report(SourceState.RECONNECTING, f"{error}; next try in {delay:.1f} s")
        self._gate.sleep(delay)
        if self._gate.hold():
            self._counters.reconnects += 1
            self._playback.start_session()

    def _new_backoff(self) -> Backoff:
        config = self.config
        return Backoff(config.backoff_initial_s, config.backoff_max_s, config.backoff_refused_s)

    @property
    def _played(self) -> int:
        return self._delivery.taken

    @property
    def _loops(self) -> bool:
        return self.config.loop and self.address.kind is not SourceKind.PIPE

    def _play_video(self, pacer: Pacer | None) -> str:
        """Play a container, looping where it rewinds; return why it ended, "" for its end."""
        container, stream = open_video(self.config, self.address)
        with container:
            while True:
                before = self._played
                self._playback.start_pass(stream)
                cause = self._playback.pump(container, stream, pacer)
                again = self._loops and self._played > before and not self._control.stopped
                if not (again and rewind(container, stream)):
                    break
        if self._played == 0 and not self._control.stopped:
            raise SourceError(
                cause or "not one picture of its video could be decoded",
                uri=self.address.safe_uri,
                hint="it may be damaged",
            )
        return cause

    def _play_animation(self, pacer: Pacer | None) -> str:
        """Play what FFmpeg does not; return ""."""
        timeline = self._playback.timeline
        timeline.start_pass(0)
        before = self._played
        at = Fraction(0)
        for picture, duration in read_animation(self.config, self.address):
            now_s, at = at, at + duration
            if picture is None:
                self._counters.corrupt += 1
                continue
            now = timeline.advance(timeline.at(round(now_s * _NS), Fraction(1, _NS)))
            timeline.frame_ns = round(duration * _NS)
            captured = self._gate.wait_until_due(pacer, now)
            if captured is None or not self._playback.emit(picture, now, captured, UPRIGHT):
                return ""
        if self._played == before:
            raise SourceError(
                "not one picture of its animation could be decoded",
                uri=self.address.safe_uri,
                hint="it may be damaged",
            )
        return ""

    def _play_pictures(self, pacer: Pacer | None) -> str:
        """Show each picture once."""
        timeline = self._playback.timeline
        timeline.frame_ns = round(_NS / self.config.image_fps)
        paths = list_pictures(self.address)
        timeline.start_pass(0)
        bad = 0
        for path in paths:
            now = timeline.advance(None)
            captured = self._gate.wait_until_due(pacer, now)
            if captured is None:
                break
            try:
                picture, orientation = read_picture(self.config, self.address, path)
            except SourceError as error:
                if self.address.kind is SourceKind.IMAGE:
                    raise
                bad += 1
                self._counters.corrupt += 1
                _log.warning("source %s: skipped: %s", self.address.name, error)
                continue
            self._playback.emit(picture, now, captured, orientation)
        if bad == len(paths):
            raise SourceError("not one of its images is readable", uri=self.address.safe_uri)
        return ""

    # -- live sources ----------------------------------------------------------------------------

    def _run_live(self) -> None:
        backoff = self._new_backoff()
        attempt = 0
        while self._gate.hold():
            attempt += 1
            self._report(SourceState.CONNECTING, attempt=attempt)
            began = time.monotonic()
            cause, refusal = self._connect()
            if self._gate.interrupted:
                backoff.reset()
                attempt = 0
                continue
            if not cause:
                break
            if self._playback.live_since_ns and time.monotonic() - began > _STEADY_S:
                backoff.reset()
                attempt = 0
            # What worked before may work again: a server forgets its users while it starts.
            for_good = isinstance(refusal, (CredentialsError, InputError)) and not self._played
            delay = backoff.next_s(refused=self._is_lasting(refusal), for_good=for_good)
            if self._playback.codec_changed:
                delay = 0.0  # it was there a moment ago
            cause = f"{cause}; next try in {delay:.1f} s"
            self._report(SourceState.RECONNECTING, cause, attempt)
            if self._gate.sleep(delay):
                self._counters.reconnects += 1
        self._report(SourceState.ENDED, "stopped" if self._control.stopped else "")

    def _is_lasting(self, refusal: StreamPRNError | None) -> bool:
        """Whether to knock ever more rarely.

        An address that worked comes back with its camera. Passwords are sparingly repeated in any
        case: after a few wrong ones cameras lock the account.
        """
        return refusal is not None and (isinstance(refusal, CredentialsError) or not self._played)

    def _connect(self) -> tuple[str, StreamPRNError | None]:
        """Play one connection; return why it ended ("": for good) and what refused it."""
        self._playback.start_session()
        refusal: StreamPRNError | None = None
        try:
            cause = self._play_live()
        except (SourceRefusedError, InputError) as error:
            cause, refusal = str(error), error
        except SourceError as error:
            cause = str(error)
        if self._playback.endless:
            cause, refusal = self._playback.endless_in_words, None
        self._playback.end_session()
        return cause, refusal

    def _play_live(self) -> str:
        """Connect and play until the stream ends; return why, "" for the end of a finite one.

        What was endless once stays so: where its address gives a film later, as a live playlist
        does with its end tag, that is the past, and the stream is waited for.
        """
        before = self._played
        self._playback.start_opening()
        container, stream = open_video(self.config, self.address)
        with container:
            single = gives_single_pictures(container)
            finite = self.address.network and not single and is_finite(container)
            if finite and self._endless:
                return "the stream has ended, and its address gives what it was"
            self._playback.start_pass(stream)
            # What arrives in bursts is played at its own speed.
            bursts = finite or container.format.name == "hls"
            pacer = Pacer(self._control, _LIVE_REBASE_S) if bursts else None
            cause = self._playback.pump(container, stream, pacer)
        if not cause and finite and not self.config.loop:
            return ""
        self._endless |= not finite and self._played > before
        if not cause and single and self._played == before + 1:
            return self._poll()
        return cause or "the stream ended"

    def _poll(self) -> str:
        """Fetch one picture after another from an address that gives one at a time.

        Returns:
            Why that broke off.
        """
        every_s = 1 / self.config.poll_fps
        began = time.monotonic()
        while self._gate.sleep(max(0.0, began + every_s - time.monotonic())):
            # From now on, where the server takes longer than that: requests never pile up.
            since, began = began, max(began + every_s, time.monotonic())
            before = self._played
            self._playback.start_opening()
            container, stream = open_video(self.config, self.address)
            with container:
                self._playback.start_pass(stream, round((began - since) * _NS))
                cause = self._playback.pump(container, stream, None)
            if cause or self._played == before:
                return cause or "the address gives no picture any more"
        return "interrupted"
