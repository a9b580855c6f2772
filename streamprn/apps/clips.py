"""Swapping through a clip: every face is followed, calmed, and keeps its colours over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.apps.clip_writing import ClipWriter
from streamprn.apps.video import open_clip
from streamprn.engines.predict import RefineRule
from streamprn.engines.predict_host import HostPredictor
from streamprn.faces.detect import DetectionIntervals, IntervalDetection
from streamprn.faces.follow import Follower
from streamprn.faces.smooth import Smoother, Smoothing
from streamprn.faces.track import TrackRules
from streamprn.records import FrameImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction
    from pathlib import Path

    from streamprn.apps.blending import ColourMatch
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.apps.swapping import FaceSwapper
    from streamprn.records import Detection, Face, Float32, UInt8

    #: The next picture and its time in seconds: what becomes of it, and how many faces it has.
    NextPicture = Callable[[UInt8, Fraction], tuple[UInt8, int]]

_REFINE_THRESHOLD = 0.12
# Detector passes between which the faces are followed by their own meshes.
_DETECT_EVERY_S = 0.5
# Light changes slowly, and so does the hair over a face: this many seconds to follow them.
_COLOUR_TIME_S = 0.4
# Still faces tremble by a fraction of a pixel; a texture painted on shows it. In motion a lag
# shows more: it stays below 1 / (2 pi beta) pixels.
CALM = Smoothing(min_cutoff_hz=3.0, beta=0.8, derivative_cutoff_hz=4.0)


class ClipFaces:
    """The faces of the successive pictures of a clip, with stable ids.

    Args:
        reconstructor: its engine and detector are used.
        rate: pictures a second.
        max_faces: the most faces followed at a time.
        smoothing: calms the vertices, or None.
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        rate: Fraction,
        max_faces: int = 1,
        smoothing: Smoothing | None = None,
    ) -> None:
        min_score = reconstructor.min_score
        refine = RefineRule(_REFINE_THRESHOLD, min_score)
        expressions = reconstructor.expressions
        predictor = HostPredictor(reconstructor.engine, refine, expressions=expressions)
        interval = max(round(_DETECT_EVERY_S * rate), 1)
        self._follower = Follower(
            predictor,
            IntervalDetection(_ThoroughDetector(reconstructor), DetectionIntervals(interval)),
            TrackRules(max_faces=max_faces, min_score=min_score),
            Smoother(smoothing, predictor.geometry) if smoothing is not None else None,
        )

    def next(self, image: UInt8, time: Fraction) -> list[Face]:
        """The faces of the next picture `(H, W, 3)` uint8, shown at `time` in seconds."""
        return self._follower.follow(FrameImage.from_rgb(image), round(time * 1_000_000_000))


class _ThoroughDetector:
    """A reconstructor's detector, with the tiles that it falls back to."""

    def __init__(self, reconstructor: Reconstructor) -> None:
        self._reconstructor = reconstructor

    def detect(
        self, image: FrameImage, *, min_score: float = 0.5, quarter_turns: int = 0
    ) -> list[Detection]:
        """See `streamprn.faces.detect.Detector`; the reconstructor's `min_score` counts."""
        del min_score
        return self._reconstructor.detect_at(image, quarter_turns)

    detect_tiled = detect


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of a face from picture to picture."""

    match: ColourMatch | None
    covering: Float32


class ClipSwapper:
    """Swaps the faces of successive pictures.

    Args:
        follower: finds them.
        swapper: replaces them.
        rate: pictures a second.
    """

    def __init__(self, follower: ClipFaces, swapper: FaceSwapper, rate: Fraction) -> None:
        self._follower = follower
        self._swapper = swapper
        self._part = min(1.0, 1.0 / (_COLOUR_TIME_S * float(rate)))
        self._looks: dict[int, _Look] = {}

    def next(self, image: UInt8, time: Fraction) -> tuple[UInt8, int]:
        """The next picture, shown at `time` in seconds, swapped, and how many faces it has."""
        faces = self._follower.next(image, time)
        looks: dict[int, _Look] = {}
        for face in faces:
            covering = self._swapper.covering(image, face.vertices)
            before = self._looks.get(face.id)
            if before is not None:
                covering = before.covering + self._part * (covering - before.covering)
            patch = self._swapper.draw(image, face.vertices, covering)
            match = before.match if before is not None else None
            if patch is not None and self._swapper.match_colours:
                now = patch.colour_match()
                match = now if match is None else match.towards(now, self._part)
            looks[face.id] = _Look(match, covering)
            if patch is not None:
                image = patch.blended_into(image, match)
        self._looks = looks
        return image, len(faces)


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What became of a clip.

    Attributes:
        frames: pictures that were written.
        with_face: those that show a face.
        broken: pictures of the source that could not be decoded, and are left out.
    """

    frames: int
    with_face: int
    broken: int


def swap_clip(
    reconstructor: Reconstructor,
    swapper: FaceSwapper,
    source: Path,
    out: Path,
    *,
    max_faces: int = 1,
    video_stream: int | None = None,
    on_frame: Callable[[int, int], None] = lambda done, count: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> ClipReport:
    """Swap the faces of a clip; every picture keeps its time, and the sound is kept.

    Args:
        reconstructor: finds the faces.
        swapper: replaces them.
        source: the clip.
        out: `.mp4`, `.mov` or `.mkv`.
        max_faces: the most faces at a time.
        video_stream: see `streamprn.source.tracks.pick_stream`.
        on_frame: told after every picture how many are done, and of how many (0: unknown).
        on_note: told before the work what cannot be kept, a sentence each.

    Raises:
        InputError: the clip cannot be read, or the output not be written.
    """

    def begin(rate: Fraction) -> NextPicture:
        faces_of = ClipFaces(reconstructor, rate, max_faces, CALM)
        return ClipSwapper(faces_of, swapper, rate).next

    return rework_clip(
        source, out, begin, video_stream=video_stream, on_frame=on_frame, on_note=on_note
    )


def rework_clip(
    source: Path,
    out: Path,
    begin: Callable[[Fraction], NextPicture],
    *,
    video_stream: int | None = None,
    on_frame: Callable[[int, int], None] = lambda done, count: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> ClipReport:
    """Write a clip anew picture by picture; every picture keeps its time, and the sound is kept.

    Args:
        source: the clip.
        out: `.mp4`, `.mov` or `.mkv`.
        begin: given the pictures a second, makes what is called with each picture and its time.
        video_stream: see `swap_clip`.
        on_frame: see `swap_clip`.
        on_note: see `swap_clip`.

    Raises:
        InputError: the clip cannot be read, or the output not be written.
    """
    frames = with_face = 0
    with open_clip(source, video_stream) as clip, ClipWriter(out, clip.rate, clip) as writer:
        for note in clip.notes + writer.notes:
            on_note(note)
        following = begin(clip.rate)
        for frame in clip.frames():
            picture, faces = following(frame.rgb, frame.time)
            writer.write(picture, frame.time, frame.duration)
            frames += 1
            with_face += faces > 0
            on_frame(frames, clip.count)
        return ClipReport(frames, with_face, clip.broken)
