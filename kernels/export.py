"""`python -m streamprn.kernels.export DIR --cc 75`: the CUDA kernels as PTX files.

For profilers and executors outside this program. Each file starts with comments that say what is
needed to launch the kernel: name, threads, grid, and its parameters in the order of the entry.

Numba passes an array as a run of parameters: two pointers that a kernel may ignore (pass 0), the
number of items and the bytes of one (64-bit), the address of the data, then the shape and the
strides in bytes (64-bit each, one per axis). A named tuple is a run of its fields.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.errors import BackendError, StreamPRNError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.kernels.cuda.kernel import Kernel


def describe(kernel: Kernel) -> dict[str, Any]:
    """What a launcher must know, as plain data.

    Returns:
        `name`, `threads`, `grid` (words), and `parameters`: name, Numba type, and how many
        entries of the PTX's parameter list it takes.
    """
    parameters = [
        {"name": name, "type": str(kind), "entries": _entries(kind)}
        for name, kind in zip(kernel.parameters, kernel.signature.args, strict=True)
    ]
    return {
        "name": kernel.name,
        "threads": kernel.threads,
        "grid": kernel.grid,
        "parameters": parameters,
    }


def _entries(kind: Any) -> int:
    if hasattr(kind, "fields"):
        return sum(_entries(field) for field in kind)
    axes = getattr(kind, "ndim", None)
    return 1 if axes is None else 5 + 2 * axes


@lru_cache
def ptx(kernel: Kernel, capability: tuple[int, int]) -> str:
    """PTX of a kernel, its entry named like the kernel.

    PTX for one compute capability is right for every later one.

    Raises:
        BackendError: numba-cuda or NVVM is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = kernel.compile(capability)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise BackendError(
            f"CUDA kernels cannot be compiled: {error}", hint="pip install 'numba-cuda[cu13]'"
        ) from error
    found = re.search(r"\.visible \.entry (\w+)\(", text)
    assert found, "NVVM wrote no entry"
    return text.replace(found[1], kernel.name)


def export(folder: Path, capability: tuple[int, int]) -> list[Path]:
    """Write `NAME.ptx` for every kernel; the files.

    Raises:
        BackendError: the compiler is missing.
    """
    from streamprn.kernels.cuda.catalogue import KERNELS

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kernel in KERNELS.values():
        path = folder / f"{kernel.name}.ptx"
        head = json.dumps(describe(kernel), indent=1)
        comment = "".join(f"// {line}\n" for line in head.splitlines())
        path.write_text(comment + ptx(kernel, capability))
        files.append(path)
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m streamprn.kernels.export", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--cc", default="75", help="compute capability, such as 75 or 8.6")
    arguments = parser.parse_args(argv)
    digits = arguments.cc.replace(".", "")
    if not digits.isdigit() or len(digits) < 2:
        parser.error(f"--cc {arguments.cc}: write it as 75, 86 or 12.0")
    try:
        files = export(arguments.folder, (int(digits[:-1]), int(digits[-1])))
    except StreamPRNError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"{len(files)} kernels for sm_{digits} in {arguments.folder}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
