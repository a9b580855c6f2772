"""Several engines on the same pictures, side by side: never on different ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.datasets import Truth
from streamprn.apps.evaluation import Score, Summary, summarise
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Run", "compare", "read_runs", "write_runs"]

FORMAT = 1
_NUMBERS = tuple(
    one.name for one in fields(Score) if one.name not in ("truth", "found", "landmarks")
)
_SHOWN_NAMES = 3


@dataclass(frozen=True)
class Run:
    """One engine on one dataset.

    Attributes:
        engine: its name or folder.
        backend: what ran it, in words.
        layout: of the dataset.
        crop: see `evaluation.Evaluator`.
        scores: one a picture.
        source: where it is from, for errors: the engine, or the file of results.
    """

    engine: str
    backend: str
    layout: str
    crop: str
    scores: tuple[Score, ...]
    source: str = ""

    @property
    def pictures(self) -> dict[str, str]:
        """Digest by name of every picture."""
        return {one.truth.name: one.truth.digest for one in self.scores}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Summaries of runs, in their order, over the pictures in which all of them found the face.

    Attributes:
        summaries: but for `missed`, which counts all pictures, over the common ones.
        pictures: of the dataset.
        common: in how many of them every run found the face.
    """

    summaries: tuple[Summary, ...]
    pictures: int
    common: int


def compare(runs: Sequence[Run]) -> Comparison:
    """Put runs side by side.

    Raises:
        InputError: they are of different pictures, layouts or crops.
    """
    first, *others = runs
    for other in others:
        _check_same(first, other)
    found = [{one.truth.name for one in run.scores if one.found} for run in runs]
    common = set.intersection(*found)
    summaries = []
    for run, own in zip(runs, found, strict=True):
        summary = summarise([one for one in run.scores if one.truth.name in common])
        missed = len(run.scores) - len(own)
        values = {one.name: getattr(summary, one.name) for one in fields(Summary)}
        summaries.append(Summary(**values | {"pictures": len(run.scores), "missed": missed}))
    return Comparison(tuple(summaries), len(first.scores), len(common))


def _check_same(first: Run, other: Run) -> None:
    ours, theirs = first.source or first.engine, other.source or other.engine
    for what in ("layout", "crop"):
        one, two = getattr(first, what), getattr(other, what)
        if one != two:
            raise InputError(
                f"{ours} and {theirs} cannot be compared: {what} {one} against {two}",
                hint="evaluate both alike",
            )
    mine, yours = first.pictures, other.pictures
    reasons = [
        _named(len(names), text, names)
        for text, names in (
            (f"only in {ours}", sorted(mine.keys() - yours.keys())),
            (f"only in {theirs}", sorted(yours.keys() - mine.keys())),
            ("changed", sorted(name for name in mine.keys() & yours if mine[name] != yours[name])),
        )
        if names
    ]
    if reasons:
        raise InputError(
            f"{ours} and {theirs} are of different pictures: {'; '.join(reasons)}",
            hint="evaluate both engines on the same pictures: --engine A --engine B",
        )


def _named(count: int, text: str, names: Sequence[str]) -> str:
    more = ", ..." if count > _SHOWN_NAMES else ""
    return f"{count} {text} ({', '.join(names[:_SHOWN_NAMES])}{more})"


def write_runs(path: Path, runs: Iterable[Run]) -> None:
    """Write results as JSON, for `read_runs`; numbers that are not known are null.

    Raises:
        InputError: the file cannot be written.
    """
    content = {"format": FORMAT, "runs": [_as_plain(run) for run in runs]}
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _as_plain(run: Run) -> dict[str, Any]:
    return {
        "engine": run.engine,
        "backend": run.backend,
        "layout": run.layout,
        "crop": run.crop,
        "pictures": [
            {
                "name": one.truth.name,
                "digest": one.truth.digest,
                "pitch_yaw_roll": [_number(value) for value in one.truth.pitch_yaw_roll.tolist()],
                "found": one.found,
                **{name: _number(getattr(one, name)) for name in _NUMBERS},
            }
            for one in run.scores
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def read_runs(path: Path) -> list[Run]:
    """The runs in a file of `write_runs`; their truths have no landmarks.

    Raises:
        InputError: the file cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not JSON: {error}", hint="give results.json files of `evaluate --out`"
        ) from error
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
        runs = [_of_plain(one, path) for one in content["runs"]]
        if not runs:
            raise ValueError("it holds no run")
        return runs
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path}: no results of `evaluate`: {reason}",
            hint="give results.json files of `evaluate --out`",
        ) from error


def _of_plain(said: dict[str, Any], path: Path) -> Run:
    scores = []
    for one in said["pictures"]:
        angles = np.array([_value(angle) for angle in one["pitch_yaw_roll"]], np.float64)
        if angles.shape != (3,):
            raise ValueError(f"pitch_yaw_roll of {one['name']}")
        name = str(one["name"])
        truth = Truth(name, Path(name), None, angles, digest=str(one["digest"]))
        numbers = {key: _value(one[key]) for key in _NUMBERS}
        scores.append(Score(truth, bool(one["found"]), None, **numbers))
    texts = {key: str(said[key]) for key in ("engine", "backend", "layout", "crop")}
    return Run(**texts, scores=tuple(scores), source=f"{path} ({texts['engine']})")


def _value(number: float | None) -> float:
    return math.nan if number is None else float(number)
