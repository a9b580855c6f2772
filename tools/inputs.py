"""What clips are read right: a matrix of made inputs, and `docs/inputs.md` from it.

`python -m tools.inputs` makes every clip of the matrix, reads it, compares sizes, colours, number
and times of its pictures with what was put in, and writes the page; `--sample N` checks N of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from streamprn.apps.video import open_clip
from streamprn.channel import Channel
from streamprn.config import SourceConfig, resolve
from streamprn.errors import SourceError, StreamPRNError
from streamprn.records import Frame, SourceState
from streamprn.source import SourceReader
from streamprn.source.decode import EXIF_ORIENTATIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "inputs.md"
SIZE_WH = (64, 48)
FRAMES = 8
# Linear light of the four quarters, dark enough that tone mapping leaves it alone.
QUARTERS = np.array([[0.38, 0.05, 0.04], [0.05, 0.30, 0.06], [0.05, 0.08, 0.40], [0.3, 0.3, 0.3]])
TO_2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)
_LEVELS_OFF = 14
# What a fixed palette of 256 colours may add.
_PALETTE_LEVELS = 20
_STEPS = 10

# Container, encoder, and its pixel formats.
MAKES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("mp4", "libx264", ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le")),
    ("mp4", "libx265", ("yuv420p", "yuv420p10le", "yuv444p12le")),
    ("mp4", "libsvtav1", ("yuv420p", "yuv420p10le")),
    ("mp4", "libvpx-vp9", ("yuv420p", "yuv444p")),
    ("mp4", "mpeg4", ("yuv420p",)),
    ("mp4", "mjpeg", ("yuvj420p", "yuvj444p")),
    ("mov", "libx264", ("yuv420p", "nv12")),
    ("mov", "prores_ks", ("yuv422p10le", "yuv444p10le", "yuva444p10le")),
    ("mov", "qtrle", ("rgb24", "argb")),
    ("mov", "png", ("rgb24", "rgba")),
    ("mov", "rawvideo", ("uyvy422", "rgb24")),
    ("mkv", "libx264", ("yuv420p", "yuv420p10le")),
    ("mkv", "ffv1", ("yuv420p", "yuv422p10le", "yuv444p16le", "bgr0", "bgra", "gray")),
    ("mkv", "mpeg2video", ("yuv420p", "yuv422p")),
    ("webm", "libvpx", ("yuv420p",)),
    ("webm", "libvpx-vp9", ("yuv420p", "yuv422p")),
    ("webm", "libsvtav1", ("yuv420p10le",)),
    ("avi", "mpeg4", ("yuv420p",)),
    ("avi", "libx264", ("yuv420p",)),
    ("avi", "mjpeg", ("yuvj420p", "yuvj422p")),
    ("avi", "huffyuv", ("yuv422p", "bgra")),
    ("avi", "rawvideo", ("bgr24",)),
    ("ts", "libx264", ("yuv420p", "yuv422p10le")),
    ("ts", "libx265", ("yuv420p10le",)),
    ("ts", "mpeg2video", ("yuv420p",)),
    ("mpg", "mpeg1video", ("yuv420p",)),
    ("mpg", "mpeg2video", ("yuv420p",)),
    ("flv", "flv", ("yuv420p",)),
    ("flv", "libx264", ("yuv420p",)),
    ("3gp", "mpeg4", ("yuv420p",)),
    ("wmv", "msmpeg4", ("yuv420p",)),
    ("nut", "rawvideo", ("rgb24", "yuv420p", "gray16le", "rgb565le")),
    ("nut", "ffv1", ("gbrp10le",)),
    ("gif", "gif", ("rgb8",)),
    ("apng", "apng", ("rgb24", "rgba")),
)
# Encoders or containers that note matrix and range in the file.
_TAGGED = frozenset({"libx264", "libx265", "libvpx-vp9", "libsvtav1", "prores_ks", "mpeg2video"})
_TURNING = {"mp4": tuple(range(1, 9)), "mov": tuple(range(1, 9)), "mkv": (1, 3, 6, 8)}
# Where each picture has a time of its own, or the shape of pixels is told.
_UNSTAMPED = frozenset({"avi", "mpg", "gif"})
_FIXED_RATE = frozenset({"mpeg1video", "mpeg2video"})
# What notes the shape of pixels: these containers, and these codecs in the other ones.
_SHAPED, _SHAPED_CODECS = frozenset({"mp4", "mov"}), frozenset({"libx264", "libx265"})
_MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
ASPECTS = (Fraction(1), Fraction(4, 3), Fraction(1, 2))
CLOCKS = ("25 a second", "30000/1001 a second", "uneven")
COLOURS = ("BT.601 limited", "BT.709 limited", "BT.709 full", "BT.2020 PQ", "BT.2020 HLG")
_CODES = {
    "BT.601 limited": (Colorspace.ITU601, ColorRange.MPEG, 6, 6),
    "BT.709 limited": (Colorspace.ITU709, ColorRange.MPEG, 1, 1),
    "BT.709 full": (Colorspace.ITU709, ColorRange.JPEG, 1, 1),
    "BT.2020 PQ": (Colorspace.BT2020, ColorRange.MPEG, 16, 9),
    "BT.2020 HLG": (Colorspace.BT2020, ColorRange.MPEG, 18, 9),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One made input."""

    container: str
    codec: str
    form: str
    orientation: int
    aspect: Fraction
    clock: str
    colour: str

    @property
    def times(self) -> list[Fraction]:
        """Of its pictures, seconds from the first."""
        if self.clock == CLOCKS[0]:
            return [Fraction(n, 25) for n in range(FRAMES)]
        if self.clock == CLOCKS[1]:
            return [Fraction(1001 * n, 30000) for n in range(FRAMES)]
        return [Fraction(n, 100) for n in (0, 4, 8, 20, 24, 50, 60, 64)]

    @property
    def expected(self) -> NDArray[np.uint8]:
        """What is shown, `(H, W, 3)` uint8 sRGB."""
        colours = np.round(255 * _srgb(QUARTERS)).astype(np.uint8)
        if self.form.startswith("gray"):
            colours = np.round(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)[:, None]
            colours = colours.repeat(3, axis=1)
        picture = _quartered(colours)
        width, height = SIZE_WH
        across = round(width * self.aspect) if self.aspect > 1 else width
        down = round(height / self.aspect) if self.aspect < 1 else height
        rows = np.arange(down) * height // down
        columns = np.arange(across) * width // across
        return EXIF_ORIENTATIONS[self.orientation].apply(picture[rows][:, columns])


