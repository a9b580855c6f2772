"""The reader of TensorFlow checkpoints, against a checkpoint that TensorFlow itself wrote."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.engines.checkpoint import Checkpoint, _masked_crc32c
from streamprn.errors import EngineError
from tests.support.tensor_bundle import entry, field, table, varint, write_checkpoint

SMALL = Path(__file__).parents[1] / "data" / "checkpoint" / "small"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the small checkpoint that may be damaged."""
    for path in SMALL.parent.glob("small.*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / "small"


def damage(path: Path, at: int, by: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= by
    path.write_bytes(data)


def test_every_variable_that_tensorflow_saved_is_read_as_it_was():
    checkpoint = Checkpoint(SMALL)
    with np.load(SMALL.with_name("small.npz")) as expected:
        assert set(checkpoint.variables) == {*expected, "net/text"}
        for name in expected:
            found = checkpoint.read(name)
            assert found.dtype == expected[name].dtype
            assert found.shape == expected[name].shape
            np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_any_file_of_the_checkpoint_names_it(suffix):
    assert Checkpoint(SMALL.with_name(f"small{suffix}")).prefix == SMALL


def test_crc32c_has_the_published_check_value():
    # RFC 3720, appendix B.4: 32 bytes of zeros give 0x8a9136aa.
    crc = 0x8A9136AA
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert _masked_crc32c(bytes(32)) == masked


@given(
    arrays=st.dictionaries(
        st.text("abc/_", min_size=1, max_size=12),
        st.lists(st.floats(width=32, allow_nan=False), max_size=40),
        max_size=20,
    )
)
def test_what_is_written_is_read(tmp_path_factory, arrays):
    arrays = {name: np.array(values, np.float32) for name, values in arrays.items()}
    prefix = write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", arrays)
    checkpoint = Checkpoint(prefix)
    assert set(checkpoint.variables) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(checkpoint.read(name), values)


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(EngineError, match=r"nothing\.index: no such file"):
        Checkpoint(tmp_path / "nothing")


def test_a_folder_in_place_of_a_checkpoint_names_the_one_in_it():
    with pytest.raises(EngineError, match=r"a folder, no checkpoint \(give .*checkpoint/small\)"):
        Checkpoint(SMALL.parent)


def test_a_missing_data_file_is_named(copied):
    copied.with_name("small.data-00000-of-00001").unlink()
    with pytest.raises(EngineError, match=r"small\.data-00000-of-00001: no such file"):
        Checkpoint(copied).read("net/a/weights")


def test_a_truncated_data_file_names_the_variable_that_it_cuts(copied):
    path = copied.with_name("small.data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EngineError, match=r"ends inside variable 'net/a/weights' \(200 bytes"):
        Checkpoint(copied).read("net/a/weights")


def test_a_changed_byte_of_the_data_is_found(copied):
    path = copied.with_name("small.data-00000-of-00001")
    damage(path, Checkpoint(copied).variables["net/a/weights"].offset + 17)
    with pytest.raises(EngineError, match="checksum of variable 'net/a/weights' is wrong"):
        Checkpoint(copied).read("net/a/weights")


def test_no_changed_byte_of_the_index_goes_unnoticed(copied):
    path = copied.with_name("small.index")
    whole = path.read_bytes()
    original = Checkpoint(SMALL).variables
    # The footer's padding and the last restarts block carry no entry.
    for at in range(len(whole)):
        path.write_bytes(whole)
        damage(path, at, 0x55)
        try:
            variables = Checkpoint(copied).variables
        except EngineError:
            continue
        assert variables == original, f"byte {at}"


@pytest.mark.parametrize("size", [0, 10, 47, 100, 300])
def test_a_truncated_index_is_refused(copied, size):
    path = copied.with_name("small.index")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(EngineError, match="not the index of a TensorFlow V2 checkpoint"):
        Checkpoint(copied)


def test_a_compressed_index_is_refused_by_name(tmp_path):
    prefix = write_checkpoint(tmp_path / "model", {"a": np.zeros(3, np.float32)}, kind=1)
    with pytest.raises(EngineError, match="the index is compressed"):
        Checkpoint(prefix)


def test_an_unknown_variable_is_named():
    with pytest.raises(EngineError, match="no variable 'net/nothing'"):
        Checkpoint(SMALL).read("net/nothing")


def test_a_key_that_is_no_text_is_one_more_unknown_variable(tmp_path):
    prefix = write_checkpoint(tmp_path / "model", {"a": np.zeros(3, np.float32)})
    path = prefix.with_name("model.index")
    data = path.read_bytes()
    header = {b"": field(1, 1) + field(3, field(1, 1))}
    part = entry(np.zeros(3, np.float32), 0, 0)
    path.write_bytes(table(header | {b"\x00\xff\xfepart": part}))
    assert data != path.read_bytes()
    (name,) = Checkpoint(prefix).variables
    assert name.endswith("part")


def test_a_variable_of_text_is_listed_but_not_read():
    checkpoint = Checkpoint(SMALL)
    assert checkpoint.variables["net/text"].dtype is None
    with pytest.raises(EngineError, match="unsupported type"):
        checkpoint.read("net/text")


def test_a_table_that_promises_more_than_it_has_is_refused(tmp_path):
    prefix = write_checkpoint(tmp_path / "model", {"a": np.zeros(3, np.float32)})
    path = prefix.with_name("model.index")
    data = path.read_bytes()
    footer = (varint(10**6) + varint(10**6)) * 2
    path.write_bytes(data[:-48] + footer.ljust(40, b"\0") + struct.pack("<8s", data[-8:]))
    with pytest.raises(EngineError, match="cut short"):
        Checkpoint(prefix)
