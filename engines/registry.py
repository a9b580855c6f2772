"""Finding engines: those that ship, those under STREAMPRN_HOME, and folders named by path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from streamprn import paths
from streamprn.engines.bundle import MANIFEST, NAME, Bundle
from streamprn.errors import EngineError

DEFAULT = "facemesh"
PACKAGED = Path(__file__).resolve().parent


def roots() -> tuple[Path, ...]:
    """The folders whose sub-folders are engines, in order of precedence."""
    return PACKAGED, paths.engines()


def available() -> dict[str, Path]:
    """The folder of every engine by name; a packaged one hides a user's of the same name.

    Whether a bundle is sound shows when it is loaded.
    """
    found: dict[str, Path] = {}
    for root in roots():
        if not root.is_dir():
            continue
        for folder in sorted(root.iterdir()):
            if _is_bundle(folder):
                found.setdefault(folder.name, folder)
    return found


def find(name_or_path: str | os.PathLike[str]) -> Bundle:
    """The bundle of a name from `available`, or in the folder of a path.

    Raises:
        EngineError: there is none, or its manifest is wrong.
    """
    name = os.fspath(name_or_path)
    engines = available()
    if name in engines:
        return Bundle.load(engines[name])
    if isinstance(name_or_path, os.PathLike) or os.sep in name or Path(name).is_dir():
        return Bundle.load(Path(name))
    near = difflib.get_close_matches(name, engines, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if name == "resfcn256":
        hint += "`streamprn engine import-prnet` makes it from the official checkpoint; "
    raise EngineError(f"there is no engine {name!r}", hint=f"{hint}known: {', '.join(engines)}")


def new_folder(name: str) -> Path:
    """Where an engine of the user's with that name belongs.

    Raises:
        EngineError: the name cannot be a folder's, or a packaged engine has it.
    """
    if not NAME.fullmatch(name):
        raise EngineError(
            f"{name!r} cannot be an engine's name", hint="use letters, digits, '_', '.', '-'"
        )
    if _is_bundle(PACKAGED / name):
        raise EngineError(f"the engine {name} ships with StreamPRN", hint="choose another name")
    return paths.engines() / name


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and not (folder / "detectors.yaml").is_file()
