"""What a source is: its address, its kind and how to read it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from streamprn.errors import InputError, SourceError
from streamprn.source.redact import redact

__all__ = ["IMAGE_SUFFIXES", "SourceKind", "SourceSpec", "parse_source"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"}
)
_PATTERNS = ("testsrc", "testsrc2", "smptebars")
_SCHEMES = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")


class SourceKind(StrEnum):
    """Where the pictures come from."""

    FILE = "file"
    IMAGE = "image"
    FOLDER = "folder"
    RTSP = "rtsp"
    HTTP = "http"
    WEBCAM = "webcam"
    LAVFI = "lavfi"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source and how to read it; immutable. `parse_source` makes it from text.

    Its `repr` shows neither `uri` nor `options`, which may hold credentials.

    Attributes:
        uri: path, URL, device or filter graph, with credentials.
        kind: what `uri` is.
        name: the stream's name in topics, `[A-Za-z0-9_.-]{1,64}`.
        loop: start again at the end, for ever (files, images, folders, finite filter graphs).
        realtime: deliver files at their own speed; else as fast as they are taken.
        drop: keep only the newest frame where the reader is late; None: live sources do.
        max_fps: frames per second let through at most; None for all.
        rotate: degrees clockwise (0, 90, 180, 270) instead of what the metadata says; None obeys
            the metadata.
        crop_xywh: x, y, width, height of the part to keep, pixels of the upright frame.
        rtsp_transport: "tcp" or "udp".
        stall_timeout_s: seconds without a frame after which a live source counts as stalled.
        open_timeout_s: seconds that connecting may take.
        backoff_initial_s: seconds before the first reconnection; doubles with each one.
        backoff_max_s: seconds between reconnections at most.
        backoff_refused_s: seconds before trying wrong credentials or a wrong path again.
        image_fps: frames per second of images and folders, for their time stamps and pacing.
        threads: decoder threads.
        hwaccel: "cuda" to decode with NVDEC and leave the frames in GPU memory; None for the CPU.
        options: further options for FFmpeg's demuxer, e.g. `{"video_size": "1280x720"}`.
    """

    uri: str = field(repr=False)
    kind: SourceKind
    name: str
    loop: bool = False
    realtime: bool = False
    drop: bool | None = None
    max_fps: float | None = None
    rotate: int | None = None
    crop_xywh: tuple[int, int, int, int] | None = None
    rtsp_transport: str = "tcp"
    stall_timeout_s: float = 3.0
    open_timeout_s: float = 5.0
    backoff_initial_s: float = 0.25
    backoff_max_s: float = 8.0
    backoff_refused_s: float = 30.0
    image_fps: float = 30.0
    threads: int = 1
    hwaccel: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"stream name {self.name!r} is not 1 to 64 letters, digits, '_', '.' or '-'",
                hint="give the source another name",
            )
        self._check_choice("rotate", self.rotate, (None, 0, 90, 180, 270))
        self._check_choice("rtsp_transport", self.rtsp_transport, ("tcp", "udp"))
        self._check_choice("hwaccel", self.hwaccel, (None, "cuda"))
        self._check_number("max_fps", self.max_fps, 1e-3, 1000)
        self._check_number("image_fps", self.image_fps, 1e-3, 1000)
        self._check_number("stall_timeout_s", self.stall_timeout_s, 0.1, 3600)
        self._check_number("open_timeout_s", self.open_timeout_s, 0.1, 3600)
        self._check_number("backoff_initial_s", self.backoff_initial_s, 0.01, 3600)
        self._check_number("backoff_max_s", self.backoff_max_s, self.backoff_initial_s, 3600)
        self._check_number("backoff_refused_s", self.backoff_refused_s, 0.01, 3600)
        self._check_number("threads", self.threads, 1, 64)
        self._check_crop()

    def _check_number(self, key: str, value: float | None, low: float, high: float) -> None:
        if value is None and key == "max_fps":
            return
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value or 0) or not low <= (value or 0) <= high:
            raise InputError(
                f"source {self.name}: {key}={value!r} is not a number from {low:g} to {high:g}"
            )

    def _check_choice(self, key: str, value: object, choices: tuple[object, ...]) -> None:
        if isinstance(value, bool) or value not in choices:
            shown = ", ".join(str(choice) for choice in choices if choice is not None)
            raise InputError(f"source {self.name}: {key}={value!r} is not one of {shown}")

    def _check_crop(self) -> None:
        crop = self.crop_xywh
        if crop is None:
            return
        whole = len(crop) == 4 and all(type(value) is int for value in crop)
        if not whole or min(crop[:2]) < 0 or min(crop[2:]) < 1:
            raise InputError(
                f"source {self.name}: crop {tuple(crop)} is not x, y >= 0 and width, height >= 1 "
                "in whole pixels"
            )

    @property
    def live(self) -> bool:
        """Whether the source runs on a clock of its own, so that only its newest frame counts."""
        return self.reconnects or (self.kind is SourceKind.LAVFI and "realtime" in self.uri)

    @property
    def reconnects(self) -> bool:
        """Whether the source is a camera or stream that is connected again when it ends."""
        return self.kind in (SourceKind.RTSP, SourceKind.HTTP, SourceKind.WEBCAM)

    @property
    def newest_only(self) -> bool:
        """Whether a mailbox for this source should keep the newest frame only."""
        return self.live if self.drop is None else self.drop

    @property
    def safe_uri(self) -> str:
        """The address without credentials."""
        shown = redact(self.uri)
        return f"lavfi:{shown}" if self.kind is SourceKind.LAVFI else shown


