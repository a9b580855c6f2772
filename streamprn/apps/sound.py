"""The sound of a clip in another one: copied where its container takes it, else as AAC."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from streamprn.apps.files import NamelessFile
from streamprn.pixels import most_pixels

if TYPE_CHECKING:
    from pathlib import Path

# What the AAC encoder takes (ISO/IEC 14496-3, table 1.18).
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_AAC_FRAME = 1024
_BITS_A_CHANNEL = 96_000
# A frame of 1024 samples may have 6144 bits a channel.
_MOST_BITS_A_SAMPLE = 6
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# Sound that starts anew further from where the last ended than this is put at its own time.
_GAP_S = Fraction(1, 50)
_PRIMING_S = Fraction(1, 10)


class Sound:
    """Carries all sound tracks of a file over to another one, on the same time line.

    Args:
        path: the clip that has the sound.
        output: a PyAV container that is open for writing; its header is not written yet.
        start: seconds on the clip's time line that are 0 on the output's.

    Attributes:
        notes: what cannot be kept, a sentence each.
    """

    def __init__(self, path: Path, output: Any, start: Fraction) -> None:
        import av

        from streamprn.source.limits import probing

        self.notes: list[str] = []
        self._start = start
        self._file = NamelessFile(path)
        self._input = av.open(self._file, options=probing(most_pixels()))
        self._tracks: dict[int, _Copied | _Converted] = {}
        for track in self._input.streams.audio:
            carried = self._carried(track, output)
            if carried is not None:
                self._tracks[track.index] = carried
        chosen = [self._input.streams[index] for index in self._tracks]
        self._packets = iter(self._input.demux(chosen)) if chosen else iter(())
        self._reached = Fraction(-1_000_000)

    def _carried(self, track: Any, output: Any) -> _Copied | _Converted | None:
        name = track.codec_context.name if track.codec_context is not None else "of unknown kind"
        if track.codec_context is not None and _codec_of(track) in output.supported_codecs:
            try:
                return _Copied(track, output.add_stream_from_template(track), output, self._start)
            except ValueError:
                pass  # the container takes the codec, but not this flavour of it
        try:
            return _Converted(track, output, self._start)
        except (AttributeError, OSError, ValueError):
            kind = "; the result has none" if len(self._input.streams.audio) == 1 else ""
            self.notes.append(f"sound ({name}) can be neither copied nor converted{kind}")
            return None

    def copy_until(self, time: Fraction | None) -> None:
        """Carry over what lies before a time of the output, seconds; None for all the rest."""
        import av

        while time is None or self._reached < time:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:  # damaged from here on
                packet = None
            if packet is None:
                self._finish()
                return
            if packet.dts is not None and packet.time_base is not None:
                self._reached = packet.dts * Fraction(packet.time_base) - self._start
            if packet.size:
                self._tracks[packet.stream_index].take(packet)

    def _finish(self) -> None:
        for track in self._tracks.values():
            track.finish()
        self._tracks = {}
        self._packets = iter(())
        self._reached = Fraction(1_000_000_000)

    def close(self) -> None:
        """Close the input."""
        self._input.close()
        self._file.close()


def _codec_of(track: Any) -> str:
    """The name of the codec, where the decoder's name is another one."""
    return str(track.codec_context.codec.canonical_name)


class _Copied:
    """A track that is copied packet by packet."""

    def __init__(self, track: Any, copied: Any, output: Any, start: Fraction) -> None:
        self._copied, self._output = copied, output
        base = Fraction(track.time_base)
        self._shift = round(start / base)
        # MP4 and MOV cut what lies before the start by an edit list; it primes the decoder.
        keeps_priming = output.format.name in ("mp4", "mov")
        self._earliest = -round(_PRIMING_S / base) if keeps_priming else 0
        self._least_gap = round(_GAP_S / base)
        self._next: int | None = None
        self._last = self._earliest - 1

    def take(self, packet: Any) -> None:
        """Copy a packet; one without a time follows the one before."""
        stored = packet.dts if packet.dts is not None else packet.pts
        if stored is None:
            dts = self._next or 0
        else:
            dts = stored - self._shift
            if self._next is not None and dts < self._next - self._least_gap:
                # The clip's clock fell back: the sound goes on.
                self._shift -= self._next - dts
                dts = self._next
        pts = dts if packet.pts is None else max(packet.pts - self._shift, dts)
        length = max(packet.duration or 0, 1)
        if dts + length <= self._earliest:
            return
        dts = max(dts, self._last + 1)
        packet.dts, packet.pts = dts, max(pts, dts)
        self._next, self._last = dts + length, dts
        packet.stream = self._copied
        self._output.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class _Converted:
    """A track that is decoded and coded again as AAC."""

    def __init__(self, track: Any, output: Any, start: Fraction) -> None:
        from av.audio.fifo import AudioFifo
        from av.audio.resampler import AudioResampler

        context = track.codec_context
        rate = context.rate if context.rate in _AAC_RATES else 48_000
        layout = _LAYOUTS.get(context.layout.nb_channels, "stereo")
        self._output, self._start, self._rate = output, start, rate
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        bits = min(_BITS_A_CHANNEL, _MOST_BITS_A_SAMPLE * rate // 2)
        self._stream.bit_rate = bits * self._stream.layout.nb_channels
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
        self._fifo = AudioFifo()
        self._next: int | None = None
        self._fell_back = 0

    def take(self, packet: Any) -> None:
        """Convert a packet; damaged ones leave a gap."""
        import av

        try:
            frames = packet.decode()
        except av.FFmpegError:
            return
        for frame in frames:
            self._place(frame)
            frame.pts = None
            for part in self._resampler.resample(frame):
                part.pts = None
                self._fifo.write(part)
            self._encode(_AAC_FRAME)

    def _place(self, frame: Any) -> None:
        """Go on behind what came before, or at the frame's own time after a gap.

        Where the clip's clock falls back, the sound goes on.
        """
        if frame.pts is None:
            at = self._next or 0
        else:
            at = round((frame.pts * Fraction(frame.time_base) - self._start) * self._rate)
        if self._next is None:
            self._next = at
            return
        gap = at - self._next - self._fifo.samples + self._fell_back
        if gap > _GAP_S * self._rate:
            self._encode(1)
            self._next = at + self._fell_back
        elif gap < -_GAP_S * self._rate:
            self._fell_back -= gap

    def _encode(self, least: int) -> None:
        """Code what the fifo holds in whole frames; with 1 also the last part of one."""
        while self._fifo.samples >= least:
            part = self._fifo.read(min(_AAC_FRAME, self._fifo.samples))
            assert part is not None and self._next is not None
            part.pts, part.time_base = self._next, Fraction(1, self._rate)
            part.sample_rate = self._rate
            self._next += part.samples
            self._output.mux(self._stream.encode(part))

    def finish(self) -> None:
        """Code what is held back."""
        for part in self._resampler.resample(None):
            part.pts = None
            self._fifo.write(part)
        if self._next is not None:
            self._encode(1)
            self._output.mux(self._stream.encode(None))
