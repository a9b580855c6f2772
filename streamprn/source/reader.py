"""A thread that reads one source and puts its frames into a channel."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import av

from streamprn.config.address import SourceKind
from streamprn.errors import InputError, SourceError, SourceRefusedError, StreamPRNError
from streamprn.records import SourceState, SourceStatus
from streamprn.source.control import Control
from streamprn.source.deliver import Delivery, SourceCounters
from streamprn.source.interrupt import interruptible
from streamprn.source.opening import describe_error, hwaccel_problem, open_video, rewind
from streamprn.source.pictures import list_pictures, plays_as_video, read_picture
from streamprn.source.timing import Backoff, Pacer, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from streamprn.channel import Channel
    from streamprn.config import Address, SourceConfig
    from streamprn.records import Frame
    from streamprn.source.decode import Orientation

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
    with a cause. A camera or network stream is connected again for ever (wrong credentials, path
    or crop: slowly). The channel is closed when no more frames will come.

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
        self._pauses = 0
        self._thread = threading.Thread(
            target=self._run, name=f"source {address.name}", daemon=True
        )
        self._status = SourceStatus(address.name, SourceState.CONNECTING)
        self._delivery = Delivery(config, address, channel, first_seq)
        self._counters = self._delivery.counters
        self._timeline = Timeline()
        self._session_start_ns: int | None = None

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
        now = self._counters
        return SourceCounters(
            now.frames, now.skipped, now.corrupt, now.reconnects, self.channel.statistics().dropped
        )

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
            with interruptible(self._is_interrupted):
                if self.address.reconnects:
                    self._run_live()
                else:
                    self._run_finite()
        except StreamPRNError as error:
            self._report(SourceState.FAILED, str(error))
        except av.FFmpegError as error:
            self._report(SourceState.FAILED, str(describe_error(error, self.address)))
        except Exception as error:  # noqa: BLE001
            # A thread's last line of defence: a stream must not die without a word.
            _log.error("source %s: unexpected error", self.address.name, exc_info=True)
            self._report(SourceState.FAILED, f"unexpected {type(error).__name__}: {error}")
        finally:
            self.channel.close()

    def _report(self, state: SourceState, cause: str = "", attempt: int = 0) -> None:
        self._status = SourceStatus(self.address.name, state, cause, attempt, time.time_ns())
        try:
            self._on_status(self._status)
        except Exception:  # noqa: BLE001
            # Somebody else's code: its failure must not end the stream.
            _log.exception("source %s: the status callback failed", self.address.name)

    # -- pausing ---------------------------------------------------------------------------------

    def _is_interrupted(self) -> bool:
        """Whether to leave off: told to stop, or to pause what is disconnected for that.

        Even a pause that is over already disconnects: whoever waits for the server may have left.
        """
        if self._control.stopped:
            return True
        return self.address.reconnects and self._control.running() != self._pauses

    def _hold(self) -> bool:
        """Wait while paused; False when told to stop."""
        while not self._control.stopped:
            pauses = self._control.running()
            if pauses is not None:
                self._pauses = pauses
                return True
            self._report(SourceState.PAUSED)
            self._control.wait_for_resume()
        return False

    def _proceed(self) -> bool:
        """Whether to go on; what keeps its place waits here while paused."""
        if not self.address.reconnects and self._control.running() is None:
            before = self._status.state
            if self._hold():
                self._report(before)
        return not self._is_interrupted()

    def _wait_until_due(self, pacer: Pacer | None, at_ns: int | None) -> int | None:
        """Wait for the moment `at_ns` and return when it was due (monotonic ns).

        Without a pacer or a moment that is now. None where the thread is to leave off.
        """
        while self._proceed():
            if pacer is None or at_ns is None:
                return time.monotonic_ns()
            due = pacer.wait(at_ns)
            if due is not None:
                return due
        return None

    # -- finite sources --------------------------------------------------------------------------

    def _run_finite(self) -> None:
        self._report(SourceState.CONNECTING)
        pacer = Pacer(self._control) if self.config.realtime else None
        play = self._play_video if self._is_video else self._play_pictures
        while True:
            before = self._played
            cause = play(pacer)
            if not self.config.loop or self._control.stopped or self._played == before:
                break
        self._report(SourceState.ENDED, "stopped" if self._control.stopped else cause)

    @property
    def _played(self) -> int:
        return self._counters.frames + self._counters.skipped

    @property
    def _is_video(self) -> bool:
        return plays_as_video(self.address)

    def _play_video(self, pacer: Pacer | None) -> str:
        """Play a container, looping where it rewinds; return why it ended, "" for its end."""
        container, stream = open_video(self.config, self.address)
        with container:
            while True:
                before = self._played
                self._start_pass(stream)
                cause = self._pump(container, stream, pacer)
                again = self.config.loop and self._played > before and not self._control.stopped
                if not (again and rewind(container, stream)):
                    break
        if self._played == 0 and not self._control.stopped:
            raise SourceError(
                cause or "not one picture of its video could be decoded",
                uri=self.address.safe_uri,
                hint="it may be damaged",
            )
        return cause

    def _play_pictures(self, pacer: Pacer | None) -> str:
        """Show each picture once."""
        self._timeline.frame_ns = round(_NS / self.config.image_fps)
        paths = list_pictures(self.address)
        self._timeline.start_pass(0)
        bad = 0
        for path in paths:
            now = self._timeline.advance(None)
            captured = self._wait_until_due(pacer, now)
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
            self._emit(picture, now, captured, orientation)
        if bad == len(paths):
            raise SourceError("not one of its images is readable", uri=self.address.safe_uri)
        return ""

    # -- live sources ----------------------------------------------------------------------------

    def _run_live(self) -> None:
        config = self.config
        backoff = Backoff(config.backoff_initial_s, config.backoff_max_s, config.backoff_refused_s)
        attempt = 0
        while self._hold():
            attempt += 1
            self._report(SourceState.CONNECTING, attempt=attempt)
            began = time.monotonic()
            cause, refused = self._connect()
            if self._is_interrupted():
                backoff.reset()
                attempt = 0
                continue
            if not cause:
                break
            if self._session_start_ns and time.monotonic() - began > _STEADY_S:
                backoff.reset()
                attempt = 0
            delay = backoff.next_s(refused=refused)
            cause = f"{cause}; next try in {delay:.1f} s"
            self._report(SourceState.RECONNECTING, cause, attempt)
            if self._control.sleep(delay, self._pauses):
                self._counters.reconnects += 1
        self._report(SourceState.ENDED, "stopped" if self._control.stopped else "")

    def _connect(self) -> tuple[str, bool]:
        """Play one connection; return why it ended ("": for good) and whether it was refused."""
        self._session_start_ns = None
        try:
            return self._play_live(), False
        except (SourceRefusedError, InputError) as error:
            return str(error), True
        except SourceError as error:
            return str(error), False

    def _play_live(self) -> str:
        """Connect and play until the stream ends; return why, "" for the end of a finite one."""
        container, stream = open_video(self.config, self.address)
        with container:
            self._delivery.last_frame_ns = time.monotonic_ns()
            self._start_pass(stream)
            http = self.address.kind is SourceKind.HTTP
            finite = http and bool(container.duration)
            # What arrives in bursts is played at its own speed.
            bursts = finite or (http and container.format.name == "hls")
            pacer = Pacer(self._control, _LIVE_REBASE_S) if bursts else None
            cause = self._pump(container, stream, pacer)
        if not cause and finite and not self.config.loop:
            return ""
        return cause or "the stream ended"

    # -- packets and frames ----------------------------------------------------------------------

    def _start_pass(self, stream: VideoStream) -> None:
        self._delivery.video = stream
        rate = stream.average_rate or stream.guessed_rate
        if rate:
            self._timeline.frame_ns = round(_NS / rate)
        start, base = stream.start_time, stream.time_base
        if start is None or base is None:
            self._timeline.start_pass(0)
        else:
            self._timeline.start_pass(round(start * base * _NS))

    def _pump(self, container: InputContainer, stream: VideoStream, pacer: Pacer | None) -> str:
        """Decode every packet; return why the packets ended, "" for a regular end."""
        waited_since = time.monotonic_ns()
        try:
            for packet in container.demux(stream):
                # After a read timed out, FFmpeg's parser may still hand out the packet it held:
                # without this look at the clock a stall would go unseen for twice its bound.
                stalled = self._stalled_since(waited_since)
                if not self._handle(packet, pacer):
                    break
                if stalled:
                    return self._report_stall()
                waited_since = time.monotonic_ns()
        except av.FFmpegError as error:
            if self.address.reconnects and isinstance(error, (av.ExitError, av.TimeoutError)):
                return self._report_stall()
            failure = describe_error(error, self.address, did="read on")
            return f"reading broke off: {failure.what}"
        return ""

    def _stalled_since(self, waited_since_ns: int) -> bool:
        """Whether a live source kept us waiting, or sends what holds no pictures, for too long."""
        now = time.monotonic_ns()
        bound = self.config.stall_timeout_s * _NS
        return (
            self.address.reconnects
            and max(now - waited_since_ns, now - self._delivery.last_frame_ns) >= bound
        )

    def _report_stall(self) -> str:
        if self._is_interrupted():
            return "interrupted"
        cause = f"no frame for {self.config.stall_timeout_s:g} s"
        self._report(SourceState.STALLED, cause)
        return cause

    def _handle(self, packet: Packet[VideoStream], pacer: Pacer | None) -> bool:
        """Decode one packet when it is due and hand over its frames; False to stop."""
        at = self._timeline.at(
            packet.dts if packet.dts is not None else packet.pts, packet.time_base
        )
        arrived = self._wait_until_due(pacer, at)
        if arrived is None:
            return False
        for frame in self._decode(packet):
            pts_ns = self._timeline.advance(self._timeline.at(frame.pts, frame.time_base))
            captured: int | None = arrived
            if pacer is not None:
                captured = self._wait_until_due(pacer, pts_ns if at is None else max(pts_ns, at))
            if captured is None or not self._emit(frame, pts_ns, captured):
                return False
        return not self._is_interrupted()

    def _decode(self, packet: Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            self._counters.corrupt += 1
            return
        for frame in frames:
            if frame.is_corrupt:
                self._counters.corrupt += 1
            else:
                yield frame

    def _note_software(self, frame: av.VideoFrame) -> None:
        """Say so where the GPU could decode, but not this video."""
        wanted = self.config.hwaccel
        if wanted and frame.format.name != wanted and not hwaccel_problem(wanted):
            _log.warning(
                "source %s: %s does not decode its video, decoding on the CPU",
                *(self.address.name, wanted),
            )

    def _emit(
        self,
        frame: av.VideoFrame,
        pts_ns: int,
        captured_ns: int,
        orientation: Orientation | None = None,
    ) -> bool:
        """Hand over a frame; False when told to stop."""
        if self._session_start_ns is None:
            self._session_start_ns = time.monotonic_ns()
            self._report(SourceState.LIVE)
            self._note_software(frame)
        return self._delivery.deliver(frame, pts_ns, captured_ns, orientation)
