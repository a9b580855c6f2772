from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import trimesh

from streamprn import cli
from streamprn.apps import batch, images, outputs
from streamprn.apps.batch import BatchOptions, BatchReconstructor
from streamprn.apps.outputs import OutputOptions
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.errors import InputError
from streamprn.records import BLENDSHAPES
from tests.support import clips

ALL = OutputOptions(kinds=tuple(outputs.KINDS), texture_size=128)


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, reconstructor: Reconstructor, face: Reconstruction
) -> Path:
    out = tmp_path_factory.mktemp("done")
    files = outputs.PictureFiles(face.image, [face], reconstructor.engine.crop, out, ALL)
    outputs.write_outputs(files, "astronaut.png")
    return out


def test_all_outputs_of_a_face_are_written(done: Path) -> None:
    names = {path.name for path in (done / "face0").iterdir()}
    assert names == {
        "camera.txt", "crop.png", "face.mat", "landmarks.json", "landmarks.npy", "landmarks.txt",
        "mesh.glb", "mesh.obj", "mesh.ply", "pose.json", "position-map.npy", "position-map.png",
        "textured.glb", "textured.mtl", "textured.obj", "textured.png", "vertices.npy",
        "visible.npy",
    }  # fmt: skip
    assert {path.name for path in done.iterdir()} == {
        "face0", "summary.json", "depth.npy", "depth.png", "depth-view.png",
        "overlay-landmarks.jpg", "overlay-mesh.jpg", "overlay-pose.jpg", "overlay-visibility.jpg",
    }  # fmt: skip


def test_the_summary_names_the_expressions(done: Path, face: Reconstruction) -> None:
    (described,) = json.loads((done / "summary.json").read_text())["faces"]
    found = described["blendshapes"]
    assert tuple(found) == BLENDSHAPES
    assert face.blendshapes is not None
    np.testing.assert_allclose(list(found.values()), face.blendshapes, atol=1e-4)
    assert min(found["mouthSmileLeft"], found["mouthSmileRight"]) > 0.7


def test_files_agree_with_the_face(done: Path, face: Reconstruction) -> None:
    folder = done / "face0"
    np.testing.assert_array_equal(np.load(folder / "vertices.npy"), face.vertices)
    np.testing.assert_allclose(np.loadtxt(folder / "landmarks.txt"), face.landmarks, atol=6e-4)
    np.testing.assert_array_equal(np.load(folder / "landmarks.npy"), face.landmarks)
    pose = json.loads((folder / "pose.json").read_text())
    assert pose["yaw"] == pytest.approx(face.pose.yaw, abs=1e-3)
    np.testing.assert_allclose(np.loadtxt(folder / "camera.txt"), face.camera, rtol=1e-6)
    content = scipy.io.loadmat(folder / "face.mat")
    np.testing.assert_allclose(content["vertices"], face.vertices)
    np.testing.assert_array_equal(content["triangles"], face.topology.triangles)
    np.testing.assert_allclose(content["colors"], face.colours / 255.0)


def test_the_position_map_comes_back_from_its_png(done: Path, face: Reconstruction) -> None:
    levels = cv2.imread(str(done / "face0" / "position-map.png"), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    how = json.loads((done / "summary.json").read_text())["faces"][0]["position_map_png"]
    flat = levels.reshape(-1, 3)[face.topology.texel] * how["scale"] + np.array(how["offset"])
    assert np.abs(flat - face.vertices).max() < 0.01


def test_the_depth_png_holds_the_depth(done: Path, face: Reconstruction) -> None:
    stored = cv2.imread(str(done / "depth.png"), cv2.IMREAD_UNCHANGED)
    levels = json.loads((done / "summary.json").read_text())["depth_png_levels_per_pixel"]
    known = np.isfinite(face.depth)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored > 0, known)
    np.testing.assert_allclose(
        (stored[known] - 1.0) / levels, face.depth[known], atol=0.51 / levels
    )


