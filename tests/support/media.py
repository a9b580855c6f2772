"""Small clips of every make, with a flash and a beep at the same moment, and what is in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["Seen", "evenly", "make_media", "seen_in"]

SIZE_WH = (64, 48)
BEEP_S = 0.2


def evenly(count: int, rate: float = 25.0, start: float = 0.0) -> list[float]:
    """Times of so many pictures, seconds."""
    return [start + number / rate for number in range(count)]


def make_media(
    path: Path,
    times: Sequence[float],
    *,
    video: str = "libx264",
    form: str = "yuv420p",
    audio: str | None = None,
    rate: int = 44_100,
    layout: str = "mono",
    flash_s: float = 0.6,
    sound_from_s: float = 0.0,
    sound_until_s: float | None = None,
    time_base: Fraction = Fraction(1, 1000),
    container: str | None = None,
    b_frames: int = 0,
    shift_s: float = 0.0,
) -> Path:
    """Write dark pictures that are white from `flash_s` on, and silence with a beep there.

    Args:
        path: where to.
        times: of the pictures, seconds.
        video: encoder.
        form: of its pixels.
        audio: encoder of the sound; None for none.
        rate: samples a second.
        layout: of the sound.
        flash_s: when the picture becomes white and the beep begins.
        sound_from_s: when the sound begins.
        sound_until_s: when it ends; None with the last picture.
        time_base: of the pictures.
        container: FFmpeg's name of the format; None goes by the suffix.
        b_frames: in a row.
        shift_s: added to all times in the container; what becomes negative is cut by an edit list.
    """
    end = sound_until_s if sound_until_s is not None else times[-1] + 0.04
    with av.open(str(path), "w", format=container) as out:
        picture = out.add_stream(video, rate=25)
        picture.width, picture.height = SIZE_WH
        picture.pix_fmt = form
        picture.codec_context.time_base = time_base
        if b_frames:
            picture.options = {"bf": str(b_frames), "g": "12"}
            picture.codec_context.max_b_frames = b_frames
        sound = out.add_stream(audio, rate=rate, layout=layout) if audio else None
        packets = []
        for time in times:
            level = 235 if time >= flash_s - 1e-6 else 20
            image = np.full((SIZE_WH[1], SIZE_WH[0], 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=form)
            frame.pts, frame.time_base = round((time) / time_base), time_base
            packets += picture.encode(frame)
        packets += picture.encode(None)
        if sound is not None:
            packets += _beeps(sound, rate, layout, sound_from_s, end, flash_s)
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            if shift_s:
                shift = round(shift_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            out.mux(packet)
    return path


def _beeps(sound, rate: int, layout: str, start: float, end: float, at: float) -> list[av.Packet]:
    packets: list[av.Packet] = []
    count = round((end - start) * rate)
    t = start + np.arange(count) / rate
    loud = (t >= at) & (t < at + BEEP_S)
    wave = np.where(loud, 0.7 * np.sin(2 * np.pi * 1000 * t), 0.0)
    channels = av.AudioLayout(layout).nb_channels
    samples = np.repeat((32767 * wave).astype(np.int16)[None], channels, axis=0)
    form = sound.codec_context.format.name
    resampler = av.AudioResampler(format=form, layout=layout, rate=rate)
    fifo = av.AudioFifo()
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), "s16", layout)
    frame.sample_rate = rate
    for part in resampler.resample(frame):
        part.pts = None
        fifo.write(part)
    size = sound.codec_context.frame_size or 1024
    done = round(start * rate)
    while fifo.samples:
        part = fifo.read(min(size, fifo.samples))
        part.pts, part.time_base, part.sample_rate = done, Fraction(1, rate), rate
        done += part.samples
        packets += sound.encode(part)
    return packets + sound.encode(None)


@dataclass(frozen=True)
class Seen:
    """What a file shows and sounds like.

    Attributes:
        times: of its pictures, seconds on its own time line.
        flash_s: time of the first white one.
        beep_s: when the beep begins; None without sound.
        length_s: from the first of picture and sound to the end of the last picture.
        codecs: of its sound tracks.
        sound_s: seconds of sound.
    """

    times: list[float]
    flash_s: float
    beep_s: float | None
    length_s: float
    codecs: list[str]
    sound_s: float = 0.0


def seen_in(path: Path) -> Seen:
    """Decode a file wholly."""
    times: list[float] = []
    flash, end = float("nan"), 0.0
    with av.open(str(path)) as container:
        start = (container.start_time or 0) / 1e6
        codecs = [track.codec_context.codec.canonical_name for track in container.streams.audio]
        for frame in container.decode(video=0):
            times.append(float(frame.pts * frame.time_base))
            end = times[-1] + float((frame.duration or 0) * frame.time_base)
            bright = frame.reformat(format="gray").to_ndarray().mean() > 120
            if bright and np.isnan(flash):
                flash = times[-1]
    beep, sound = _beep_in(path) if codecs else (None, 0.0)
    return Seen(times, flash, beep, end - start, codecs, sound)


def _beep_in(path: Path) -> tuple[float | None, float]:
    total = 0.0
    beep = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            total += frame.samples / frame.sample_rate
            wave = frame.to_ndarray().astype(np.float64)
            if wave.shape[0] == 1 and not frame.format.is_planar:
                wave = wave.reshape(-1, frame.layout.nb_channels).T
            scale = 1.0 if frame.format.name.startswith(("flt", "dbl")) else 32768.0
            if frame.format.name.startswith("s32"):
                scale = 2.0**31
            if frame.format.name.startswith("u8"):
                wave, scale = wave - 128, 128.0
            loud = np.flatnonzero(np.abs(wave).max(axis=0) / scale > 0.2)
            if beep is None and loud.size:
                beep = float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    return beep, total
