"""From an open container to frames: packets decoded when they are due, stamped and handed over."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import av

from streamprn.config.address import SourceKind
from streamprn.errors import SourceRefusedError
from streamprn.memory import collect
from streamprn.records import SourceState
from streamprn.source.growth import MAX_OPENING_BYTES, Growth, packet_bytes
from streamprn.source.liveness import Liveness, Sign
from streamprn.source.opening import ask_for_key_frame, describe_error, hwaccel_problem
from streamprn.source.timing import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from streamprn.config import Address, SourceConfig
    from streamprn.source.decode import Orientation
    from streamprn.source.deliver import Delivery
    from streamprn.source.gate import Gate
    from streamprn.source.timing import Pacer

__all__ = ["Playback"]

_log = logging.getLogger("streamprn.source")
_NS = 1_000_000_000


class Playback:
    """Plays one container after another on one time line.

    Args:
        config: of the source.
        address: of the source.
        delivery: takes the frames.
        gate: tells when to leave off.
        report: told what changes: a state and its cause.

    Attributes:
        timeline: of all frames.
        live_since_ns: when the first frame of this session came, monotonic; None before it.
    """

    def __init__(
        self,
        config: SourceConfig,
        address: Address,
        delivery: Delivery,
        gate: Gate,
        report: Callable[[SourceState, str], None],
    ) -> None:
        self.timeline = Timeline(max_gap_ns=round(config.max_gap_s * _NS))
        self.live_since_ns: int | None = None
        self._config = config
        self._address = address
        self._delivery = delivery
        self._counters = delivery.counters
        self._gate = gate
        self._report = report
        self._liveness = Liveness(config)
        self._growth = Growth()
        self._reading = False
        self._without_pictures = False
        self._silent = False

    @property
    def overdue(self) -> bool:
        """Whether a live source keeps this thread waiting for too long."""
        return self._reading and self._address.reconnects and self._liveness.overdue

    @property
    def endless(self) -> bool:
        """Whether what a live source sends takes too much memory before it ends."""
        return self._address.reconnects and self._growth.exceeded

    @property
    def endless_in_words(self) -> str:
        """Why a source that is `endless` is connected again."""
        return f"what it sends does not end: more than {self._growth.most >> 20} MiB at a time"

    def start_opening(self) -> None:
        """An address is opened, which may take memory."""
        self._growth.begin(MAX_OPENING_BYTES)

    @property
    def codec_changed(self) -> bool:
        """Whether the last connection ended since its video went on in another codec."""
        return self._liveness.has_changed

    def end_session(self) -> None:
        """A connection is over, and all that it took is freed."""
        self.let_go()
        self._growth.give_back()

    def let_go(self) -> None:
        """Nothing more comes of the stream that was played."""
        self._delivery.video = None
        collect()

    def start_session(self) -> None:
        """A connection is made; its first frame makes the source live."""
        self._liveness.begin()
        self.live_since_ns = None
        self._without_pictures = False

    def start_pass(self, stream: VideoStream, frame_ns: int | None = None) -> None:
        """Begin (again) at the first frame of a stream.

        Args:
            stream: to play.
            frame_ns: the time between two frames, where it is not the stream's own.
        """
        self._delivery.video = stream
        rate = stream.average_rate or stream.guessed_rate
        if frame_ns is not None:
            self.timeline.frame_ns = frame_ns
        elif rate:
            self.timeline.frame_ns = round(_NS / rate)
        start, base = stream.start_time, stream.time_base
        if start is None or base is None:
            self.timeline.start_pass(0)
        else:
            self.timeline.start_pass(round(start * base * _NS))

    def pump(self, container: InputContainer, stream: VideoStream, pacer: Pacer | None) -> str:
        """Decode every packet; return why the packets ended, "" for a regular end."""
        before = self._delivery.taken
        self._liveness.begin(may_change=container.format.name == "mpegts")
        most = packet_bytes(stream.codec_context.width, stream.codec_context.height)
        self._growth.begin(most)
        self._reading = True
        try:
            for packet in container.demux(stream):
                # After a read timed out, FFmpeg's parser may still hand out the packet it held:
                # without this look at the clock a stall would go unseen for twice its bound.
                overdue = self.overdue
                if not self._handle(packet, pacer):
                    break
                if cause := self._cause_to_leave(overdue, container, stream):
                    return cause
                self._liveness.wait()
                self._growth.begin(most)
        except av.FFmpegError as error:
            if self._address.reconnects and isinstance(error, (av.ExitError, av.TimeoutError)):
                return self._report_stall()
            if self._delivery.taken == before:
                self._raise_for_index(container)
            failure = describe_error(error, self._address, did="read on")
            return f"reading broke off: {failure.what}"
        finally:
            self._reading = False
        return ""

    def _raise_for_index(self, container: InputContainer) -> None:
        """Say so where the index of a film stands at its end, and there is no way back from it."""
        one_way = self._address.network or self._address.kind is SourceKind.PIPE
        if one_way and "mp4" in container.format.name.split(","):
            raise SourceRefusedError(
                "the index of this film stands at its end, and nothing before it can be read",
                uri=self._address.safe_uri,
                hint="serve it with byte ranges, or write it with -movflags +faststart",
            )

    # -- signs of life ---------------------------------------------------------------------------

    def _cause_to_leave(self, overdue: bool, container: InputContainer, stream: VideoStream) -> str:
        """Why to connect again, or nothing; says it where packets come without pictures."""
        if not self._address.reconnects:
            return ""
        sign = self._liveness.sign
        if overdue:
            return self._report_stall()
        if sign is Sign.HOPELESS:
            cause = f"no picture for {self._liveness.missing_s:.1f} s"
            self._report(SourceState.STALLED, cause)
            return f"{cause}: {self._liveness.waiting_for}"
        if sign is Sign.PACKETS:
            self._counters.blank += 1
            if not self._without_pictures:
                self._without_pictures = True
                self._counters.blank += self._liveness.packets - 1
                self._report(SourceState.STALLED, self._liveness.waiting_for)
                self._ask_for_key_frame(container, stream)
        return ""

    def _ask_for_key_frame(self, container: InputContainer, stream: VideoStream) -> None:
        """Once in each wait: a source that begins anew leaves out what it was about to send."""
        if not self._liveness.key_frames and ask_for_key_frame(container, stream):
            self._counters.asked += 1
            _log.info("source %s: asked for a key frame", self._address.name)

    def note_silence(self) -> None:
        """Say once that nothing comes through a pipe; whoever writes there may go on."""
        waits = self._reading and self.live_since_ns is not None and not self._silent
        if waits and self._address.kind is SourceKind.PIPE and self._liveness.overdue:
            self._silent = True
            self._report(SourceState.STALLED, f"no frame for {self._config.stall_timeout_s:g} s")

    def _report_stall(self) -> str:
        if self._gate.interrupted:
            return "interrupted"
        cause = f"no frame for {self._config.stall_timeout_s:g} s"
        self._report(SourceState.STALLED, cause)
        return cause

    # -- packets and frames ----------------------------------------------------------------------

    def _handle(self, packet: Packet[VideoStream], pacer: Pacer | None) -> bool:
        """Decode one packet when it is due and hand over its frames; False to stop."""
        at = self.timeline.at(
            packet.dts if packet.dts is not None else packet.pts, packet.time_base
        )
        if at is not None and self.timeline.is_far(at):
            at = None
        arrived = self._gate.wait_until_due(pacer, at)
        if arrived is None:
            return False
        if packet.size:
            self._liveness.note_packet(is_key_frame=packet.is_keyframe)
        for frame in self._decode(packet):
            pts_ns = self.timeline.advance(self.timeline.at(frame.pts, frame.time_base))
            self._note_jump()
            captured: int | None = arrived
            if pacer is not None:
                captured = self._gate.wait_until_due(
                    pacer, pts_ns if at is None else max(pts_ns, at)
                )
            if captured is None or not self.emit(frame, pts_ns, captured):
                return False
        return not self._gate.interrupted

    def _note_jump(self) -> None:
        """Count what is wrong with the source's clock, and say it once."""
        jumps = self.timeline.jumps
        if jumps and not self._counters.jumps:
            by_s = self.timeline.last_jump_ns / _NS
            what = "stand still" if abs(by_s) < 1 else f"jump by {by_s:+.1f} s"
            _log.warning(
                "source %s: its time stamps %s; frames follow each other without that (told once)",
                *(self._address.name, what),
            )
        self._counters.jumps = jumps

    def _decode(self, packet: Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            self._counters.corrupt += 1
            if packet.is_keyframe:
                self._liveness.note_refused()
            return
        for frame in frames:
            self._liveness.note_output()
            if frame.is_corrupt:
                self._counters.corrupt += 1
            else:
                yield frame

    def emit(
        self,
        frame: av.VideoFrame,
        pts_ns: int,
        captured_ns: int,
        orientation: Orientation | None = None,
    ) -> bool:
        """Hand over a frame; False when told to stop."""
        if self.live_since_ns is None:
            self.live_since_ns = time.monotonic_ns()
            self._report(SourceState.LIVE, "")
            self._note_software(frame)
        elif self._without_pictures or self._silent:
            self._report(SourceState.LIVE, "")
        self._without_pictures = self._silent = False
        taken = self._delivery.deliver(frame, pts_ns, captured_ns, orientation)
        # After the wait for room, which is no stall of the source.
        self._liveness.note_picture(time.monotonic_ns())
        return taken

    def _note_software(self, frame: av.VideoFrame) -> None:
        """Say so where the GPU could decode, but not this video."""
        wanted = self._config.hwaccel
        if wanted and frame.format.name != wanted and not hwaccel_problem(wanted):
            _log.warning(
                "source %s: %s does not decode its video, decoding on the CPU",
                *(self._address.name, wanted),
            )