def test_the_summary_lists_every_file(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    for name in summary["files"]:
        assert (done / name).is_file()
    assert "face0/mesh.obj" in summary["files"] and len(summary["faces"]) == 1
    assert len(summary["faces"][0]["landmarks"]) == 68


def test_the_front_view_is_seen_from_the_front(face: Reconstruction, tmp_path: Path) -> None:
    mesh = face.mesh(front=True)
    trimesh.exchange.export.export_mesh(
        trimesh.Trimesh(mesh.vertices, mesh.triangles), tmp_path / "a.stl"
    )
    centre = mesh.vertices.mean(axis=0)
    mirrored = mesh.vertices[face.topology.mirror] * (-1, 1, 1) + (2 * centre[0], 0, 0)
    width = float(np.ptp(mesh.vertices[:, 0]))
    assert np.linalg.norm(mesh.vertices - mirrored, axis=1).mean() < 0.06 * width


def test_masked_colours_are_black_where_hidden(face: Reconstruction) -> None:
    colours = face.mesh(masked=True).colours
    assert colours is not None
    assert not colours[~face.visible].any()
    np.testing.assert_array_equal(colours[face.visible], face.colours[face.visible])


@pytest.mark.parametrize(
    "options",
    [
        OutputOptions(kinds=("meshes",)),
        OutputOptions(kinds=("mesh",), formats=("stl",)),
        OutputOptions(kinds=("texture",), fill="black"),
        OutputOptions(kinds=("texture",), texture_size=4),
    ],
)
def test_unknown_options_are_named(options: OutputOptions) -> None:
    with pytest.raises(InputError):
        options.check()


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    images.write_image(folder / "face10.png", picture)
    images.write_image(folder / "face9.png", np.ascontiguousarray(picture[:, ::-1]))
    images.write_image(folder / "deeper" / "face.jpg", picture)
    images.write_image(folder / ".hidden" / "face.jpg", picture)
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_folders_are_searched_in_natural_order(photos: Path) -> None:
    found = batch.find_items([photos])
    assert [str(item.place) for item in found] == ["deeper/face", "face9", "face10"]


def test_two_pictures_of_one_name_get_two_folders(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    places = [item.place.name for item in batch.find_items([tmp_path])]
    assert places == ["a-jpg", "a-png", "b"]


@pytest.mark.parametrize("name", ["missing.jpg", "empty"])
def test_inputs_without_pictures_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        batch.find_items([tmp_path / name])


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg 10 20 30 40\nb.jpg 1 2 3.5 9\na.jpg 0 0 9 9\n",
        "name,x0,y0,x1,y1\n# remark\na.jpg,10,20,30,40\nb.jpg, 1, 2, 3.5, 9\na.jpg,0,0,9,9",
        '{"a.jpg": [[10, 20, 30, 40], [0, 0, 9, 9]], "b.jpg": [1, 2, 3.5, 9]}',
    ],
)
def test_boxes_are_read_from_lines_and_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes").write_text(text)
    boxes = batch.read_boxes(tmp_path / "boxes")
    assert [list(box) for box in boxes["a.jpg"]] == [[10, 20, 30, 40], [0, 0, 9, 9]]
    assert [list(box) for box in boxes["b.jpg"]] == [[1, 2, 3.5, 9]]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg 1 2 3",
        "a.jpg 30 20 10 40",
        "a.jpg 1 2 x 4",
        "a.jpg 1 2 nan 9",
        '{"a": 3}',
        "{",
        '{"a": [["b"]]}',
    ],
)
def test_wrong_boxes_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes").write_text(text)
    with pytest.raises(InputError) as caught:
        batch.read_boxes(tmp_path / "boxes")
    assert "\n" not in str(caught.value)


def run_batch(
    reconstructor: Reconstructor, options: BatchOptions, paths: list[Path]
) -> batch.Report:
    runner = BatchReconstructor(reconstructor, options)
    for item in batch.find_items(paths):
        runner.process(item)
    return runner.report


FEW = OutputOptions(kinds=("landmarks",))


def test_a_bad_file_does_not_stop_the_others(
    reconstructor: Reconstructor, photos: Path, tmp_path: Path
) -> None:
    (photos / "face1.jpg").write_text("no picture")
    (photos / "face2.mp4").write_bytes(b"")
    report = run_batch(reconstructor, BatchOptions(tmp_path / "out", FEW), [photos])
    assert [Path(name).name for name, _ in report.failures] == ["face1.jpg", "face2.mp4"]
    assert report.faces == 3 and report.exit_code == 1
    assert (tmp_path / "out" / "deeper" / "face" / "face0" / "landmarks.txt").exists()


def test_finished_pictures_are_skipped_unless_the_options_differ(
    reconstructor: Reconstructor, photos: Path, tmp_path: Path
) -> None:
    paths = [photos / "face9.png"]
    options = BatchOptions(tmp_path / "out", FEW, skip_existing=True)
    assert run_batch(reconstructor, options, paths).skipped == 0
    again = run_batch(reconstructor, options, paths)
    assert again.skipped == 1 and again.exit_code == 0
    more = BatchOptions(tmp_path / "out", OutputOptions(kinds=("pose",)), skip_existing=True)
    assert run_batch(reconstructor, more, paths).skipped == 0
    smaller = BatchOptions(tmp_path / "out", more.outputs, max_size=200, skip_existing=True)
    assert run_batch(reconstructor, smaller, paths).skipped == 0
    assert run_batch(reconstructor, smaller, paths).skipped == 1


