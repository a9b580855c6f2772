import json
import shutil

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")


from streamprn.errors import InputError
from streamprn.train import dataset
from streamprn.train.dataset import Dataset
from streamprn.train.fitting import FLIP, LinearFit
from streamprn.train.label import Rules, label
from streamprn.train.layout import load_layout
from streamprn.train.linear_model import LinearModel

RULES = Rules(residual_percentile=100, held_out=0.2)


def test_the_card_counts_what_was_kept_and_why_the_rest_was_not(data):
    assert data.card["faces"] == len(data) == len(data.crops) == len(data.points)
    assert data.card["left_out"]["no face"] == 1
    (source,) = data.card["sources"].values()
    assert source == {"labelled": 10, "kept": len(data)}
    assert len(data) >= 8
    assert data.held_out.sum() == data.card["held_out"] == round(0.2 * len(data))


def test_the_points_lie_on_the_face(data):
    eyes, mouth = data.points[:, [33, 263]], data.points[:, 13]
    # Upright, the subject's right eye at the left of the picture, the mouth below.
    np.testing.assert_allclose(eyes[:, 0, 1], eyes[:, 1, 1], atol=0.1)
    assert (eyes[:, 1, 0] - eyes[:, 0, 0] > 40).all()
    assert (mouth[:, 1] - eyes[:, 0, 1] > 25).all()
    # The nose stands out towards the camera.
    assert (data.points[:, 1, 2] > data.points[:, 33, 2] + 10).all()


def test_the_teachers_points_are_those_of_the_crop_in_the_frame_of_the_model(data):
    up = data.scale[:, None, None] * data.shape @ data.rotation.transpose(0, 2, 1)
    back = (up + data.translation[:, None]) * FLIP
    np.testing.assert_allclose(back, data.points, atol=0.01)


def test_the_same_face_has_the_same_shape_in_every_picture(data):
    layout = load_layout()
    mirrored = data.shape[:, layout.mirror] * np.float32([-1, 1, 1])
    size = np.ptp(data.shape[0], axis=0)[:2].mean()
    alike = [
        min(np.linalg.norm(one - data.shape[0], axis=1).mean() for one in pair) / size
        for pair in zip(data.shape, mirrored, strict=True)
    ]
    assert max(alike) < 0.05


def test_a_second_call_does_not_teach_again(labels, head_model, portraits, tmp_path, monkeypatch):
    folder = shutil.copytree(labels, tmp_path / "labels")
    (folder / dataset.CARD).unlink()
    monkeypatch.setattr("streamprn.train.label._teach_part", lambda part: pytest.fail(str(part)))
    done = []
    label(
        [portraits], head_model, folder, rules=RULES, tell=lambda n, total: done.append((n, total))
    )
    assert done == [(11, 11)]
    np.testing.assert_array_equal(Dataset.open(folder).points, Dataset.open(labels).points)


def test_other_pictures_are_not_mixed_in(labels, head_model, portraits):
    with pytest.raises(InputError, match="labels of other pictures"):
        label([portraits / "0.png"], head_model, labels)


@pytest.mark.parametrize("file", [dataset.CARD, dataset.FACES, dataset.CROPS])
def test_a_data_set_that_is_not_complete_is_refused(labels, tmp_path, file):
    folder = shutil.copytree(labels, tmp_path / "labels")
    (folder / file).unlink()
    with pytest.raises(InputError, match="data set"):
        Dataset.open(folder)


def test_a_folder_that_is_no_head_model_is_refused(tmp_path, head_model):
    with pytest.raises(InputError, match=r"has no generic_neutral_mesh\.obj"):
        LinearModel.read(tmp_path)
    other = shutil.copytree(head_model, tmp_path / "other")
    (other / "model.json").unlink()
    with pytest.raises(InputError, match="are not those of ICT-FaceKit"):
        LinearModel.read(other)
    (other / "model.json").write_text(json.dumps({"head_vertices": 3}))
    with pytest.raises(InputError, match="landmarks68"):
        LinearModel.read(other)


def test_the_fit_finds_what_a_face_was_made_of(head_model):
    model = LinearModel.read(head_model)
    rows = np.zeros((468, len(model.mean)), np.float32)
    rows[np.arange(468), np.arange(468)] = 1
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.7, (5, len(model.basis))).astype(np.float32)
    true[:, -1] = rng.uniform(0, 1, 5)
    shape = np.stack([rows @ (model.mean + np.tensordot(one, model.basis, 1)) for one in true])
    angle = np.radians(25)
    turn = np.array(
        [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    )
    points = ((5 * shape @ turn.T + [90, -80, 0]) * FLIP).astype(np.float32)
    fit = LinearFit(model, rows, np.ones(468, np.float32))(points, rounds=12)
    assert fit.residual(points).max() < 0.4
    np.testing.assert_allclose(fit.angles[:, 1], 25, atol=2.0)
    assert (fit.coefficients[:, -1] >= 0).all()
