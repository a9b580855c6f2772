"""The pictures that scores are measured on, and where the faces in them are.

Heads turned away from the camera, dolls and mannequins are drawn from the engine's own mesh, so
that every landmark is known; of faces that are drawn with lines the eyes and the mouth are. Hands
have shaded fingers; they are alone, or before the chin, the mouth or a cheek of a face.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data

from streamprn.engines.topology import Topology
from streamprn.kernels import normals, sampling
from streamprn.kernels.pose import project
from tests.support.clips import astronaut
from tests.support.faces import draw, known_pose

WITHOUT_FACES = (
    "brick", "cat", "clock", "coffee", "coins", "grass", "gravel", "horse", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
#: A mesh is right within this part of the face, the root of the area of the landmarks' box.
RIGHT = 0.08
PIXELS = 640
INNER = slice(17, 68)
_SIDE = 320


@dataclass(frozen=True)
class Truth:
    """Where a face is: `(68, 2)` landmarks or the middles `(3, 2)` of eyes and mouth; its size."""

    points: np.ndarray
    size: float

    @classmethod
    def of_landmarks(cls, points: np.ndarray) -> Truth:
        """Of 68 points `(68, 2)`."""
        return cls(points, math.sqrt(np.ptp(points[:, 0]) * np.ptp(points[:, 1])))

    def error(self, landmarks: np.ndarray) -> float:
        """The mean distance of what `(68, 2)` landmarks say, as a part of the face."""
        if len(self.points) == 68:
            gap = landmarks[INNER] - self.points[INNER]
        else:
            gap = middles(landmarks) - self.points
        return float(np.linalg.norm(gap, axis=1).mean()) / self.size

    def moved(self, matrix: np.ndarray) -> Truth:
        """After a rotation `(2, 3)` of the picture."""
        return Truth(self.points @ matrix[:, :2].T + matrix[:, 2], self.size)


@dataclass(frozen=True)
class Made:
    """A picture `(H, W, 3)`, what it shows, and where the face is, if it shows one."""

    name: str
    kind: str
    image: np.ndarray
    truth: Truth | None = None


def middles(landmarks: np.ndarray) -> np.ndarray:
    """The middles `(3, 2)` of the eyes, the one on the left first, and of the mouth."""
    parts = (landmarks[36:42], landmarks[42:48], landmarks[48:68])
    return np.array([part.mean(axis=0) for part in parts])


def turned(made: Made, degrees: float) -> Made:
    """The picture turned within its frame; its edge goes on outside."""
    height, width = made.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    image = cv2.warpAffine(
        made.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    truth = None if made.truth is None else made.truth.moved(matrix)
    return Made(made.name, made.kind, image, truth)


def turned_heads(topology: Topology, texture: np.ndarray) -> Iterator[Made]:
    """The mesh in the astronaut's texture `(T, T, 3)`, turned by up to 50 degrees."""
    extent = float(np.ptp(topology.canonical[:, 1]))
    for yaw in range(-50, 51, 10):
        where = known_pose(yaw, 0.0, 0.0, scale=170 / extent, centre_xy=(160.0, 160.0))
        one = draw(topology, texture, where)
        truth = Truth.of_landmarks(one.vertices[topology.landmarks, :2])
        yield Made(f"yaw {yaw}", "faces", one.image, truth)