def parse_source(text: str, **options: Any) -> SourceSpec:
    """Make a `SourceSpec` from what a user writes.

    Args:
        text: a video file, image or folder; `rtsp://`, `rtsps://`, `http://` or `https://`; a
            webcam as a number or device path; `lavfi:GRAPH`; or the test pictures `testsrc`,
            `testsrc2`, `smptebars` (live, 640x480, 30 fps).
        **options: fields of `SourceSpec`; `name` defaults to one made from the address.

    Raises:
        InputError: unknown scheme or option, or a value out of bounds.
        SourceError: no such file.
    """
    _check_options(options)
    kind, uri, name = _resolve(text.strip())
    options.setdefault("name", name)
    if isinstance(options.get("crop_xywh"), list):
        options["crop_xywh"] = tuple(options["crop_xywh"])
    return SourceSpec(uri=uri, kind=kind, **options)


def _check_options(options: Mapping[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(SourceSpec)} - {"uri", "kind"}
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise InputError(
                f"unknown source option {key!r}", hint=f"did you mean {near[0]!r}?" if near else ""
            )


def _resolve(text: str) -> tuple[SourceKind, str, str]:
    """Return kind, uri and default name."""
    if not text:
        raise InputError("empty source", hint="give a file, a URL, a webcam number or lavfi:GRAPH")
    if text.startswith("lavfi:"):
        graph = text.removeprefix("lavfi:").strip()
        if not graph:
            raise InputError("lavfi: names no filter graph", hint="e.g. lavfi:testsrc2=rate=30")
        return SourceKind.LAVFI, graph, "lavfi"
    if scheme := _SCHEME.match(text):
        return _resolve_url(text, scheme.group(1).lower())
    if re.fullmatch(r"[0-9]{1,9}", text) and not os.path.exists(text):
        return SourceKind.WEBCAM, text, f"webcam{int(text)}"
    if _is_camera(text):
        return SourceKind.WEBCAM, text, text.rpartition("/")[2]
    if text in _PATTERNS and not os.path.exists(text):
        return SourceKind.LAVFI, f"{text}=size=640x480:rate=30,realtime", text
    return _resolve_path(Path(text))


def _is_camera(text: str) -> bool:
    """Whether it is /dev/videoN or a link to one, such as the lasting names in /dev/v4l/by-id."""
    if text.startswith("/dev/v4l/"):  # unplugged, the link is not there
        return True
    return "\0" not in text and bool(re.fullmatch(r"/dev/video\d+", os.path.realpath(text)))


def _resolve_url(text: str, scheme: str) -> tuple[SourceKind, str, str]:
    if scheme == "file":
        parts = urlsplit(text)
        # Without its third slash, `file://clip.mp4` names a host and the path is empty.
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise InputError(f"{text}: names no file", hint="write file:///folder/clip.mp4")
        return _resolve_path(Path(unquote(parts.path)))
    kind = _SCHEMES.get(scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in [*_SCHEMES, "file"])
        raise InputError(
            f"{redact(text)}: unknown scheme {scheme}://", hint=f"known are {known} and lavfi:"
        )
    host, _, path = redact(text).partition("://")[2].removeprefix("***@").partition("/")
    if not host:
        raise InputError(f"{redact(text)}: the address names no host")
    return SourceKind(kind), text, _name_from(f"{host}-{path.partition('?')[0]}")


def _resolve_path(path: Path) -> tuple[SourceKind, str, str]:
    path = path.expanduser()
    name = _name_from(path.stem or path.resolve().name)
    try:
        if path.is_dir():
            return SourceKind.FOLDER, str(path), name
        if not path.exists():
            raise SourceError(
                "no such file or folder", uri=str(path), hint="check the path for a typing error"
            )
    except (OSError, ValueError) as error:
        raise SourceError(f"not a usable path: {error}", uri=str(path)[:200]) from error
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SourceKind.IMAGE, str(path), name
    return SourceKind.FILE, str(path), name


def _name_from(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:64] or "source"
