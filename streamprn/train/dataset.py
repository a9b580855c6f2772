"""The data set that `label` makes and `fit` reads: a folder of flat arrays, and a card.

`crops.npy` and `points.npy` are memory-mapped; `faces.npz` holds the numbers of each face,
`head.npz` the head model, so that the model's own files are not needed again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.files import write_whole
from streamprn.errors import InputError
from streamprn.train.linear_model import LinearModel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.records import Float32, UInt8

CARD = "card.json"
CROPS, POINTS, FACES, HEAD = "crops.npy", "points.npy", "faces.npz", "head.npz"
FORMAT = 1


@dataclass(frozen=True)
class Dataset:
    """N labelled faces.

    Attributes:
        crops: `(N, 192, 192, 4)` uint8, see `teacher.Taught`.
        points: `(N, 468, 3)` float32, pixels of the crop, y down, z to the camera.
        shape: `(N, 468, 3)` float32, the same in the frame and unit of the model.
        fitted: `(N, 468, 3)` float32, the points of the fitted model in the same frame.
        anchors: `(468, 3)` float32, the points on the model's mean.
        coefficients: `(N, K)` float32 of the model.
        scale: `(N,)` float32, pixels a unit.
        rotation: `(N, 3, 3)` float32, see `fitting.Fit`.
        translation: `(N, 3)` float32.
        angles: `(N, 3)` float32 degrees: pitch, yaw, roll.
        held_out: `(N,)` bool, faces that training does not see.
        model: of the head.
        card: sources, counts and settings.
    """

    crops: UInt8
    points: Float32
    shape: Float32
    fitted: Float32
    anchors: Float32
    coefficients: Float32
    scale: Float32
    rotation: Float32
    translation: Float32
    angles: Float32
    held_out: NDArray[np.bool_]
    model: LinearModel
    card: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Map the arrays of a folder.

        Raises:
            InputError: it is not such a folder, or not complete.
        """
        path = folder / CARD
        if not path.is_file():
            raise InputError(
                f"{folder}: is no labelled data set (no {CARD})",
                hint="make it with `streamprn train label`",
            )
        try:
            card = json.loads(path.read_text())
            if card["format"] != FORMAT:
                raise ValueError(f"format {card['format']}, expected {FORMAT}")
            crops = np.load(folder / CROPS, mmap_mode="r")
            points = np.load(folder / POINTS, mmap_mode="r")
            with np.load(folder / FACES) as data:
                faces = {key: data[key] for key in data.files}
            model = LinearModel.load(folder / HEAD)
            return cls(crops=crops, points=points, model=model, card=card, **faces)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder}: damaged data set: {error}", hint="run `streamprn train label` again"
            ) from error

    def __len__(self) -> int:
        return len(self.scale)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card last: a folder with a card is complete."""
    text = json.dumps({"format": FORMAT, **card}, indent=1) + "\n"
    write_whole(folder / CARD, text.encode())
