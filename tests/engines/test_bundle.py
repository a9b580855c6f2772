import hashlib
import re
import shutil
import zipfile

import numpy as np
import pytest
import yaml

from streamprn.engines import registry
from streamprn.engines.bundle import Bundle
from streamprn.engines.detectors import DetectorSpec, open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.export import export_bundle
from streamprn.errors import EngineError


@pytest.fixture
def folder(tmp_path):
    """A copy of the packaged bundle, to spoil."""
    return shutil.copytree(registry.PACKAGED / "facemesh", tmp_path / "mine")


def change(folder, **changes):
    path = folder / "manifest.yaml"
    data = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        target = data
        *parents, last = key.split("__")
        for parent in parents:
            target = target[parent]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path.write_text(yaml.safe_dump(data))


def refused(folder):
    with pytest.raises(EngineError) as caught:
        open_engine(folder, backend="openvino", max_batch=1)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_packaged_engine_is_there_and_says_its_licence():
    assert "facemesh" in registry.available()
    assert registry.DEFAULT == "facemesh"
    bundle = registry.find("facemesh")
    assert bundle.licence == "Apache-2.0"
    assert "MediaPipe" in bundle.provenance_file.read_text()
    assert "blazeface" not in registry.available()


@pytest.mark.parametrize("name", ["facemesh", "facemesh2", "prn", "blazeface"])
def test_every_packaged_file_is_the_one_that_its_provenance_names(name):
    folder = registry.PACKAGED / name
    file = "MODEL_CARD.md" if name == "prn" else "PROVENANCE.md"
    stated = re.findall(r"- `(.+)`: SHA-256 `(.+)`", (folder / file).read_text())
    data = {path.name for path in folder.iterdir() if path.suffix in (".onnx", ".npz")}
    assert {file for file, _ in stated} == data
    for file, digest in stated:
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest, file


def test_an_unknown_engine_names_the_known_and_the_nearest():
    with pytest.raises(EngineError, match=r"no engine 'facemsh' \(did you mean 'facemesh'\?"):
        registry.find("facemsh")