def test_boxes_bypass_detection(
    reconstructor: Reconstructor, photos: Path, tmp_path: Path, face: Reconstruction
) -> None:
    options = BatchOptions(tmp_path / "out", FEW, boxes={"face10.png": [face.box_xyxy]})
    without_detector = Reconstructor(reconstructor.engine, None)
    report = run_batch(without_detector, options, [photos])
    assert {Path(row.name).name: row.faces for row in report.rows} == {
        "face.jpg": 0,
        "face9.png": 0,
        "face10.png": 1,
    }
    outside = BatchOptions(tmp_path / "out", FEW, boxes={"face10": [np.float32([900, 0, 990, 50])]})
    report = run_batch(without_detector, outside, [photos / "face10.png"])
    assert "outside" in report.failures[0][1]


def test_boxes_are_in_pixels_of_the_whole_picture_and_found_by_path_in_a_folder(
    reconstructor: Reconstructor, photos: Path, tmp_path: Path, face: Reconstruction
) -> None:
    without_detector = Reconstructor(reconstructor.engine, None)
    boxes = {"deeper/face.jpg": [face.box_xyxy]}
    options = BatchOptions(tmp_path / "out", FEW, boxes=boxes, max_size=256)
    report = run_batch(without_detector, options, [photos])
    assert report.faces == 1
    found = np.load(tmp_path / "out" / "deeper" / "face" / "face0" / "landmarks.npy")
    assert np.abs(2 * found - face.landmarks)[:, :2].mean() < 3


def test_every_nth_frame_of_a_video_has_its_folder(
    reconstructor: Reconstructor, tmp_path: Path
) -> None:
    frames = [clips.draw([clips.place(160, 120, 1.2)], 320, 240)] * 7
    clip = clips.encode(tmp_path / "clip.mp4", frames)
    report = run_batch(reconstructor, BatchOptions(tmp_path / "out", FEW, every=3), [clip])
    assert report.faces == 3
    folders = sorted(path.name for path in (tmp_path / "out" / "clip").iterdir())
    assert folders == ["frame-000000", "frame-000003", "frame-000006"]


def test_progress_counts_the_frames_of_a_video(
    reconstructor: Reconstructor, tmp_path: Path
) -> None:
    frames = [clips.draw([clips.place(160, 120, 1.2)], 320, 240)] * 8
    clip = clips.encode(tmp_path / "clip.mp4", frames)
    told: list[int] = []
    rows: list[batch.Row] = []
    options = BatchOptions(tmp_path / "out", FEW, every=3)
    runner = BatchReconstructor(reconstructor, options, rows.append, told.append)
    runner.process(batch.find_items([clip])[0])
    assert told == [3] and len(rows) == 3


def test_large_pictures_are_shrunk_first(
    reconstructor: Reconstructor, photos: Path, tmp_path: Path
) -> None:
    options = BatchOptions(tmp_path / "out", FEW, max_size=256)
    run_batch(reconstructor, options, [photos / "face10.png"])
    summary = json.loads((tmp_path / "out" / "face10" / "summary.json").read_text())
    assert (summary["width"], summary["height"]) == (256, 256)


def test_the_command_prints_a_table_and_the_failures(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.jpg").write_text("no picture")
    code = cli.main(
        ["reconstruct", str(photos), str(tmp_path / "out"), "--depth", "--threads", "1"]
    )
    printed = capsys.readouterr().out
    assert code == 1
    assert "3 pictures, 3 faces, 0 done before, 1 failed" in printed
    assert "bad.jpg: not a readable picture" in printed
    assert (tmp_path / "out" / "face9" / "depth.png").exists()
    assert not (tmp_path / "out" / "face9" / "face0").exists()


def test_inputs_of_which_none_can_be_read_exit_with_2_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    names = [str(tmp_path / name) for name in ("text.jpg", "empty.jpg")]
    assert cli.main(["reconstruct", *names, str(tmp_path / "out"), "--threads", "1"]) == 2
    printed = capsys.readouterr().out
    assert "text.jpg: not a readable picture" in printed
    assert "empty.jpg: the file is empty" in printed
    assert not (tmp_path / "out").exists()


def test_a_small_face_beside_a_large_one_is_found(
    reconstructor: Reconstructor, face: Reconstruction
) -> None:
    large = cv2.resize(face.image[:256, 128:384], (1000, 1000), interpolation=cv2.INTER_CUBIC)
    wide = np.full((1000, 1400, 3), 128, np.uint8)
    wide[:, :1000] = large
    wide[:400, 1000:] = cv2.resize(face.image, (400, 400))
    assert len(reconstructor.detect(wide)) == 1
    widths = [np.ptp(found.vertices[:, 0]) for found in reconstructor.reconstruct(wide)]
    assert len(widths) == 2 and widths[0] > 4 * widths[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.jpg", "out"],
        ["a.jpg", "a.jpg"],
        ["a.jpg", "out", "--formats", "stl"],
        ["a.jpg", "out", "--texture-size", "1"],
    ],
)
def test_wrong_arguments_exit_with_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    images.write_image(tmp_path / "a.jpg", np.zeros((20, 20, 3), np.uint8))
    assert cli.main(["reconstruct", *arguments]) == 2
    assert "error:" in capsys.readouterr().err
