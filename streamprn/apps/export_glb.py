"""Recorded meshes as one animated GLB.

Every face is a node that moves with the head (translation, rotation and scale of the recorded
pose), with one morph target for each key frame after the first: what the face does beside moving,
float32 offsets from the first frame. At every key frame the vertices are the recorded ones.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.apps import gltf
from streamprn.apps.export_meshes import UP, Faces, Key, Limit, face_name, upward_normals
from streamprn.apps.meshes import metres_per_pixel
from streamprn.engines.head import OUTER_EYE_CORNERS
from streamprn.errors import InputError
from streamprn.kernels.pose import quaternion_from_rotation

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.apps.recordings import RecordedFrame
    from streamprn.records import Float32, Pose
    from streamprn.wire import Face, TopologyMessage

__all__ = ["GlbWriter"]

# Many readers of GLB hold offsets in 32 signed bits.
_MAX_GLB_BYTES: Final = (1 << 31) - (1 << 24)
_SKIN: Final = [0.8, 0.6, 0.5, 1.0]


@dataclass(slots=True)
class _Track:
    """The animation of one face so far.

    Attributes:
        topology: of its vertices.
        base: `(N, 3)` float32, the first frame in the head's own axes and units.
        position: accessor of the base.
        normal: accessor of its normals.
        texture: number of its texture, or None.
        targets: accessors of the offsets, one for each frame but the first.
        frames: `seq` of each frame.
        times: seconds.
        translations: metres.
        rotations: quaternions x, y, z, w.
        scales: metres per unit of the head.
    """

    topology: TopologyMessage
    base: Float32
    position: int
    normal: int
    texture: int | None = None
    targets: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    translations: list[list[float]] = field(default_factory=list)
    rotations: list[list[float]] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)

    def move(self, translation: Any, rotation: Any, scale: float) -> None:
        """Add the place of the head in the next frame."""
        turn = np.asarray(rotation)[[1, 2, 3, 0]]
        # q and -q are one rotation: the nearer one to the last makes the interpolation short.
        if self.rotations and np.dot(turn, self.rotations[-1]) < 0:
            turn = -turn
        self.translations.append(np.asarray(translation).tolist())
        self.rotations.append(turn.tolist())
        self.scales.append(scale)


class GlbWriter:
    """One binary glTF with a node, a morphed mesh and an animation for each face of a stream.

    Args:
        path: of the file.
        most: frames of one face.
        every: for the message where there are more.
    """

    unit = "key frame"

    def __init__(self, path: Path, most: int, every: int) -> None:
        self.count = 0
        self._limit = Limit(most)
        self._every = every
        self._faces = Faces()
        self._unusable = 0
        self._data = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by `discard`
        self._file = path.open("wb")
        self._builder = gltf.Builder(self._data)
        self._shared: dict[int, tuple[TopologyMessage, int, int]] = {}
        self._tracks: dict[Key, _Track] = {}
        self._streams: set[str] = set()
        self._metres = 0.0
        self._start_s: float | None = None

    @property
    def skipped(self) -> int:
        """Faces without a mesh that can be drawn, or without a pose."""
        return self._faces.skipped + self._unusable

    def add(self, frame: RecordedFrame) -> None:
        """Write the meshes of a frame."""
        for key, face, vertices, topology in self._faces.of(frame):
            self._streams.add(frame.stream)
            if len(self._streams) > 1:
                names = ", ".join(sorted(self._streams))
                raise InputError(
                    f"a GLB shows one stream, and the recording has more: {names}, ...",
                    hint="choose one with --stream",
                )
            if not (_is_usable(face.pose) and _has_eyes(face)):
                self._unusable += 1
            elif self._limit.take(key):
                self._add(key, face, vertices, topology, frame)

    def _add(
        self,
        key: Key,
        face: Face,
        vertices: Float32,
        topology: TopologyMessage,
        frame: RecordedFrame,
    ) -> None:
        if self._builder.size + vertices.nbytes > _MAX_GLB_BYTES:
            raise InputError(
                f"more than {_MAX_GLB_BYTES >> 20} MiB are too many for a GLB",
                hint="choose a face with --face, or take fewer frames with --every",
            )
        pose = face.pose
        self._metres = self._metres or metres_per_pixel(face.landmarks)
        if self._start_s is None:
            self._start_s = frame.time_s
        own = _in_head(vertices, pose)
        track = self._tracks.get(key)
        if track is None:
            self._share(topology)
            track = self._tracks[key] = _Track(
                topology,
                own,
                self._builder.add(own, gltf.FLOAT, "VEC3", bounds=True),
                self._builder.add(upward_normals(own, topology), gltf.FLOAT, "VEC3"),
            )
            if face.id in frame.textures:
                track.texture = self._builder.add_texture(frame.textures[face.id])
        else:
            offsets = own - track.base
            track.targets.append(self._builder.add(offsets, gltf.FLOAT, "VEC3", bounds=True))
        width, height = frame.frame_size_wh
        centre = np.array([(width - 1) / 2, -(height - 1) / 2, 0.0])
        track.move(
            (pose.translation * UP - centre) * self._metres,
            quaternion_from_rotation(pose.rotation),
            pose.scale * self._metres,
        )
        track.times.append(frame.time_s - self._start_s)
        track.frames.append(frame.seq)
        self.count += 1

    def _share(self, topology: TopologyMessage) -> None:
        """Write what all faces of one topology have in common."""
        if id(topology) not in self._shared:
            indices = self._builder.add(
                topology.triangles.reshape(-1),
                gltf.UINT32,
                "SCALAR",
                target=gltf.ELEMENT_BUFFER,
            )
            uv = self._builder.add(gltf.texture_coordinates(topology.uv), gltf.FLOAT, "VEC2")
            self._shared[id(topology)] = topology, indices, uv

    def close(self) -> None:
        """Write the animations, and the file."""
        self._limit.check(self._every)
        self._faces.check(self.count + self._unusable)
        if not self._tracks:
            raise InputError("no face of the recording has a pose that can be used")
        with self._file, self._data:
            self._builder.write(self._document(), self._file)

    def discard(self) -> None:
        """Close the files."""
        self._file.close()
        self._data.close()

    def _document(self) -> dict[str, Any]:
        animation = _Animation(self._builder)
        nodes, meshes = [], []
        for number, (key, track) in enumerate(self._tracks.items()):
            name = f"{key[0]}-{face_name(key)}"
            meshes.append(self._mesh(name, number, track))
            nodes.append(_node(name, number, track))
            animation.add(number, track)
        document: dict[str, Any] = {
            "scene": 0,
            "scenes": [{"name": key[0], "nodes": list(range(len(nodes)))}],
            "nodes": nodes,
            "meshes": meshes,
            "materials": [_material(track) for track in self._tracks.values()],
        }
        if any("extensions" in material for material in document["materials"]):
            document["extensionsUsed"] = [gltf.UNLIT]
        if animation.channels:
            document["animations"] = [
                {
                    "name": "recording",
                    "channels": animation.channels,
                    "samplers": animation.samplers,
                }
            ]
        return document

    def _mesh(self, name: str, material: int, track: _Track) -> dict[str, Any]:
        _, indices, uv = self._shared[id(track.topology)]
        primitive: dict[str, Any] = {
            "attributes": {
                "POSITION": track.position,
                "NORMAL": track.normal,
                "TEXCOORD_0": uv,
            },
            "indices": indices,
            "material": material,
            "mode": 4,
        }
        mesh: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if track.targets:
            primitive["targets"] = [{"POSITION": accessor} for accessor in track.targets]
            mesh["weights"] = [0.0] * len(track.targets)
            # Where Blender and three.js look for the names of shape keys.
            mesh["extras"] = {"targetNames": [f"frame {seq}" for seq in track.frames[1:]]}
        return mesh


def _material(track: _Track) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    material = {"name": "face", "doubleSided": True, "pbrMetallicRoughness": surface}
    if track.texture is None:
        surface["baseColorFactor"] = _SKIN
    else:  # the light of the picture is in its colours already
        surface["baseColorTexture"] = {"index": track.texture}
        material["extensions"] = {gltf.UNLIT: {}}
    return material


def _node(name: str, mesh: int, track: _Track) -> dict[str, Any]:
    return {
        "name": name,
        "mesh": mesh,
        "translation": track.translations[0],
        "rotation": track.rotations[0],
        "scale": [track.scales[0]] * 3,
    }


class _Animation:
    """The channels and samplers of all faces."""

    def __init__(self, builder: gltf.Builder) -> None:
        self.channels: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []
        self._builder = builder

    def add(self, node: int, track: _Track) -> None:
        """Add the four channels of a face; one frame alone does not move."""
        if not track.targets:
            return
        keys = self._put(_increasing(track.times), "SCALAR", bounds=True)
        count = len(track.times)
        weights = np.eye(count, dtype=np.float32)[:, 1:].reshape(-1)
        scales = np.repeat(np.array(track.scales)[:, None], 3, axis=1)
        for path, output in (
            ("translation", self._put(np.array(track.translations), "VEC3")),
            ("rotation", self._put(_unit(np.array(track.rotations)), "VEC4")),
            ("scale", self._put(scales, "VEC3")),
            ("weights", self._put(weights, "SCALAR")),
        ):
            sampler = {"input": keys, "output": output, "interpolation": "LINEAR"}
            target = {"node": node, "path": path}
            self.channels.append({"sampler": len(self.samplers), "target": target})
            self.samplers.append(sampler)

    def _put(self, values: Any, shape: str, *, bounds: bool = False) -> int:
        return self._builder.add(values, gltf.FLOAT, shape, bounds=bounds, target=None)


def _unit(quaternions: Any) -> Float32:
    values = quaternions.astype(np.float32)
    unit: Float32 = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def _increasing(times: list[float]) -> Float32:
    """The times as float32, each above the one before also where that rounds them together."""
    keys = np.array(times, np.float32)
    for index in range(1, len(keys)):
        keys[index] = max(keys[index], np.nextafter(keys[index - 1], np.float32(np.inf)))
    return keys


def _has_eyes(face: Face) -> bool:
    """Whether the landmarks can tell the size of the face."""
    return len(face.landmarks) > max(OUTER_EYE_CORNERS) and bool(np.isfinite(face.landmarks).all())


def _is_usable(pose: Pose) -> bool:
    """Whether the pose is a similarity: finite, a proper rotation, a size above 0."""
    rotation = pose.rotation
    finite = np.isfinite(rotation).all() and np.isfinite(pose.translation).all()
    if not finite or not 1e-6 < pose.scale < 1e6 or np.abs(pose.translation).max() > 1e9:
        return False
    straight = np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
    return bool(straight and np.linalg.det(rotation) > 0)


def _in_head(vertices: Float32, pose: Pose) -> Float32:
    """Vertices `(N, 3)` of a frame in the head's own axes and units, which `pose` places."""
    up = vertices.astype(np.float64) * UP
    return np.asarray((up - pose.translation * UP) @ pose.rotation / pose.scale, np.float32)
