"""BlazeFace face detection: letterbox, decode, merge; whole pictures and tiles of them.

After Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019:
anchors of one size, six keypoints, and non-maximum suppression that averages overlapping boxes by
their scores instead of choosing one, which keeps a box from jittering from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from streamprn.engines.engine import Backend, open_runtime
from streamprn.engines.manifest import Detectors, read
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.errors import EngineError
from streamprn.kernels import warp
from streamprn.records import Detection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.protocol import Runtime
    from streamprn.records import FrameImage

DetectorKind = Literal["short", "full"]
KEYPOINTS = ("right eye", "left eye", "nose", "mouth", "right ear", "left ear")

_FOLDER = Path(__file__).resolve().parent / "blazeface"
# Intersection over union from which two boxes are one face (MediaPipe's value).
_SAME_FACE = 0.3
# Intersection over the smaller box, between tiles: a tile's border may cut a face to a part.
_SAME_FACE_PART = 0.5
_TILE_BATCH = 4


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """One of the networks in engines/blazeface.

    Attributes:
        kind: "short" (faces nearer than about 2 m, larger than about 1/8 of the picture) or
            "full" (5 m, about 1/20).
        network: the ONNX file.
        size: S, pixels of the square input.
        layers: cells per side and anchors per cell of each output layer.
    """

    kind: str
    network: Path
    size: int
    layers: tuple[tuple[int, int], ...]

    @classmethod
    def load(cls, kind: str, folder: Path = _FOLDER) -> DetectorSpec:
        """Read one entry of `detectors.yaml`.

        Raises:
            EngineError: there is no such detector, or the file is damaged.
        """
        hint = f"choose one of: {', '.join(get_args(DetectorKind))}; or reinstall"
        path = folder / "detectors.yaml"
        said = read(path, Detectors, hint)
        entry = {"short": said.short, "full": said.full}.get(kind)
        if entry is None:
            raise EngineError(f"{path}: no detector {kind!r}", hint=hint)
        return cls(kind, folder / entry.network, entry.size, entry.layers)

    def anchors(self) -> NDArray[np.float32]:
        """`(A, 2)` float32 anchor centres x, y in 0..1 of the input, in the network's order."""
        rows = []
        for cells, each in self.layers:
            y, x = np.mgrid[0:cells, 0:cells]
            centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
            rows.append(np.repeat(centres, each, axis=0))
        return np.concatenate(rows).astype(np.float32)


class BlazeFaceDetector:
    """Faces of a picture. One object serves one thread at a time."""

    def __init__(self, spec: DetectorSpec, runtime: Runtime, reason: str) -> None:
        self._spec = spec
        self._runtime = runtime
        self._reason = reason
        self._anchors = spec.anchors()
        self._input = np.zeros((_TILE_BATCH, spec.size, spec.size, 3), np.float32)

    @property
    def backend(self) -> str:
        """The runtime in use, and why it was chosen."""
        return f"{self._runtime.description} ({self._reason})"

    def detect(
        self, image: FrameImage, *, min_score: float = 0.5, quarter_turns: int = 0
    ) -> list[Detection]:
        """The faces of the whole picture, best first.

        Args:
            image: any size.
            min_score: 0..1, the least score of a detection.
            quarter_turns: the network sees the picture turned counter-clockwise by so many
                quarters, as by `np.rot90`: it finds faces within some 45 degrees of upright.

        Returns:
            Boxes and the six `KEYPOINTS` `(6, 2)` (the subject's right and left) in frame pixels.
        """
        batch = self._input[:1]
        matrix = _letterbox(image.rgb, batch[0])
        _turn(batch, quarter_turns)
        outputs = self._runtime.run(batch)
        found = self._decode(outputs, 0, matrix, min_score, quarter_turns)
        return _detections(_merge(found))

    def detect_tiled(
        self,
        image: FrameImage,
        *,
        min_score: float = 0.5,
        tile: float | None = None,
        quarter_turns: int = 0,
    ) -> list[Detection]:
        """The faces of the picture and of overlapping square tiles of it, best first.

        For faces too small for `detect`; takes as many inferences as there are tiles, plus one.

        Args:
            image: any size.
            min_score: 0..1.
            tile: side of a tile in pixels; default half of the picture's shorter side, but at least
                the network's input size. Neighbours overlap by at least a third.
            quarter_turns: see `detect`.
        """
        shorter = min(image.width, image.height)
        side = float(max(tile or shorter / 2, self._spec.size))
        squares = [
            (x, y, side)
            for y in _tile_centres(image.height, side)
            for x in _tile_centres(image.width, side)
        ]
        whole = float(max(image.width, image.height))
        squares.append((0.5 * (image.width - 1), 0.5 * (image.height - 1), whole))
        found = self._detect_squares(image, squares, min_score, quarter_turns)
        faces = _merge(found)
        return _detections(_drop_parts(faces))

    def warm_up(self) -> None:
        """Compile and run once, so that the first frame is not late."""
        from streamprn.records import FrameImage

        picture = np.zeros((self._spec.size, self._spec.size, 3), np.uint8)
        self.detect(FrameImage.from_rgb(picture))

    def close(self) -> None:
        """Free what the runtime holds."""
        self._runtime.close()

    def _detect_squares(
        self,
        image: FrameImage,
        squares: Sequence[tuple[float, float, float]],
        min_score: float,
        quarter_turns: int,
    ) -> NDArray[np.float32]:
        """Candidates `(n, 17)` of squares (centre x, centre y, side) in frame pixels."""
        found = []
        for start in range(0, len(squares), _TILE_BATCH):
            part = squares[start : start + _TILE_BATCH]
            matrices = np.stack([_frame_from_input(square, self._spec.size) for square in part])
            batch = _warp(image, matrices, self._spec.size, self._input[: len(part)])
            _turn(batch, quarter_turns)
            outputs = self._runtime.run(batch)
            for k, matrix in enumerate(matrices):
                found.append(self._decode(outputs, k, matrix, min_score, quarter_turns))
        return np.concatenate(found)

    def _decode(
        self,
        outputs: Mapping[str, NDArray[np.float32]],
        item: int,
        frame_from_input: NDArray[np.float32],
        min_score: float,
        quarter_turns: int,
    ) -> NDArray[np.float32]:
        """See `_decode`, of an input that was turned."""
        size = self._spec.size
        found = _decode(outputs, item, self._anchors, size=size, min_score=min_score)
        return _placed(found, size, frame_from_input, quarter_turns)


