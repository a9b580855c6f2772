"""Plans on disk: what each was built from, and the one folder where they are kept.

A plan file is a line of magic, the length of a header, the header (JSON: the key, and the SHA-256
of key and plan), and TensorRT's bytes. TensorRT trusts a plan it is given and may crash on a wrong
one, so a plan is refused here, with the reason, before TensorRT sees it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import struct
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import filelock

from streamprn import paths
from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC: Final = b"StreamPRN plan 1\n"
LOCK_TIMEOUT_S: Final = 1800.0
LOCK_POLL_S: Final = 0.1
_NO_LOCKS: Final = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that a plan depends on.

    Attributes:
        onnx_sha256: of the network's file.
        flavour: "tensorrt" or "tensorrt-rtx".
        version: of that package; plans of another version do not load.
        precision: "fp32", "tf32" or "fp16".
        profile: least, typical and largest batch.
        target: the GPU, or the compute capabilities.
    """

    onnx_sha256: str
    flavour: str
    version: str
    precision: str
    profile: tuple[int, int, int]
    target: str

    def difference(self, wanted: PlanKey) -> str:
        """Why a plan with this key will not do for `wanted`, or an empty string."""
        if self.onnx_sha256 != wanted.onnx_sha256:
            return "it was built from another network"
        for name in ("flavour", "version", "precision", "profile", "target"):
            mine, theirs = getattr(self, name), getattr(wanted, name)
            if mine != theirs:
                return f"its {name} is {mine}, needed is {theirs}"
        return ""

    def serves(self, wanted: PlanKey, architecture: str) -> bool:
        """Whether a plan with this key does all that one with `wanted` would.

        It may take larger batches, and may be for named compute capabilities of which
        `architecture`, such as "sm86", is one.
        """
        named = self.target.split()
        here = self.target == wanted.target or (
            architecture in named and all(word.startswith("sm") for word in named)
        )
        same = replace(self, profile=wanted.profile, target=wanted.target) == wanted
        return here and same and self.profile[2] >= wanted.profile[2]

    @property
    def file_name(self) -> str:
        """One file per use; a newer network or package takes the place of the older plan."""
        target = re.sub(r"[^a-z0-9]+", "-", self.target.lower()).strip("-")
        return f"{self.flavour}-{self.precision}-b{self.profile[2]}-{target}.plan"


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialized engine and what it was built from."""

    key: PlanKey
    data: bytes

    def save(self, path: Path) -> None:
        """Write the file at once or not at all."""
        text = _json(asdict(self.key) | {"sha256": _seal(self.key, self.data)})
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".plan-", dir=path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(MAGIC + struct.pack("<I", len(text)) + text)
                file.write(self.data)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path, wanted: PlanKey | None = None) -> Plan:
        """Read a plan that `save` wrote.

        Raises:
            EngineError: the file is missing, damaged, or was not built for `wanted`; the message
                says in what it differs.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _refusal(path, error.strerror or str(error)) from error
        key, data = _split(path, content)
        if wanted is not None and (reason := key.difference(wanted)):
            raise _refusal(path, reason)
        return cls(key, data)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal, by which networks are known."""
    return hashlib.sha256(data).hexdigest()


def read_key(path: Path) -> PlanKey:
    """What the plan at `path` was built from. Raises `EngineError` as `Plan.load` does."""
    return Plan.load(path).key


def _json(value: dict[str, Any]) -> bytes:
    """Without blanks, so that no byte can change and mean the same."""
    return json.dumps(value, separators=(",", ":")).encode()


def _seal(key: PlanKey, data: bytes) -> str:
    seal = hashlib.sha256(_json(asdict(key)))
    seal.update(data)
    return seal.hexdigest()


def _refusal(path: Path, reason: str) -> EngineError:
    return EngineError(f"{path}: plan refused: {reason}", hint="run `streamprn engine build`")


def _split(path: Path, content: bytes) -> tuple[PlanKey, bytes]:
    start = len(MAGIC) + 4
    if not content.startswith(MAGIC) or len(content) < start:
        raise _refusal(path, "it is not a plan of StreamPRN's")
    (length,) = struct.unpack_from("<I", content, len(MAGIC))
    data = content[start + length :]
    try:
        header: dict[str, Any] = json.loads(content[start : start + length])
        stated = header.pop("sha256")
        key = PlanKey(**header | {"profile": tuple(header["profile"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(path, "its header is damaged") from error
    if _seal(key, data) != stated:
        raise _refusal(path, "it is damaged or cut short")
    return key, data


class PlanStore:
    """The folder of plans, one sub-folder per engine.

    Args:
        root: the folder, by default under `STREAMPRN_HOME`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or paths.cache() / "plans"

    def path(self, engine: str, key: PlanKey) -> Path:
        """Where the plan of that key is, or will be."""
        return self.root / engine / key.file_name

    def plans(self, engine: str) -> list[Path]:
        """The plans of an engine, sound or not."""
        return sorted((self.root / engine).glob("*.plan"))

    def obtain(
        self, engine: str, key: PlanKey, build: Callable[[], bytes], *, rebuild: bool = False
    ) -> tuple[Plan, str]:
        """The plan of that key, built if need be, and why it was built (or an empty string).

        Processes that want the same plan wait for the one that builds it.

        Raises:
            BackendError: building failed, the folder cannot be written, or another process has
                been at it for half an hour.
        """
        path = self.path(engine, key)
        reason = "asked to rebuild"
        if not rebuild:
            plan, reason = self._sound(path, key)
            if plan is not None:
                return plan, ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                if not rebuild:
                    # Another process may have built it while this one waited.
                    plan, reason = self._sound(path, key)
                    if plan is not None:
                        return plan, ""
                plan = Plan(key, build())
                plan.save(path)
        except OSError as error:
            raise BackendError(
                f"{path}: cannot be written: {error.strerror or error}",
                hint=f"set {paths.VARIABLE} to a folder that can",
            ) from error
        return plan, reason

    def ready(self, engine: str, wanted: PlanKey, architecture: str) -> Plan | None:
        """A plan that was built before and serves (see `PlanKey.serves`), or None."""
        for path in (self.path(engine, wanted), *self.plans(engine)):
            try:
                plan = Plan.load(path)
            except EngineError:
                continue
            if plan.key.serves(wanted, architecture):
                return plan
        return None

    @staticmethod
    def _sound(path: Path, key: PlanKey) -> tuple[Plan | None, str]:
        if not path.exists():
            return None, "there was none"
        try:
            return Plan.load(path, key), ""
        except EngineError as error:
            _log.warning("%s; building it again", error.what)
            return None, error.what


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system lets go of it where a process dies.

    On a file system without locks nothing is held: at worst two processes build the same plan, and
    `Plan.save` is done at once.
    """
    lock = filelock.FileLock(path, poll_interval=LOCK_POLL_S, fallback_to_soft=False)
    try:
        _acquire(lock, path)
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, path: Path) -> None:
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            _log.info("waiting for another process, which builds %s", path.with_suffix(".plan"))
            lock.acquire(timeout=LOCK_TIMEOUT_S)
    except filelock.Timeout as error:
        raise BackendError(
            f"{path}: another process has held the lock for {LOCK_TIMEOUT_S / 60:.0f} min",
            hint="end it, then try again",
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.info("%s: no locks on this file system: %s", path, error.strerror)
