"""What the address of a source is: its kind, and the name that its stream gets."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, pairwise
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from streamprn.errors import InputError, SourceError
from streamprn.records import PUBLISHER
from streamprn.redact import HIDDEN, announces_secret, redact, remember, split_url

__all__ = [
    "IMAGE_SUFFIXES",
    "Address",
    "SourceKind",
    "check_no_recording",
    "default_name",
    "free_name",
    "resolve",
    "stream_names",
]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"}
)
_RECORDING_SUFFIX = ".sprn"
_PATTERNS = ("testsrc", "testsrc2", "smptebars")
_SCHEMES = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "http": "http",
    "https": "http",
    **dict.fromkeys(["udp", "udplite", "rtp", "srtp", "tcp", "tls", "srt", "rist"], "stream"),
    **dict.fromkeys(["rtmp", "rtmps", "rtmpt", "rtmpts", "rtmpe", "rtmpte"], "stream"),
    **dict.fromkeys(["mmsh", "mmst", "ftp", "sftp"], "stream"),
}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
# A part of a path that looks like a name which somebody gave: `h264Preview_01_main`, `index.m3u8`.
_WORD = r"(?:[A-Z]?[a-z]{1,16}(?![a-z])|[A-Z]{1,8}(?![A-Z])|[0-9]{1,4}(?![0-9])){1,4}"
_ORDINARY = re.compile(rf"{_WORD}(?:[_.-]{_WORD}){{0,4}}")
_SCREEN = re.compile(r"(?i)(?:screen(?::|$)|x11grab:)")
_ENCODE = (
    "percent-encode what is special in user and password: "
    "%2F for /, %23 for #, %3F for ?, %40 for @, %25 for %"
)
_NAME_LENGTH = 64
# "-256" for the last of as many sources as a configuration may have.
_NUMBER_LENGTH = 4


class SourceKind(StrEnum):
    """Where the pictures come from."""

    FILE = "file"
    IMAGE = "image"
    FOLDER = "folder"
    PIPE = "pipe"
    RTSP = "rtsp"
    HTTP = "http"
    STREAM = "stream"
    WEBCAM = "webcam"
    SCREEN = "screen"
    LAVFI = "lavfi"


_NETWORK = frozenset({SourceKind.RTSP, SourceKind.HTTP, SourceKind.STREAM})
_CAMERAS = frozenset({SourceKind.WEBCAM, SourceKind.SCREEN})


@dataclass(frozen=True, slots=True)
class Address:
    """A source's address, understood; `resolve` makes it from text.

    Its `repr` does not show `uri`, which may hold credentials.

    Attributes:
        kind: what `uri` is.
        uri: path, URL, device or filter graph, with credentials.
        name: the stream's name in topics, `[A-Za-z0-9_.-]{1,64}`.
    """

    kind: SourceKind
    uri: str = field(repr=False)
    name: str

    @property
    def reconnects(self) -> bool:
        """Whether it is a camera or network stream, which is connected again when it ends."""
        return self.network or self.kind in _CAMERAS

    @property
    def network(self) -> bool:
        """Whether `uri` is a URL."""
        return self.kind in _NETWORK

    @property
    def doubt(self) -> str:
        """What to tell where the URL does not work and could mean another host, or nothing."""
        parts = split_url(self.uri) if self.network else None
        return "" if parts is None or parts.certain else f"if it holds a password, {_ENCODE}"

    @property
    def live(self) -> bool:
        """Whether the source runs on a clock of its own, so that only its newest frame counts."""
        return self.reconnects or (self.kind is SourceKind.LAVFI and "realtime" in self.uri)

    @property
    def safe_uri(self) -> str:
        """The address as anybody may see it: of network streams only scheme and host.

        A path may hold a token as well as a query does, and a filter graph an address of its own.
        """
        if self.kind is SourceKind.PIPE and self.uri == "-":
            return "standard input"
        if self.kind is SourceKind.SCREEN:
            return f"screen:{self.uri}"
        if self.kind is SourceKind.LAVFI:
            name, sign, _ = self.uri.partition("=")
            return f"lavfi:{name}" + (f"={HIDDEN}" if sign else "")
        parts = split_url(self.uri)
        if parts is None or not parts.certain:
            return redact(self.uri)
        shown = f"{parts.scheme}://{parts.host}"
        return f"{shown}/{HIDDEN}" if parts.rest.strip("/") else shown

    def renamed(self, name: str) -> Address:
        """The same address for a stream of another name."""
        return dataclasses.replace(self, name=name)


# --- what it is -----------------------------------------------------------------------------------


def resolve(text: str) -> Address:
    """Understand what a user writes.

    Args:
        text: a video file, image or folder; a pipe, `-` for standard input; `rtsp://`, `http://`,
            `udp://`, `srt://`, `rtmp://` and what else FFmpeg reads from a network, with `s` for
            encryption where there is one; a webcam as a number or device path; `screen` or
            `screen:DISPLAY`; `lavfi:GRAPH`; or the test pictures `testsrc`, `testsrc2`,
            `smptebars` (live, 640x480, 30 fps). Schemes may be in upper case.

    Raises:
        InputError: an unknown scheme, or an address that names nothing.
        SourceError: no such file.
    """
    text = text.strip()
    remember(text)
    kind, uri = _resolve(text)
    return Address(kind, uri, default_name(text))


def _resolve(text: str) -> tuple[SourceKind, str]:
    if not text:
        raise InputError("empty source", hint="give a file, a URL, a webcam number or lavfi:GRAPH")
    if text == "-":
        return SourceKind.PIPE, text
    if text[:6].lower() == "lavfi:":
        return SourceKind.LAVFI, _graph(text)
    if scheme := _SCHEME.match(text):
        return _resolve_url(text, scheme.group(1).lower())
    return _device(text) or _resolve_path(Path(text))


def _graph(text: str) -> str:
    graph = text[6:].strip()
    if not graph:
        raise InputError("lavfi: names no filter graph", hint="e.g. lavfi:testsrc2=rate=30")
    return graph


def _device(text: str) -> tuple[SourceKind, str] | None:
    """A webcam, a screen or a test picture, if it is one and no path of that name is there."""
    if _is_webcam_number(text) or _is_camera(text):
        return SourceKind.WEBCAM, text
    if _is_screen(text):
        return SourceKind.SCREEN, text.partition(":")[2].strip()
    if text in _PATTERNS and not os.path.exists(text):
        return SourceKind.LAVFI, f"{text}=size=640x480:rate=30,realtime"
    return None


def _is_webcam_number(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}", text)) and not os.path.exists(text)


def _is_screen(text: str) -> bool:
    return _SCREEN.match(text) is not None and not os.path.exists(text)


def _is_camera(text: str) -> bool:
    """Whether it is /dev/videoN or a link to one, such as the lasting names in /dev/v4l/by-id."""
    if text.startswith("/dev/v4l/"):  # unplugged, the link is not there
        return True
    return "\0" not in text and bool(re.fullmatch(r"/dev/video\d+", os.path.realpath(text)))


def _resolve_url(text: str, scheme: str) -> tuple[SourceKind, str]:
    if scheme == "file":
        path = _path_of_file_url(text)
        if not path:
            raise InputError(f"{text}: names no file", hint="write file:///folder/clip.mp4")
        return _resolve_path(Path(path))
    kind = _SCHEMES.get(scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in [*_SCHEMES, "file"])
        raise InputError(
            f"{redact(text)}: unknown scheme {scheme}://", hint=f"known are {known} and lavfi:"
        )
    parts = split_url(text)
    if parts is None:
        raise InputError(f"{redact(text)}: no host can be told from its address", hint=_ENCODE)
    if parts.user and not parts.certain:
        # Opened as it stands, a part of the password might be looked up as the name of a host.
        raise InputError(f"{redact(text)}: its address can be read in two ways", hint=_ENCODE)
    if not (parts.host if kind == "stream" else parts.host.partition(":")[0]):
        raise InputError(f"{redact(text)}: the address names no host")
    return SourceKind(kind), parts.joined()


def _path_of_file_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:  # a bracket that nothing closes
        return ""
    # Without its third slash, `file://clip.mp4` names a host and the path is empty.
    return unquote(parts.path) if parts.netloc in ("", "localhost") else ""


def check_no_recording(text: str) -> None:
    """Refuse a recording where a video or a publisher is meant, and say what reads it.

    Args:
        text: an address or a path; a recording is a .sprn file that is there, a folder of such
            files without any picture, or a folder of such folders.

    Raises:
        InputError: it is a recording.
    """
    path = Path(text)
    try:
        found = _holds_recordings(path) if path.is_dir() else _is_recording(path)
    except (OSError, ValueError):  # no usable path: others say so
        return
    if found:
        raise InputError(
            f"{text}: is a recording",
            hint=f"`streamprn replay {text}` publishes it again, "
            f"`streamprn export {text} OUT` writes it to files",
        )


def _is_recording(path: Path) -> bool:
    return path.suffix == _RECORDING_SUFFIX and path.is_file()


def _holds_recordings(folder: Path) -> bool:
    children = list(folder.iterdir())
    if any(child.suffix.lower() in IMAGE_SUFFIXES for child in children):
        return False
    inner = (path for child in children if child.is_dir() for path in _readable(child))
    return any(map(_is_recording, chain(children, inner)))


def _readable(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _resolve_path(path: Path) -> tuple[SourceKind, str]:
    check_no_recording(str(path))
    try:
        path = path.expanduser()
        if path.is_dir():
            return SourceKind.FOLDER, str(path)
        if not path.exists():
            raise SourceError(
                "no such file or folder", uri=str(path), hint="check the path for a typing error"
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"not a usable path: {error}", uri=str(path)[:200]) from error
    if path.is_fifo():
        return SourceKind.PIPE, str(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SourceKind.IMAGE, str(path)
    return SourceKind.FILE, str(path)


# --- what its stream is called --------------------------------------------------------------------


def default_name(text: str) -> str:
    """The name of a stream that was given none; for any text, whether or not it can be read.

    A file gives its stem, webcam 0 `webcam0`, and a URL its host and the ordinary words of its
    path: a name is published, so what might be a stream key or a token is left out of it.
    """
    text = text.strip()
    if text == "-":
        return "stdin"
    if text[:6].lower() == "lavfi:":
        return "lavfi"
    if _is_screen(text):
        return "screen"
    if _is_webcam_number(text):
        return f"webcam{int(text)}"
    if text.lower().startswith("file://"):
        text = _path_of_file_url(text)
    elif scheme := _SCHEME.match(text):
        host, path = _host_and_path(text)
        return _as_name(f"{host}-{path}" if host or path else scheme.group(1))
    return _as_name(PurePath(text).stem)


def _host_and_path(url: str) -> tuple[str, str]:
    """Host with port, and what is ordinary of the path, where they are certain."""
    parts = split_url(url)
    if parts is None or not parts.certain:
        return "", ""
    elements = re.split("[?#]", parts.rest)[0].strip("/").split("/")
    if parts.scheme.startswith("rtmp"):
        elements = elements[:1]  # the application; a stream key follows
    return parts.host, "/".join(
        element
        for before, element in pairwise(["", *elements])
        if _ORDINARY.fullmatch(element) and not announces_secret(before)
    )


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:_NAME_LENGTH] or "source"


def stream_names(sources: Iterable[tuple[str | None, str]]) -> tuple[str, ...]:
    """A unique stream name for each `(name, text)`: the given one, or the default one.

    A default name that is taken already gets a number: `door`, `door-2`, `door-3`.
    """
    sources = list(sources)
    taken = {name for name, _ in sources if name is not None}
    names: list[str] = []
    for given, text in sources:
        name = given if given is not None else free_name(default_name(text), taken)
        taken.add(name)
        names.append(name)
    return tuple(names)


def free_name(base: str, taken: Container[str]) -> str:
    """`base`, or where that is taken `base-2`, `base-3` and so on."""
    name, count = base, 2
    while name in taken or name == PUBLISHER:
        name = f"{base[: _NAME_LENGTH - _NUMBER_LENGTH]}-{count}"
        count += 1
    return name