def dolls(topology: Topology, random: np.random.Generator, count: int) -> Iterator[Made]:
    """Heads of dolls with painted features and hair, and of mannequins without, in turns."""
    extent = float(np.ptp(topology.canonical[:, 1]))
    for number in range(count):
        where = known_pose(
            random.uniform(-30, 30),
            random.uniform(-12, 12),
            random.uniform(-12, 12),
            scale=150 / extent,
            centre_xy=(160.0, 170.0),
        )
        colours = _painted(topology, random) if number % 2 else _plain(topology, random)
        centred = topology.canonical - topology.canonical.mean(axis=0)
        vertices = project(where, centred).astype(np.float32)
        rgb, covered = sampling.render(
            2 * vertices + np.float32(0.5), topology.triangles, 640, 640, colours=colours
        )
        picture = _shop(random, colours[0]) if number % 2 else _wall(random)
        alpha = cv2.resize(covered.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        colour = cv2.resize(rgb.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        image = np.round(colour + (1.0 - alpha[:, :, None]) * picture).astype(np.uint8)
        truth = Truth.of_landmarks(vertices[topology.landmarks, :2])
        yield Made(f"doll {number}", "dolls", image, truth)


def _plain(topology: Topology, random: np.random.Generator) -> np.ndarray:
    """One colour under one light, `(N, 3)` uint8."""
    light = np.array([random.uniform(-0.6, 0.6), random.uniform(-0.2, 0.6), 1.0])
    facing = np.abs(
        normals.vertex_normals(topology.canonical, topology.triangles)
        @ (light / np.linalg.norm(light))
    )
    skin = random.uniform(130, 245) * random.uniform([1.0, 0.7, 0.6], [1.0, 0.88, 0.84])
    return np.round((0.4 + 0.6 * facing)[:, None] * skin).astype(np.uint8)


def _painted(topology: Topology, random: np.random.Generator) -> np.ndarray:
    """With round eyes, lashes, brows, cheeks and lips, `(N, 3)` uint8."""
    colours = _plain(topology, random).astype(np.float32)
    rest = topology.canonical
    for side in (-1, 1):
        eye = rest[topology.parts["eyes"] & (side * rest[:, 0] > 0), :2].mean(axis=0)
        away = np.hypot(*((rest[:, :2] - eye) * [0.8, 1.0]).T)
        for radius, ink in ((1.3, (40, 25, 20)), (1.1, (250, 250, 250)), (0.7, (60, 110, 190))):
            colours[away < radius] = ink
        colours[away < 0.35] = 10
        cheek = np.hypot(*(rest[:, :2] - eye - [side * 0.8, -3.2]).T) < 1.3
        colours[cheek] = 0.5 * colours[cheek] + np.float32([120, 50, 55])
    colours[topology.parts["brows"]] = random.uniform(20, 120)
    colours[topology.parts["lips"]] = (200, 40, 60)
    return np.round(colours).astype(np.uint8)


def _wall(random: np.random.Generator) -> np.ndarray:
    return np.full((_SIDE, _SIDE, 3), random.integers(60, 250, 3), np.float32)


def _shop(random: np.random.Generator, skin: np.ndarray) -> np.ndarray:
    """A head with hair, a neck and a dress, without a face."""
    picture = _wall(random)
    hair = tuple(random.uniform(20, 230, 3).tolist())
    plastic = tuple(skin.astype(float).tolist())
    cv2.ellipse(picture, (160, 165), (105, 130), 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (135, 200), (185, 300), plastic, -1)
    cv2.ellipse(picture, (160, 340), (110, 60), 0, 0, 360, (210, 70, 130), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (160, 165), (80, 100), 0, 0, 360, plastic, -1, cv2.LINE_AA)
    return picture


def hand(random: np.random.Generator, side: int = _SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A palm in the middle with four fingers up and a thumb.

    Returns:
        The picture `(S, S, 3)` and its mask `(S, S)`, 0..1.
    """
    colours = np.zeros((side, side, 3), np.float32)
    mask = np.zeros((side, side), np.float32)
    skin = random.uniform(90, 240) * random.uniform([1.0, 0.68, 0.52], [1.0, 0.84, 0.74])
    unit, middle = side / 10, side / 2
    spread = random.uniform(0.0, 0.25)
    parts = [((middle, middle + unit), (middle, middle - 0.6 * unit), 2.0 * unit)]
    for finger in range(4):
        x = middle + (finger - 1.5) * 0.95 * unit
        turn, long = (finger - 1.5) * spread, unit * (2.6 + 0.5 * math.sin(finger + 0.7))
        tip = (x + long * math.sin(turn), middle - unit - long * math.cos(turn))
        parts.append(((x, middle - unit), tip, 0.5 * unit))
    thumb = random.choice([-1.0, 1.0])
    parts.append(
        (
            (middle + thumb * unit, middle + unit),
            (middle + thumb * 3 * unit, middle - 0.5 * unit),
            0.6 * unit,
        )
    )
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for start, end, radius in parts:
        away, across = _from_line(x, y, np.array(start), np.array(end))
        alpha = np.clip(radius - away + 0.5, 0.0, 1.0)
        shade = (
            0.55 + 0.45 * np.sqrt(np.clip(1 - (away / radius) ** 2, 0, 1)) + 0.1 * across / radius
        )
        colours += alpha[:, :, None] * (shade[:, :, None] * skin - colours)
        mask = np.maximum(mask, alpha)
    colours += random.normal(0, 2.0, (side, side, 1))
    return np.clip(colours, 0, 255).astype(np.uint8), mask


def _from_line(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The distance of places from a line, and that to its right."""
    along = end - start
    place = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    dx, dy = x - start[0] - place * along[0], y - start[1] - place * along[1]
    return np.hypot(dx, dy), dx


def hands_alone(random: np.random.Generator, count: int) -> Iterator[Made]:
    """Hands before a wall."""
    for number in range(count):
        shown, mask = hand(random)
        image = mask[:, :, None] * shown + (1 - mask[:, :, None]) * _wall(random)
        yield turned(
            Made(f"hand {number}", "hands alone", np.round(image).astype(np.uint8)),
            random.uniform(-180, 180),
        )


def behind_hand(face: Made, random: np.random.Generator) -> Made:
    """The face with its chin in a hand, or a hand before its mouth or a cheek."""
    assert face.truth is not None
    points = face.truth.points
    chin, size = points[8], face.truth.size
    where = random.choice(["chin", "mouth", "cheek"])
    side = round(random.uniform(1.3, 1.7) * size)
    shown, mask = hand(random, side)
    lean = random.uniform(-50, 50) if where != "cheek" else random.choice([-60, 60])
    spin = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), lean, 1.0)
    shown, mask = (cv2.warpAffine(one, spin, (side, side)) for one in (shown, mask))
    up = {"chin": 0.25, "mouth": -0.1, "cheek": 0.0}[where] * size
    middle = chin + np.array([0, up])
    if where == "cheek":
        middle = points[3 if random.random() < 0.5 else 13] + np.array([0, 0.2 * size])
    x, y = np.round(middle - side / 2).astype(int)
    image = face.image.astype(np.float32)
    height, width = image.shape[:2]
    inside = np.s_[max(y, 0) : min(y + side, height), max(x, 0) : min(x + side, width)]
    cut = np.s_[max(-y, 0) : min(height - y, side), max(-x, 0) : min(width - x, side)]
    alpha = mask[cut][:, :, None]
    image[inside] = alpha * shown[cut] + (1 - alpha) * image[inside]
    return Made(face.name, "behind a hand", np.round(image).astype(np.uint8), face.truth)


def pictures_without_faces() -> Iterator[Made]:
    """What scikit-image ships that shows none."""
    for name in WITHOUT_FACES:
        picture = np.asarray(getattr(skimage.data, name)())
        picture = picture if picture.dtype == np.uint8 else (255 * (picture > 0)).astype(np.uint8)
        picture = picture if picture.ndim == 3 else np.dstack([picture] * 3)
        yield Made(name, "no face", shrunk(picture))


def drawn_faces(random: np.random.Generator, count: int) -> Iterator[Made]:
    """See `drawn_face`."""
    for number in range(count):
        image, features, size = drawn_face(random)
        yield Made(f"drawn {number}", "drawn faces", image, Truth(features, size))


def backs_of_heads(random: np.random.Generator, count: int) -> Iterator[Made]:
    """See `back_of_head`."""
    for number in range(count):
        yield Made(f"back {number}", "backs of heads", back_of_head(random))


def shrunk(picture: np.ndarray) -> np.ndarray:
    """At most `PIXELS` to a side, RGB."""
    scale = min(PIXELS / max(picture.shape[:2]), 1.0)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, :3])


