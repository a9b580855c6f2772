"""Labels in the format of the PRN's authors: crops, and position maps beside them."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")

from streamprn.apps.images import write_image
from streamprn.errors import EngineError, InputError
from streamprn.train.position_maps import MapSampler, PositionMaps
from tests.support.resfcn import landmark_texels, rest_shape, write_uv_data

MARK = (250, 20, 20)


@pytest.fixture(scope="module")
def uv_data(tmp_path_factory):
    return write_uv_data(tmp_path_factory.mktemp("authors") / "uv-data")


def write_maps(folder, count=4):
    """Faces at random places, a disc at the nose tip of each; 300W-LP's sets are folders."""
    rng = np.random.default_rng(2)
    rest = rest_shape()
    for number in range(count):
        place = folder / ("HELEN" if number % 2 else "AFW")
        place.mkdir(parents=True, exist_ok=True)
        scale = rng.uniform(0.7, 0.9)
        points = scale * rest * [1, -1, 1] + [*rng.uniform(118, 138, 2), 0]
        points[:, 2] -= points[:, 2].min()
        np.save(place / f"{number}.npy", points.reshape(256, 256, 3).astype(np.float32))
        picture = np.full((256, 256, 3), 90, np.uint8)
        nose = points[landmark_texels()[30], :2]
        cv2.circle(picture, tuple(round(v) for v in nose.tolist()), 4, MARK, -1)
        write_image(place / f"{number}.jpg", picture)
    return folder


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("maps"))


def test_a_crop_and_its_map_go_through_as_they_are(maps, uv_data):
    data = PositionMaps.open(maps, uv_data)
    assert (len(data), data.held_out.sum()) == (4, 1)
    (index,) = np.flatnonzero(data.held_out)
    crop, vertices = data.read(index)
    stored = np.load(data.pairs[index][1]).reshape(-1, 3)[data.topology.texel]
    np.testing.assert_array_equal(vertices, stored)
    batch = MapSampler(data).held_out(None, 1)
    np.testing.assert_array_equal(batch.images[0], crop)
    np.testing.assert_allclose(batch.points[0, :, :2] * 128 + 127.5, stored[:, :2], atol=1e-3)
    depth = batch.points[0, :, 2]
    np.testing.assert_allclose(
        (depth.max() - depth) * 128, stored[:, 2] - stored[:, 2].min(), atol=1e-3
    )


def test_picture_and_map_move_together(maps, uv_data):
    """The disc stays at the nose tip, turned, shifted, enlarged and mirrored."""
    data = PositionMaps.open(maps, uv_data)
    sampler = MapSampler(data, seed=1)
    nose = data.topology.landmarks[30]
    near = 0
    for step in range(12):
        batch = sampler.batch(step, 2)
        assert batch.is_face.all()
        for image, points in zip(batch.images, batch.points, strict=True):
            x, y = np.clip(np.rint(points[nose, :2] * 128 + 127.5).astype(int), 2, 253)
            around = image.astype(float)
            redder = around[..., 0] - around[..., 1:].mean(2)
            near += redder[y - 2 : y + 3, x - 2 : x + 3].mean() > np.median(redder) + 15
    # Occluders, grey pictures and noise hide some.
    assert near >= 17


def test_a_step_has_the_same_samples_every_time(maps, uv_data):
    data = PositionMaps.open(maps, uv_data)
    first, again = (MapSampler(data, seed=4).batch(7, 2) for _ in range(2))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.points, again.points)


def damaged(folder, kind):
    """What to write in place of a map."""
    good = np.load(folder)
    made = {
        "of another size": good[:128],
        "of integers": good.astype(np.int16),
        "not finite": np.full_like(good, np.nan),
        "in 0..1": good / 256,
        "far away": good + 5000,
    }[kind]
    np.save(folder, made)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("of another size", "no position map"),
        ("of integers", "no position map"),
        ("not finite", "no place near the crop"),
        ("far away", "no place near the crop"),
        ("in 0..1", "not in pixels"),
    ],
)
def test_a_map_that_cannot_be_is_named(tmp_path, uv_data, kind, said):
    folder = write_maps(tmp_path / "maps", 2)
    path = folder / "AFW" / "0.npy"
    damaged(path, kind)
    data = PositionMaps.open(folder, uv_data)
    with pytest.raises(InputError, match=said) as caught:
        data.read(0)
    assert str(path) in str(caught.value)


def test_files_that_are_no_labels_are_named(tmp_path, uv_data):
    with pytest.raises(InputError, match="0 position maps"):
        PositionMaps.open(tmp_path / "nowhere", uv_data)
    folder = write_maps(tmp_path / "maps", 3)
    (folder / "AFW" / "0.npy").write_bytes(b"no array")
    write_image(folder / "HELEN" / "1.jpg", np.zeros((200, 256, 3), np.uint8))
    data = PositionMaps.open(folder, uv_data)
    with pytest.raises(InputError, match=r"0\.npy: no position map"):
        data.read(0)
    with pytest.raises(InputError, match="is 256x200, not 256x256"):
        data.read(2)
    (folder / "AFW" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"2\.npy: no picture of that name"):
        PositionMaps.open(folder, uv_data)
    with pytest.raises(EngineError, match=r"no face_ind\.txt"):
        PositionMaps.open(write_maps(tmp_path / "others", 2), tmp_path)


def test_the_program_trains_on_position_maps_and_exports(maps, uv_data, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch missing: make test-train")
    from streamprn.cli import main
    from streamprn.engines.engine import open_engine

    run, engine = tmp_path / "run", tmp_path / "engine"
    common = ["train", "fit", maps, "--labels", "300W-LP", "--output", run, "--batch", 2]
    common += ["--device", "cpu", "--threads", 1]
    assert main([*map(str, common), "--steps", "1"]) == 2
    assert "need the authors' UV data" in capsys.readouterr().err
    common += ["--uv-data", uv_data]
    assert main([*map(str, common), "--steps", "1"]) == 2
    assert "--network resfcn256" in capsys.readouterr().err
    common += ["--network", "resfcn256"]
    for steps in ("1", "2"):
        assert main([*map(str, common), "--steps", steps]) == 0
    assert "from step 1" in capsys.readouterr().err
    (first, second) = json.loads((run / "history.json").read_text())
    assert (second["step"], *first["error_percent"]) == (2, "own")
    assert main(["train", "export", str(run), "--output", str(engine), "--name", "theirs"]) == 0
    opened = open_engine(engine, backend="openvino")
    data = PositionMaps.open(maps, uv_data)
    np.testing.assert_array_equal(opened.topology.texel, data.topology.texel)
    image = MapSampler(data).held_out(None, 1).images.astype(np.float32) / 255
    assert np.isfinite(opened.infer(image).surfaces[0].position_map()).all()
    opened.close()
    assert "published for research" in (engine / "MODEL_CARD.md").read_text()


def test_a_damaged_map_ends_training_with_one_line(uv_data, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch missing: make test-train")
    from streamprn.cli import main

    folder = write_maps(tmp_path / "maps", 3)
    data = PositionMaps.open(folder, uv_data)
    for index in np.flatnonzero(~data.held_out):
        np.save(data.pairs[index][1], np.zeros((5, 256, 3), np.float32))
    command = ["train", "fit", folder, "--labels", "300W-LP", "--uv-data", uv_data, "--output"]
    command += [tmp_path / "run", "--network", "resfcn256", "--steps", 1, "--batch", 1]
    assert main([*map(str, command), "--device", "cpu"]) == 2
    assert "no position map" in capsys.readouterr().err
