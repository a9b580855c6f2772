"""The settings of one source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamprn.config.address import Address
from streamprn.config.checked import NOT_EMPTY, Checked
from streamprn.config.rules import required, setting
from streamprn.limits import MAX_PIXELS, MOST_PIXELS

NAME_PATTERN = r"(?!_publisher$)[A-Za-z0-9_.-]{1,64}"


@dataclass(frozen=True, slots=True)
class SourceConfig(Checked):
    """One video source, published as one stream: the only description that there is of one.

    Its `repr` shows neither `uri` nor `options`, which may hold credentials.
    """

    uri: str = required(
        "What to read: a video file, picture or folder of pictures; rtsp://, http://, udp://, "
        "srt://, rtmp://; a webcam's number or /dev/videoN; screen; - for a pipe; lavfi:GRAPH or "
        "testsrc2 for a test picture",
        secret=True,
        number_as_text=True,
        pattern=NOT_EMPTY,
    )
    name: str | None = setting(
        None,
        "Stream name, the first part of every topic; null makes one from the uri: door from "
        "clips/door.mp4, cam.local-a from rtsp://cam.local/a, webcam0 from 0",
        pattern=NAME_PATTERN,
        pattern_doc="1 to 64 of the characters A-Z a-z 0-9 _ . -",
    )
    required: bool = setting(
        True, "Whether /readyz answers 503 while this source is neither live, paused nor ended"
    )
    loop: bool = setting(False, "Start again at the end (files and folders)")
    realtime: bool = setting(True, "Play a file at its own pace; false reads as fast as possible")
    drop_late: bool = setting(
        False,
        "Let a file drop frames when the pipeline is late, as live sources always do",
    )
    max_fps: float | None = setting(
        None, "Most frames a second taken from the source; null for all", unit="frames/s",
        minimum=0.01, maximum=1000,
    )  # fmt: skip
    rotate: int | None = setting(
        None,
        "Turn the picture clockwise, in degrees; null follows the file's metadata",
        unit="degrees",
        choices=(0, 90, 180, 270),
    )
    deinterlace: bool = setting(
        True, "Deinterlace frames that the stream calls interlaced; false shows both fields at once"
    )
    crop: tuple[int, int, int, int] | None = setting(
        None,
        "Use only this part of the picture: [x, y, width, height]; null for all of it",
        unit="px",
        minimum=0,
        maximum=65536,
    )
    boxes: tuple[tuple[float, float, float, float], ...] = setting(
        (),
        "Faces at known places, instead of detection: a list of [x0, y0, x1, y1]",
        unit="px",
        minimum=-65536,
        maximum=65536,
    )
    hfov: float | None = setting(
        None,
        "Horizontal field of view of the camera, over the upright picture before `crop`: gives the "
        "faces poses in millimetres (docs/sources.md)",
        unit="degrees",
        minimum=1,
        maximum=170,
    )
    intrinsics: tuple[float, float, float, float] | None = setting(
        None,
        "In place of `hfov`, what a calibration says of the upright picture before `crop`: "
        "[fx, fy, cx, cy]",
        unit="px",
        minimum=-100_000,
        maximum=100_000,
    )
    distortion: tuple[float, float, float, float, float] | None = setting(
        None,
        "Lens distortion in OpenCV's order: [k1, k2, p1, p2, k3]; null for none",
        minimum=-10,
        maximum=10,
    )
    pupil_distance_mm: float = setting(
        63.0,
        "Distance between the pupils of the faces, which tells near from small; the default is "
        "that of adults on average",
        unit="mm",
        minimum=20,
        maximum=100,
    )
    max_pixels: int = setting(
        MAX_PIXELS,
        "Most pixels of a picture; a larger one is refused before it takes memory",
        unit="px",
        minimum=1,
        maximum=MOST_PIXELS,
    )
    video_stream: int | None = setting(
        None,
        "Number of the video stream where there are several, from 0; null takes the default one, "
        "then the largest, and no cover or thumbnail",
        minimum=0,
        maximum=255,
    )
    format: str | None = setting(
        None,
        "FFmpeg's name of the format where the data does not tell it, such as rawvideo, with its "
        "options below",
        pattern=r"[a-z0-9_,]+",
        pattern_doc="a name from `ffmpeg -demuxers`",
    )
    max_gap_s: float = setting(
        10.0,
        "Longest gap in the time stamps that is kept; a longer one, or one backwards, is closed",
        unit="s",
        minimum=0.1,
        maximum=86_400,
    )
    poll_fps: float = setting(
        1.0,
        "Pace of an address that gives one picture at a time (http://camera/snap.jpg)",
        unit="frames/s",
        minimum=0.001,
        maximum=100,
    )
    rtsp_transport: Literal["tcp", "udp"] = setting(
        "tcp", "Transport of RTSP media", choices=("tcp", "udp")
    )
    tls_verify: bool = setting(
        True,
        "Whether a camera must prove with a certificate that it is the host of its address (https, "
        "rtsps); false sends the password to whoever answers",
    )
    password_file: str | None = setting(
        None,
        "File with the password of the user in the uri, readable by its owner alone (0600); a uri "
        "and options may also name a variable of the environment: ${CAM_PASSWORD}",
        pattern=NOT_EMPTY,
    )
    ca_file: str | None = setting(
        None,
        "Certificates to trust (PEM), such as the camera's own; null takes those of the system",
        pattern=NOT_EMPTY,
    )
    open_timeout_s: float = setting(
        5.0, "Give up one attempt to open after this time", unit="s", minimum=0.1, maximum=3600
    )
    stall_timeout_s: float = setting(
        3.0,
        "Reconnect a live source that sends nothing for this time",
        unit="s",
        minimum=0.1,
        maximum=3600,
    )
    key_frame_timeout_s: float = setting(
        60.0,
        "Reconnect a live source whose packets give no picture for this time, as before the next "
        "key frame",
        unit="s",
        minimum=0.1,
        maximum=3600,
    )
    backoff_initial_s: float = setting(
        0.25,
        "Wait before the first reconnection; doubles with each one",
        unit="s",
        minimum=0.01,
        maximum=3600,
    )
    backoff_max_s: float = setting(
        1.0, "Longest wait between reconnections", unit="s", minimum=0.01, maximum=3600
    )
    backoff_refused_s: float = setting(
        30.0,
        "Wait before trying a wrong password again; another refusal is tried sooner at first",
        unit="s",
        minimum=0.01,
        maximum=3600,
    )
    image_fps: float = setting(
        30.0, "Pace of pictures and folders", unit="frames/s", minimum=0.01, maximum=1000
    )
    threads: int = setting(1, "Decoder threads", unit="threads", minimum=1, maximum=64)
    loop_filter: Literal["always", "reference", "never"] = setting(
        "always",
        "Smooth the edges of blocks of H.264 and HEVC in every frame, in those only that others "
        "are predicted from, or never: less work, and blocks that show (docs/sources.md)",
        choices=("always", "reference", "never"),
    )
    hwaccel: Literal["cuda"] | None = setting(
        None,
        "Decode on the GPU and leave the frames there: cuda (NVDEC); null, and where that is not "
        "possible, decodes on the CPU",
        choices=("cuda",),
    )
    options: Mapping[str, str] = setting(
        {}, "Further FFmpeg options for opening, by name", secret=True
    )

    def keeps_newest(self, address: Address) -> bool:
        """Whether only the newest frame counts, so that late ones are dropped: live ones always."""
        return address.live or self.drop_late
