"""From decoded frames to the records that a channel takes: turned, cut, counted, numbered."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from streamprn.camera import Camera
from streamprn.records import Frame
from streamprn.source.decode import OrientationMemory, aspect_of, to_image, upright_size
from streamprn.source.limits import make_room
from streamprn.source.timing import RateLimit

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

    from streamprn.channel import Channel
    from streamprn.config import Address, SourceConfig
    from streamprn.source.decode import Orientation

__all__ = ["Delivery", "SourceCounters"]

#: Small frames are converted to RGB at once, here, beside the network of the frame before: crops
#: and detection from RGB then cost less than from planes. Large ones only when somebody asks.
EAGER_RGB_PIXELS = 640 * 512
_SQUARE = Fraction(1)


@dataclass(slots=True)
class SourceCounters:
    """What a source has done so far.

    Attributes:
        frames: frames offered to the channel.
        skipped: frames left out to keep `max_fps`.
        corrupt: frames or packets that could not be decoded.
        reconnects: connections after a failure.
        dropped: frames that the channel replaced by newer ones.
        blank: packets without a picture, while the source waited for a key frame.
        asked: how often a key frame was asked for.
        jumps: time stamps that were not believed.
    """

    frames: int = 0
    skipped: int = 0
    corrupt: int = 0
    reconnects: int = 0
    dropped: int = 0
    blank: int = 0
    asked: int = 0
    jumps: int = 0


class Delivery:
    """Hands the frames of one source over to its channel.

    Args:
        config: which frames, and which part of them.
        address: names the stream.
        channel: where frames go.
        first_seq: the number of the first frame.

    Attributes:
        counters: what was handed over, and what was not.
        next_seq: the number that the next frame gets.
        video: the stream that the frames come from, which tells the shape of their pixels; None
            for pictures.
    """

    def __init__(
        self, config: SourceConfig, address: Address, channel: Channel[Frame], first_seq: int = 0
    ) -> None:
        self._config = config
        self._stream = address.name
        self._channel = channel
        self._limit = RateLimit(config.max_fps)
        self._orientations = OrientationMemory()
        self._camera: tuple[tuple[int, int], Camera] | None = None
        self.counters = SourceCounters()
        self.next_seq = first_seq
        self.video: VideoStream | None = None

    @property
    def taken(self) -> int:
        """Frames that came so far, also those left out."""
        return self.counters.frames + self.counters.skipped

    def deliver(
        self,
        frame: av.VideoFrame,
        pts_ns: int,
        captured_ns: int,
        orientation: Orientation | None = None,
    ) -> bool:
        """Hand over a frame; False once the channel is closed.

        Args:
            frame: as decoded.
            pts_ns: its place on the time line of the source.
            captured_ns: when it came or was due, monotonic.
            orientation: the file's own, where it is known.
        """
        if not self._limit.admit(pts_ns):
            self.counters.skipped += 1
            return True
        make_room(frame.width, frame.height)
        orientation = orientation or self._orientations.of(frame)
        aspect = _SQUARE if self.video is None else aspect_of(self.video)
        image = to_image(
            frame,
            rotate=self._config.rotate,
            crop_xywh=self._config.crop,
            orientation=orientation,
            aspect=aspect,
            deinterlace=self._config.deinterlace,
        )
        camera = self._camera_of(frame, orientation, aspect)
        if image.device is None and image.width * image.height <= EAGER_RGB_PIXELS:
            _ = image.rgb
        decoded = time.monotonic_ns()
        wall = time.time_ns() - (decoded - captured_ns)
        record = Frame(
            self._stream, self.next_seq, image, pts_ns, captured_ns, decoded, wall, camera
        )
        self.next_seq += 1
        self.counters.frames += 1
        return self._channel.put(record)

    def _camera_of(
        self, frame: av.VideoFrame, orientation: Orientation, aspect: Fraction
    ) -> Camera | None:
        """What the settings say of the camera, for what `to_image` makes of a frame."""
        config = self._config
        if config.hfov is None and config.intrinsics is None:
            return None
        size = upright_size(frame, rotate=config.rotate, orientation=orientation, aspect=aspect)
        if self._camera is None or self._camera[0] != size:
            self._camera = size, _camera(config, *size)
        return self._camera[1]


def _camera(config: SourceConfig, width: int, height: int) -> Camera:
    if config.hfov is not None:
        camera = Camera.of_view(config.hfov, width, height, config.pupil_distance_mm)
    else:
        assert config.intrinsics is not None
        camera = Camera(*config.intrinsics, pupil_distance_mm=config.pupil_distance_mm)
    if config.distortion is not None:
        camera = replace(camera, distortion=config.distortion)
    return camera if config.crop is None else camera.cropped(*config.crop[:2])
