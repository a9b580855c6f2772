"""Spoilt inputs for everything that reads: nothing may crash, hang or grow.

    python -m tools.fuzz --inputs 10000

Every target starts from good data, which is spoilt at random by a seed; it must be read, or be
refused with an error of StreamPRN. The control interface is fuzzed by `tests/serve/test_fuzz.py`.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import msgpack
import psutil

from streamprn.errors import StreamPRNError

#: One input may take so long, and a target may grow by so much from its first tenth on.
LONGEST_S = 10
GROWTH_BYTES = 64 << 20
#: What a target may take at all.
MEMORY_BYTES = 16 << 30

Read = Callable[[bytes], object]


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Data with a few bytes changed, removed, doubled or inserted, or cut off."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(spoilt) + 1)
        length = min(rng.choice((1, 1, 2, 8, 64)), len(spoilt) - at)
        kind = rng.randrange(6)
        if kind == 0:
            spoilt[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            del spoilt[at : at + length]
        elif kind == 2:
            spoilt[at:at] = spoilt[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 3:
            spoilt[at : at + length] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))]) * length
        elif kind == 4:
            spoilt[at:at] = rng.choice((b"[" * 2000, b"{a: ", b"*a", b"&a", b"!!", b"\xdd\xff\xff"))
        else:
            del spoilt[at:]
    return bytes(spoilt)


def spoil_member(data: bytes, rng: random.Random) -> bytes:
    """An archive with one of its members spoilt, whose checksums hold."""
    if not rng.randrange(4):
        return spoil(data, rng)
    made = BytesIO()
    with ZipFile(BytesIO(data)) as archive, ZipFile(made, "w") as out:
        chosen = rng.choice(archive.namelist())
        for name in archive.namelist():
            member = archive.read(name)
            if name == chosen:  # its header, mostly
                cut = rng.choice((64, 128, 256, len(member)))
                member = spoil(member[:cut], rng) + member[cut:]
            out.writestr(name, member)
    return made.getvalue()


def spoil_part(data: bytes, rng: random.Random) -> bytes:
    """A message with one of its parts spoilt."""
    parts = msgpack.unpackb(data)
    at = rng.choice((0, 1, 1, 1, rng.randrange(len(parts))))
    parts[at] = spoil(parts[at], rng)
    return bytes(msgpack.packb(parts))


@dataclass(frozen=True)
class Target:
    """What is fuzzed: good data, and what reads it."""

    good: list[bytes]
    read: Read
    spoil: Callable[[bytes, random.Random], bytes] = spoil


@dataclass(frozen=True)
class Result:
    """Of one target: inputs, how many were refused, the slowest, and memory at the end."""

    name: str
    inputs: int
    refused: int
    slowest_ms: float
    growth_mb: float


def targets(folder: Path) -> dict[str, Target]:
    """Everything that is fuzzed here, by name."""
    from streamprn.config import load_config
    from streamprn.config.document import yaml_text
    from streamprn.engines import registry
    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.topology import Topology
    from streamprn.wire import decode
    from streamprn.wire.record import read

    packaged = registry.PACKAGED / "facemesh"
    topology = Topology.load(packaged / "topology.npz")
    mine = shutil.copytree(packaged, folder / "mine")

    def of_file(name: str, reader: Callable[[Path], object]) -> Read:
        path = folder / name

        def read_file(data: bytes) -> object:
            path.write_bytes(data)
            return reader(path)

        return read_file

    def manifest(path: Path) -> object:
        shutil.copyfile(path, mine / "manifest.yaml")
        return Bundle.load(mine)

    messages = _messages()
    recording = b"".join(msgpack.packb(parts) for parts in messages)
    small = (packaged / "operator.npz").read_bytes(), (packaged / "topology.npz").read_bytes()
    return {
        "decoder": Target(
            [msgpack.packb(parts) for parts in messages],
            lambda data: decode(msgpack.unpackb(data)),
            spoil_part,
        ),
        "recordings": Target(
            [recording], of_file("a.sprn", lambda path: sum(1 for _ in read(path)))
        ),
        "configuration": Target(
            [yaml_text().encode(), b"sources:\n  - uri: a\n    options: &x {a: b}\n"],
            of_file("a.yaml", load_config),
        ),
        "manifests": Target(
            [(packaged / "manifest.yaml").read_bytes()], of_file("m.yaml", manifest)
        ),
        "topologies": Target([small[1]], of_file("t.npz", Topology.load), spoil_member),
        "operators": Target(
            [small[0]],
            of_file("o.npz", lambda path: Subdivision.load(path, topology)),
            spoil_member,
        ),
        "networks": Target(
            [(registry.PACKAGED / "blazeface" / "short.onnx").read_bytes()],
            of_file("n.onnx", _network),
        ),
    }


def _network(path: Path) -> object:
    from streamprn.engines.inspection import inspect_network

    return inspect_network(path, 128)


def _messages() -> list[list[bytes]]:
    """A few messages as they are on the wire."""
    from streamprn.records import Kind
    from streamprn.wire import encode_faces, encode_frame, encode_topology
    from tests.support.wire import make_result, make_topology

    result = make_result()
    faces = encode_faces(result, visible=True)
    made = [encode_topology("cam", make_topology(), 0, 1, 2, run="0" * 16)]
    made += [
        encode_frame(kind, result, faces, 1, run="0" * 16)
        for kind in (Kind.FACE, Kind.MESH, Kind.DEPTH, Kind.TEXTURE, Kind.IMAGE)
    ]
    return [[bytes(part) for part in parts] for parts in made]


@contextmanager
def bounded() -> Iterator[None]:
    """Raise `TimeoutError` in an input that takes too long."""

    def late(*_: object) -> None:
        raise TimeoutError(f"an input took more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name: str, target: Target, inputs: int, seed: int = 0) -> Result:
    """Read spoilt inputs.

    Raises:
        AssertionError: an input made the reader fail, hang or grow; the message names its number.
    """
    process = psutil.Process()
    refused, slowest, base = 0, 0.0, 0
    with bounded():
        for number in range(inputs):
            rng = random.Random(f"{name} {seed} {number}")
            data = target.spoil(rng.choice(target.good), rng)
            began = time.perf_counter()
            signal.alarm(LONGEST_S)
            try:
                target.read(data)
            except StreamPRNError:
                refused += 1
            except Exception as error:
                raise AssertionError(f"{name}: input {number}, seed {seed}: {error!r}") from error
            signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - began)
            if number == inputs // 10:
                base = process.memory_info().rss
    growth = process.memory_info().rss - base
    assert growth < GROWTH_BYTES, f"{name}: grew by {growth >> 20} MiB"
    return Result(name, inputs, refused, slowest * 1e3, max(0.0, growth / 1e6))


def main() -> int:
    """Fuzz all targets, or those named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="targets; all by default")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # recordings say where they are cut off
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    print("| what reads | inputs | refused | slowest ms | growth MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, target in targets(Path(folder)).items():
            if args.names and name not in args.names:
                continue
            done = fuzz(name, target, args.inputs, args.seed)
            print(
                f"| {name} | {done.inputs} | {done.refused} | {done.slowest_ms:.0f} "
                f"| {done.growth_mb:.1f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