def open_detector(
    kind: DetectorKind = "short", *, backend: Backend = "auto", threads: int = 1
) -> BlazeFaceDetector:
    """Open a face detector.

    Args:
        kind: see `DetectorSpec`.
        backend: the runtime, or "auto" for the best one present.
        threads: CPU threads of one inference.

    Raises:
        EngineError: there is no such detector, or its files are damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    spec = DetectorSpec.load(kind)
    network = NetworkSpec(
        name=f"blazeface-{kind}",
        networks={"fp32": spec.network},
        size=spec.size,
        max_batch=_TILE_BATCH,
        threads=threads,
    )
    runtime, reason = open_runtime(network, backend)
    return BlazeFaceDetector(spec, runtime, reason)


def _frame_from_input(square: tuple[float, float, float], size: int) -> NDArray[np.float32]:
    """`(2, 3)`: pixel of the network's input to frame pixel, for a square of the frame."""
    x, y, side = square
    k = side / size
    half = 0.5 * (size - 1)
    return np.array([[k, 0, x - k * half], [0, k, y - k * half]], np.float32)


def _letterbox(rgb: NDArray[np.uint8], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shrink a whole picture into the middle of `out` `(S, S, 3)`, -1..1, black around it.

    Area averaging by OpenCV: several times as fast as warping with as many samples.

    Returns:
        `(2, 3)` float32: pixel of `out` to pixel of the picture.
    """
    height, width = rgb.shape[:2]
    size = out.shape[0]
    wide = max(round(size * width / max(width, height)), 1)
    high = max(round(size * height / max(width, height)), 1)
    left, top = (size - wide) // 2, (size - high) // 2
    way = cv2.INTER_AREA if width >= wide else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (wide, high), interpolation=way)
    out.fill(-1.0)
    inside = out[top : top + high, left : left + wide]
    np.multiply(small, np.float32(1 / 127.5), out=inside)
    inside -= 1.0
    kx, ky = width / wide, height / high
    return np.array([[kx, 0, (0.5 - left) * kx - 0.5], [0, ky, (0.5 - top) * ky - 0.5]], np.float32)


def _warp(
    image: FrameImage, matrices: NDArray[np.float32], size: int, out: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Letterboxed inputs in -1..1; from the decoder's planes where RGB is not there yet."""
    scale, bias = 1 / 127.5, -1.0
    if image.planes is not None and not image.has_rgb:
        return warp.warp_yuv(image.planes, matrices, size, out, scale=scale, bias=bias)
    return warp.warp_rgb(image.rgb, matrices, size, out, scale=scale, bias=bias)


def _tile_centres(length: int, side: float) -> list[float]:
    """Centres of equally spaced tiles that cover 0..length-1 and overlap by a third or more."""
    if side >= length:
        return [0.5 * (length - 1)]
    count = 1 + int(np.ceil((length - side) / (side * 2 / 3)))
    return [float(x) for x in np.linspace(side / 2 - 0.5, length - side / 2 - 0.5, count)]


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))


