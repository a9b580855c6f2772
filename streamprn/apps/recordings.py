"""The frames of a recording: files found, the messages of a frame put together, times in a line.

A recording may have been cut off, damaged, or made by several runs of the publisher. What is whole
is given; what is not is kept as a text for the user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamprn.errors import InputError, WireError
from streamprn.wire import (
    DepthMessage,
    FrameMessage,
    ImageMessage,
    MeshMessage,
    TextureMessage,
    TopologyMessage,
)
from streamprn.wire.record import read
from streamprn.wire.segments import SUFFIX, recordings, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from streamprn.records import Float32, Stamps, UInt8
    from streamprn.wire import Face, Message

__all__ = ["RecordedFrame", "Recording", "find"]

# The time between two frames where neither their places in the source nor the clocks tell it.
_UNKNOWN_STEP_NS = 40_000_000


def find(path: Path) -> list[Path]:
    """The files of a recording, in order of time within each folder.

    Args:
        path: a recording's file, a folder of such files, or a folder of such folders.

    Raises:
        InputError: there is no such file or folder, it cannot be listed, or it holds none.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such recording", hint="check the path")
        if not path.is_dir():
            return [path]
        found = segments(path)
        for below in recordings(path).values():
            found += below
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not found:
        raise InputError(
            f"{path}: holds no recording",
            hint=f"recordings end in {SUFFIX}; `streamprn run --record DIR` makes them",
        )
    return found


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """All that was recorded of one frame.

    Attributes:
        stream: its name.
        session: from 1; another one where the publisher started again or its engine changed. Ids
            of faces and `seq` begin anew with it.
        seq: of the frame within its stream and session.
        run: of the publisher, "" where it is not known.
        time_s: seconds since the stream's first recorded frame, later with every frame.
        pts_ns: the frame's place in its source, or None.
        frame_size_wh: pixels.
        stamps: nanoseconds.
        spans_ns: time spent in each stage.
        faces: what was found.
        vertices: face id to `(N, 3)` float32, frame pixels; empty where no mesh was recorded.
        textures: face id to `(T, T, 3)` uint8 RGB.
        topology: the meaning of the vertices, where it is known.
        has_mesh: whether meshes were recorded.
        image: `(H, W, 3)` uint8 RGB, or None.
        depth: `(H, W)` float32, NaN where there is no face, or None.
    """

    stream: str
    session: int
    seq: int
    run: str
    time_s: float
    pts_ns: int | None
    frame_size_wh: tuple[int, int]
    stamps: Stamps
    spans_ns: Mapping[str, int]
    faces: tuple[Face, ...]
    vertices: Mapping[int, Float32]
    textures: Mapping[int, UInt8]
    topology: TopologyMessage | None
    has_mesh: bool
    image: UInt8 | None = None
    depth: Float32 | None = None


@dataclass(slots=True)
class _Stream:
    """How far the reading of one stream has come."""

    session: int = 1
    frames: int = 0
    time_ns: int = 0
    last: FrameMessage | None = None
    topology: TopologyMessage | None = None

    def begin(self, message: FrameMessage) -> None:
        """Count a frame: its session, and its time."""
        self.frames += 1
        last = self.last
        self.last = message
        if last is None:
            return
        again = message.run != last.run or message.seq < last.seq
        self.session += again
        self.time_ns += _step_ns(last, message, again=again)

    def learn(self, topology: TopologyMessage) -> None:
        """Note what the vertices mean from now on."""
        known = self.topology
        if known is None:
            self.topology = topology
        elif (known.name, len(known.texel)) != (topology.name, len(topology.texel)):
            self.topology = topology
            self.session += 1


def _step_ns(last: FrameMessage, message: FrameMessage, *, again: bool) -> int:
    """The time between two frames, above 0: by the source's clock, the monotonic, the wall's."""
    steps = []
    if not again and message.pts_ns is not None and last.pts_ns is not None:
        steps.append(message.pts_ns - last.pts_ns)
    if not again and message.stamps.captured and last.stamps.captured:
        steps.append(message.stamps.captured - last.stamps.captured)
    if message.stamps.wall and last.stamps.wall:
        steps.append(message.stamps.wall - last.stamps.wall)
    return next((step for step in steps if step > 0), _UNKNOWN_STEP_NS)


