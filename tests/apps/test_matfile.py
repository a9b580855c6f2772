from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from streamprn.apps import matfile
from streamprn.errors import InputError

ARRAYS = {
    "pt3d_68": np.arange(204, dtype=np.float32).reshape(3, 68),
    "Pose_Para": np.linspace(-1, 1, 7).reshape(1, 7),
    "roi": np.array([[10, 20, 300, 400]], np.int32),
    "x": np.array([[7]], np.uint8),
}


def test_scipy_reads_what_is_written(tmp_path: Path) -> None:
    matfile.write_mat(tmp_path / "a.mat", ARRAYS)
    loaded = scipy.io.loadmat(tmp_path / "a.mat")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(tmp_path: Path, compressed: bool) -> None:
    extra = {"text": "words", "cell": np.array([1, "a"], object), "struct": {"a": 1}}
    scipy.io.savemat(tmp_path / "a.mat", {**extra, **ARRAYS}, do_compression=compressed)
    loaded = matfile.read_mat(tmp_path / "a.mat")
    assert set(loaded) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    matfile.write_mat(tmp_path / "a.mat", {"v": np.arange(5.0)})
    np.testing.assert_array_equal(
        matfile.read_mat(tmp_path / "a.mat")["v"], np.arange(5.0)[:, None]
    )


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\0" * 200, b"MATLAB 7.3 MAT-file" + b" " * 200]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mat"):
        matfile.read_mat(tmp_path / "a.mat")


def test_damaged_files_give_an_input_error_or_less_content(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, ARRAYS, do_compression=True)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(200):
        damaged = bytearray(whole[: random.integers(128, len(whole))])
        for place in random.integers(128, max(len(damaged), 129), 3):
            if place < len(damaged):
                damaged[place] = int(random.integers(256))
        path.write_bytes(bytes(damaged))
        try:
            matfile.read_mat(path)
        except InputError as error:
            assert "\n" not in str(error)
