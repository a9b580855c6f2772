"""What a pipeline asks of an engine and of a runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from streamprn.records import Roi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.records import Detection, MeshPoints

#: Differences below this part of the face are noise.
_LEAST_DIFFERENCE = 1e-3
_LEAST_DOUBT = 1e-4
#: What looks at other sizes differ by where a mesh is right, nearly always; and the weight of more.
_MOST_RESIZED = 0.14
_RESIZED_DOUBT = 4.0


@dataclass(frozen=True, slots=True)
class CropRule:
    """How a face becomes the network's square input.

    A crop is a similarity: with `k = span / roi.side`, a frame point p goes to the crop pixel
    `k * R(-roll) @ (p - centre) + (size - 1) / 2` (pixel centres at integers). `span` is `size`
    where the ROI's edges are the outer edges of the border pixels (MediaPipe), `size - 1` where
    they are the centres of the border pixels (PRNet's "corners to 0 and 255").

    Attributes:
        size: S, pixels of the square crop.
        span: see above.
        box_scale: ROI side over the mean of width and height of the box it is made from.
        box_shift_y: ROI centre below the box centre, in the ROI's axes, as a part of that mean.
        track_scale: the same for a box around the engine's own output (no shift).
        track_box: what that box is around, "vertices" or "landmarks" (the 68).
        square: "mean" or "max" of the box's width and height.
        rotate: whether the ROI follows the roll of the head.
    """

    size: int
    span: float
    box_scale: float
    box_shift_y: float = 0.0
    track_scale: float = 1.5
    track_box: str = "vertices"
    square: str = "mean"
    rotate: bool = True

    def roi_from_box(self, box_xyxy: NDArray[np.float32], roll: float = 0.0) -> Roi:
        """The ROI of a detector's box `(4,)`, roll in radians as in `Roi`."""
        return self._roi(box_xyxy, self.box_scale, self.box_shift_y, roll)

    def roi_from_detection(self, detection: Detection) -> Roi:
        """The ROI of a detected face, turned by the line of the eyes.

        A box without keypoints is the user's and holds the face itself, as the engine's own box
        does; the correction for detector boxes does not apply to it.
        """
        if not len(detection.keypoints):
            return self.roi_from_vertices_box(detection.box_xyxy)
        right, left = detection.keypoints[0], detection.keypoints[1]
        roll = math.atan2(float(left[1] - right[1]), float(left[0] - right[0]))
        return self.roi_from_box(detection.box_xyxy, roll)

    def roi_from_vertices_box(self, box_xyxy: NDArray[np.float32], roll: float = 0.0) -> Roi:
        """The ROI of the next frame from the bounding box `(4,)` of this frame's vertices."""
        return self._roi(box_xyxy, self.track_scale, 0.0, roll)

    def _roi(self, box_xyxy: NDArray[np.float32], scale: float, shift: float, roll: float) -> Roi:
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        width, height = x1 - x0, y1 - y0
        length = max(width, height) if self.square == "max" else 0.5 * (width + height)
        roll = roll if self.rotate else 0.0
        return Roi(
            cx=0.5 * (x0 + x1) - shift * length * math.sin(roll),
            cy=0.5 * (y0 + y1) + shift * length * math.cos(roll),
            side=scale * length,
            roll=roll,
        )

    def frame_from_crop(self, roi: Roi) -> NDArray[np.float32]:
        """`(2, 3)` float32: crop pixel `(column, row, 1)` to frame pixel `(x, y)`."""
        k = roi.side / self.span
        cos, sin = k * np.cos(roi.roll), k * np.sin(roi.roll)
        half = 0.5 * (self.size - 1)
        return np.array(
            [
                [cos, -sin, roi.cx - half * cos + half * sin],
                [sin, cos, roi.cy - half * sin - half * cos],
            ],
            np.float32,
        )

    def crop_from_frame(self, roi: Roi) -> NDArray[np.float32]:
        """`(2, 3)` float32: the inverse of `frame_from_crop`."""
        inverse = np.linalg.inv(np.vstack([self.frame_from_crop(roi), [0.0, 0.0, 1.0]]))
        return inverse[:2].astype(np.float32)

    def next_roi(
        self,
        roi: Roi,
        box_crop_xyxy: NDArray[np.float32],
        landmarks_crop: NDArray[np.float32],
        turn: float,
    ) -> Roi:
        """The ROI that fits a face as it was found in the crop of `roi`.

        Working in the axes of the crop makes the rule turn with the face: the ROI of a rotated
        picture is the rotated ROI.

        Args:
            roi: the region that was cropped.
            box_crop_xyxy: `(4,)` bounds of the vertices, crop pixels.
            landmarks_crop: `(68, 2 or 3)` crop pixels, iBUG/300-W order.
            turn: roll of the head in the crop, radians; see `score.HeadFit`.
        """
        box = box_crop_xyxy
        if self.track_box == "landmarks":
            box = np.concatenate(
                [landmarks_crop[:, :2].min(axis=0), landmarks_crop[:, :2].max(axis=0)]
            )
        local = self.roi_from_vertices_box(box, turn)
        cx, cy = self.frame_from_crop(roi) @ np.array([local.cx, local.cy, 1.0])
        roll = math.remainder(roi.roll + turn, math.tau) if self.rotate else 0.0
        return Roi(float(cx), float(cy), local.side * self.depth_scale(roi), roll)

    def depth_scale(self, roi: Roi) -> float:
        """Frame pixels per crop pixel; also what multiplies z."""
        return roi.side / self.span


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """From the network's own score and the disagreement of its looks to a probability.

    The logistic function of `bias + network * logit(own) + disagreement * log(difference)`, fitted
    by `benchmarks/score.py --fit` for each engine. Where the looks at other sizes are further apart
    than those at right meshes are, `resized_doubt` is taken from its argument.

    Attributes:
        bias: see above.
        network: weight of the network's own logit.
        disagreement: weight of the logarithm of the difference, below 0.
    """

    bias: float
    network: float
    disagreement: float

    def probability(self, own: float, difference: float, resized: float = 0.0) -> float:
        """That the mesh is right, 0..1.

        Args:
            own: the network's own score, 0..1; NaN where it gives none, which counts as even.
            difference: see `score.difference`; infinite gives 0.
            resized: the same of the looks at a larger and a smaller region.
        """
        if not math.isfinite(difference + resized):
            return 0.0
        own = 0.5 if math.isnan(own) else min(max(own, _LEAST_DOUBT), 1.0 - _LEAST_DOUBT)
        logit = self.bias + self.network * math.log(own / (1.0 - own))
        logit += self.disagreement * math.log(max(difference, _LEAST_DIFFERENCE))
        logit -= resized_doubt(resized)
        return 1.0 / (1.0 + math.exp(-min(max(logit, -60.0), 60.0)))


def resized_doubt(resized: float) -> float:
    """How much a difference of looks at other sizes counts against a mesh, at least 0."""
    return _RESIZED_DOUBT * math.log(max(resized, _MOST_RESIZED) / _MOST_RESIZED)


class Surface(Protocol):
    """A face in **crop pixels**: x right, y down with pixel centres at integers, z to the camera.

    It owns its data: it stays valid while the engine goes on, and in another thread. What tracking
    needs is cheap; the vertices are made when somebody asks for them.
    """

    def outline(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Bounds of the vertices, to a texel, `(4,)` x0, y0, x1, y1; landmarks `(68, 3)`."""

    def restore(
        self, frame_from_crop: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vertices in the frame, and their bounds.

        Args:
            frame_from_crop: `(2, 3)` similarity; z is multiplied by its scale.

        Returns:
            New arrays: `(N, 3)` float32 frame pixels, z with minimum 0; and `(4,)` xyxy.
        """

    def position_map(self) -> NDArray[np.float32]:
        """`(256, 256, 3)` float32 crop pixels, any offset in z; 0 outside the topology's mask."""

    def mesh_points(self, frame_from_crop: NDArray[np.float32]) -> MeshPoints | None:
        """The network's points in the frame, `frame_from_crop` as of `restore`; None without."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What an engine says of B crops.

    Attributes:
        surfaces: the B faces.
        scores: `(B,)` float32 face probability, NaN where the network gives none.
    """

    surfaces: Sequence[Surface]
    scores: NDArray[np.float32]

    @property
    def maps(self) -> NDArray[np.float32]:
        """The position maps of all faces, `(B, 256, 256, 3)`; see `Surface.position_map`."""
        return np.stack([surface.position_map() for surface in self.surfaces])


@runtime_checkable
class Engine(Protocol):
    """A network with its topology and crop rule, ready to run."""

    @property
    def name(self) -> str:
        """The bundle's name."""

    @property
    def topology(self) -> Topology:
        """The meaning of its maps."""

    @property
    def crop(self) -> CropRule:
        """How to cut its input."""

    @property
    def score_rule(self) -> ScoreRule | None:
        """How the score of its faces is made; None where it is the network's own."""

    @property
    def backend(self) -> str:
        """The runtime in use, with its version and precision, in words."""

    @property
    def max_batch(self) -> int:
        """The most crops that `infer` takes in one call."""

    def infer(self, crops: NDArray[np.float32]) -> Inference:
        """Crops `(B, S, S, 3)` float32 RGB in 0..1 to faces.

        Raises:
            BackendError: the runtime failed.
        """

    def warm_up(self) -> None:
        """Run once on zeros for every batch size, so that the first face is not late."""

    def close(self) -> None:
        """Free what the runtime holds; the engine cannot be used after."""


class Runtime(Protocol):
    """A compiled network: arrays in, arrays out. One object serves one thread at a time."""

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""

    @property
    def description(self) -> str:
        """Name, version, device and precision, in words."""

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's outputs by name for an input `(B, S, S, 3)` float32.

        The arrays may be views that the next call overwrites.
        """

    def close(self) -> None:
        """Free what it holds."""


class Started(Protocol):
    """Crops that an engine is at work on, beside the caller."""

    def inference(self) -> Inference:
        """Wait for the faces; called at most once, and `cancel` not after it.

        Raises:
            BackendError: the runtime failed.
        """

    def cancel(self) -> None:
        """Wait until the crops are no longer read; nobody wants the faces."""


@runtime_checkable
class StartingEngine(Protocol):
    """An engine that may compute beside its caller."""

    @property
    def can_start(self) -> bool:
        """Whether its runtime does."""

    def start(self, crops: NDArray[np.float32]) -> Started:
        """Begin what `infer` does; the crops stay as they are meanwhile.

        Any number may be under way, and `infer` may be called between.

        Raises:
            ValueError: crops of a wrong shape.
            BackendError: not `can_start`.
        """


class Run(Protocol):
    """A network at work beside the caller."""

    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """Wait for the outputs by name; they may be views that are gone after `release`.

        Raises:
            BackendError: the runtime failed.
        """

    def release(self) -> None:
        """Wait until the input is no longer read, and give back what the run holds."""


@runtime_checkable
class StartingRuntime(Protocol):
    """A runtime that computes beside its caller."""

    def start(self, batch: NDArray[np.float32]) -> Run:
        """Begin what `run` does; the input stays as it is meanwhile.

        Any number may be under way, and `run` may be called between.
        """
