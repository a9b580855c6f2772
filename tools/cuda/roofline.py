"""`python -m tools.cuda.roofline [FILE]`: what the CUDA kernels take, and could reach.

Compiles every kernel for every architecture, reads registers, shared memory and spills from
`ptxas` and counts the machine instructions with `nvdisasm`; works out the bytes and operations of
one face and the least time that two GPUs could need for them. With FILE, the tables replace what
stands between the two marks in it (`docs/gpu.md`); else they are printed.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.errors import InputError, StreamPRNError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tools.cuda.toolchain import Resources

BEGIN = "<!-- tables: python -m tools.cuda.roofline docs/gpu.md -->"
END = "<!-- end of tables -->"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU's peaks as its maker states them: bytes/s, float32 and float64 operations/s."""

    name: str
    bytes_per_s: float
    flops: float
    flops64: float


CARDS = (
    Card("H100 SXM", 3.35e12, 66.9e12, 33.5e12),
    Card("RTX 4090", 1.008e12, 82.6e12, 1.29e12),
)


@dataclass(frozen=True, slots=True)
class Workload:
    """One face: of `resfcn256`, or of `facemesh` where the kernel is for it alone.

    Attributes:
        vertices: N.
        triangles: T.
        crop: S.
        pixels: of the depth image (640 x 480).
        covered: pixel tests of all triangles of a 300 pixel face, boxes included.
        texture: texels of a UV texture.
        nonzero: entries of the sparse stage.
        control: its rows.
    """

    vertices: int = 43_867
    triangles: int = 86_964
    crop: int = 256
    pixels: int = 640 * 480
    covered: int = 4 * 86_964
    texture: int = 256 * 256
    nonzero: int = 76_420
    control: int = 7_257


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one launch for one face.

    Attributes:
        least: bytes that must move: every input once, every output once.
        ours: bytes that the kernel moves, with what it reads again beyond the caches of an SM.
        flops: float32 operations.
        flops64: float64 operations.
        why: where ours is more than twice the least.
    """

    least: int
    ours: int
    flops: int
    flops64: int = 0
    why: str = ""

    def least_us(self, card: Card) -> float:
        """Microseconds that the card needs at least: by memory or by arithmetic."""
        seconds = max(
            self.least / card.bytes_per_s,
            self.flops / card.flops,
            self.flops64 / card.flops64,
        )
        return 1e6 * seconds


def costs(work: Workload) -> Mapping[str, Cost]:
    """Cost of every kernel by name."""
    n, t, crop = work.vertices, work.triangles, work.crop * work.crop
    sums = 128 * 22 * 4
    restored = 12 * n + 16 * n + sums
    control = 12 * work.control
    keys = 8 * work.pixels
    return {
        "warp_yuv": Cost((27 * crop) // 2, (27 * crop) // 2, 120 * crop),
        "warp_rgb": Cost(crop * (3 + 12), crop * (3 + 12), crop * 90),
        "subdivide_control": Cost(
            8 * work.nonzero + control, 8 * work.nonzero + control + 4 * work.control,
            9 * work.nonzero,
        ),
        "restore_map": Cost(restored + 16 * n, restored + 16 * n, 60 * n),
        "restore_control": Cost(restored + 24 * n + control, restored + 24 * n + control, 75 * n),
        "finish_faces": Cost(sums + 256 + 2 * 68 * 12, sums + 256 + 2 * 68 * 12, 0, 12_000),
        "settle_vertices": Cost(
            8 * n, 24 * n, n,
            why="z of each vertex lies 12 bytes from the next, so whole sectors move; they are in "
            "the second-level cache, written a moment before",
        ),
        "clear_keys": Cost(keys, keys, 0),
        "draw_triangles": Cost(
            12 * n + 12 * t + 8 * work.covered // 4, 12 * n + 12 * t + 16 * work.covered // 4,
            20 * t, 25 * work.covered,
        ),
        "resolve_depth": Cost(keys + 4 * work.pixels, keys + 4 * work.pixels, 0),
        "visible_landmarks": Cost(68 * 245, 68 * 245, 68 * 140),
        "face_textures": Cost(
            work.texture * 15 + 12 * (n + t) + 3 * n, work.texture * 15 + 12 * (n + t) + 3 * n,
            70 * work.texture,
        ),
    }  # fmt: skip


def measure_all() -> dict[str, dict[tuple[int, int], Resources]]:
    """Resources of every kernel on every architecture, each compiled for it from the source.

    Raises:
        BackendError: a compiler is missing.
    """
    from streamprn.kernels.cuda.catalogue import KERNELS
    from streamprn.kernels.export import ptx
    from tools.cuda import toolchain

    found: dict[str, dict[tuple[int, int], Resources]] = {}
    with ThreadPoolExecutor(2) as pool:
        for kernel in KERNELS.values():
            texts = [ptx(kernel, target) for target in toolchain.CAPABILITIES]
            built = pool.map(
                lambda pair: toolchain.assemble(*pair, count=True)[1],
                zip(texts, toolchain.CAPABILITIES, strict=True),
            )
            found[kernel.name] = dict(zip(toolchain.CAPABILITIES, built, strict=True))
    return found


def tables(found: Mapping[str, Mapping[tuple[int, int], Resources]]) -> str:
    """Both tables in Markdown."""
    return "\n".join([*_resource_table(found), "", *_roofline_table(found), ""])


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _resource_table(found: Mapping[str, Mapping[tuple[int, int], Resources]]) -> list[str]:
    targets = list(next(iter(found.values())))
    names = [f"sm_{major}{minor}" for major, minor in targets]
    lines = [
        "Registers of a thread; shared memory of a block; the most bytes of stack and of spills on "
        "any architecture.",
        "",
        _row(["kernel", *names, "shared", "stack", "spills"]),
        _row(["---"] * (len(names) + 4)),
    ]
    for name, by_target in found.items():
        each = list(by_target.values())
        lines.append(
            _row(
                [
                    f"`{name}`",
                    *(one.registers for one in each),
                    max(one.shared for one in each),
                    max(one.stack for one in each),
                    max(one.spills for one in each),
                ]
            )
        )
    return lines


def _roofline_table(found: Mapping[str, Mapping[tuple[int, int], Resources]]) -> list[str]:
    lines = [
        "One face. Least: every input read and every output written once. Instructions: static, of "
        "the machine code for the card's architecture (H100 sm_90, RTX 4090 sm_89).",
        "",
        _row(
            ["kernel", "least KB", "ours KB", "Mflop", "H100 µs", "4090 µs", "sm_90", "sm_89", ""]
        ),
        _row(["---"] * 9),
    ]
    for name, cost in costs(Workload()).items():
        lines.append(
            _row(
                [
                    f"`{name}`",
                    f"{cost.least / 1e3:,.0f}",
                    f"{cost.ours / 1e3:,.0f}",
                    f"{(cost.flops + cost.flops64) / 1e6:.1f}",
                    *(f"{cost.least_us(card):.2f}" for card in CARDS),
                    found[name][9, 0].instruction_count,
                    found[name][8, 9].instruction_count,
                    cost.why,
                ]
            )
        )
    return lines


def replace_tables(text: str, made: str) -> str:
    """`text` with what stands between the marks replaced.

    Raises:
        InputError: a mark is missing.
    """
    if BEGIN not in text or END not in text:
        raise InputError("the file has no place for the tables", hint=f"write {BEGIN} and {END}")
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n\n{made}\n{END}{rest.split(END, 1)[1]}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        made = tables(measure_all())
        if arguments:
            path = Path(arguments[0])
            path.write_text(replace_tables(path.read_text(encoding="utf-8"), made), "utf-8")
        else:
            print(made)
    except (StreamPRNError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
