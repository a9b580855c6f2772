"""A film with what was found drawn over it, and with the face in 3D beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamprn.apps import overlays
from streamprn.apps.clips import CALM, ClipFaces, rework_clip
from streamprn.apps.reconstruction import Reconstruction
from streamprn.apps.skins import fitting_scale, skin_colours, solid_view
from streamprn.apps.textures import Charts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from fractions import Fraction
    from pathlib import Path

    from streamprn.apps.clips import ClipReport, NextPicture
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.records import UInt8

# How fast the size of the face in the 3D view follows; a face that comes nearer should not jump.
_SCALE_TIME_S = 1.0
#: The 3D view is seen from this far beside the camera, degrees.
_BESIDE_DEG = 30.0


class FilmDrawer:
    """Draws over the successive pictures of a clip.

    Args:
        reconstructor: finds the faces.
        rate: pictures a second.
        kinds: of `overlays.DRAWN`, in the order of drawing.
        skin: of the 3D view beside the picture, see `streamprn.apps.skins.SKINS`; None has none.
        max_faces: the most faces followed at a time.
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        rate: Fraction,
        kinds: Sequence[str],
        skin: str | None = None,
        max_faces: int = 10,
    ) -> None:
        self._faces = ClipFaces(reconstructor, rate, max_faces, CALM)
        self._charts = Charts(reconstructor.engine.topology)
        self._kinds = kinds
        self._skin = skin
        self._part = min(1.0, 1.0 / (_SCALE_TIME_S * float(rate)))
        self._scale: float | None = None

    def next(self, image: UInt8, time: Fraction) -> tuple[UInt8, int]:
        """The next picture, shown at `time` in seconds, drawn over, and how many faces it has."""
        faces = [
            Reconstruction(image, self._charts, face) for face in self._faces.next(image, time)
        ]
        picture = overlays.overlays(image, faces, self._kinds)
        if self._skin is not None:
            largest = max(faces, key=lambda face: float(np.ptp(face.box_xyxy[1::2])), default=None)
            picture = np.hstack([picture, self._solid(largest, image)])
        return picture, len(faces)

    def _solid(self, face: Reconstruction | None, image: UInt8) -> UInt8:
        height, width = image.shape[:2]
        if face is None:
            return solid_view(None, None, (width, height))
        fitting = fitting_scale(face, (width, height))
        before = self._scale if self._scale is not None else fitting
        self._scale = before + self._part * (fitting - before)
        colours = (
            face.colours
            if self._skin == "texture"
            else skin_colours(str(self._skin), face.vertices, face.topology.triangles)
        )
        return solid_view(face, colours, (width, height), yaw=_BESIDE_DEG, scale=self._scale)


def draw_clip(
    reconstructor: Reconstructor,
    source: Path,
    out: Path,
    *,
    kinds: Sequence[str],
    skin: str | None = None,
    max_faces: int = 10,
    video_stream: int | None = None,
    on_frame: Callable[[int, int], None] = lambda done, count: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> ClipReport:
    """Write a clip with its faces drawn over; times and sound are kept.

    Args:
        reconstructor: see `FilmDrawer`, as for `kinds`, `skin` and `max_faces`.
        source: the clip.
        out: `.mp4`, `.mov` or `.mkv`.
        kinds: what is drawn over.
        skin: of the 3D view beside the picture, or None.
        max_faces: the most faces at a time.
        video_stream: see `streamprn.apps.clips.swap_clip`.
        on_frame: see `streamprn.apps.clips.swap_clip`.
        on_note: see `streamprn.apps.clips.swap_clip`.

    Raises:
        InputError: the clip cannot be read, or the output not be written.
    """

    def begin(rate: Fraction) -> NextPicture:
        return FilmDrawer(reconstructor, rate, kinds, skin, max_faces).next

    return rework_clip(
        source, out, begin, video_stream=video_stream, on_frame=on_frame, on_note=on_note
    )
