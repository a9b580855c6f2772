"""Plans on disk: kept, refused with the reason, built once."""

import errno
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.engines.tensorrt import plans
from streamprn.engines.tensorrt.plans import MAGIC, Plan, PlanKey, PlanStore, read_key
from streamprn.errors import BackendError, EngineError

KEY = PlanKey("ab12", "tensorrt", "10.3.0", "fp16", (1, 4, 16), "NVIDIA H100 sm90")
DATA = bytes(range(256)) * 40


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "one.plan"
    Plan(KEY, DATA).save(path)
    return path


def test_a_plan_is_read_as_it_was_saved(saved):
    plan = Plan.load(saved, KEY)
    assert plan == Plan(KEY, DATA)
    assert read_key(saved) == KEY
    assert [path.name for path in saved.parent.iterdir()] == ["one.plan"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"onnx_sha256": "cd"}, "it was built from another network"),
        ({"flavour": "tensorrt-rtx"}, "its flavour is tensorrt, needed is tensorrt-rtx"),
        ({"version": "11.0"}, r"its version is 10\.3\.0, needed is 11\.0"),
        ({"precision": "fp32"}, "its precision is fp16, needed is fp32"),
        ({"profile": (1, 8, 8)}, r"its profile is \(1, 4, 16\)"),
        ({"target": "NVIDIA L4 sm89"}, "its target is NVIDIA H100 sm90, needed is NVIDIA L4 sm89"),
    ],
)
def test_a_plan_for_something_else_is_refused_with_the_reason(saved, change, reason):
    with pytest.raises(EngineError, match=f"plan refused: .*{reason}"):
        Plan.load(saved, replace(KEY, **change))


@pytest.mark.parametrize("size", [0, 5, len(MAGIC) + 2, len(MAGIC) + 30, -1, -5000])
def test_a_plan_that_is_cut_short_is_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(EngineError, match="plan refused"):
        Plan.load(saved)


