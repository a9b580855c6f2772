from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from streamprn import cli
from streamprn.apps import datasets, evaluation, images, matfile, reports
from streamprn.apps.datasets import Truth
from streamprn.apps.evaluation import Evaluator, Score
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.engines.head import HeadShape
from streamprn.errors import InputError
from tests.support import faces

ANGLES = [
    (0.0, 0.0, 0.0),
    (20.0, 5.0, -10.0),
    (-25.0, 0.0, 5.0),
    (45.0, 0.0, 0.0),
    (-65.0, 0.0, 0.0),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, face: Reconstruction) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    faces.write_dataset(folder, face.topology, face.texture(256, "mirror"), ANGLES)
    return folder


def truth_of(face: Reconstruction, yaw: float = 0.0) -> Truth:
    points = face.landmarks.copy()
    box = np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)])
    angles = np.array([face.pose.pitch, yaw, face.pose.roll])
    return Truth("a", Path("a.jpg"), points, angles, box, vertices=face.vertices.copy())


def test_the_truth_is_read_as_it_was_written(dataset: Path, face: Reconstruction) -> None:
    found = datasets.open_dataset(dataset)
    assert found.layout == "aflw2000"
    assert [path.stem for path in found.pictures] == [f"image{n:05d}" for n in range(len(ANGLES))]
    truth = found.read(found.pictures[1])
    np.testing.assert_allclose(truth.pitch_yaw_roll, (5.0, 20.0, -10.0), atol=1e-4)
    assert truth.vertices is not None and truth.vertices.shape == face.vertices.shape
    np.testing.assert_array_equal(truth.landmarks, truth.vertices[face.topology.landmarks])
    assert truth.roi_xyxy is not None
    np.testing.assert_allclose(truth.roi_xyxy, truth.box_xyxy)


def test_a_perfect_face_has_no_error(face: Reconstruction) -> None:
    score = evaluation.score(truth_of(face, face.pose.yaw), face)
    errors = (score.nme_2d, score.nme_3d, score.nme_dense, score.pitch, score.yaw, score.roll)
    np.testing.assert_allclose(errors, 0.0, atol=1e-9)


def test_errors_are_a_percentage_of_the_box(face: Reconstruction) -> None:
    truth = truth_of(face)
    shifted = dataclasses.replace(truth, landmarks=truth.landmarks + np.float32([3, 4, 0]))
    x0, y0, x1, y1 = truth.box_xyxy
    expected = 100 * 5 / math.sqrt((x1 - x0) * (y1 - y0))
    assert evaluation.score(shifted, face).nme_2d == pytest.approx(expected, rel=1e-4)
    assert evaluation.score(shifted, face).nme_3d == pytest.approx(expected, rel=1e-4)


def test_the_origin_of_depth_does_not_count(face: Reconstruction) -> None:
    truth = truth_of(face)
    deeper = dataclasses.replace(truth, landmarks=truth.landmarks + np.float32([0, 0, 50]))
    assert evaluation.score(deeper, face).nme_3d == pytest.approx(0, abs=1e-4)
    slanted = truth.landmarks.copy()
    slanted[:34, 2] += 10
    assert evaluation.score(dataclasses.replace(truth, landmarks=slanted), face).nme_3d > 3


def test_angles_differ_the_short_way_round() -> None:
    assert evaluation.angle_error(179, -179) == pytest.approx(2)
    assert evaluation.angle_error(-10, 25) == pytest.approx(35)


def scores_by_yaw(face: Reconstruction, errors: dict[float, float]) -> list[Score]:
    return [
        Score(
            truth_of(face, yaw), True, face.landmarks, error, nme_3d=error, pitch=1, yaw=2, roll=3
        )
        for yaw, error in errors.items()
    ]


