"""Recorded meshes as a sequence of OBJ files, and what that shares with the animated GLB."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.apps.meshes import Mesh, write_obj
from streamprn.errors import InputError
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamprn.apps.recordings import RecordedFrame
    from streamprn.records import Float32
    from streamprn.wire import Face, TopologyMessage

__all__ = ["INDEX", "MAX_FRAMES", "Faces", "Key", "Limit", "ObjWriter", "face_name"]

#: Frames of one face that are written without `--max-frames`, by format.
MAX_FRAMES: Final = {"obj": 1000, "glb": 300}
#: In the folder of an OBJ sequence: what it holds; written last.
INDEX: Final = "export.json"
#: Turns y down into y up.
UP: Final = np.array([1.0, -1.0, 1.0])

# No picture is that large; NaN is not below it either.
_MAX_PIXELS: Final = 1e9

# Stream, session and id.
Key = tuple[str, int, int]


@dataclass(slots=True)
class Limit:
    """How many frames of one face there may be; going on counting tells the user what would do."""

    most: int
    counts: dict[Key, int] = field(default_factory=dict)
    exceeded: bool = False

    def take(self, key: Key) -> bool:
        """Count a frame of a face; whether it is to be written."""
        self.counts[key] = self.counts.get(key, 0) + 1
        self.exceeded = self.exceeded or self.counts[key] > self.most
        return not self.exceeded

    def check(self, every: int) -> None:
        """Raise `InputError` where a face has too many frames, with what to do."""
        if self.exceeded:
            key, count = max(self.counts.items(), key=lambda item: item[1])
            enough = every * math.ceil(count / self.most)
            raise InputError(
                f"face {key[2]} of {key[0]} has {count} frames, and {self.most} are allowed",
                hint=f"take fewer with --every {enough}, or allow more with --max-frames {count}",
            )


class Faces:
    """The meshes of frames, and why there are none."""

    def __init__(self) -> None:
        self.skipped = 0
        self._frames = self._with_mesh = self._without_topology = 0

    def of(self, frame: RecordedFrame) -> Iterator[tuple[Key, Face, Float32, TopologyMessage]]:
        """Every face of the frame whose mesh can be drawn."""
        self._frames += 1
        self._with_mesh += frame.has_mesh
        for face in frame.faces:
            vertices = frame.vertices.get(face.id)
            if vertices is None:
                self.skipped += frame.has_mesh
                continue
            topology = frame.topology
            self._without_topology += topology is None
            if topology is None or not _fits(vertices, topology):
                self.skipped += 1
                continue
            yield (frame.stream, frame.session, face.id), face, vertices, topology

    def check(self, written: int) -> None:
        """Raise `InputError` where nothing could be written."""
        if written:
            return
        if self._frames and not self._with_mesh:
            raise InputError(
                "the recording holds no meshes",
                hint="record them: `streamprn run --record DIR --set record.kinds=[face,mesh]`",
            )
        if self._without_topology:
            raise InputError(
                "the recording does not say what its vertices mean",
                hint="its first message, the topology, is lost",
            )
        raise InputError("no frame of the recording shows a face that can be drawn")


def _fits(vertices: Float32, topology: TopologyMessage) -> bool:
    count = len(topology.texel)
    usable = len(vertices) == count > 0 and topology.triangles.size > 0
    return usable and bool(np.abs(vertices).max() < _MAX_PIXELS)


class ObjWriter:
    """A folder of OBJ files, `STREAM/faceID/FRAME.obj`, and an index of their times.

    Args:
        path: the folder, which is made.
        most: frames of one face.
        every: for the message where there are more.
    """

    unit = "mesh"

    def __init__(self, path: Path, most: int, every: int) -> None:
        self.count = 0
        self._folder = path
        self._limit = Limit(most)
        self._every = every
        self._faces = Faces()
        self._files: list[dict[str, Any]] = []
        path.mkdir()

    @property
    def skipped(self) -> int:
        """Faces without a mesh that can be drawn."""
        return self._faces.skipped

    def add(self, frame: RecordedFrame) -> None:
        """Write the meshes of a frame."""
        for key, face, vertices, topology in self._faces.of(frame):
            if not self._limit.take(key):
                continue
            place = self._folder / frame.stream / face_name(key)
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{frame.seq:06d}.obj"
            mesh = _mesh(vertices, topology, frame, face.id)
            write_obj(mesh.without_degenerates(), path)
            self._files.append(
                {
                    "file": path.relative_to(self._folder).as_posix(),
                    "stream": frame.stream,
                    "session": frame.session,
                    "face": face.id,
                    "frame": frame.seq,
                    "time_s": frame.time_s,
                }
            )
            self.count += 1

    def close(self) -> None:
        """Write the index."""
        self._limit.check(self._every)
        self._faces.check(self.count)
        index = {"made_by": "streamprn export", "unit": "pixel", "meshes": self._files}
        (self._folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    def discard(self) -> None:
        """Nothing is open."""


def face_name(key: Key) -> str:
    """What a face is called within its stream: `face1`, `face1-session2`."""
    return f"face{key[2]}" if key[1] == 1 else f"face{key[2]}-session{key[1]}"


def _mesh(vertices: Float32, topology: TopologyMessage, frame: RecordedFrame, face_id: int) -> Mesh:
    up = (vertices * UP).astype(np.float32)
    up[:, 1] += max(frame.frame_size_wh[1] - 1, 0)
    texture = frame.textures.get(face_id)
    return Mesh(
        vertices=up,
        triangles=topology.triangles,
        normals=upward_normals(vertices * UP, topology),
        uv=topology.uv if texture is not None else None,
        texture=texture,
    )


def upward_normals(up: Any, topology: TopologyMessage) -> Float32:
    """Unit normals `(N, 3)` of vertices with y up, in their own axes."""
    down = np.ascontiguousarray(up * UP, np.float32)
    turned: Float32 = (vertex_normals(down, topology.triangles) * UP).astype(np.float32)
    return turned
