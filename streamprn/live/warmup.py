"""Everything that compiles or loads on first use, before a frame has to wait for it."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.predict import View
from streamprn.kernels.prepare import STEPS, paused_collection
from streamprn.live.finish import WITH_FACES, compute
from streamprn.records import Frame, FrameImage, FrameResult, Kind, Roi, YuvPlanes

if TYPE_CHECKING:
    from streamprn.engines.predict import Predictor
    from streamprn.kernels.prepare import Preparation
    from streamprn.live.stream import StreamMaker
    from streamprn.wire.encode import MeshFormat

__all__ = ["warm_up"]

ROI = Roi(32.0, 32.0, 48.0)


def warm_up(
    predictor: Predictor,
    maker: StreamMaker,
    wanted: Set[Kind],
    mesh_format: MeshFormat,
    beside: Preparation,
    say: Callable[[str], None],
) -> None:
    """Go once through what following a face takes, and through what somebody wants of it.

    Args:
        predictor: of the pipeline.
        maker: has the detector, and knows whether faces are smoothed.
        wanted: kinds that somebody wants from the start.
        mesh_format: in which form vertices are wanted.
        beside: compiles pose and visibility meanwhile, where they are not cached.
        say: told what is being done, in words.
    """
    frame = _grey_frame()
    # Small frames are RGB when they come; large ones are cropped from planes.
    rgb = FrameImage.from_rgb(frame.image.rgb)
    with paused_collection():
        _say(say, "detection and crops")
        maker.detector.detect(rgb)
        predictions, _ = predictor.predict([View(rgb, ROI)])
        if not beside.running:
            # All of it is cached, and loading takes no time, but for the network of blendshapes.
            wanted = wanted | (frozenset(Kind) - {Kind.BLENDSHAPES})
            STEPS["smoothing"]()  # of a camera that is added later
            predictor.predict([View(frame.image, ROI)])
        predictor.predict([View(rgb, ROI)] * 2)
        faces = [one.face(id=1, score=1.0) for one in predictions]
        smoother = maker.smoother(live=maker.begins_live)
        if smoother is not None:
            _say(say, "smoothing")
            faces = smoother.smooth(faces, frame.image, 0)
        _say(say, "geometry")
        for face in faces:
            _ = face.box_xyxy
        if beside.running and Kind.FACE in wanted:
            STEPS["facing"]()
        if maker.remembers:
            beside.wait("looks")
            STEPS["looks"]()
        if maker.compares and predictor.may_keep_faces:
            beside.wait("stillness")
            STEPS["stillness"]()
        if wanted & WITH_FACES:
            beside.wait("depth" if Kind.FACE in wanted else "pose")
        compute(FrameResult(frame, tuple(faces), 0, 0), wanted, mesh_format)


def _say(say: Callable[[str], None], what: str) -> None:
    say(f"making ready: {what} (the first start compiles kernels for this machine)")


def _grey_frame() -> Frame:
    half = np.full((32, 32), 128, np.uint8)
    planes = YuvPlanes(np.full((64, 64), 128, np.uint8), half, half)
    image = FrameImage(64, 64, lambda: np.full((64, 64, 3), 128, np.uint8), planes)
    return Frame("warm-up", 0, image, None, 0, 0, 0)
