"""MediaPipe's blendshapes: how much of each of 51 expressions the points of a face show."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.engine import CPU_RUNTIMES, Backend, open_runtime
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.records import BLENDSHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.protocol import Runtime
    from streamprn.records import MeshPoints

#: Of the network's coefficients, in their order: the first says nothing, and of ARKit's
#: `tongueOut`, the last of `BLENDSHAPES`, it knows nothing.
NAMES = ("_neutral", *BLENDSHAPES[:-1])
POINTS = 478
MESH_POINTS = 468

_NETWORK = Path(__file__).resolve().parent / "facemesh2" / "blendshapes.onnx"
# Corners of the subject's right and left eye, the one to the left in an upright picture first.
_EYE_CORNERS = ((33, 133), (362, 263))
# The middle of the upper and of the lower lid of each.
_LIDS = ((159, 145), (386, 374))
# Radius of an iris over the distance of the corners of its eye.
_IRIS_RADIUS = 0.22


class Blendshapes:
    """Coefficients of expressions. One object serves one thread at a time."""

    def __init__(self, runtime: Runtime, reason: str) -> None:
        self._runtime = runtime
        self._reason = reason

    @property
    def backend(self) -> str:
        """The runtime in use, and why it was chosen."""
        return f"{self._runtime.description} ({self._reason})"

    def coefficients(self, points_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much of each of `NAMES` a face shows.

        Args:
            points_px: `(478, 2)` x and y of MediaPipe's points in **frame** pixels, y down. A
                shift or a scale changes nothing, but a turn does: points in the pixels of a crop
                that follows the roll of the face give other coefficients. For an engine without
                irises see `with_eye_centres`.

        Returns:
            `(52,)` float32 in 0..1, the caller's own; NaN where the points are not finite, or all
            at one place.

        Raises:
            BackendError: the runtime failed.
        """
        if points_px.shape != (POINTS, 2):
            raise ValueError(f"points must be ({POINTS}, 2), not {points_px.shape}")
        batch = np.ascontiguousarray(points_px[None], np.float32)
        if not np.isfinite(batch).all() or not np.ptp(batch, axis=1).any():
            # The network divides by their mean distance, and what comes of NaN depends on the CPU.
            return np.full(len(NAMES), np.nan, np.float32)
        found: NDArray[np.float32] = self._runtime.run(batch)["coefficients"][0].copy()
        return found

    def of_points(self, points: MeshPoints) -> NDArray[np.float32]:
        """How much of each of `BLENDSHAPES` a face shows.

        Args:
            points: of a network without irises as well: `with_eye_centres` stands in for them.

        Returns:
            `(52,)` float32 in 0..1, the caller's own, the last of them `points.tongue`; NaN as of
            `coefficients`.

        Raises:
            BackendError: the runtime failed.
        """
        xy = points.xyz_px[:, :2]
        found = self.coefficients(xy if len(xy) == POINTS else with_eye_centres(xy))
        # In place of the first, which says nothing, what the network leaves out comes last.
        tongue = points.tongue if np.isfinite(found[0]) else np.nan
        return np.append(found[1:], np.float32(tongue))

    def close(self) -> None:
        """Free what the runtime holds."""
        self._runtime.close()


class SharedBlendshapes:
    """`Blendshapes.of_points` for any number of threads, one at a time.

    The network is opened at the first call, which then takes 0.15 s longer, and stays open as long
    as a face may ask: until nobody refers to this object.
    """

    def __init__(self) -> None:
        self._network: Blendshapes | None = None
        self._lock = threading.Lock()

    def __call__(self, points: MeshPoints) -> NDArray[np.float32]:
        """See `Blendshapes.of_points`.

        Raises:
            BackendError: no CPU runtime can be used, or it failed.
        """
        with self._lock:
            if self._network is None:
                self._network = open_blendshapes()
            return self._network.of_points(points)


def open_blendshapes(*, backend: Backend = "auto", threads: int = 1) -> Blendshapes:
    """Open the network.

    Args:
        backend: the runtime, or "auto" for the best one of the CPU: a GPU gains nothing here.
        threads: CPU threads of one inference.

    Raises:
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    spec = NetworkSpec(
        "blendshapes", {"fp32": _NETWORK}, size=0, threads=threads, input_shape=(POINTS, 2)
    )
    return Blendshapes(*open_runtime(spec, backend, CPU_RUNTIMES))


def with_eye_centres(points_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points that `Blendshapes` takes, for a network that finds no irises.

    In their place come circles half way between the lids of each eye, as wide as irises are: the
    coefficients `eyeLook...` are about those of eyes that look straight ahead.

    Args:
        points_px: `(468, 2)` float32, as the engine `facemesh` gives them, pixels, y down.

    Returns:
        `(478, 2)` float32.
    """
    if points_px.shape != (MESH_POINTS, 2):
        raise ValueError(f"points must be ({MESH_POINTS}, 2), not {points_px.shape}")
    irises = []
    for corners, lids in zip(_EYE_CORNERS, _LIDS, strict=True):
        first, second = points_px[list(corners)]
        right = _IRIS_RADIUS * (second - first)
        down = np.array([-right[1], right[0]])
        centre = points_px[list(lids)].mean(axis=0)
        irises.append(centre + np.array([0 * right, right, -down, -right, down]))
    return np.concatenate([points_px, *irises]).astype(np.float32)