@given(at=st.integers(0, 300), by=st.integers(1, 255))
def test_no_changed_byte_of_a_plan_goes_unnoticed(tmp_path_factory, at, by):
    path = tmp_path_factory.mktemp("plan") / "one.plan"
    Plan(KEY, b"plan").save(path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= by
    path.write_bytes(content)
    with pytest.raises(EngineError, match="plan refused"):
        Plan.load(path)


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(EngineError, match="No such file"):
        Plan.load(tmp_path / "none.plan")


def test_a_plan_is_built_once_and_then_found(tmp_path):
    store, built = PlanStore(tmp_path), []

    def build() -> bytes:
        built.append(1)
        return DATA

    assert store.obtain("net", KEY, build) == (Plan(KEY, DATA), "there was none")
    assert store.obtain("net", KEY, build) == (Plan(KEY, DATA), "")
    assert len(built) == 1
    assert store.plans("net") == [store.path("net", KEY)]
    assert store.obtain("net", KEY, build, rebuild=True)[1] == "asked to rebuild"
    assert len(built) == 2


def test_a_stale_plan_is_replaced_and_the_reason_told(tmp_path):
    store = PlanStore(tmp_path)
    store.obtain("net", KEY, lambda: b"old")
    newer = replace(KEY, onnx_sha256="cd34")
    plan, reason = store.obtain("net", newer, lambda: b"new")
    assert plan.data == b"new"
    assert reason.endswith("plan refused: it was built from another network")
    assert len(store.plans("net")) == 1


def test_a_failed_build_leaves_the_old_plan(tmp_path):
    store = PlanStore(tmp_path)
    store.obtain("net", KEY, lambda: DATA)

    def fail() -> bytes:
        raise EngineError("no")

    with pytest.raises(EngineError):
        store.obtain("net", KEY, fail, rebuild=True)
    assert Plan.load(store.path("net", KEY), KEY).data == DATA


def test_processes_that_want_the_same_plan_build_it_once(tmp_path):
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from streamprn.engines.tensorrt.plans import PlanKey, PlanStore
        root = Path(sys.argv[1])
        key = PlanKey("ab", "tensorrt", "10", "fp16", (1, 4, 16), "gpu")
        def build():
            time.sleep(0.5)
            with (root / "log").open("a") as log:
                log.write("built\\n")
            return b"plan"
        assert PlanStore(root).obtain("net", key, build)[0].data == b"plan"
    """)
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock of the plan of `KEY` until it is killed."""
    path = PlanStore(tmp_path).path("net", KEY)
    path.parent.mkdir(parents=True)
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from streamprn.engines.tensorrt.plans import _locked
        with _locked(Path(sys.argv[1])):
            print("held", flush=True)
            time.sleep(100)
    """)
    command = [sys.executable, "-c", program, str(path.with_suffix(".lock"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_waits_for_another_process_says_so_and_goes_on_when_that_is_killed(
    tmp_path, other_process, caplog
):
    caplog.set_level("INFO", logger=plans.__name__)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(PlanStore(tmp_path).obtain, "net", KEY, lambda: DATA)
        while "waiting for another process" not in caplog.text:
            assert not waiting.done()
            time.sleep(0.01)
        other_process.kill()
        assert waiting.result(30)[0].data == DATA


def test_a_lock_that_is_held_too_long_is_an_error_with_the_next_step(
    tmp_path, other_process, monkeypatch
):
    monkeypatch.setattr(plans, "LOCK_TIMEOUT_S", 0.2)
    with pytest.raises(BackendError, match=r"another process has held the lock.*\(end it"):
        PlanStore(tmp_path).obtain("net", KEY, lambda: DATA)


def test_a_file_that_a_dead_process_left_as_lock_blocks_nobody(tmp_path):
    path = PlanStore(tmp_path).path("net", KEY)
    path.parent.mkdir(parents=True)
    path.with_suffix(".lock").write_text("4194304\nelsewhere\n")
    assert PlanStore(tmp_path).obtain("net", KEY, lambda: DATA)[0].data == DATA


@pytest.mark.skipif(sys.platform == "win32", reason="flock is not on Windows")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_the_plan_is_built_all_the_same(tmp_path, monkeypatch, code):
    def flock(_file, _operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    for _ in range(2):
        assert PlanStore(tmp_path).obtain("net", KEY, lambda: DATA)[0].data == DATA


@pytest.mark.parametrize(
    ("change", "architecture", "serves"),
    [
        ({}, "", True),
        ({"profile": (1, 4, 8)}, "", True),
        ({"profile": (1, 4, 32)}, "", False),
        ({"version": "11.0"}, "sm90", False),
        ({"precision": "tf32"}, "sm90", False),
        ({"onnx_sha256": "cd"}, "sm90", False),
        ({"target": "NVIDIA L4 sm89"}, "sm90", False),
    ],
)
def test_a_plan_serves_smaller_batches_of_the_same_build_only(change, architecture, serves):
    assert KEY.serves(replace(KEY, **change), architecture) is serves


def test_a_plan_for_named_gpus_serves_each_of_them():
    named = replace(KEY, flavour="tensorrt-rtx", target="sm86 sm89")
    wanted = replace(named, target="any RTX GPU", profile=(1, 4, 8))
    assert named.serves(wanted, "sm89")
    assert not named.serves(wanted, "sm75")
    assert not named.serves(wanted, "")


def test_a_plan_that_was_built_ahead_is_found_and_a_damaged_one_is_passed_over(tmp_path):
    store = PlanStore(tmp_path)
    wanted = replace(KEY, profile=(1, 4, 8))
    assert store.ready("net", wanted, "") is None
    store.obtain("net", KEY, lambda: DATA)
    assert store.ready("net", wanted, "") == Plan(KEY, DATA)
    path = store.path("net", KEY)
    path.write_bytes(path.read_bytes()[:-1])
    assert store.ready("net", wanted, "") is None


def test_a_folder_that_cannot_be_written_is_named_with_the_next_step(tmp_path):
    (tmp_path / "file").touch()
    store = PlanStore(tmp_path / "file" / "plans")
    with pytest.raises(BackendError, match=r"cannot be written: .*\(set STREAMPRN_HOME to a"):
        store.obtain("net", KEY, lambda: DATA)
