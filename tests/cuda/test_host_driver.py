"""PyCUDA, Numba and the CUDA bindings themselves, on a driver whose device is the host's memory.

Everything of the device but kernels runs; what needs a context fails without one, as on a GPU.
"""

import importlib.util
import json
import shutil
import textwrap

import pytest

from tests.cuda import stub_driver

include = stub_driver.include_folder()
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is None or include is None or shutil.which("gcc") is None,
    reason="PyCUDA has no wheels and compiles for minutes: make test-pycuda",
)

PRELUDE = """
import ctypes, json, threading
import numpy as np
from streamprn.engines.cuda.gpu import Gpu
from streamprn.errors import BackendError
host = ctypes.CDLL("libcuda.so.1")
def live():
    names = ("memory", "pinned", "streams", "events", "graphs", "launchable", "primary", "stacked")
    return {name: host.host_live(index) for index, name in enumerate(names)}
def tell(**facts):
    print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def driver_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    stub_driver.build_host(folder, include)
    return folder


@pytest.fixture
def run(driver_folder):
    def execute(program):
        done = stub_driver.run(PRELUDE + textwrap.dedent(program), driver_folder)
        assert "PyCUDA" not in done.stderr, done.stderr
        return json.loads(done.stdout)

    return execute


def test_what_is_uploaded_and_copied_comes_back(run):
    found = run("""
        from streamprn.engines.device.staging import CUDA_DEVICE, Plane
        gpu = Gpu()
        with gpu.current():
            stream = gpu.stream()
            there = gpu.zeros((4, 6), np.uint8)
            new = gpu.pinned((4, 6), np.uint8)
            gpu.download(new, there, stream)
            gpu.synchronize(stream)
            clean = bool((new == 0).all())
            new[:] = np.arange(24).reshape(4, 6)
            gpu.upload(there, new, stream)
            tail, window = gpu.zeros((6,), np.uint8), gpu.zeros((20,), np.uint8)
            gpu.copy(tail, there, 18, stream)
            plane = Plane(int(there.__cuda_array_interface__["data"][0]), 4, 6, 6, CUDA_DEVICE, 0)
            gpu.await_decoders(stream)
            gpu.copy_rows(window, 10, plane, (2, 1), (3, 2), stream)
            out = gpu.pinned((20,), np.uint8)
            gpu.download(out, window, stream)
            gpu.download(new[0], tail, stream)
            gpu.synchronize(stream)
        tell(clean=clean, tail=new[0].tolist(), window=out[10:16].tolist(), title=gpu.title)
        del there, new, tail, window, out
        gpu.close()
    """)
    assert found == {
        "clean": True,
        "tail": [18, 19, 20, 21, 22, 23],
        "window": [8, 9, 10, 14, 15, 16],
        "title": "Host GPU sm86",
    }


def test_work_is_recorded_the_second_time_and_replayed_from_the_third(run):
    found = run("""
        gpu, worked = Gpu(), []
        with gpu.current():
            stream, first, last = gpu.stream(), gpu.event(), gpu.event()
            there, page = gpu.zeros((3,), np.int32), gpu.pinned((3,), np.int32)
            back = gpu.pinned((3,), np.int32)
            def work():
                worked.append(1)
                gpu.upload(there, page, stream)
                gpu.record(last, stream)
                gpu.download(back, there, stream)
            seen, times = [], []
            for value in range(5):
                page[:] = value
                gpu.record(first, stream)
                gpu.replay(("key",), stream, work)
                gpu.synchronize(stream)
                seen.append(back.tolist())
                times.append(gpu.elapsed_ms(first, last))
            before = live()
            gpu.forget(stream)
        tell(worked=len(worked), seen=seen, times=times, before=before, after=live(),
             mode=host.host_capture_mode())
        del there, page, back
        gpu.close()
    """)
    assert found["worked"] == 2
    assert found["seen"] == [[value] * 3 for value in range(5)]
    assert found["times"] == [1.0] * 5
    assert found["before"]["launchable"] == 1
    assert found["after"]["launchable"] == found["after"]["graphs"] == 0
    assert found["mode"] == 1, "other threads must be free to call what they like meanwhile"


def test_work_that_cannot_be_recorded_is_done_call_by_call(run):
    found = run("""
        import logging
        said = []
        logging.getLogger("streamprn").addHandler(type("H", (logging.Handler,), {
            "emit": lambda self, record: said.append(record.getMessage())})())
        gpu, worked = Gpu(), []
        with gpu.current():
            stream = gpu.stream()
            def work():
                worked.append(1)
                gpu.synchronize(stream)
            for _ in range(4):
                gpu.replay(("key",), stream, work)
        tell(worked=len(worked), said=said, live=live())
        gpu.close()
    """)
    # As it is, in vain while recording, and as it is again.
    assert found["worked"] == 5
    assert len(found["said"]) == 1
    assert "call by call" in found["said"][0]
    assert found["live"]["graphs"] == found["live"]["launchable"] == 0


def test_any_thread_may_use_the_device_and_drop_what_it_made(run):
    found = run("""
        gpu, kept = Gpu(), []
        with gpu.current():
            stream = gpu.stream()
        def make():
            with gpu.current():
                kept.append((gpu.zeros((100,), np.float32), gpu.pinned((100,), np.float32)))
                gpu.synchronize(stream)
        def drop():
            kept.clear()
        for work in (make, drop, make, make, drop):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        stacked = live()["stacked"]
        thread = threading.Thread(target=gpu.close)
        thread.start()
        thread.join()
        tell(stacked=stacked, after=live())
    """)
    assert found["stacked"] == 0
    for kind in ("memory", "pinned", "events", "graphs", "stacked"):
        assert found["after"][kind] == 0, kind


def test_closing_gives_everything_back_and_later_use_is_one_clear_error(run):
    found = run("""
        gpu = Gpu()
        with gpu.current():
            stream, event = gpu.stream(), gpu.event()
            array, page = gpu.zeros((9,), np.float32), gpu.pinned((9,), np.float32)
        del stream
        late = array
        del array, page
        gpu.close()
        gpu.close()
        del late
        try:
            with gpu.current():
                said = ""
        except BackendError as error:
            said = str(error)
        tell(after=live(), said=said)
    """)
    assert "closed" in found["said"]
    # The context that is still retained is Numba's.
    assert found["after"]["primary"] == 1
    for kind in ("pinned", "streams", "events", "graphs", "launchable", "stacked"):
        assert found["after"][kind] == 0, kind


def test_a_device_that_is_never_closed_does_not_abort_the_process(run):
    found = run("""
        gpu = Gpu()
        with gpu.current():
            stream, array = gpu.stream(), gpu.zeros((9,), np.float32)
            kept, page = gpu.zeros((9,), np.float32), gpu.pinned((9,), np.float32)
        del array, page
        tell(live=live())
    """)
    assert found["live"]["stacked"] == 0


def test_a_device_without_the_memory_is_one_clear_error(run):
    found = run("""
        gpu = Gpu()
        try:
            with gpu.current():
                gpu.zeros((1 << 31,), np.uint8)
        except BackendError as error:
            said, hint = str(error), error.hint
        tell(said=said, hint=hint, live=live())
        gpu.close()
    """)
    assert "out of memory" in found["said"]
    assert "\n" not in found["said"]
    assert "max_batch" in found["hint"]
    assert found["live"]["stacked"] == 0


def test_the_whole_chain_runs_on_pycuda_s_objects_without_a_leak(run):
    found = run("""
        from dataclasses import replace
        from tests.cuda.chain_parts import RULE, ZeroNetwork, small_spec
        from streamprn.engines.device.chain import DeviceChain
        from streamprn.records import FrameImage, Roi
        class WithoutKernels(Gpu):
            launched = 0
            def launch(self, kernel, grid, stream, *arguments):
                self.launched += 1
        gpu = WithoutKernels()
        chain = DeviceChain(gpu, small_spec(), ZeroNetwork, timed=True)
        chain.warm_up()
        small = FrameImage.from_rgb(np.zeros((40, 50, 3), np.uint8))
        large = FrameImage.from_rgb(np.zeros((400, 500, 3), np.uint8))
        def look(image):
            tickets = [chain.submit([image], [(0, Roi(200, 200, 300))]) for _ in range(2)]
            assert chain.free_slots == 0 and all(map(chain.is_done, tickets))
            return [face for ticket in tickets for face in chain.collect(ticket)]
        for _ in range(4):
            faces = look(small)
        before = live()
        for _ in range(50):
            faces = look(small)
        after, launched = live(), gpu.launched
        look(small)
        replayed = gpu.launched == launched
        faces += look(large) + look(small)
        shapes = [face.vertices.shape for face in faces]
        thread = threading.Thread(target=lambda: shapes.append(replace(faces[0]).vertices.shape))
        thread.start()
        thread.join()
        times = sorted(chain.times_ms)
        chain.close()
        closed = live()
        del faces
        tell(before=before, after=after, replayed=replayed, shapes=shapes, times=times,
             closed=closed)
    """)
    assert found["after"] == found["before"]
    assert found["before"]["launchable"] == 2
    assert found["replayed"]
    assert len(found["shapes"]) == 7
    assert len(set(map(tuple, found["shapes"]))) == 1
    assert found["times"] == ["crop", "download", "geometry", "network", "upload"]
    for kind in ("events", "graphs", "launchable", "stacked"):
        assert found["closed"][kind] == 0, kind


def test_ffmpeg_opens_its_device_in_the_context_that_the_engine_uses_already(run, tmp_path):
    found = run(f"""
        import logging
        from pathlib import Path
        said = []
        logging.getLogger("streamprn").addHandler(type("H", (logging.Handler,), {{
            "emit": lambda self, record: said.append(record.getMessage())}})())
        from streamprn.source.sample_clip import make_clip
        from streamprn.engines.cuda import driver
        from streamprn.source import opening
        from tests.source.conftest import Player
        gpu = Gpu()
        share, driver.share_context = driver.share_context, lambda: None
        before = opening.hwaccel_problem("cuda")
        opening.hwaccel_problem.cache_clear()
        driver.share_context = share
        after = opening.hwaccel_problem("cuda")
        clip = make_clip(Path({str(tmp_path)!r}) / "face.mp4")
        player = Player(clip.uri, 5, hwaccel="cuda")
        frames = player.take(3)
        player.reader.stop()
        tell(before=before, after=after, frames=len(frames), said=said)
        gpu.close()
    """)
    assert "FFmpeg cannot use cuda" in found["before"]
    assert found["after"] == ""
    # There is a device here, and no NVDEC on it.
    assert found["frames"] == 3
    assert found["said"] == ["source face: cuda does not decode its video, decoding on the CPU"]
