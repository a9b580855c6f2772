"""Where StreamPRN keeps what a user imports or builds; never inside the package."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "STREAMPRN_HOME"


def home() -> Path:
    """`STREAMPRN_HOME`, or the platform's data folder. Nothing is created."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("streamprn", appauthor=False)


def engines() -> Path:
    """The folder of the user's engine bundles, one folder each."""
    return home() / "engines"


def cache() -> Path:
    """The folder of files that can be made again at any time."""
    return home() / "cache"