@dataclass(slots=True)
class Recording:
    """The frames of a recording's files; `frames` reads them once.

    Attributes:
        files: of `find`.
        stream: give this one alone, or all.
        face: leave out all faces but those with this id.
        every: give every N-th frame of each stream.
        on_frame: called with the number of files done and of frames read so far.
        problems: what could not be read, one text each.
        streams: the names of the streams that were met, with the number of their frames.
        ids: of the faces that were met, before `face` left any out.
    """

    files: list[Path]
    stream: str | None = None
    face: int | None = None
    every: int = 1
    on_frame: Callable[[int, int], None] | None = None
    problems: list[str] = field(default_factory=list)
    streams: dict[str, int] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)

    def frames(self) -> Iterator[RecordedFrame]:
        """What is whole, in the order of recording.

        Raises:
            InputError: there is no frame at all, or no stream of that name.
        """
        states: dict[str, _Stream] = {}
        together: list[FrameMessage] = []
        for message in self._messages():
            if isinstance(message, TopologyMessage):
                # It belongs to what follows.
                yield from self._frame(together, states)
                together = []
                states.setdefault(message.stream, _Stream()).learn(message)
            elif isinstance(message, FrameMessage):
                if together and not _same_frame(together[0], message):
                    yield from self._frame(together, states)
                    together = []
                together.append(message)
        yield from self._frame(together, states)
        self._check_found()

    def _messages(self) -> Iterator[Message]:
        for number, path in enumerate(self.files):
            try:
                for message in read(path):
                    self.streams.setdefault(message.stream, 0)
                    if self.stream not in (None, message.stream):
                        break  # a file holds one stream
                    yield message
                    if self.on_frame is not None:
                        self.on_frame(number, sum(self.streams.values()))
            except (WireError, InputError) as error:
                self.problems.append(str(error))
            except OSError as error:
                self.problems.append(f"{path}: cannot be read on: {error.strerror}")

    def _frame(
        self, messages: list[FrameMessage], states: dict[str, _Stream]
    ) -> Iterator[RecordedFrame]:
        """The frame that the messages are about, if it is one of those that were asked for."""
        if not messages:
            return
        first = messages[0]
        state = states.setdefault(first.stream, _Stream())
        state.begin(first)
        self.streams[first.stream] = state.frames
        if (state.frames - 1) % self.every:
            return
        self.ids.update(face.id for face in first.faces)
        vertices: dict[int, Float32] = {}
        textures: dict[int, UInt8] = {}
        image: UInt8 | None = None
        depth: Float32 | None = None
        for message in messages:
            if isinstance(message, MeshMessage):
                vertices |= message.vertices
            elif isinstance(message, TextureMessage):
                textures |= {one: rgb for one, rgb in message.textures.items() if rgb.size}
            elif isinstance(message, ImageMessage):
                image = message.image
            elif isinstance(message, DepthMessage):
                depth = message.depth
        yield RecordedFrame(
            stream=first.stream,
            session=state.session,
            seq=first.seq,
            run=first.run,
            time_s=state.time_ns / 1e9,
            pts_ns=first.pts_ns,
            frame_size_wh=first.frame_size_wh,
            stamps=first.stamps,
            spans_ns=first.spans_ns,
            faces=tuple(face for face in first.faces if self.face in (None, face.id)),
            vertices=vertices,
            textures=textures,
            topology=state.topology,
            has_mesh=any(isinstance(message, MeshMessage) for message in messages),
            image=image,
            depth=depth,
        )

    def _check_found(self) -> None:
        if self.streams and self.stream is not None and self.stream not in self.streams:
            names = ", ".join(sorted(self.streams))
            raise InputError(f"no stream {self.stream!r} in the recording", hint=f"it has {names}")
        if not any(self.streams.values()):
            where = self.files[0] if len(self.files) == 1 else self.files[0].parent
            raise _nothing(where, self.problems)


def _nothing(where: Path, problems: list[str]) -> InputError:
    if problems:
        return InputError(problems[0])
    return InputError(f"{where}: holds no frames", hint="it may have been cut off at once")


def _same_frame(one: FrameMessage, other: FrameMessage) -> bool:
    return (one.stream, one.run, one.seq) == (other.stream, other.run, other.seq)
