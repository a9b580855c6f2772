"""The layouts of datasets, read as they are written; what is wrong with one is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamprn.apps import images
from streamprn.apps.datasets import open_dataset
from streamprn.errors import InputError

POINTS = np.random.default_rng(0).uniform(1, 60, (68, 2)).astype(np.float32)


def picture(path: Path, grey: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_image(path, np.full((64, 64, 3), grey, np.uint8))
    return path


def pts(points: np.ndarray, header: str = "version: 1\nn_points:  68\n") -> str:
    body = "".join(f"{x:.4f} {y:.4f}\n" for x, y in points)
    return f"{header}{{\n{body}}}\n"


def test_points_of_300_w_count_pixels_from_one(tmp_path: Path) -> None:
    for name in ("b10", "b9"):
        picture(tmp_path / f"{name}.png").with_suffix(".pts").write_text(pts(POINTS))
    picture(tmp_path / "without.png")
    found = open_dataset(tmp_path)
    assert found.layout == "300w"
    assert [path.stem for path in found.pictures] == ["b9", "b10"]
    truth = found.read(found.pictures[0])
    assert truth.landmarks is not None and truth.box_xyxy is not None
    assert truth.landmarks.dtype == np.float32
    np.testing.assert_allclose(truth.landmarks, POINTS - 1, atol=1e-4)
    np.testing.assert_array_equal(truth.box_xyxy[:2], truth.landmarks.min(axis=0))
    assert np.isnan(truth.pitch_yaw_roll).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (pts(POINTS[:51]), "holds 51 points, expected 68"),
        ("version: 1\n1 2\n3 4\n", "no points between { and }"),
        (pts(POINTS).replace(".", "x"), "not lines of two numbers"),
        (pts(POINTS * [np.nan, 1]), "not finite"),
        (pts(np.full((68, 2), 9.0)), "span no area"),
        ("{\n1 2 3\n4 5\n}", "not lines of two numbers"),
    ],
)
def test_a_damaged_pts_file_is_named_with_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = picture(tmp_path / "a.jpg").with_suffix(".pts")
    path.write_text(text)
    found = open_dataset(tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        found.read(found.pictures[0])
    assert str(path) in str(caught.value)


def angles_of(folder: Path, pattern: str | None = None) -> dict[str, list[float]]:
    found = open_dataset(folder, angle_pattern=pattern)
    assert found.layout == "angles"
    return {
        truth.name: [float(value) for value in truth.pitch_yaw_roll]
        for truth in map(found.read, found.pictures)
    }


def test_the_yaw_is_found_in_names_of_pictures_and_of_folders(tmp_path: Path) -> None:
    for name in ("x_yaw30.jpg", "x_yaw-45.5.png", "Yaw=+75/2.jpg", "other.jpg"):
        picture(tmp_path / name)
    found = {name: angles[1] for name, angles in angles_of(tmp_path).items()}
    assert found == {"x_yaw30": 30.0, "x_yaw-45.5": -45.5, "Yaw=+75/2": 75.0}


def test_a_pattern_names_angles_and_turns_signs(tmp_path: Path) -> None:
    for name in ("p1+15-90.jpg", "p2-30+0.jpg"):
        picture(tmp_path / name)
    pattern = r"p\d(?P<pitch>[+-]\d+)(?P<minus_yaw>[+-]\d+)"
    found = angles_of(tmp_path, pattern)
    assert list(found) == ["p1+15-90", "p2-30+0"]
    np.testing.assert_array_equal(found["p1+15-90"], [15, 90, np.nan])
    np.testing.assert_array_equal(found["p2-30+0"], [-30, 0, np.nan])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?P<yaw>", "angle pattern"),
        ("(?P<jaw>[0-9]+)", "group 'jaw' is none of"),
        ("([0-9]+)", "no group for the yaw"),
        ("z(?P<yaw>[0-9]+)", "no picture whose name matches"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(
    tmp_path: Path, pattern: str, reason: str
) -> None:
    picture(tmp_path / "yaw30.jpg")
    with pytest.raises(InputError, match=reason):
        open_dataset(tmp_path, angle_pattern=pattern)


@pytest.mark.parametrize(("name", "reason"), [("yawx.jpg", "not a number"), ("yaw999.jpg", "999")])
def test_an_angle_that_is_none_is_named_with_its_picture(
    tmp_path: Path, name: str, reason: str
) -> None:
    picture(tmp_path / name)
    found = open_dataset(tmp_path, angle_pattern="yaw(?P<yaw>.+)")
    with pytest.raises(InputError, match=reason) as caught:
        found.read(found.pictures[0])
    assert name in str(caught.value)


def test_a_layout_that_is_asked_for_is_the_only_one_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "yaw10.jpg").with_suffix(".pts").write_text(pts(POINTS))
    assert open_dataset(tmp_path).layout == "300w"
    assert open_dataset(tmp_path, "angles").layout == "angles"
    with pytest.raises(InputError, match=r"no picture with a \.mat file beside it"):
        open_dataset(tmp_path, "aflw2000")
    with pytest.raises(InputError, match="does not go with the layout 300w"):
        open_dataset(tmp_path, "300w", "yaw(?P<yaw>[0-9]+)")


def test_a_digest_changes_with_the_picture_and_with_its_truth(tmp_path: Path) -> None:
    truth = picture(tmp_path / "a.png").with_suffix(".pts")
    seen = set()
    for points, grey in ((POINTS, 90), (POINTS + 1, 90), (POINTS + 1, 91)):
        truth.write_text(pts(points))
        picture(tmp_path / "a.png", grey)
        found = open_dataset(tmp_path)
        digest = found.read(found.pictures[0]).digest
        assert digest == found.read(found.pictures[0]).digest
        seen.add(digest)
    assert len(seen) == 3