def cases() -> list[Case]:
    """The whole matrix: each make with the other properties in turn, so that all pairs meet."""
    found: list[Case] = []
    for make, (container, codec, form) in enumerate(
        (container, codec, form) for container, codec, forms in MAKES for form in forms
    ):
        turns = _TURNING.get(container, (1,))
        shaped = container in _SHAPED or codec in _SHAPED_CODECS
        aspects = ASPECTS if shaped else ASPECTS[:1]
        clocks = CLOCKS[:2] if codec in _FIXED_RATE else CLOCKS
        clocks = CLOCKS[:1] if container in _UNSTAMPED else clocks
        colours = _colours_of(codec, form)
        mine = {
            Case(
                container,
                codec,
                form,
                turns[(step * 3 + make) % len(turns)],
                aspects[(step + make) % len(aspects)],
                clocks[(step + make // 2) % len(clocks)],
                colours[step % len(colours)],
            ): None
            for step in range(_STEPS)
        }
        found += mine
    return found


def _colours_of(codec: str, form: str) -> tuple[str, ...]:
    if form.startswith(("rgb", "bgr", "gbr", "argb", "gray", "yuvj")) or codec not in _TAGGED:
        return COLOURS[:1]
    deep = form.endswith(("10le", "12le")) and codec in ("libx264", "libx265", "libvpx-vp9")
    limited_only = codec in ("prores_ks", "mpeg2video", "libsvtav1")
    return COLOURS if deep else COLOURS[:2] if limited_only else COLOURS[:3]


def _quartered(colours: NDArray[np.generic]) -> NDArray[np.generic]:
    width, height = SIZE_WH
    index = np.zeros((height, width), int)
    index[:, width // 2 :] += 1
    index[height // 2 :] += 2
    return colours[index]


def _srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    low = linear <= 0.0031308
    return np.where(low, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _signal(colour: str) -> NDArray[np.float64]:
    """The four quarters as the signal 0..1 of the colour's transfer and primaries."""
    if not colour.startswith("BT.2020"):
        return _srgb(QUARTERS)
    display = QUARTERS @ TO_2020.T * 203.0
    if colour.endswith("PQ"):
        power = (display / 10_000.0) ** 0.1593017578125
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)
    luma = display @ [0.2627, 0.6780, 0.0593]
    scene = display / 1000.0 * ((luma / 1000.0) ** (1 / 1.2 - 1))[:, None]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    high = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def make(case: Case, path: Path) -> None:
    """Write the clip of a case."""
    matrix, levels, transfer, primaries = _CODES[case.colour]
    deep = np.round(65535 * _quartered(_signal(case.colour))).astype(np.uint16)
    image = av.VideoFrame.from_ndarray(deep, format="rgb48le")
    rgb = case.form.startswith(("rgb", "bgr", "gbr", "argb", "gray"))
    if case.form.startswith(("gray", "yuvj")):
        eight = np.round(255 * _quartered(_signal(case.colour))).astype(np.uint8)
        image = av.VideoFrame.from_ndarray(eight, format="rgb24")
    shown = (
        image.reformat(format=case.form)
        if rgb or case.form.startswith("yuvj")
        else image.reformat(format=case.form, dst_colorspace=matrix, dst_color_range=levels)
    )
    with av.open(str(path), "w", format=_muxer(case.container)) as out:
        rate = Fraction(30000, 1001) if case.clock == CLOCKS[1] else Fraction(25)
        stream = out.add_stream(case.codec, rate=rate, options=_options(case.codec))
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = case.form
        context = stream.codec_context
        base = 1 / rate if case.clock != CLOCKS[2] else Fraction(1, 100)
        if case.codec not in _FIXED_RATE:
            context.time_base = base
        if case.aspect != 1:
            context.sample_aspect_ratio = case.aspect
        if not rgb and case.codec in _TAGGED:
            context.colorspace, context.color_trc = matrix.value, transfer
            context.color_range, context.color_primaries = levels.value, primaries
        if case.orientation != 1:
            a, b, c, d = _MATRICES[case.orientation]
            stream.set_display_matrix([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30])
        for at in case.times:
            frame = shown.reformat(format=case.form)
            frame.pts, frame.time_base = round(at / base), base
            for packet in stream.encode(frame):
                out.mux(packet)
        out.mux(stream.encode(None))


def _muxer(container: str) -> str | None:
    return {"wmv": "asf", "mpg": "vob", "ts": "mpegts", "mkv": "matroska"}.get(container)


def _options(codec: str) -> dict[str, str]:
    quality = {
        "libx264": {"crf": "8", "preset": "ultrafast"},
        "libx265": {"crf": "8", "preset": "ultrafast", "x265-params": "log-level=none"},
        "libvpx": {"crf": "4", "b": "4M", "deadline": "realtime", "cpu-used": "8"},
        "libvpx-vp9": {"crf": "8", "b": "0", "deadline": "realtime", "cpu-used": "8"},
        "libsvtav1": {"crf": "12", "preset": "12", "svtav1-params": "lp=1"},
    }
    return quality.get(codec, {"qmin": "1", "q:v": "2", "b": "4M"})


def check(case: Case, folder: Path) -> str:
    """Make and read a clip; "" where all is right, else a sentence."""
    path = folder / f"a.{case.container}"
    make(case, path)
    try:
        with open_clip(path) as clip:
            frames = list(clip.frames())
        live = _live_pictures(path)
    except StreamPRNError as error:
        return str(error).replace(str(path), "it")
    finally:
        path.unlink()
    words = _wrong_pictures(case, [frame.rgb for frame in frames])
    live_words = _wrong_pictures(case, live)
    if words or live_words:
        return words or f"run: {live_words}"
    times = zip(frames, case.times, strict=True)
    late = max(abs(frame.time - frames[0].time - at) for frame, at in times)
    return f"times are off by {1000 * float(late):.0f} ms" if late > Fraction(11, 10_000) else ""


def _live_pictures(path: Path) -> list[NDArray[np.uint8]]:
    """What `run` sees of a clip."""
    ready = threading.Condition()
    channel: Channel[Frame] = Channel(FRAMES, newest=False, ready=ready)
    config = SourceConfig(str(path), realtime=False)
    reader = SourceReader(config, resolve(str(path)), channel, lambda status: None)
    pictures: list[NDArray[np.uint8]] = []
    reader.start()
    while True:
        with ready:
            closed = channel.closed
            frame = channel.take()
            if frame is None and not closed:
                ready.wait(0.5)
        if frame is not None:
            pictures.append(frame.image.rgb)
        elif closed:
            break
    reader.stop()
    if reader.status.state is SourceState.FAILED:
        raise SourceError(reader.status.cause, uri="run")
    return pictures


def _wrong_pictures(case: Case, pictures: Sequence[NDArray[np.uint8]]) -> str:
    expected = case.expected
    if len(pictures) != FRAMES:
        return f"{len(pictures)} of {FRAMES} pictures"
    for rgb in pictures:
        if rgb.shape != expected.shape:
            return f"the size is {rgb.shape[1::-1]}, not {expected.shape[1::-1]}"
        off = _levels_off(rgb, expected)
        if off > _LEVELS_OFF + _PALETTE_LEVELS * (case.form == "rgb8"):
            return f"colours are off by {off:.0f} levels"
    return ""


def _levels_off(got: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """The largest difference in the middles of the quarters."""
    height, width = expected.shape[:2]
    middle = np.ix_([height // 4, 3 * height // 4], [width // 4, 3 * width // 4])
    return float(np.abs(got[middle].astype(int) - expected[middle]).max())


def sample(count: int, every: Sequence[Case] | None = None) -> list[Case]:
    """So many cases, spread evenly over the matrix."""
    whole = list(cases() if every is None else every)
    return [whole[index * len(whole) // count] for index in range(min(count, len(whole)))]


def results(chosen: Sequence[Case]) -> Iterator[tuple[Case, str]]:
    """Each case and its verdict; see `check`."""
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            yield case, check(case, Path(folder))


def page(verdicts: Sequence[tuple[Case, str]]) -> str:
    """The text of `docs/inputs.md`."""
    good = sum(not words for _, words in verdicts)
    lines = [
        "# Inputs",
        "",
        "<!-- Made by `python -m tools.inputs`; do not edit. -->",
        "",
        f"{len(verdicts)} clips of {len(MAKES)} kinds were made by FFmpeg (libavformat "
        f"{av.library_versions['libavformat'][0]}) and read as `run` and as `swap` read them. What "
        "came out was compared with what was put in: number, times (within 1 ms), size, turn and "
        f"colours (within {_LEVELS_OFF} of 255 levels; {_LEVELS_OFF + _PALETTE_LEVELS} for the "
        f"fixed palette of the GIF encoder). {good} are right.",
        "",
        "A row is a container, a codec and a pixel format, with all the turns (EXIF numbers), "
        "shapes of a pixel, clocks and colours that it was made with. What a container or codec "
        "cannot note (a turn in AVI, a matrix in MJPEG) is not in its row.",
        "",
        "| container | codec | pixels | clips | turns | pixel shapes | clocks | colours | result |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[tuple[Case, str]]] = {}
    for case, words in verdicts:
        groups.setdefault((case.container, case.codec, case.form), []).append((case, words))
    for (container, codec, form), rows in groups.items():
        made = [case for case, _ in rows]
        wrong = Counter(words for _, words in rows if words)
        verdict = "; ".join(f"{count} say: {words}" for words, count in wrong.items()) or "right"
        cells = [
            container,
            codec,
            form,
            str(len(rows)),
            " ".join(map(str, sorted({case.orientation for case in made}))),
            " ".join(str(one) for one in sorted({case.aspect for case in made})),
            ", ".join(clock for clock in CLOCKS if clock in {case.clock for case in made}),
            ", ".join(one for one in COLOURS if one in {case.colour for case in made}),
            verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Check the matrix or a sample; 1 where a clip is read wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="check only N, write nothing")
    given = parser.parse_args()
    av.logging.set_level(av.logging.PANIC)
    began = time.monotonic()
    verdicts = []
    for case, words in results(cases() if given.sample is None else sample(given.sample)):
        verdicts.append((case, words))
        if words:
            print(f"{case}: {words}")
    wrong = sum(bool(words) for _, words in verdicts)
    print(f"{len(verdicts)} clips, {wrong} wrong, {time.monotonic() - began:.0f} s")
    if given.sample is None:
        PAGE.write_text(page(verdicts), encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