def test_means_are_taken_by_yaw_as_in_the_literature(face: Reconstruction) -> None:
    errors = {0.0: 1.0, -30.0: 3.0, 30.5: 5.0, 60.0: 7.0, -61.0: 9.0, 95.0: 11.0}
    summary = evaluation.summarise(scores_by_yaw(face, errors))
    assert summary.bins == pytest.approx((2.0, 6.0, 10.0, 6.0))
    assert summary.bin_counts == (2, 2, 2)
    assert summary.nme_2d == pytest.approx(6.0)
    assert summary.pose == pytest.approx((1, 2, 3, 2))


def test_poses_beyond_99_degrees_are_left_out(face: Reconstruction) -> None:
    scores = scores_by_yaw(face, {10.0: 1.0, 98.0: 1.0, 100.0: 1.0, -120.0: 1.0})
    assert evaluation.summarise(scores).pose_pictures == 2


def test_missed_faces_count_in_the_curve_but_in_no_mean(face: Reconstruction) -> None:
    scores = [*scores_by_yaw(face, {0.0: 2.0}), Score(truth_of(face), found=False)]
    summary = evaluation.summarise(scores)
    assert (summary.pictures, summary.missed, summary.nme_2d) == (2, 1, 2.0)
    at, part = reports.cumulative_errors(scores)
    assert part[at < 2.0].max() == 0
    assert part[at >= 2.0].tolist() == [0.5] * int((at >= 2.0).sum())
    assert not reports.worst(scores, 1)[0].found


def test_an_empty_dataset_has_no_numbers() -> None:
    summary = evaluation.summarise([])
    assert summary.pictures == 0 and math.isnan(summary.nme_2d) and math.isnan(summary.bins[3])


@pytest.mark.parametrize("crop", ["detector", "truth"])
def test_drawn_faces_are_found_with_the_accuracy_of_the_engine(
    reconstructor: Reconstructor, dataset: Path, crop: str
) -> None:
    found = datasets.open_dataset(dataset)
    evaluator = Evaluator(reconstructor, found.read, crop)
    for path in found.pictures[:4]:
        evaluator.process(path)
    summary = evaluation.summarise(evaluator.scores)
    assert summary.missed == 0 and not evaluator.failures
    assert summary.bins[0] < 4.5 and summary.bins[1] < 9
    assert summary.nme_dense < 12
    assert summary.pose[1] < 8 and summary.pose[2] < 4


def test_a_crop_by_the_truth_is_where_the_face_is(
    reconstructor: Reconstructor, face: Reconstruction
) -> None:
    engine = reconstructor.engine
    turn = HeadShape(engine.topology).fit(face.landmarks).turn
    roi = evaluation.roi_from_landmarks(engine.crop, face.landmarks, turn)
    assert abs(roi.cx - face.roi.cx) < 0.1 * face.roi.side
    assert abs(roi.cy - face.roi.cy) < 0.1 * face.roi.side
    assert roi.side == pytest.approx(face.roi.side, rel=0.15)


def test_the_command_prints_and_writes_everything(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    code = cli.main(["evaluate", str(dataset), "--crop", "truth", "--out", str(out)])
    printed = capsys.readouterr().out
    assert code == 0
    assert "3.62" in printed and "mean of bins" in printed and "dense NME" in printed
    with (out / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"image{n:05d}" for n in range(len(ANGLES))]
    assert float(rows[0]["nme_2d"]) < 5 and float(rows[1]["true_yaw"]) == pytest.approx(
        20, abs=0.01
    )
    for name in ("curve.png", "worst.jpg"):
        assert images.read_image(out / name).shape[0] > 100


def test_bad_files_of_a_dataset_are_listed(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("image00000", "image00001", "image00002"):
        for suffix in (".jpg", ".mat"):
            (tmp_path / (name + suffix)).write_bytes((dataset / (name + suffix)).read_bytes())
    (tmp_path / "image00000.jpg").write_text("no picture")
    matfile.write_mat(tmp_path / "image00001.mat", {"roi": np.zeros((1, 4))})
    assert cli.main(["evaluate", str(tmp_path), "--crop", "truth"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "not a readable picture" in printed
    assert "has no 'pt3d_68', only roi" in printed
    assert "1 pictures" in printed


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=str(folder)):
            datasets.open_dataset(folder)
