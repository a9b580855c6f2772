"""docs/faults.md: what is measured anew replaces its section, the others stay."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import old_section, table

__all__ = ["SECTIONS", "table", "write_section"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
#: In their order.
SECTIONS = (
    "Faults",
    "An hour in which everything comes and goes",
)
_HEAD = """# Faults

What a subscriber sees when something breaks, and how soon all is well again. Everything here is
made by `python -m benchmarks.faults --write` and `python -m benchmarks.soak --churn --write`, with
real parts: a `streamprn run`, cameras that are RTSP and HTTP servers in processes of their own,
subscribers over TCP. Peers (DeepStream, Savant, Roboflow Inference, Frigate) publish no such
figures, so that nothing stands beside ours."""


def write_section(title: str, body: str, page: Path = PAGE) -> None:
    """Replace a section."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    text = [_HEAD]
    for name in SECTIONS:
        found = body if name == title else old_section(old, name) or "Not measured."
        text.append(f"## {name}\n\n{found.strip()}")
    page.write_text("\n\n".join(text) + "\n", encoding="utf-8")