def test_an_engine_dropped_under_streamprn_home_is_found(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPRN_HOME", str(tmp_path / "home"))
    assert "third" not in registry.available()
    shutil.copytree(folder, tmp_path / "home" / "engines" / "third")
    change(tmp_path / "home" / "engines" / "third", name="third")
    assert registry.available()["third"] == tmp_path / "home" / "engines" / "third"
    engine = open_engine("third", backend="openvino", max_batch=1)
    assert engine.name == "third"
    assert engine.infer(np.zeros((1, 192, 192, 3), np.float32)).maps.shape == (1, 256, 256, 3)


def test_a_bundle_opens_by_its_path(folder):
    assert registry.find(folder).folder == folder
    assert registry.find(str(folder)).folder == folder


def test_a_folder_without_a_manifest_is_not_an_engine(tmp_path):
    assert "is not an engine: it has no manifest.yaml" in refused(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "manifest.yaml:1:6: not valid YAML"),
        ("just words", "manifest.yaml: got the text 'just words', expected a section of keys"),
        ("", "manifest.yaml: the key 'networks' is missing"),
        ("\x00\xff", "manifest.yaml: not UTF-8 text"),
        ("name: [}", "manifest.yaml:1:8: not valid YAML"),
        ("name: a\nname: b", "manifest.yaml:2:1: not valid YAML: the key 'name' stands twice"),
    ],
)
def test_a_manifest_that_is_no_yaml_mapping_is_refused(folder, text, message):
    (folder / "manifest.yaml").write_bytes(text.encode("latin-1"))
    assert message in refused(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"topologie": "x"}, "topologie: unknown key (did you mean 'topology'?)"),
        ({"crop__sise": 3}, "crop.sise: unknown key (did you mean 'size'?)"),
        ({"networks__half": "x"}, "networks.half: unknown key (known keys: fp32, fp16, int8)"),
        ({"licence": None}, "the key 'licence' is missing (SPDX name or a sentence)"),
        ({"crop__size": None}, "crop: the key 'size' is missing"),
        ({"crop__size": "big"}, "crop.size: got the text 'big', expected a whole number"),
        ({"crop__size": 8}, "crop.size: got 8, allowed: 16 to 2048 px"),
        ({"crop__box_scale": float("nan")}, "crop.box_scale: got nan, allowed: 0.01 to 100"),
        ({"crop__box_scale": -1}, "crop.box_scale: got -1, allowed: 0.01 to 100"),
        ({"crop__rotate": "yes please"}, "crop.rotate: got the text 'yes please', expected true"),
        ({"crop__square": "oblong"}, "crop.square: got the text 'oblong', allowed: one of mean"),
        ({"crop": 3}, "crop: got 3, expected a section of keys"),
        ({"decoder": "magic"}, "got the text 'magic', allowed: one of subdivision, position-map"),
        ({"decoder": "subdivide"}, "decoder: got the text 'subdivide'"),
        ({"decoder": "subdivide"}, "did you mean 'subdivision'?"),
        ({"decoder": "position-map"}, "does not take the key operator"),
        ({"operator": None}, "needs the key operator"),
        ({"networks": "network.onnx"}, "networks: got the text 'network.onnx', expected a section"),
        ({"networks": {}}, "networks: names none of: fp32, fp16"),
        ({"networks__fp32": "gone.onnx"}, "networks.fp32: names 'gone.onnx', which is not there"),
        ({"networks__fp32": ""}, "networks.fp32: names '', which is not there"),
        ({"topology": "gone.npz"}, "topology: names 'gone.npz', which is not there"),
        ({"topology": 3}, "topology: got 3, expected a text"),
        ({"topology": "../mine/../gone.npz"}, "which is outside the engine's folder"),
        ({"name": 3}, "name: got 3, expected a text"),
        ({"name": "../x"}, "name: got the text '../x', allowed: letters"),
        ({"batched": 1}, "batched: got 1, expected true or false"),
        ({"shares": 3, "topology": "gone.npz"}, "shares: got 3, expected a text"),
        ({"shares": "../engines/facemesh"}, "shares: got the text '../engines/facemesh'"),
        ({"shares": "blazefake", "topology": "gone.npz"}, "no engine of the name 'blazefake'"),
        ({"shares": "facemesh", "topology": "gone.npz"}, "topology: names 'gone.npz', which is"),
        ({"output_scale": float("inf")}, "output_scale: got inf, allowed"),
    ],
)
def test_a_wrong_key_is_named(folder, changes, message):
    change(folder, **changes)
    said = refused(folder)
    assert said.startswith(str(folder / "manifest.yaml"))
    assert message in said


def test_a_wrong_key_is_named_with_its_line(folder):
    change(folder, crop__size="big")
    lines = (folder / "manifest.yaml").read_text().splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if text == "  size: big"]
    assert f"manifest.yaml:{line}: crop.size: got" in refused(folder)


def test_a_topology_and_an_operator_can_be_those_of_a_packaged_engine(folder, tmp_path):
    for name in ("topology.npz", "operator.npz"):
        (folder / name).unlink()
    change(folder, shares="facemesh")
    bundle = Bundle.load(folder)
    assert bundle.topology_file == registry.PACKAGED / "facemesh" / "topology.npz"
    assert bundle.operator_file == registry.PACKAGED / "facemesh" / "operator.npz"
    export_bundle(bundle, tmp_path / "copy")
    copy = Bundle.load(tmp_path / "copy")
    assert copy.topology_file == tmp_path / "copy" / "topology.npz"
    assert copy.operator_file == tmp_path / "copy" / "operator.npz"


def test_a_network_is_never_that_of_another_engine(folder):
    (folder / "network.onnx").unlink()
    change(folder, shares="facemesh")
    assert "networks.fp32: names 'network.onnx', which is not there" in refused(folder)


