"""`streamprn train label`: folders of pictures to a labelled data set.

Resumable: the teacher's words are kept in parts of 64 pictures, written at once or not at all; a
second call goes on after the last of them. What is kept is decided when all parts are there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import InputError, TooManyPixelsError
from streamprn.pixels import limit_pixels, most_pixels
from streamprn.train import correspondence, dataset
from streamprn.train.fitting import Fit, LinearFit
from streamprn.train.linear_model import LinearModel
from streamprn.train.processes import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamprn.records import Float32
    from streamprn.train.teacher import Teacher

PART = 64
_LONGEST_PX = 900
_BATCH = 1000
# Faces from which the correspondence is corrected, and how often.
_CORRECTION_FACES, _CORRECTIONS = 2000, 2


@dataclass(frozen=True, slots=True)
class Rules:
    """Which labels are kept.

    Attributes:
        spread: the most that looks may differ, in parts of the face.
        residual_percentile: of the model's fit; labels above are left out.
        yaw: degrees; the teacher turns too little beyond.
        pitch: degrees.
        held_out: part of the faces that training does not see.
    """

    spread: float = 0.016
    residual_percentile: float = 97.0
    yaw: float = 33.0
    pitch: float = 35.0
    held_out: float = 0.03


def find_pictures(sources: list[Path]) -> list[tuple[str, Path]]:
    """Every picture below the sources with the name of its source, in an order that mixes them.

    Raises:
        InputError: a source is not there, or there is no picture at all.
    """
    from streamprn.apps.images import IMAGE_SUFFIXES

    found: list[tuple[str, Path]] = []
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder", hint="check the path")
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        found += [(str(source), file) for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(
            f"no pictures in {', '.join(map(str, sources))}",
            hint=f"known are {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return [found[index] for index in np.random.default_rng(0).permutation(len(found))]


def label(
    sources: list[Path],
    model_dir: Path,
    output: Path,
    *,
    rules: Rules | None = None,
    processes: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Label pictures and write the data set.

    Args:
        sources: pictures, or folders that are searched.
        model_dir: see `LinearModel.read`.
        output: the folder to write.
        rules: which labels are kept.
        processes: how many teach at once.
        tell: is told how many of how many pictures are done.

    Returns:
        The card.

    Raises:
        InputError: nothing to label, no model, or another set of pictures was begun there.
    """
    model = LinearModel.read(model_dir)
    pictures = find_pictures(sources)
    parts = _begin(output, pictures)
    _teach(parts, processes, tell)
    taught, refused = _gather(parts, pictures)
    if len(taught["number"]) == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.items())
        raise InputError(f"no face was found in any picture: {reasons}", hint="label portraits")
    return _write(output, model, taught, refused, rules or Rules())


@dataclass(frozen=True)
class _Part:
    file: Path
    first: int
    pictures: list[Path]


def _begin(output: Path, pictures: list[tuple[str, Path]]) -> list[_Part]:
    """The parts of the work; those done before are there."""
    names = [str(path.resolve()) for _, path in pictures]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    folder = output / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "pictures.sha256"
    if stamp.exists() and stamp.read_text() != digest:
        raise InputError(
            f"{output}: labels of other pictures lie there",
            hint="choose another --output, or delete that folder",
        )
    stamp.write_text(digest)
    return [
        _Part(
            folder / f"{first // PART:05d}.npz",
            first,
            [path for _, path in pictures[first : first + PART]],
        )
        for first in range(0, len(pictures), PART)
    ]


def _teach(parts: list[_Part], processes: int, tell: Callable[[int, int], None]) -> None:
    total = sum(len(part.pictures) for part in parts)
    todo = [part for part in parts if not part.file.exists()]
    done = total - sum(len(part.pictures) for part in todo)
    tell(done, total)
    for count in _in_processes(todo, processes):
        done += count
        tell(done, total)


def _in_processes(todo: list[_Part], processes: int) -> Iterator[int]:
    if processes == 1 or len(todo) < 2:
        yield from map(_teach_part, todo)
        return
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=limit_pixels, initargs=(most_pixels(),)
    ) as pool:
        with one_blas_thread():
            counts = pool.map(_teach_part, todo)
        yield from counts


_teacher: Teacher | None = None


def _teach_part(part: _Part) -> int:
    """Write one part; returns how many pictures it has."""
    global _teacher  # noqa: PLW0603  networks are compiled once a process
    import cv2

    from streamprn.apps.images import read_image
    from streamprn.train.teacher import CROP, Teacher

    cv2.setNumThreads(1)
    _teacher = _teacher or Teacher()
    crops, points, spread, index, refused = [], [], [], [], []
    for offset, path in enumerate(part.pictures):
        number = part.first + offset
        try:
            rgb = read_image(path, max_size=_LONGEST_PX)
        except TooManyPixelsError:
            refused.append("too many pixels")
            continue
        except InputError:
            refused.append("unreadable")
            continue
        found = _teacher.teach(rgb, np.random.default_rng((1, number)))
        if isinstance(found, str):
            refused.append(found)
            continue
        crops.append(found.crop)
        points.append(found.points)
        spread.append(found.spread)
        index.append(number)
    made = part.file.with_suffix(".new")
    with made.open("wb") as file:
        np.savez(
            file,
            crops=np.array(crops, np.uint8).reshape(-1, CROP, CROP, 4),
            points=np.array(points, np.float32).reshape(-1, 468, 3),
            spread=np.array(spread, np.float32),
            index=np.array(index, np.int64),
            refused=np.array(refused, "U16"),
        )
    made.replace(part.file)
    return len(part.pictures)


