"""Importing the authors' files: what comes out, and what is said when something is wrong."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamprn.engines.bundle import Bundle
from streamprn.engines.engine import open_engine
from streamprn.engines.resfcn256 import importer, uvdata
from streamprn.errors import EngineError
from tests.support.resfcn import (
    face_mask,
    landmark_texels,
    make_random_bundle,
    random_variables,
    rest_shape,
    write_uv_data,
)
from tests.support.tensor_bundle import write_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_uv_data(tmp_path_factory.mktemp("authors") / "uv-data")


@pytest.fixture(scope="module")
def arrays():
    return random_variables()


@pytest.fixture
def own_data(tmp_path) -> Path:
    """A copy to damage."""
    return write_uv_data(tmp_path / "uv-data")


def read(folder: Path):
    return uvdata.read_topology(folder, licence="x", provenance="y")


def test_a_checkpoint_and_uv_data_become_an_engine_that_runs(tmp_path, arrays, data):
    adam = {f"{name}/Adam": np.zeros(1, np.float32) for name in arrays}
    adam["beta1_power"] = np.zeros((), np.float32)
    prefix = write_checkpoint(tmp_path / "weights", arrays | adam)
    steps = []
    folder = importer.import_prnet(prefix, data, tmp_path / "prn", progress=steps.append)
    assert len(steps) == 4
    bundle = Bundle.load(folder)
    assert bundle.name == "prn"
    assert set(bundle.networks) == {"fp32", "fp16"}
    assert "research" in bundle.licence
    assert "research" in bundle.notice
    assert bundle.output_scale == pytest.approx(256 * 1.1)
    assert "SHA-256" in (folder / "PROVENANCE.md").read_text()
    engine = open_engine(folder, max_batch=1, threads=2)
    maps = engine.infer(np.full((1, 256, 256, 3), 0.5, np.float32)).maps
    assert np.isfinite(maps).all()
    assert not maps[0][~engine.topology.mask].any()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("prn", "weights.data-00000-of-00001", "weights.index")
    ]


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "truncated", "absent"])
def test_a_wrong_checkpoint_is_named_and_nothing_is_written(tmp_path, arrays, data, damage):
    name = "resfcn256/resBlock_7/Conv_2/weights"
    wrong = dict(arrays)
    expected = {
        "missing": f"missing variables: {name}",
        "unknown": "unknown variables: other/weights",
        "shape": rf"wrong shapes: {name} is \(7,\), expected \(1, 1, 128, 256\)",
        "truncated": "the file ends inside variable",
        "absent": r"no such file .*must lie together",
    }[damage]
    if damage == "missing":
        del wrong[name]
    elif damage == "unknown":
        wrong["other/weights"] = np.zeros(3, np.float32)
    elif damage == "shape":
        wrong[name] = np.zeros(7, np.float32)
    home = tmp_path / "home"
    if damage != "absent":
        prefix = write_checkpoint(tmp_path / "weights", wrong)
        shard = prefix.with_name("weights.data-00000-of-00001")
        if damage == "truncated":
            shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(EngineError, match=expected):
        importer.import_prnet(tmp_path / "weights", data, home / "prn")
    assert not home.exists()


def test_an_engine_is_replaced_only_when_asked(tmp_path):
    folder = make_random_bundle(tmp_path / "engines" / "random")
    (folder / "mark").touch()
    topology = Bundle.load(folder).topology()
    words = dict.fromkeys(("title", "licence", "notice", "provenance"), "words")
    arrays = random_variables(seed=1)
    with pytest.raises(EngineError, match="exists already"):
        importer.write_bundle(arrays, topology, folder, **words)
    assert (folder / "mark").exists()
    importer.write_bundle(arrays, topology, folder, **words, replace=True)
    assert not (folder / "mark").exists()
    assert Bundle.load(folder).title == "words"
    names = {path.name for path in folder.parent.iterdir()}
    assert names == {"random", ".random-uv-data"}


@pytest.mark.parametrize("name", ["123", "1e5", "no", "null", "0x1f"])
def test_a_name_that_yaml_takes_for_something_else_is_kept(tmp_path, arrays, data, name):
    words = dict.fromkeys(("title", "licence", "notice", "provenance"), "a: b")
    folder = importer.write_bundle(arrays, read(data), tmp_path / name, **words)
    assert Bundle.load(folder).name == name
    assert Bundle.load(folder).title == "a: b"


def test_a_folder_that_is_no_engine_is_not_replaced(tmp_path, arrays, data):
    words = dict.fromkeys(("title", "licence", "notice", "provenance"), "words")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "picture").touch()
    with pytest.raises(EngineError, match="photos is not an engine, so it is not replaced"):
        importer.write_bundle(arrays, read(data), tmp_path / "photos", **words, replace=True)
    assert (tmp_path / "photos" / "picture").exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path, data):
    broken = random_variables() | {"resfcn256/Conv/weights": np.zeros(1, np.float32)}
    with pytest.raises(EngineError):
        importer.write_bundle(
            broken, read(data), tmp_path / "a" / "b", title="", licence="", notice="", provenance=""
        )
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("given", [".", "uv-data", "Data/uv-data"])
def test_the_uv_data_are_found_from_the_folders_above(tmp_path, given):
    write_uv_data(tmp_path / given, masks=False)
    assert read(tmp_path).vertex_count == face_mask().sum()


def test_vertices_and_landmarks_are_the_texels_of_the_files(data):
    topology = read(data)
    np.testing.assert_array_equal(topology.mask.ravel(), face_mask())
    np.testing.assert_array_equal(topology.texel[topology.landmarks], landmark_texels())


@pytest.mark.parametrize("axes", [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (1, -1, 1)])
def test_the_rest_shape_is_turned_upright_whatever_its_axes(tmp_path, axes):
    topology = read(write_uv_data(tmp_path, axes=axes, masks=False))
    expected = rest_shape()[topology.texel]
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(topology.canonical, expected, atol=1e-4)


def test_triangles_face_outwards_however_the_file_turns_them(tmp_path):
    folder = write_uv_data(tmp_path, triangles=True, masks=False)
    straight = read(folder)
    triangles = np.loadtxt(folder / "triangles.txt")
    np.savetxt(folder / "triangles.txt", triangles[:, ::-1])
    turned = read(folder)
    for topology in (straight, turned):
        a, b, c = (topology.canonical[topology.triangles[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        outwards = (normals * a).sum(axis=1) > 0
        assert outwards.mean() > 0.99


def test_without_triangles_the_grid_of_the_mask_is_used(data):
    topology = read(data)
    mask = topology.mask
    cells = sum(mask[dy : 255 + dy, dx : 255 + dx].astype(int) for dy in (0, 1) for dx in (0, 1))
    assert len(topology.triangles) == 2 * (cells == 4).sum() + (cells == 3).sum()
    edges = np.sort(topology.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 2
    # A disk: vertices - edges + faces = 1.
    assert topology.vertex_count - len(unique) + len(topology.triangles) == 1


@pytest.mark.parametrize("corners", [*range(1, 16)])
def test_a_cell_of_the_grid_gives_a_triangle_for_three_corners_and_two_for_four(corners):
    """Bit k of `corners`: whether corner k of the 2x2 cell is a vertex."""
    texel = np.array([t for k, t in enumerate((0, 1, 256, 257)) if corners >> k & 1], np.int32)
    triangles = uvdata.triangulate(texel)
    assert len(triangles) == max(len(texel) - 2, 0)
    rows, columns = np.divmod(texel[triangles], 256)
    (ax, bx, cx), (ay, by, cy) = columns.T, -rows.T
    # Counter-clockwise with y up, and each half of the cell once.
    np.testing.assert_array_equal((bx - ax) * (cy - ay) - (by - ay) * (cx - ax), 1)
    assert len({tuple(sorted(triangle)) for triangle in triangles}) == len(triangles)


def test_the_mirror_turns_back_and_swaps_the_sides(data):
    topology = read(data)
    np.testing.assert_array_equal(
        topology.mirror[topology.mirror], np.arange(topology.vertex_count)
    )
    mirrored = topology.canonical[topology.mirror] * [-1, 1, 1]
    assert np.abs(mirrored - topology.canonical).max() < 1.5


def test_the_mirror_of_a_lone_texel_is_the_nearest_one():
    texel = np.array([256 * 10 + 5, 256 * 12 + 240], np.int32)
    np.testing.assert_array_equal(uvdata.mirror(texel), [1, 0])


def test_eyes_are_where_the_authors_pictures_differ(data):
    topology = read(data)
    centre = topology.canonical[topology.parts["eyes"]].mean(axis=0)
    eyes = topology.canonical[topology.landmarks[36:48]]
    assert abs(centre[1] - eyes[:, 1].mean()) < 5
    assert 500 < topology.parts["eyes"].sum() < 3000
    assert topology.parts["face"].sum() < topology.vertex_count


def test_without_pictures_parts_come_from_the_landmarks(tmp_path):
    topology = read(write_uv_data(tmp_path, masks=False))
    for name, numbers in {"eyes": (36, 48), "lips": (48, 60), "brows": (17, 27)}.items():
        assert topology.parts[name][topology.landmarks[slice(*numbers)]].all(), name
    assert topology.parts["face"].all()


def test_texels_may_be_listed_in_any_order(own_data):
    sorted_topology = read(own_data)
    order = np.random.default_rng(0).permutation(sorted_topology.vertex_count)
    for name in ("face_ind.txt", "canonical_vertices.npy"):
        path = own_data / name
        if name.endswith(".txt"):
            np.savetxt(path, np.loadtxt(path)[order])
        else:
            np.save(path, np.load(path)[order])
    shuffled = read(own_data)
    np.testing.assert_array_equal(shuffled.texel, sorted_topology.texel)
    np.testing.assert_array_equal(shuffled.canonical, sorted_topology.canonical)


def test_all_missing_files_are_named(own_data):
    (own_data / "uv_kpt_ind.txt").unlink()
    (own_data / "canonical_vertices.npy").unlink()
    with pytest.raises(EngineError, match=r"missing uv_kpt_ind\.txt, canonical_vertices\.npy"):
        read(own_data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("face_ind.txt", "1 2 x", "not a table of numbers"),
        ("face_ind.txt", "1\n1\n", "a texel is listed twice"),
        ("face_ind.txt", "70000\n", "indices from 0 to 65535"),
        ("face_ind.txt", "1.5\n", "whole numbers"),
        ("face_ind.txt", "1 2\n3 4\n", "expected one column"),
        ("uv_kpt_ind.txt", "1 2\n3 4\n", r"expected shape \(2, 68\), found \(2, 2\)"),
        ("uv_kpt_ind.txt", " ".join(["0"] * 68) + "\n" + " ".join(["0"] * 68), "landmark 0 is not"),
        ("face_ind.txt", "", "indices from 0 to 65535"),
        ("canonical_vertices.npy", "hello", "not a NumPy array"),
        ("triangles.txt", "1 2\n", r"expected shape \(T, 3\)"),
        ("triangles.txt", "1 2 99999\n", "indices from 0 to"),
        ("uv_face_mask.png", "hello", "expected a 256x256 picture"),
        ("uv_face_mask.png", "", "expected a 256x256 picture"),
    ],
)
def test_a_wrong_file_is_named(own_data, name, content, message):
    (own_data / name).write_text(content)
    with pytest.raises(EngineError, match=rf"{name}: .*{message}"):
        read(own_data)


def test_a_rest_shape_of_another_length_is_refused(own_data):
    np.save(own_data / "canonical_vertices.npy", np.zeros((10, 3)))
    with pytest.raises(EngineError, match=r"canonical_vertices\.npy: expected shape"):
        read(own_data)


def test_a_rest_shape_in_an_archive_or_of_text_is_refused(own_data):
    path = own_data / "canonical_vertices.npy"
    for save, value in ((np.savez, np.zeros((3, 3))), (np.save, np.array(["a", "b"]))):
        with path.open("wb") as file:
            save(file, value)
        with pytest.raises(EngineError, match=r"canonical_vertices\.npy: not a NumPy array"):
            read(own_data)


def test_eyes_differ_in_colour_where_they_are_equally_bright(own_data):
    colours = np.full((256, 256, 3), 0, np.uint8)
    colours[..., 0] = 255
    cv2.imwrite(str(own_data / "uv_face.png"), colours)
    bluer = colours.copy()
    bluer[64:80, 90:100] = (250, 1, 0)
    cv2.imwrite(str(own_data / "uv_face_eyes.png"), bluer)
    assert read(own_data).parts["eyes"].sum() == 16 * 10


def test_a_mask_of_another_size_is_refused(own_data):
    cv2.imwrite(str(own_data / "uv_face.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(EngineError, match=r"uv_face\.png: expected a 256x256 picture"):
        read(own_data)
