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
    assert "its cache is damaged, and is made anew" in again.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"cnosuchmodule\nthing\n.",  # raises ImportError
        lambda data: b"c__builtin__\nint\n(S'x'\ntR.",  # raises ValueError
        lambda data: data[:100] + bytes(len(data) - 100),
        lambda data: data[: len(data) // 2],
    ],
)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_whatever_a_cache_file_holds_it_is_made_anew(monkeypatch, tmp_path, suffix, spoil):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    assert _jit.cpu_loop()(_twice)(21) == 42
    (file,) = tmp_path.rglob(f"*{suffix}")
    good = file.read_bytes()
    file.write_bytes(spoil(good))
    assert _jit.cpu_loop()(_twice)(21) == 42
    (file,) = tmp_path.rglob(f"*{suffix}")
    assert len(file.read_bytes()) >= len(good) // 2 > 100
    again = _jit.cpu_loop()(_twice)
    assert again(21) == 42
    assert again.stats.cache_hits


def _twice(value):
    return 2 * value


def test_a_cache_that_others_can_write_is_not_used_and_that_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(tmp_path))
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    assert paths.writable(shared) == tmp_path / f"streamprn-{os.getuid()}" / "shared"
    assert "what is cached is code: not used" in caplog.text
    private = tmp_path / "private"
    private.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(private)
    assert paths.writable(tmp_path / "link") == tmp_path / "link"


def test_a_cache_of_another_user_is_not_used(tmp_path, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    assert paths.writable(tmp_path / "theirs") == tmp_path / f"streamprn-{os.getuid()}" / "theirs"


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