def _gather(
    parts: list[_Part], pictures: list[tuple[str, Path]]
) -> tuple[dict[str, Any], Counter[str]]:
    """All that the teacher said, but for the crops; and how many pictures it refused, by reason."""
    points, spread, index, place = [], [], [], []
    refused: Counter[str] = Counter()
    for part in parts:
        with np.load(part.file) as data:
            points.append(data["points"])
            spread.append(data["spread"])
            index.append(data["index"])
            place += [(part.file, row) for row in range(len(data["index"]))]
            refused.update(data["refused"].tolist())
    numbers = np.concatenate(index)
    taught = {
        "points": np.concatenate(points),
        "spread": np.concatenate(spread),
        "source": [pictures[number][0] for number in numbers],
        "place": place,
        "number": numbers,
    }
    return taught, refused


def _fit(model: LinearModel, points: Float32, spread: Float32) -> tuple[Fit, Float32, list[float]]:
    """The model fitted to all faces, the points on its mean, the residual before corrections."""
    surface = correspondence.Surface(model)
    rows = correspondence.first_guess(model, surface)
    weights = correspondence.point_weights()
    some = np.random.default_rng(0).permutation(len(points))[:_CORRECTION_FACES]
    residuals = []
    for _ in range(_CORRECTIONS):
        fit = LinearFit(model, rows, weights)(points[some])
        residuals.append(float(fit.residual(points[some]).mean()))
        good = spread[some] <= np.median(spread[some])
        offset = (fit.teacher - fit.shape)[good].mean(0)
        rows = correspondence.corrected(rows, model, surface, offset)
    fitter = LinearFit(model, rows, weights)
    fits = [fitter(points[start : start + _BATCH]) for start in range(0, len(points), _BATCH)]
    whole = Fit(
        *(np.concatenate([getattr(fit, name) for fit in fits]) for name in Fit.__dataclass_fields__)
    )
    return whole, np.asarray(rows @ model.mean, np.float32), residuals


def _write(
    output: Path, model: LinearModel, taught: dict[str, Any], refused: Counter[str], rules: Rules
) -> dict[str, Any]:
    """Choose the faces to keep, and write the arrays and the card."""
    points, spread = taught["points"], taught["spread"]
    fit, anchors, residuals = _fit(model, points, spread)
    residual = fit.residual(points)
    angles = fit.angles
    limit = float(np.percentile(residual, rules.residual_percentile))
    tests = {
        "looks differ": spread >= rules.spread,
        "fits badly": residual > limit,
        "yaw": np.abs(angles[:, 1]) >= rules.yaw,
        "pitch": np.abs(angles[:, 0]) >= rules.pitch,
    }
    keep = ~np.any(list(tests.values()), axis=0)
    for reason, bad in tests.items():
        refused[reason] += int(bad.sum())
    chosen = np.flatnonzero(keep)
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} of {len(points)} labels are good enough", hint="label more portraits"
        )
    _write_arrays(output, taught, chosen)
    held = np.zeros(len(chosen), bool)
    order = np.random.default_rng(3).permutation(len(chosen))
    held[order[: max(1, round(rules.held_out * len(chosen)))]] = True
    np.savez(
        output / dataset.FACES,
        shape=fit.teacher[chosen],
        fitted=fit.shape[chosen],
        anchors=anchors,
        coefficients=fit.coefficients[chosen],
        scale=fit.scale[chosen],
        rotation=fit.rotation[chosen],
        translation=fit.translation[chosen],
        angles=angles[chosen],
        held_out=held,
    )
    model.save(output / dataset.HEAD)
    kept_of = Counter(taught["source"][index] for index in chosen)
    found_in = Counter(taught["source"])
    card = {
        "teacher": "facemesh2",
        "faces": len(chosen),
        "held_out": int(held.sum()),
        "sources": {name: {"labelled": n, "kept": kept_of[name]} for name, n in found_in.items()},
        "left_out": dict(refused),
        "rules": {name: getattr(rules, name) for name in Rules.__dataclass_fields__},
        "residual_percent": {
            "of_corrections": residuals,
            "mean": float(residual[chosen].mean()),
            "limit": limit,
        },
        "yaw_percentiles": np.percentile(np.abs(angles[chosen, 1]), [50, 90, 99]).tolist(),
    }
    dataset.write_card(output, json.loads(json.dumps(card)))
    return card


def _write_arrays(output: Path, taught: dict[str, Any], chosen: Any) -> None:
    from streamprn.train.teacher import CROP

    crops = np.lib.format.open_memmap(
        output / dataset.CROPS, "w+", np.uint8, (len(chosen), CROP, CROP, 4)
    )
    loaded: tuple[Path | None, Any] = (None, None)
    for row, index in enumerate(chosen):
        file, place = taught["place"][index]
        if loaded[0] != file:
            with np.load(file) as data:
                loaded = (file, data["crops"])
        crops[row] = loaded[1][place]
    crops.flush()
    np.save(output / dataset.POINTS, taught["points"][chosen])
