"""A small linear head model in the files of ICT-FaceKit, and portraits to label with it."""

import json

import cv2
import numpy as np

from streamprn.apps.images import write_image
from streamprn.train.layout import load_layout

IDENTITIES = 6
# Rings and spokes of the back of the head.
RINGS, SPOKES = 8, 24


def write_model(folder):
    """MediaPipe's canonical face before half an ellipsoid; six identities, one expression."""
    from scipy.spatial import Delaunay

    layout = load_layout()
    face = layout.canonical.astype(float)
    triangles = Delaunay(face[:, :2]).simplices
    mean, faces = _with_back(face, triangles)
    folder.mkdir()
    _write_obj(folder / "generic_neutral_mesh.obj", mean, faces)
    rng = np.random.default_rng(0)
    for number in range(IDENTITIES):
        bend = rng.normal(0, 0.05, (3, 3))
        wave = 0.02 * np.sin(mean / 3 + rng.uniform(0, 6, 3)) * np.ptp(mean, axis=0)
        _write_obj(folder / f"identity{number:03d}.obj", mean + mean @ bend + wave)
    mouth = face[14]
    below = np.clip((mouth[1] - mean[:, 1]) / 3, 0, 1) * (mean[:, 2] > 0)
    _write_obj(folder / "jawOpen.obj", mean - np.outer(below, [0, 2, 0.5]))
    said = {
        "head_vertices": len(mean),
        "landmarks68": layout.landmarks.argmax(1).tolist(),
    }
    (folder / "model.json").write_text(json.dumps(said))
    return folder


def _with_back(face, triangles):
    """Vertices, and faces by material, of the face and an ellipsoid behind it."""
    low, high = face.min(0), face.max(0)
    centre, radius = (low + high) / 2, (high - low) / 2
    centre[2] = np.percentile(face[:, 2], 10)
    ring, spoke = np.meshgrid(np.arange(RINGS), np.arange(SPOKES), indexing="ij")
    polar, around = (ring + 1) / RINGS * np.pi / 2, spoke / SPOKES * 2 * np.pi
    shell = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), -np.cos(polar)], 2
    ).reshape(-1, 3)
    back = centre + shell * [radius[0] * 1.05, radius[1] * 1.15, radius[0]]
    index = len(face) + ring * SPOKES + spoke
    after = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], after[:-1], after[1:], index[1:]], 2).reshape(-1, 4)
    faces = {"M_Face": triangles.tolist(), "M_BackHead": quads.tolist()}
    return np.concatenate([face, back]), faces


def _write_obj(path, vertices, faces=None):
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices]
    for material, corners in (faces or {}).items():
        lines.append(f"usemtl {material}")
        lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in one) for one in corners]
    path.write_text("\n".join(lines) + "\n")


def write_portraits(folder, count=10):
    """The astronaut of scikit-image, zoomed, mirrored and in other light; and one of no face."""
    import skimage.data

    folder.mkdir()
    picture = skimage.data.astronaut()
    rng = np.random.default_rng(1)
    for number in range(count):
        zoom, turn = rng.uniform(0.8, 1.6), rng.uniform(-20, 20)
        matrix = cv2.getRotationMatrix2D((224, 120), turn, zoom)
        matrix[:, 2] += (np.array([160, 160]) - [224, 120]) + rng.uniform(-20, 20, 2)
        one = cv2.warpAffine(picture, matrix, (320, 320), borderMode=cv2.BORDER_REFLECT)
        one = np.clip(one * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20), 0, 255)
        if number % 2:
            one = one[:, ::-1]
        write_image(folder / f"{number}.png", np.ascontiguousarray(one.astype(np.uint8)))
    write_image(folder / "none.png", np.full((200, 200, 3), 90, np.uint8))
    return folder
