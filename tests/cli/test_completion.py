"""The completion scripts, read by real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from streamprn.cli import COMMANDS

_PROGRAM = """
source "$1"
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_shtab_streamprn
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(streamprn, tmp_path):
    script = tmp_path / "streamprn.bash"
    script.write_text(streamprn("completion", "bash").out)

    def run(*words: str) -> set[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", _PROGRAM, "bash", str(script), "streamprn", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return run


def test_bash_completes_commands(complete):
    assert {command.name for command in COMMANDS} <= complete("")
    assert complete("re") == {"reconstruct", "replay"}


def test_bash_completes_options_and_nested_commands(complete):
    assert {"--http", "--bind", "--config"} <= complete("run", "--")
    assert "new" in complete("keys", "")


def test_bash_completes_files(complete, tmp_path):
    (tmp_path / "clip.mp4").touch()
    assert "clip.mp4" in complete("run", "cl")
    assert "clip.mp4" in complete("reconstruct", "cl")


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_can_read_theirs(streamprn, shell, tmp_path):
    script = tmp_path / "script"
    script.write_text(streamprn("completion", shell).out)
    assert "reconstruct" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: only bash reads its script here")
    subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


def test_an_unknown_shell_is_one_line(streamprn):
    done = streamprn("completion", "ash")
    assert done.code == 2
    assert "choose from" in done.err
