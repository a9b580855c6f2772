"""The fixed meaning of a position map's texels: vertices, triangles, landmarks, masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.arrays import read_arrays
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

UV_SIZE = 256
FORMAT = 1
PARTS = ("eyes", "brows", "nose", "lips", "face")


@dataclass(frozen=True)
class Topology:
    """What every position map of one engine shares. N vertices, T triangles.

    Attributes:
        name: of the engine that owns it.
        texel: `(N,)` int32, flat index `row * 256 + column` of each vertex, strictly increasing.
        triangles: `(T, 3)` int32 vertex indices. Seen from outside the face the corners run
            counter-clockwise (y up), so that `(b - a) x (c - a)` of `(x, -y, z)` points outwards.
        canonical: `(N, 3)` float32 rest shape, x right in the image of a frontal face, y up, z
            towards the camera; the unit cancels in the pose.
        landmarks: `(68,)` int32 vertex indices, iBUG/300-W order.
        pose_weights: `(N,)` float32 >= 0, how much a vertex counts in the pose.
        mirror: `(N,)` int32, the vertex at the mirrored place of the face.
        parts: `(N,)` bool masks by name; at least those of `PARTS`.
        licence: SPDX name or a sentence.
        provenance: where the data come from, and the script that made them.
    """

    name: str
    texel: NDArray[np.int32]
    triangles: NDArray[np.int32]
    canonical: NDArray[np.float32]
    landmarks: NDArray[np.int32]
    pose_weights: NDArray[np.float32]
    mirror: NDArray[np.int32]
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    licence: str = ""
    provenance: str = ""

    @property
    def vertex_count(self) -> int:
        """N."""
        return int(self.texel.shape[0])

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """`(256, 256)` bool, true where a texel is a vertex."""
        mask = np.zeros(UV_SIZE * UV_SIZE, bool)
        mask[self.texel] = True
        return mask.reshape(UV_SIZE, UV_SIZE)

    @cached_property
    def uv(self) -> NDArray[np.float32]:
        """Texture coordinates `(N, 2)` float32 in 0..1, u right, v up: centres of the texels.

        This is the OBJ convention; glTF counts v downwards.
        """
        row, column = np.divmod(self.texel, UV_SIZE)
        u = (column + 0.5) / UV_SIZE
        v = 1.0 - (row + 0.5) / UV_SIZE
        return np.stack([u, v], axis=1).astype(np.float32)

    def check(self) -> None:
        """Raise `EngineError` naming the first array that contradicts the others."""
        n = self.vertex_count
        rules = {
            "texel": self.texel.ndim == 1
            and n > 0
            and bool((np.diff(self.texel) > 0).all())
            and int(self.texel[0]) >= 0
            and int(self.texel[-1]) < UV_SIZE * UV_SIZE,
            "triangles": self.triangles.ndim == 2
            and self.triangles.shape[1:] == (3,)
            and _indices_below(self.triangles, n),
            "canonical": self.canonical.shape == (n, 3) and bool(np.isfinite(self.canonical).all()),
            "landmarks": self.landmarks.shape == (68,) and _indices_below(self.landmarks, n),
            "pose_weights": self.pose_weights.shape == (n,)
            and bool((self.pose_weights >= 0).all())
            and float(self.pose_weights.sum()) > 0,
            "mirror": self.mirror.shape == (n,) and _indices_below(self.mirror, n),
            "parts": all(mask.shape == (n,) for mask in self.parts.values()),
        }
        for key, good in rules.items():
            if not good:
                raise EngineError(
                    f"topology of {self.name}: array {key!r} does not fit",
                    hint="import or build the engine again",
                )

    def save(self, path: Path) -> None:
        """Write a compressed .npz file (format 1)."""
        arrays: dict[str, Any] = {
            "format": np.int32(FORMAT),
            "texel": self.texel,
            "triangles": self.triangles,
            "canonical": self.canonical,
            "landmarks": self.landmarks,
            "pose_weights": self.pose_weights,
            "mirror": self.mirror,
        }
        arrays |= {f"part_{name}": np.packbits(mask) for name, mask in self.parts.items()}
        for key in ("name", "licence", "provenance"):
            arrays[key] = np.array(getattr(self, key))
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read what `save` wrote.

        Raises:
            EngineError: the file is missing, damaged, of another format, or contradicts itself.
        """
        try:
            topology = cls._from_arrays(read_arrays(path))
        except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise EngineError(
                f"{path}: not a topology file: {error}", hint="import or build the engine again"
            ) from error
        topology.check()
        return topology

    @classmethod
    def _from_arrays(cls, data: Mapping[str, NDArray[np.generic]]) -> Topology:
        if int(data["format"]) != FORMAT:
            raise ValueError(f"format {int(data['format'])}, expected {FORMAT}")
        texel = np.asarray(data["texel"], np.int32)
        n = texel.shape[0]
        parts = {
            key.removeprefix("part_"): np.unpackbits(
                np.asarray(data[key], np.uint8), count=n
            ).astype(bool)
            for key in data
            if key.startswith("part_")
        }
        return cls(
            name=str(data["name"]),
            texel=texel,
            triangles=np.asarray(data["triangles"], np.int32),
            canonical=np.asarray(data["canonical"], np.float32),
            landmarks=np.asarray(data["landmarks"], np.int32),
            pose_weights=np.asarray(data["pose_weights"], np.float32),
            mirror=np.asarray(data["mirror"], np.int32),
            parts=parts,
            licence=str(data["licence"]),
            provenance=str(data["provenance"]),
        )


def _indices_below(indices: NDArray[np.int32], n: int) -> bool:
    return indices.size > 0 and int(indices.min()) >= 0 and int(indices.max()) < n
