"""Tables and curves of what `benchmarks.score` measured; into docs/score.md where asked."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.score_set import RIGHT
from streamprn.engines.score import Check

BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0)
HIGH = 0.9
BEGIN, END = (
    f"<!-- tables: {word}, by `python -m benchmarks.score --write` -->" for word in ("begin", "end")
)


@dataclass(frozen=True)
class Sample:
    """One region of one picture: what the looks said, and how far the landmarks are off."""

    picture: str
    kind: str
    own: float
    check: Check
    error: float
    score: float

    @property
    def right(self) -> bool:
        """Whether the landmarks lie on the face."""
        return self.error < RIGHT

    @property
    def held_out(self) -> bool:
        """Whether nothing is fitted on this picture."""
        return zlib.crc32(Path(self.picture).name.encode()) % 2 == 1


@dataclass(frozen=True)
class Reported:
    """What was said of a whole picture: a right face or none, and the best score of a wrong one."""

    kind: str
    has_face: bool
    right: bool
    wrong_score: float


@dataclass(frozen=True)
class Figures:
    """What was measured with one engine; `scores` are those of `samples`."""

    engine: str
    taken: int
    samples: list[Sample]
    scores: np.ndarray
    whole: list[Reported]

    @property
    def own(self) -> np.ndarray:
        """The network's own scores."""
        return np.array([one.own for one in self.samples])

    def text(self) -> str:
        """All tables."""
        head = f"{self.taken} regions, {len(self.samples)} of them of held-out pictures."
        return "\n\n".join(
            [f"### `{self.engine}`", head, reliability(self), kept(self), reported(self.whole)]
        )


def bins(samples: list[Sample], scores: np.ndarray) -> list[tuple[float, float, int, float, float]]:
    """For each of `BINS`: its bounds, how many, their mean score, the part that is right."""
    right = np.array([one.right for one in samples])
    rows = []
    for low, high in pairwise(BINS):
        inside = (scores >= low) & ((scores < high) | (high == 1.0))
        mean, part = (
            (float(scores[inside].mean()), float(right[inside].mean()))
            if inside.any()
            else (np.nan, np.nan)
        )
        rows.append((low, high, int(inside.sum()), mean, part))
    return rows


def reliability(figures: Figures) -> str:
    """How many are right at which score, and at which of the network's own."""
    lines = [
        "| score | regions | mean score | right | network's own: regions | right |",
        "|---|---|---|---|---|---|",
    ]
    rows = zip(
        bins(figures.samples, figures.scores), bins(figures.samples, figures.own), strict=True
    )
    for (low, high, count, mean, part), (*_, own_count, _, own_part) in rows:
        values = [_number(mean), _number(part), str(own_count), _number(own_part)]
        lines.append(f"| {low:g} to {high:g} | {count} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def kept(figures: Figures) -> str:
    """What bounds of 0.5 and 0.9 let through, by kind of region."""
    lines = [
        "| regions | right, kept at 0.5 | wrong, kept at 0.5 | wrong, above 0.9 | network's own |",
        "|---|---|---|---|---|",
    ]
    scores, own = figures.scores, figures.own
    good = np.array([one.right for one in figures.samples])
    for kind in dict.fromkeys(one.kind for one in figures.samples):
        chosen = np.array([one.kind == kind for one in figures.samples])
        right, wrong = chosen & good, chosen & ~good
        lines.append(
            f"| {kind} | {(right & (scores >= 0.5)).sum()} of {right.sum()} "
            f"| {(wrong & (scores >= 0.5)).sum()} of {wrong.sum()} "
            f"| {(wrong & (scores >= HIGH)).sum()} | {(wrong & (own >= HIGH)).sum()} |"
        )
    return "\n".join(lines)


def reported(whole: list[Reported]) -> str:
    """What `reconstruct` reports of whole pictures at any roll, by kind."""
    lines = [
        "| pictures, turned by any angle | found and right | wrong face reported | its score |",
        "|---|---|---|---|",
    ]
    for kind in dict.fromkeys(one.kind for one in whole):
        chosen = [one for one in whole if one.kind == kind]
        right = f"{sum(one.right for one in chosen)} of {len(chosen)}"
        worst = max(one.wrong_score for one in chosen)
        wrong = sum(one.wrong_score > 0 for one in chosen)
        shown = right if chosen[0].has_face else f"no face in {len(chosen)}"
        lines.append(f"| {kind} | {shown} | {wrong} | {f'{worst:.3f}' if wrong else '-'} |")
    return "\n".join(lines)


def write(figures: list[Figures], docs: Path) -> None:
    """Put the tables between the marks in score.md, and draw the curves."""
    path = docs / "score.md"
    text = path.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = "\n\n".join(one.text() for one in figures)
    path.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")
    plot(docs / "score.png", figures)


def plot(path: Path, figures: list[Figures]) -> None:
    """Draw reliability curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", label="means what it says")
    for number, one in enumerate(figures):
        for scores, style in ((one.scores, "o-"), (one.own, "x:")):
            rows = bins(one.samples, scores)
            name = one.engine if style == "o-" else f"{one.engine}, the network's own"
            shown = [row for row in rows if row[2]]
            axes.plot(
                [row[3] for row in shown],
                [row[4] for row in shown],
                style,
                color=f"C{number}",
                label=name,
            )
    axes.set(xlabel="score", ylabel="part of the faces that are right")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)