@pytest.mark.parametrize("name", ["topology.npz", "operator.npz", "network.onnx"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"hello"}[damage])
    assert name in refused(folder)


def test_an_operator_of_another_topology_is_refused(folder):
    with np.load(folder / "operator.npz") as data:
        arrays = dict(data)
    arrays["indices2"] = arrays["indices2"][:-1]
    np.savez(folder / "operator.npz", **arrays)
    assert "not an operator of this topology" in refused(folder)


def test_an_operator_that_would_read_past_its_points_is_refused(folder):
    with np.load(folder / "operator.npz") as data:
        arrays = dict(data)
    arrays["indices0"] = arrays["indices0"] + 1
    np.savez(folder / "operator.npz", **arrays)
    assert "stage 0 contradict" in refused(folder)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_network_that_does_not_fit_the_crop_is_refused(folder, backend):
    change(folder, crop__size=1000)
    with pytest.raises(EngineError, match=r"network\.onnx: the network takes .*192, 192, 3"):
        open_engine(folder, backend=backend)


def test_a_network_that_does_not_fit_the_decoder_is_refused(folder):
    change(folder, decoder="position-map", operator=None)
    engine = open_engine(folder, backend="openvino", max_batch=1)
    with pytest.raises(EngineError, match=r"the network gives points \(1, 468, 3\)"):
        engine.warm_up()


def test_an_unknown_detector_names_the_known(tmp_path):
    with pytest.raises(EngineError, match="choose one of: short, full"):
        open_detector("medium")
    with pytest.raises(EngineError, match=r"detectors\.yaml"):
        DetectorSpec.load("short", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size: 128", "size: small", "detectors.yaml:4: short.size: got the text 'small'"),
        ("size: 128", "sise: 128", "short.sise: unknown key (did you mean 'size'?)"),
        ("[[48, 1]]", "[[48, 0]]", "full.layers.0.1: got 0, allowed: 1 to 1024"),
        ("full:", "long:", "long: unknown key"),
    ],
)
def test_a_wrong_key_of_the_detectors_is_named(tmp_path, old, new, message):
    text = (registry.PACKAGED / "blazeface" / "detectors.yaml").read_text()
    (tmp_path / "detectors.yaml").write_text(text.replace(old, new))
    with pytest.raises(EngineError) as caught:
        DetectorSpec.load("short", tmp_path)
    assert message in str(caught.value)


def test_loading_a_manifest_reads_no_network(folder):
    (folder / "network.onnx").write_bytes(b"")
    assert Bundle.load(folder).name == "facemesh"


def npz(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)


def npy(header):
    text = header.encode().ljust(118 + len(header) // 64 * 64) + b"\n"
    return b"\x93NUMPY\x02\0" + len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize("file", ["topology.npz", "operator.npz"])
@pytest.mark.parametrize(
    "member",
    [
        ("format.npy", npy("[" * 9000)),
        ("format.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1 << 60,)}")),
        (
            "format.npy",
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,)}"),
        ),
        ("format.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}") + b"cos\n."),
        ("format", b"1"),
        ("format.npy", b""),
    ],
)
def test_a_damaged_array_file_is_one_clear_line(folder, file, member):
    npz(folder / file, member)
    assert str(folder / file) in refused(folder)


def test_an_array_file_that_unpacks_to_gigabytes_is_refused_before_it_does(folder):
    npz(folder / "topology.npz", ("format.npy", bytes(300 << 20)))
    assert "more than 256 MiB once it is unpacked" in refused(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    outside = shutil.move(folder / "topology.npz", tmp_path / "topology.npz")
    (folder / "topology.npz").symlink_to(outside)
    assert "a link out of the engine's folder" in refused(folder)


def test_a_link_within_the_folder_is_followed(folder):
    (folder / "topology.npz").rename(folder / "t.npz")
    (folder / "topology.npz").symlink_to("t.npz")
    assert Bundle.load(folder).topology().vertex_count > 0


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_one_clear_line(folder, name):
    change(folder, topology=name)
    assert "cannot be used" in refused(folder)
