"""What `fit` trains on: the data set that `label` made, or position maps of others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streamprn.errors import InputError
from streamprn.train import position_maps
from streamprn.train.dataset import Dataset
from streamprn.train.position_maps import MapSampler, PositionMaps
from streamprn.train.samples import Sampler

OWN: Final = "own"
KINDS: Final = (OWN, position_maps.NAME)

AnyData = Dataset | PositionMaps
AnySampler = Sampler | MapSampler


def open_labels(folder: Path, kind: str, uv_data: str) -> AnyData:
    """Open them.

    Args:
        folder: of the labels.
        kind: one of `KINDS`.
        uv_data: the authors' `uv-data`, for position maps.

    Raises:
        InputError: they are not there or not of that kind, or the kind is unknown.
        EngineError: `uv_data` is not complete.
    """
    if kind == OWN:
        return Dataset.open(folder)
    if kind != position_maps.NAME:
        raise InputError(f"no labels of kind {kind!r}", hint=f"choose one of: {', '.join(KINDS)}")
    if not uv_data:
        raise InputError(
            f"labels of kind {kind} need the authors' UV data",
            hint="add --uv-data Data/uv-data of their repository",
        )
    return PositionMaps.open(folder, Path(uv_data))


def sampler_of(data: AnyData, size: int, seed: int) -> AnySampler:
    """Makes its samples; see there."""
    if isinstance(data, PositionMaps):
        return MapSampler(data, seed)
    return Sampler(data, size, seed)


def open_sampler(folder: Path, kind: str, uv_data: str, size: int, seed: int) -> AnySampler:
    """As `sampler_of`, of labels that are opened first; for processes of their own."""
    return sampler_of(open_labels(folder, kind, uv_data), size, seed)
