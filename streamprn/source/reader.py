"""A thread that reads one source and puts its frames into a mailbox."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from streamprn.errors import InputError, SourceError, SourceRefusedError, StreamPRNError
from streamprn.records import Frame, SourceState, SourceStatus
from streamprn.source.decode import OrientationMemory, to_image
from streamprn.source.interrupt import interruptible
from streamprn.source.opening import describe_error, hwaccel_problem, open_video
from streamprn.source.pictures import list_pictures, read_picture
from streamprn.source.spec import SourceKind, SourceSpec
from streamprn.source.timing import Backoff, Pacer, RateLimit, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from streamprn.channel import Mailbox
    from streamprn.source.decode import Orientation

__all__ = ["SourceCounters", "SourceReader"]

_log = logging.getLogger("streamprn.source")
_NS = 1_000_000_000
#: Small frames are converted to RGB at once, here, beside the network of the frame before: crops
#: and detection from RGB then cost less than from planes. Large ones only when somebody asks.
EAGER_RGB_PIXELS = 640 * 512
# A connection that held this long was a good one: the next failure starts at the shortest delay.
_STEADY_S = 2.0
# A live stream whose packets come in bursts (HLS) is played at its own speed; when the clocks
# drift further apart than this, playing starts again from now.
_LIVE_REBASE_S = 2.0


@dataclass(slots=True)
class SourceCounters:
    """What a source has done so far.

    Attributes:
        frames: frames offered to the mailbox.
        skipped: frames left out to keep `max_fps`.
        corrupt: frames or packets that could not be decoded.
        reconnects: connections after the first one.
        dropped: frames that the mailbox replaced by newer ones.
    """

    frames: int = 0
    skipped: int = 0
    corrupt: int = 0
    reconnects: int = 0
    dropped: int = 0


class SourceReader:
    """Reads one source in a thread of its own until it ends or `stop` is called.

    A finite source (file, image, folder, filter graph) ends with the state `ended`, or `failed`
    with a cause. A camera or network stream is connected again for ever (wrong credentials, path
    or crop: slowly). The mailbox is closed when no more frames will come.

    Args:
        spec: the source.
        mailbox: where frames go.
        on_status: called from the reader's thread at every change of state.
    """

    def __init__(
        self, spec: SourceSpec, mailbox: Mailbox, on_status: Callable[[SourceStatus], None]
    ) -> None:
        self.spec = spec
        self.mailbox = mailbox
        self._on_status = on_status
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {spec.name}", daemon=True)
        self._status = SourceStatus(spec.name, SourceState.CONNECTING)
        self._counters = SourceCounters()
        self._timeline = Timeline()
        self._limit = RateLimit(spec.max_fps)
        self._orientations = OrientationMemory()
        self._seq = 0
        self._last_frame_ns = 0
        self._session_start_ns: int | None = None

    # -- control ---------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the source runs on a clock of its own, so that only its newest frame counts."""
        return self.spec.live

    @property
    def status(self) -> SourceStatus:
        """The last state reported."""
        return self._status

    @property
    def counters(self) -> SourceCounters:
        """A snapshot of the counters."""
        now = self._counters
        return SourceCounters(
            now.frames, now.skipped, now.corrupt, now.reconnects, self.mailbox.dropped
        )

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

    def stop(self, timeout: float = 1.0) -> bool:
        """Stop reading, whatever the thread is waiting for.

        Args:
            timeout: seconds to wait for the thread.

        Returns:
            Whether the thread has ended. If not, it is stuck in a system call: it delivers
            nothing more, ends at the next timeout of that call, and does not keep the process.
        """
        self._stop.set()
        self.mailbox.close()
        if self._thread.ident is None:
            return True
        return self.join(timeout)

    # -- thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with interruptible(self._stop):
                if self.spec.reconnects:
                    self._run_live()
                else:
                    self._run_finite()
        except StreamPRNError as error:
            self._report(SourceState.FAILED, str(error))
        except av.FFmpegError as error:
            self._report(SourceState.FAILED, str(describe_error(error, self.spec)))
        except Exception as error:  # noqa: BLE001
            # A thread's last line of defence: a stream must not die without a word.
            _log.error("source %s: unexpected error", self.spec.name, exc_info=True)
            self._report(SourceState.FAILED, f"unexpected {type(error).__name__}: {error}")
        finally:
            self.mailbox.close()

    def _report(self, state: SourceState, cause: str = "", attempt: int = 0) -> None:
        self._status = SourceStatus(self.spec.name, state, cause, attempt, time.time_ns())
        try:
            self._on_status(self._status)
        except Exception:  # noqa: BLE001
            # Somebody else's code: its failure must not end the stream.
            _log.exception("source %s: the status callback failed", self.spec.name)

    # -- finite sources --------------------------------------------------------------------------

    def _run_finite(self) -> None:
        self._report(SourceState.CONNECTING)
        pacer = Pacer(self._stop) if self.spec.realtime else None
        play = self._play_video if self._is_video else self._play_pictures
        while True:
            before = self._played
            cause = play(pacer)
            if not self.spec.loop or self._stop.is_set() or self._played == before:
                break
        self._report(SourceState.ENDED, "stopped" if self._stop.is_set() else cause)

    @property
    def _played(self) -> int:
        return self._counters.frames + self._counters.skipped

    @property
    def _is_video(self) -> bool:
        return self.spec.kind in (SourceKind.FILE, SourceKind.LAVFI)

    def _play_video(self, pacer: Pacer | None) -> str:
        """Play a container, looping where it rewinds; return why it ended, "" for its end."""
        container, stream = open_video(self.spec)
        with container:
            while True:
                before = self._played
                self._start_pass(stream)
                cause = self._pump(container, stream, pacer)
                again = self.spec.loop and self._played > before and not self._stop.is_set()
                if not (again and _rewind(container, stream)):
                    break
        if self._played == 0 and not self._stop.is_set():
            raise SourceError(
                cause or "not one picture of its video could be decoded",
                uri=self.spec.safe_uri,
                hint="it may be damaged",
            )
        return cause

    def _play_pictures(self, pacer: Pacer | None) -> str:
        """Show each picture once."""
        self._timeline.frame_ns = round(_NS / self.spec.image_fps)
        paths = list_pictures(self.spec)
        self._timeline.start_pass(0)
        bad = 0
        for path in paths:
            now = self._timeline.advance(None)
            captured = pacer.due_ns(now) if pacer else time.monotonic_ns()
            if self._stop.is_set() or (pacer and not pacer.wait(captured)):
                break
            try:
                picture, orientation = read_picture(self.spec, path)
            except SourceError as error:
                if self.spec.kind is SourceKind.IMAGE:
                    raise
                bad += 1
                self._counters.corrupt += 1
                _log.warning("source %s: skipped: %s", self.spec.name, error)
                continue
            self._emit(picture, now, captured, orientation)
        if bad == len(paths):
            raise SourceError("not one of its images is readable", uri=self.spec.safe_uri)
        return ""

    # -- live sources ----------------------------------------------------------------------------

    def _run_live(self) -> None:
        spec = self.spec
        backoff = Backoff(spec.backoff_initial_s, spec.backoff_max_s, spec.backoff_refused_s)
        attempt = 0
        while True:
            attempt += 1
            self._report(SourceState.CONNECTING, attempt=attempt)
            began = time.monotonic()
            cause, refused = self._connect()
            if self._stop.is_set() or not cause:
                break
            if self._session_start_ns and time.monotonic() - began > _STEADY_S:
                backoff.reset()
                attempt = 0
            delay = backoff.next_s(refused=refused)
            cause = f"{cause}; next try in {delay:.1f} s"
            self._report(SourceState.RECONNECTING, cause, attempt)
            if self._stop.wait(delay):
                break
            self._counters.reconnects += 1
        self._report(SourceState.ENDED, "stopped" if self._stop.is_set() else "")

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
        container, stream = open_video(self.spec)
        with container:
            self._last_frame_ns = time.monotonic_ns()
            self._start_pass(stream)
            http = self.spec.kind is SourceKind.HTTP
            finite = http and bool(container.duration)
            # What arrives in bursts is played at its own speed.
            bursts = finite or (http and container.format.name == "hls")
            pacer = Pacer(self._stop, _LIVE_REBASE_S) if bursts else None
            cause = self._pump(container, stream, pacer)
        if not cause and finite and not self.spec.loop:
            return ""
        return cause or "the stream ended"

    # -- packets and frames ----------------------------------------------------------------------

    def _start_pass(self, stream: VideoStream) -> None:
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
            if self.spec.reconnects and isinstance(error, (av.ExitError, av.TimeoutError)):
                return self._report_stall()
            failure = describe_error(error, self.spec, did="read on")
            return f"reading broke off: {failure.what}"
        return ""

    def _stalled_since(self, waited_since_ns: int) -> bool:
        """Whether a live source kept us waiting, or sends what holds no pictures, for too long."""
        now = time.monotonic_ns()
        bound = self.spec.stall_timeout_s * _NS
        return (
            self.spec.reconnects and max(now - waited_since_ns, now - self._last_frame_ns) >= bound
        )

    def _report_stall(self) -> str:
        if self._stop.is_set():
            return "stopped"
        cause = f"no frame for {self.spec.stall_timeout_s:g} s"
        self._report(SourceState.STALLED, cause)
        return cause

    def _handle(self, packet: Packet[VideoStream], pacer: Pacer | None) -> bool:
        """Decode one packet when it is due and hand over its frames; False to stop."""
        arrived = time.monotonic_ns()
        if pacer is not None:
            at = self._timeline.at(
                packet.dts if packet.dts is not None else packet.pts, packet.time_base
            )
            arrived = pacer.due_ns(at) if at is not None else 0
            if not pacer.wait(arrived):
                return False
        for frame in self._decode(packet):
            pts_ns = self._timeline.advance(self._timeline.at(frame.pts, frame.time_base))
            captured = arrived
            if pacer is not None:
                captured = max(pacer.due_ns(pts_ns), arrived)
                if not pacer.wait(captured):
                    return False
            if not self._emit(frame, pts_ns, captured):
                return False
        return not self._stop.is_set()

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
        wanted = self.spec.hwaccel
        if wanted and frame.format.name != wanted and not hwaccel_problem(wanted):
            _log.warning(
                "source %s: %s does not decode its video, decoding on the CPU",
                *(self.spec.name, wanted),
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
        if not self._limit.admit(pts_ns):
            self._counters.skipped += 1
            self._last_frame_ns = time.monotonic_ns()
            return True
        spec = self.spec
        image = to_image(
            frame,
            rotate=spec.rotate,
            crop_xywh=spec.crop_xywh,
            orientation=orientation or self._orientations.of(frame),
        )
        if image.device is None and image.width * image.height <= EAGER_RGB_PIXELS:
            _ = image.rgb
        decoded = time.monotonic_ns()
        wall = time.time_ns() - (decoded - captured_ns)
        record = Frame(spec.name, self._seq, image, pts_ns, captured_ns, decoded, wall)
        self._seq += 1
        self._counters.frames += 1
        taken = self.mailbox.put(record, self._stop)
        # After the wait for room, which is no stall of the source.
        self._last_frame_ns = time.monotonic_ns()
        return taken


def _rewind(container: InputContainer, stream: VideoStream) -> bool:
    """Go back to the first picture; False where the format cannot and must be opened again.

    Opening again takes several milliseconds, by which the first frame of every loop would be late.
    """
    if not {"mp4", "matroska", "avi"} & set(container.format.name.split(",")):
        return False
    try:
        container.seek(stream.start_time or 0, stream=stream)
    except av.FFmpegError:
        return False
    return True