def real_face() -> np.ndarray:
    """The astronaut `(512, 512, 3)`, NASA, public domain."""
    return astronaut()


def drawn_face(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A face as a child draws it: an oval, two eyes, a nose and a mouth.

    Returns:
        The picture `(320, 320, 3)`; where the left and right eye and the mouth are, `(3, 2)`; the
        size of the face, which is its outline below the brows.
    """
    picture = np.full((320, 320, 3), random.integers(120, 255, 3), np.uint8)
    ink = tuple(int(v) for v in random.integers(0, 90, 3))
    skin = tuple(int(v) for v in random.integers(150, 255, 3))
    wide, high = int(random.uniform(60, 90)), int(random.uniform(75, 110))
    cv2.ellipse(picture, (160, 160), (wide, high), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (160, 160), (wide, high), 0, 0, 360, ink, 3, cv2.LINE_AA)
    apart, level = int(wide * random.uniform(0.35, 0.5)), int(160 - high * random.uniform(0.1, 0.3))
    radius = int(random.uniform(4, 14))
    for x in (160 - apart, 160 + apart):
        cv2.circle(picture, (x, level), radius + 4, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, level), radius, ink, -1, cv2.LINE_AA)
        cv2.line(picture, (x - 14, level - 22), (x + 14, level - 24), ink, 4, cv2.LINE_AA)
    cv2.line(picture, (160, level + 10), (154, level + 40), ink, 3, cv2.LINE_AA)
    mouth = (160, int(160 + 0.4 * high))
    cv2.ellipse(picture, mouth, (apart, int(random.uniform(4, 22))), 0, 0, 180, ink, 4, cv2.LINE_AA)
    features = np.array([[160 - apart, level], [160 + apart, level], mouth], float)
    return picture, features, math.sqrt(2 * wide * (160 + high - level + 22))


def back_of_head(random: np.random.Generator) -> np.ndarray:
    """Hair in strands on an oval, a neck and shoulders."""
    picture = np.full((320, 320, 3), random.integers(60, 255, 3), np.uint8)
    skin = tuple(int(v) for v in random.integers(110, 230) * np.array([1.0, 0.8, 0.7]))
    cloth = tuple(int(v) for v in random.integers(20, 220, 3))
    cv2.ellipse(picture, (160, 330), (150, 90), 0, 0, 360, cloth, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (130, 210), (190, 270), skin, -1)
    for x in (85, 235):
        cv2.ellipse(picture, (x, 160), (12, 22), 0, 0, 360, skin, -1, cv2.LINE_AA)
    hair = random.integers(10, 120) * np.array([1.0, 0.75, 0.55])
    strands = cv2.GaussianBlur(random.normal(size=(320, 320)), (0, 0), 1.5, sigmaY=18) * 220
    mask = np.zeros((320, 320), np.uint8)
    cv2.ellipse(mask, (160, 150), (75, 95), 0, 0, 360, 255, -1)
    coloured = np.clip(hair + strands[:, :, None], 0, 255).astype(np.uint8)
    return np.where(mask[:, :, None] > 0, coloured, picture)