def _decode(
    outputs: Mapping[str, NDArray[np.float32]],
    item: int,
    anchors: NDArray[np.float32],
    *,
    size: int,
    min_score: float,
) -> NDArray[np.float32]:
    """Candidates `(n, 17)` float32: score, then x, y of two corners and six keypoints (input).

    An anchor's regressors are x, y of the box centre and its width and height, then six
    keypoints, in input pixels relative to the anchor. Positions are continuous: the input's corner,
    not the centre of its first pixel, is at 0.
    """
    logits = outputs["logits"][item]
    chosen = np.flatnonzero(logits >= _logit(min_score))
    numbers = outputs["regressors"][item, chosen].reshape(-1, 8, 2)
    half = 0.5 * numbers[:, 1]
    places = numbers + (anchors[chosen, None] * size - 0.5)
    corners = np.stack([places[:, 0] - half, places[:, 0] + half], 1)
    points = np.concatenate([corners, places[:, 2:]], 1)
    scores = 1 / (1 + np.exp(-np.minimum(logits[chosen], 60)))
    found = np.column_stack([scores, points.reshape(-1, 16)]).astype(np.float32)
    return found[np.isfinite(found).all(1)]


def _turn(batch: NDArray[np.float32], quarters: int) -> None:
    """Turn inputs `(B, S, S, 3)` counter-clockwise, in place."""
    if quarters % 4:
        batch[:] = np.rot90(batch, quarters, axes=(1, 2)).copy()


def _placed(
    candidates: NDArray[np.float32],
    size: int,
    frame_from_input: NDArray[np.float32],
    quarters: int,
) -> NDArray[np.float32]:
    """Candidates `(n, 17)` of an input that was turned, in frame pixels."""
    points = candidates[:, 1:].reshape(-1, 8, 2)
    for _ in range(quarters % 4):
        points = np.stack([(size - 1) - points[:, :, 1], points[:, :, 0]], axis=2)
    corners = points[:, :2]
    points = np.concatenate(
        [corners.min(1, keepdims=True), corners.max(1, keepdims=True), points[:, 2:]], 1
    )
    # Letterboxing only scales and shifts.
    points = points * frame_from_input[0, 0] + frame_from_input[:, 2]
    return np.column_stack([candidates[:, :1], points.reshape(-1, 16)]).astype(np.float32)


def best_of_overlapping(detections: Sequence[Detection]) -> list[Detection]:
    """Less the detections that overlap a better one: of the same picture turned differently."""
    rows = np.array([[one.score, *one.box_xyxy] for one in detections], np.float32).reshape(-1, 5)
    kept: list[int] = []
    for index in np.argsort(-rows[:, 0], kind="stable"):
        if (_overlap(rows[index], rows[kept]) <= _SAME_FACE).all():
            kept.append(int(index))
    return [detections[index] for index in kept]


def _overlap(
    face: NDArray[np.float32], others: NDArray[np.float32], *, of_smaller: bool = False
) -> NDArray[np.float32]:
    """Intersection of a box with each other one over their union, or over the smaller box."""
    low = np.maximum(face[1:3], others[:, 1:3])
    high = np.minimum(face[3:5], others[:, 3:5])
    shared = np.maximum(high - low, 0).prod(1)
    area = (face[3:5] - face[1:3]).prod()
    areas = (others[:, 3:5] - others[:, 1:3]).prod(1)
    whole = np.minimum(area, areas) if of_smaller else area + areas - shared
    return np.asarray(shared / np.maximum(whole, 1e-9))


def _merge(candidates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted non-maximum suppression: `(m, 17)`, the score of the best, the rest averaged."""
    rest = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    merged = []
    while len(rest):
        same = _overlap(rest[0], rest) > _SAME_FACE
        same[0] = True  # also where its box is empty
        face = np.average(rest[same], axis=0, weights=rest[same, 0])
        face[0] = rest[0, 0]
        merged.append(face)
        rest = rest[~same]
    return np.array(merged, np.float32).reshape(-1, 17)


def _drop_parts(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without boxes that lie mostly within another: what a tile's border left of a face."""
    area = (faces[:, 3] - faces[:, 1]) * (faces[:, 4] - faces[:, 2])
    kept: list[int] = []
    for i in np.argsort(-area, kind="stable"):
        if (_overlap(faces[i], faces[kept], of_smaller=True) <= _SAME_FACE_PART).all():
            kept.append(int(i))
    chosen = faces[kept]
    return chosen[np.argsort(-chosen[:, 0])]


def _detections(faces: NDArray[np.float32]) -> list[Detection]:
    return [
        Detection(float(row[0]), row[1:5].copy(), row[5:].reshape(6, 2).copy()) for row in faces
    ]
