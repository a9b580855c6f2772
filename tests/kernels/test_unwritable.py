"""A place that cannot be written costs the cache, and ends no program."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from streamprn import paths
from streamprn.kernels import _jit

BOUNDS = """
import logging, resource, signal, sys
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")
import numpy as np
from streamprn.kernels import uv
{before}
print(uv.bounds(np.full((3, 3), 7, np.float32))[0])
print(getattr(uv._bounds._cache, "cache_path", None))
"""


def run(code: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """A program with these variables, or without those that are None."""
    full = {**os.environ, "NUMBA_CACHE_DIR": None, **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in full.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a program did whose home cannot be written, and its folder of temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    # Nobody can make a folder below a file, not even root.
    return run(BOUNDS.format(before=""), STREAMPRN_HOME="/dev/null/x", TMPDIR=str(folder)), folder


def test_an_unwritable_home_is_replaced_by_a_private_temporary_folder_and_said_once(elsewhere):
    done, folder = elsewhere
    first, place = done.stdout.splitlines()
    assert first == "7.0"
    assert place.startswith(str(folder / f"streamprn-{os.getuid()}" / "kernels"))
    assert list(folder.rglob("*.nbc"))
    assert done.stderr.count("cannot be written: using") == 1
    assert (folder / f"streamprn-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_damage_in_the_cache_ends_nothing(elsewhere):
    _, folder = elsewhere
    (index,) = folder.rglob("uv._bounds*.nbi")
    index.write_bytes(index.read_bytes()[:40])
    home = str(folder / f"streamprn-{os.getuid()}")
    code = BOUNDS.format(before="")
    again = run(code, STREAMPRN_HOME="/dev/null/x", TMPDIR=str(folder))
    assert again.stdout.startswith(f"7.0\n{home}")
    assert "compiled without its cache" in again.stderr


def test_an_unwritable_cache_of_numba_is_replaced_too(monkeypatch, tmp_path):
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/numba")
    with _jit._cache_at_home() as cached:
        assert cached
        assert str(tmp_path / f"streamprn-{os.getuid()}" / "numba") == numba.config.CACHE_DIR
    assert numba.config.CACHE_DIR == "/dev/null/numba"


def test_a_disk_that_is_full_ends_nothing(tmp_path):
    full = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""
    done = run(BOUNDS.format(before=full), STREAMPRN_HOME=str(tmp_path))
    assert done.stdout.startswith("7.0")
    assert "compiled without its cache" in done.stderr
    assert not list(tmp_path.rglob("*.nbc"))


def test_where_nothing_can_be_written_there_is_no_cache(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: "/dev/null")
    assert paths.writable(Path("/dev/null/x/kernels")) is None
    assert "nothing is kept there" in caplog.text


@pytest.mark.parametrize("kind", ["link", "open to all"])
def test_a_temporary_folder_of_somebody_else_is_not_used(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(tmp_path))
    theirs = tmp_path / f"streamprn-{os.getuid()}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        theirs.symlink_to(tmp_path / "elsewhere")
    else:
        theirs.mkdir()
        theirs.chmod(0o777)
    assert paths.writable(Path(f"/dev/null/{kind}")) is None


def test_without_a_home_the_places_are_still_absolute():
    code = "from streamprn import paths; print(paths.home())"
    assert run(code, STREAMPRN_HOME="relative").stdout.strip() == f"{Path.cwd()}/relative"
    # An unknown user: no HOME, and nothing in the list of users.
    code = "import pwd\ndef none(_): raise KeyError\npwd.getpwuid = none\n" + code
    done = run(code, HOME=None, STREAMPRN_HOME=None, XDG_DATA_HOME=None)
    assert Path(done.stdout.strip()).is_absolute()
    assert "streamprn" in done.stdout
