"""`streamprn doctor`: what it finds, and that one broken probe hides nothing."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from streamprn.apps import doctor
from streamprn.apps.doctor import PROBES, Report, examine


def test_findings_as_json(streamprn, monkeypatch, elsewhere):
    monkeypatch.setenv("STREAMPRN_HOME", str(elsewhere / "home"))
    done = streamprn("doctor", "--json")
    assert done.code == 0
    reports = {report["title"]: report for report in json.loads(done.out)}
    assert len(reports) == len(PROBES)
    assert reports["system"]["facts"]["streamprn"] == importlib.metadata.version("streamprn")
    assert reports["packages"]["facts"]["av"] == importlib.metadata.version("av")
    assert "h264" in reports["video"]["facts"]["decoders"]
    assert reports["engines"]["facts"]["STREAMPRN_HOME"] == str(elsewhere / "home")
    assert "vertices" in reports["engines"]["facts"]["facemesh"]
    used = reports["`streamprn run` here"]["facts"]
    assert used["engine"] == "facemesh"
    assert used["configuration"] == "the defaults"


def test_what_is_wrong_is_a_problem_and_exit_code_1(streamprn, elsewhere, monkeypatch):
    (elsewhere / "config.yaml").write_text("engine: {thread: 1}\n")
    monkeypatch.setattr(doctor, "PROBES", (doctor.probe_run, doctor.probe_cameras))
    done = streamprn("doctor")
    assert done.code == 1
    assert "problem:" in done.out
    assert "config.yaml:1: engine.thread: unknown key" in done.out
    assert "cameras" in done.out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_problem_shows_no_credentials(streamprn, elsewhere, monkeypatch, form):
    (elsewhere / "config.yaml").write_text("sources:\n  - rtsp://admin:hunter2@cam.local/x\n")

    def probe_what_it_reads():
        raise OSError("rtsp://admin:hunter2@cam.local/x is gone")

    monkeypatch.setattr(doctor, "PROBES", (doctor.probe_run, probe_what_it_reads))
    done = streamprn("doctor", "--verbose", *form)
    assert done.code == 1
    assert done.out.count("cam.local/x") == 2
    assert "hunter2" not in done.out + done.err


def test_a_probe_that_breaks_is_a_problem_of_its_own():
    def probe_of_doom():
        raise OSError("no such bus")

    broken, good = examine([probe_of_doom, lambda: Report("fine", {"a": "b"})])
    assert broken.title == "of doom"
    assert broken.problems == ["OSError: no such bus"]
    assert good.facts == {"a": "b"}


def test_damaged_engines_are_reported_beside_sound_ones(elsewhere, monkeypatch):
    folder = elsewhere / "engines" / "broken"
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text("name: broken\n")
    monkeypatch.setenv("STREAMPRN_HOME", str(elsewhere))
    report = doctor.probe_engines()
    assert "facemesh" in report.facts
    assert any("broken" in problem for problem in report.problems)


def test_no_gpu_library_is_imported():
    program = (
        "import sys; from streamprn.apps.doctor import examine; examine(); "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings', 'pycuda', 'cuda')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.stdout.strip() == "[]"
