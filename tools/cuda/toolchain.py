"""PTX to machine code, and what the assembler says of it; no GPU needed.

`ptxas` and `nvdisasm` come from the packages `nvidia-cuda-nvcc` and `nvidia-cuda-nvdisasm`, or
from a CUDA toolkit on the PATH.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Turing to Blackwell.
CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
TIMEOUT_S = 120


@dataclass(frozen=True)
class Resources:
    """What one kernel takes on one architecture.

    Attributes:
        registers: of a thread.
        shared: bytes of static shared memory of a block.
        stack: bytes of local memory of a thread.
        spills: bytes of spill stores and loads of a thread.
        instructions: machine instructions by opcode, static count; empty where not counted.
    """

    registers: int
    shared: int
    stack: int
    spills: int
    instructions: Mapping[str, int] = field(default_factory=dict)

    @property
    def instruction_count(self) -> int:
        """Static machine instructions."""
        return sum(self.instructions.values())


def find_tool(name: str) -> Path | None:
    """A tool of the CUDA toolkit: of this Python's packages, else of the PATH."""
    for folder in sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin"), reverse=True):
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def assemble(
    text: str, capability: tuple[int, int], *, count: bool = False
) -> tuple[bytes, Resources]:
    """PTX to a cubin, and what it takes.

    Args:
        text: the PTX.
        capability: of the GPU to assemble for, the PTX's own or a later one.
        count: whether to count the machine instructions too.

    Raises:
        BackendError: `ptxas` is missing or refuses the PTX.
    """
    assembler = find_tool("ptxas")
    if assembler is None:
        raise BackendError("ptxas is missing", hint="pip install nvidia-cuda-nvcc")
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(text)
        command = [str(assembler), "-v", f"-arch=sm_{capability[0]}{capability[1]}"]
        done = subprocess.run(
            [*command, "-o", str(cubin), str(source)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise BackendError(f"ptxas: {done.stderr.strip()}")
        return cubin.read_bytes(), _resources(done.stderr, _opcodes(cubin) if count else {})


def _number(pattern: str, log: str) -> int:
    found = re.search(pattern, log)
    return int(found[1]) if found else 0


def _resources(log: str, instructions: Mapping[str, int]) -> Resources:
    return Resources(
        registers=_number(r"Used (\d+) registers", log),
        shared=_number(r"(\d+) bytes smem", log),
        stack=_number(r"(\d+) bytes stack frame", log),
        spills=_number(r"(\d+) bytes spill stores", log) + _number(r"(\d+) bytes spill loads", log),
        instructions=instructions,
    )


def _opcodes(cubin: Path) -> dict[str, int]:
    disassembler = find_tool("nvdisasm")
    if disassembler is None:
        return {}
    done = subprocess.run(
        [disassembler, "-c", cubin], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    found = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", done.stdout)
    return dict(Counter(code for code in found if code != "NOP"))
