"""Calm faces: a One Euro filter over every vertex, one for each face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.face import HostFace
from streamprn.kernels import smoothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.geometry import FaceGeometry
    from streamprn.records import Face, Float32, FrameImage

__all__ = ["Smoother", "Smoothing"]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """One Euro filter (Casiez et al., CHI 2012) over every vertex of a followed face.

    The cut-off rises with the vertex's speed, so that a still face is calm and a moving one is
    not late: at rest the filter adds `1 / (2 pi min_cutoff_hz)` seconds of lag, in motion less.
    `benchmarks/jitter.py` measures both.

    Attributes:
        min_cutoff_hz: cut-off at rest.
        beta: how fast the cut-off rises, Hz per (pixel per second), which is 1/px.
        derivative_cutoff_hz: cut-off of the speed itself.
    """

    min_cutoff_hz: float = 1.5
    beta: float = 0.2
    derivative_cutoff_hz: float = 1.0


#: Pixels: a filter this near to a face that stands still has come to rest.
AT_REST_PX = 0.02


class Smoother:
    """Keeps one filter per face id of one stream.

    A face that is the same object as before is the same face in another frame; once the filter
    has come to rest there, what it gave before stays, too.

    Args:
        settings: see `Smoothing`.
        geometry: of the engine.
    """

    def __init__(self, settings: Smoothing, geometry: FaceGeometry) -> None:
        self.settings = settings
        self._geometry = geometry
        self._last_ns = 0
        self._filters: dict[int, _Filters] = {}

    def smooth(self, faces: Sequence[Face], image: FrameImage, at_ns: int) -> list[Face]:
        """The faces with filtered vertices; those given stay as they are.

        Args:
            faces: of one frame; filters of faces that are not among them are forgotten.
            image: the frame.
            at_ns: when the frame was taken.
        """
        dt_s = max(at_ns - self._last_ns, 1_000_000) / 1e9
        self._last_ns = at_ns
        kept, smoothed = {}, []
        for face in faces:
            filters = self._filters.get(face.id) or _Filters()
            kept[face.id] = filters
            at_rest = filters.at_rest_on(face)
            if at_rest is not None:
                smoothed.append(at_rest)
                continue
            vertices = filters.vertices.follow(face.vertices, dt_s, self.settings)
            points = face.mesh_points
            if points is not None:
                # What follows from the points shall be as calm as the vertices.
                xyz_px = filters.points.follow(points.xyz_px, dt_s, self.settings)
                points = points._replace(xyz_px=xyz_px)
            calm = HostFace.of_vertices(face, image, self._geometry, vertices, points)
            filters.last = (face, calm)
            smoothed.append(calm)
        self._filters = kept
        return [*smoothed]


class _Filter:
    """The filter of one set of points."""

    def __init__(self) -> None:
        self._state: tuple[Float32, Float32] | None = None

    def follow(self, xyz_px: Float32, dt_s: float, settings: Smoothing) -> Float32:
        """The points `(N, 3)` filtered, a new array."""
        out = xyz_px.copy()
        if self._state is None:
            self._state = out.copy(), np.zeros_like(out)
        smoothing.one_euro(
            out,
            *self._state,
            dt_s=dt_s,
            min_cutoff_hz=settings.min_cutoff_hz,
            beta_per_px=settings.beta,
            derivative_cutoff_hz=settings.derivative_cutoff_hz,
        )
        return out


class _Filters:
    """Those of one face."""

    def __init__(self) -> None:
        self.vertices, self.points = _Filter(), _Filter()
        self.last: tuple[Face, Face] | None = None
        self._rests = False

    def at_rest_on(self, face: Face) -> Face | None:
        """What came of the same face before, where nothing new would come of it."""
        if self.last is None or self.last[0] is not face:
            self._rests = False
            return None
        calm = self.last[1]
        if not self._rests:
            self._rests = float(np.abs(calm.vertices - face.vertices).max()) < AT_REST_PX
        return calm if self._rests else None
