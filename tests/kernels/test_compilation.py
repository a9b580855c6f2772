from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from streamprn.kernels import _jit, pose, raster, uv, visibility


def test_importing_the_package_loads_no_compiler():
    code = "import sys, streamprn.kernels; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_editing_a_formula_invalidates_the_cached_loops(monkeypatch):
    stamps = []
    monkeypatch.setattr(_jit, "_maths_stamp", lambda: (1.0, len(stamps)))
    for _ in range(2):
        compiled = _jit.cpu_loop()(uv._bounds.py_func)
        stamps.append(compiled._cache._cache_file._source_stamp)
    assert stamps[0] != stamps[1]


def run_at_home(code: str, home: Path) -> str:
    """What the program prints whose home folder is this."""
    environment = {**os.environ, "STREAMPRN_HOME": str(home)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_kernels_are_cached_below_the_home_folder_and_nowhere_in_the_package(tmp_path):
    code = """
import numpy as np, numba
from streamprn.kernels import uv
uv.bounds(np.zeros((3, 3), np.float32))
assert not numba.config.CACHE_DIR
print(uv._bounds._cache.cache_path)
"""
    assert run_at_home(code, tmp_path).startswith(str(tmp_path / "cache" / "kernels"))
    assert list(tmp_path.rglob("uv._bounds*.nbc"))


def test_an_index_of_the_cache_stays_readable_when_classes_are_renamed(tmp_path):
    code = """
import numpy as np
from streamprn.kernels import warp
from streamprn.records import YuvPlanes
chroma = np.zeros((8, 8), np.uint8)
planes = YuvPlanes(np.zeros((16, 16), np.uint8), chroma, chroma)
warp.warp_yuv(planes, np.eye(2, 3), 4)
warp.warp_rgb(np.zeros((16, 16, 3), np.uint8), np.eye(2, 3), 4)
"""
    run_at_home(code, tmp_path)
    indices = list(tmp_path.rglob("*.nbi"))
    assert len(indices) == 2
    for index in indices:
        assert b"streamprn" not in index.read_bytes()


def test_kernels_run_in_many_threads_at_once(face):
    vertices = face.in_frame(60, 50, 80)
    reference = pose.Reference(face.canonical)

    def work(shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        moved = vertices + np.float32([shift, 0, 0])
        return (
            raster.depth(moved, face.triangles, 100, 130),
            visibility.visible_vertices(moved, face.triangles),
            pose.estimate(moved, reference).translation,
        )

    alone = [work(shift) for shift in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(12)))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
