"""Labels in the format of the PRN's authors: a crop, and its position map as .npy beside it.

That is what `generate_posmap_300WLP.py` of the authors' face3d makes of 300W-LP: `NAME.jpg`, 256 x
256, and `NAME.npy`, `(256, 256, 3)`: x, y and z of each texel in pixels of the crop, y down, z to
the camera with its smallest value 0. Texels mean what the authors' `uv-data` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from streamprn.apps.images import read_image
from streamprn.engines.resfcn256 import uvdata
from streamprn.engines.topology import UV_SIZE
from streamprn.errors import InputError
from streamprn.train import augment
from streamprn.train.samples import Batch, Rng

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, UInt8

NAME: Final = "300W-LP"
SIDE: Final = 256
_PICTURES = (".jpg", ".png", ".jpeg")
_HELD_OUT = 0.03
# A map may leave the crop, but not that far; one in 0..1 is not in pixels.
_FARTHEST, _SMALLEST = 4 * SIDE, 8.0
_HINT = "see docs/training.md for the layout"
# As in the paper, section 3.3.
_MOST_TURN, _MOST_SHIFT, _ZOOMS, _TINTS = math.radians(45), 0.1, (0.9, 1.2), (0.6, 1.4)


@dataclass(frozen=True)
class PositionMaps:
    """N labelled crops.

    Attributes:
        pairs: picture and map of each.
        topology: of the authors' layout, V vertices.
        held_out: `(N,)` bool, those that training does not see.
        card: counts, see `Dataset.card`.
    """

    pairs: list[tuple[Path, Path]]
    topology: Topology
    held_out: NDArray[np.bool_]
    card: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, uv_data: Path) -> PositionMaps:
        """Find the pairs below a folder; their contents are read when needed.

        Args:
            folder: is searched.
            uv_data: the authors' `Data/uv-data`.

        Raises:
            InputError: there are fewer than two pairs, or a map has no picture.
            EngineError: `uv_data` is not complete.
        """
        maps = sorted(folder.rglob("*.npy")) if folder.is_dir() else []
        if len(maps) < 2:
            raise InputError(f"{folder}: {len(maps)} position maps (.npy) there", hint=_HINT)
        pairs = [(_picture(path), path) for path in maps]
        held = np.zeros(len(pairs), bool)
        order = np.random.default_rng(3).permutation(len(pairs))
        held[order[: max(1, round(_HELD_OUT * len(pairs)))]] = True
        topology = uvdata.read_topology(
            uv_data,
            licence="as the authors' UV data: published for research",
            provenance=f"the authors' uv-data, read from {uv_data}",
        )
        counts = {"labelled": len(pairs), "kept": len(pairs)}
        card = {
            "teacher": NAME,
            "faces": len(pairs),
            "held_out": int(held.sum()),
            "sources": {str(folder): counts},
        }
        return cls(pairs, topology, held, card)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[UInt8, Float32]:
        """Crop `(256, 256, 3)` uint8 RGB and vertices `(V, 3)` float32 in its pixels.

        Raises:
            InputError: one of the two files is not what it should be.
        """
        picture, path = self.pairs[index]
        crop = read_image(picture)
        if crop.shape != (SIDE, SIDE, 3):
            size = f"{crop.shape[1]}x{crop.shape[0]}"
            raise InputError(f"{picture}: is {size}, not {SIDE}x{SIDE}", hint=_HINT)
        return crop, _read_map(path, self.topology.texel)


def _picture(path: Path) -> Path:
    for suffix in _PICTURES:
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise InputError(f"{path}: no picture of that name (.jpg, .png) beside it", hint=_HINT)


def _read_map(path: Path, texel: NDArray[np.int32]) -> Float32:
    shape = (UV_SIZE, UV_SIZE, 3)
    try:
        # Mapped, so that a file of another size costs no memory before it is refused.
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(stored, np.ndarray) or stored.shape != shape or stored.dtype.kind != "f":
            what = f"{stored.dtype}{stored.shape}" if isinstance(stored, np.ndarray) else "archive"
            raise ValueError(f"{what} in place of float{shape}")
        vertices = np.asarray(stored.reshape(-1, 3)[texel], np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no position map: {error}", hint=_HINT) from error
    if not np.isfinite(vertices).all() or np.abs(vertices).max() > _FARTHEST:
        raise InputError(f"{path}: a coordinate is no place near the crop", hint=_HINT)
    if np.ptp(vertices[:, :2], axis=0).max() < _SMALLEST:
        raise InputError(f"{path}: the map is not in pixels of the crop", hint=_HINT)
    return vertices


class MapSampler:
    """Makes batches of such labels, spoiled as in the paper and as `augment` does.

    Sample k of a step depends on the seed, the step and k alone, as those of `Sampler`.
    """

    #: A picture shows its face as it is: there is no head model to turn it with.
    yaws: tuple[float | None, ...] = (None,)

    def __init__(self, data: PositionMaps, seed: int = 0) -> None:
        self._data = data
        self._seed = seed
        self._seen = np.flatnonzero(~data.held_out)
        self._held = np.flatnonzero(data.held_out)

    def batch(self, step: int, count: int) -> Batch:
        """The training samples of a step."""
        return _stack(
            [self._draw(np.random.default_rng((self._seed, step, k))) for k in range(count)]
        )

    def held_out(self, yaw: float | None, count: int, first: int = 0) -> Batch:
        """Crops that training does not see, as they are."""
        del yaw
        chosen = np.resize(self._held, first + count)[first:].tolist()
        return _stack([self._data.read(index) for index in chosen])

    def _draw(self, rng: Rng) -> tuple[UInt8, Float32]:
        crop, vertices = self._data.read(int(rng.choice(self._seen)))
        other, _ = self._data.read(int(rng.choice(self._seen)))
        matrix, zoom = _move(rng)
        border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
        moved = cv2.warpAffine(crop, matrix, (SIDE, SIDE), borderMode=border)
        tinted = moved.astype(np.float32) * rng.uniform(*_TINTS, 3).astype(np.float32)
        flat = vertices[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        points = np.concatenate([flat, zoom * vertices[:, 2:]], 1).astype(np.float32)
        image = augment.finish(tinted, other, rng)
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            points = points[self._data.topology.mirror]
            points[:, 0] = SIDE - 1 - points[:, 0]
        return image, points


def _move(rng: Rng) -> tuple[Float32, float]:
    """`(2, 3)` the old crop's pixels to the new one's, and how much larger it makes a face."""
    zoom = float(rng.uniform(*_ZOOMS))
    middle = (SIDE - 1) / 2
    turn = math.degrees(rng.uniform(-_MOST_TURN, _MOST_TURN))
    matrix = cv2.getRotationMatrix2D((middle, middle), turn, zoom)
    matrix[:, 2] += rng.uniform(-_MOST_SHIFT, _MOST_SHIFT, 2) * SIDE
    return np.asarray(matrix, np.float32), zoom


def _stack(made: list[tuple[UInt8, Float32]]) -> Batch:
    """Crops and vertices in the units of `Batch.points`."""
    images, vertices = (np.stack(parts) for parts in zip(*made, strict=True))
    points = (vertices + np.float32(0.5)) / np.float32(SIDE / 2) - 1
    depth = vertices[:, :, 2:]
    points[:, :, 2:] = (depth.mean(1, keepdims=True) - depth) / (SIDE / 2)
    return Batch(images, points.astype(np.float32), np.ones(len(images), bool))
