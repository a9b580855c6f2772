"""Copying an engine, or its network alone, out of where it is kept."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from streamprn.engines.bundle import MANIFEST, check_vacant
from streamprn.engines.files import move_into_place, scratch_beside
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.engines.bundle import Bundle


def export_network(
    bundle: Bundle, path: Path, *, precision: str | None = None, replace: bool = False
) -> None:
    """Copy the ONNX file of one precision (by default the first) to `path`.

    Raises:
        EngineError: there is no such precision, `path` is there already, or cannot be written.
    """
    chosen = precision or next(iter(bundle.networks))
    if chosen not in bundle.networks:
        raise EngineError(
            f"engine {bundle.name} has no {chosen} network",
            hint=f"choose one of: {', '.join(bundle.networks)}",
        )
    if path.is_dir():
        raise EngineError(f"{path} is a folder", hint="choose another name for the network")
    if path.exists() and not replace:
        raise EngineError(f"{path} exists already", hint="add --replace, or choose another place")
    with scratch_beside(path) as made:
        shutil.copyfile(bundle.networks[chosen], made)
        move_into_place(made, path)


def export_bundle(bundle: Bundle, folder: Path, *, replace: bool = False) -> None:
    """Copy all files of a bundle to `folder`, all or nothing.

    Raises:
        EngineError: `folder` is there already and may not be replaced (see `check_vacant`), or
            cannot be written.
    """
    check_vacant(folder, replace=replace)
    files = [bundle.folder / MANIFEST, bundle.topology_file, *bundle.networks.values()]
    files += [path for path in (bundle.operator_file, bundle.provenance_file) if path is not None]
    with scratch_beside(folder) as made:
        for file in files:
            # A file that another engine shares becomes the copy's own.
            inside = file.is_relative_to(bundle.folder)
            copy = made / (file.relative_to(bundle.folder) if inside else file.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        move_into_place(made, folder)
