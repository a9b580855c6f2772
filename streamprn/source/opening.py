"""Opening a source with FFmpeg, and saying in one line why it cannot be opened."""

from __future__ import annotations

import errno
import logging
import os
import ssl
import sys
import time
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import av
from av.codec.hwaccel import HWAccel

from streamprn.config.address import SourceKind
from streamprn.config.secrets import options_of
from streamprn.errors import BackendError, CredentialsError, SourceError, SourceRefusedError
from streamprn.source.limits import limit_stream, probing
from streamprn.source.pipes import Pipe, open_pipe
from streamprn.source.tracks import pick_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from streamprn.config import Address, SourceConfig

__all__ = ["describe_error", "open_video", "rewind"]

_log = logging.getLogger("streamprn.source")
_MICROSECONDS = 1_000_000
# By `SourceConfig.loop_filter`, FFmpeg's `skip_loop_filter`.
_SKIPPED_FILTER = {"always": "default", "reference": "noref", "never": "all"}
# Hardly any probing: the first frame comes 5 times sooner, and none waits meanwhile.
_AT_ONCE = {"analyzeduration": "0", "probesize": "32"}


def open_video(
    config: SourceConfig, address: Address, path: str | None = None
) -> tuple[InputContainer, VideoStream]:
    """Open a source and pick its video stream, ready to decode.

    Args:
        config: how to read it.
        address: where it is.
        path: a file to open in place of `address.uri` (a picture of a folder).

    Raises:
        SourceRefusedError: the server refuses credentials or path.
        SourceError: anything else, with its cause.
    """
    hwaccel = open_hwaccel(config, address.name)
    began = time.monotonic()
    try:
        container = _open(config, address, path, hwaccel)
    except (av.FFmpegError, OSError, ValueError) as error:
        # FFmpeg calls an interrupted connection "invalid data".
        late = address.reconnects and time.monotonic() - began >= config.open_timeout_s
        # Not chained: the original's text and `filename` hold the address with its credentials.
        raise describe_error(TimeoutError() if late else error, address, path) from None
    try:
        shown = path or address.safe_uri
        stream = pick_stream(container, shown, config.video_stream)
        limit_stream(stream, shown, config.max_pixels)
        # Slice threads hold no frames back; frame threads hold one each.
        context = stream.codec_context
        context.thread_type = "SLICE"
        context.thread_count = config.threads
        skipped = _SKIPPED_FILTER[config.loop_filter]
        context.options = {**context.options, "skip_loop_filter": skipped}
    except BaseException:
        container.close()
        raise
    return container, stream


def gives_single_pictures(container: InputContainer) -> bool:
    """Whether it is of a format that holds one picture, such as a JPEG file."""
    name = container.format.name
    return name == "image2" or name.endswith("_pipe")


def is_finite(container: InputContainer) -> bool:
    """Whether it is a film with an end, and no broadcast."""
    return bool(container.duration) and (container.format.name == "hls" or container.size > 0)


def _open(
    config: SourceConfig, address: Address, path: str | None, hwaccel: HWAccel | None
) -> InputContainer:
    target, form, options = _target(config, address, path)
    if address.kind is SourceKind.PIPE:
        return _open_pipe(open_pipe(address.uri), form, options, hwaccel)
    timeouts = (config.open_timeout_s, config.stall_timeout_s) if address.reconnects else None
    container: InputContainer = av.open(
        target, format=form, options=options, timeout=timeouts, hwaccel=hwaccel
    )
    return container


def _open_pipe(
    pipe: Pipe, form: str | None, options: dict[str, str], hwaccel: HWAccel | None
) -> InputContainer:
    try:
        container: InputContainer = av.open(pipe, format=form, options=options, hwaccel=hwaccel)
    except BaseException:
        pipe.close()
        raise
    return container


def open_hwaccel(config: SourceConfig, name: str) -> HWAccel | None:
    """What lets FFmpeg decode on the GPU, or None, with a line in the log, where nothing can.

    Args:
        config: of the source.
        name: of the stream, for the log.
    """
    if config.hwaccel is None:
        return None
    if problem := hwaccel_problem(config.hwaccel):
        _log.warning("source %s: decoding on the CPU: %s", name, problem)
        return None
    return HWAccel(config.hwaccel, is_hw_owned=True)


@cache
def hwaccel_problem(name: str) -> str:
    """Why FFmpeg cannot decode with a device here, or an empty string.

    FFmpeg opens the device while it opens a stream, and an error there looks like one of the
    stream; so the device is opened once by itself.
    """
    from streamprn.engines.cuda import driver

    try:
        driver.device()
        driver.share_context()
        HWAccel(name, is_hw_owned=True).create(av.Codec("h264", "r"))
    except BackendError as error:
        return error.what
    except (av.FFmpegError, OSError, NotImplementedError) as error:
        return f"FFmpeg cannot use {name}: {getattr(error, 'strerror', None) or error}"
    return ""


def _target(
    config: SourceConfig, address: Address, path: str | None = None
) -> tuple[str, str | None, dict[str, str]]:
    """Return what to open, its format and options, for `av.open`."""
    target, form, options = _target_of(config, address, path)
    return (
        target,
        config.format or form,
        {
            **probing(config.max_pixels, live=address.reconnects),
            **options,
            **_tls_options(config, address),
            **options_of(config),
        },
    )


def _target_of(
    config: SourceConfig, address: Address, path: str | None
) -> tuple[str, str | None, dict[str, str]]:
    uri = address.uri
    found: tuple[str, str | None, dict[str, str]]
    match address.kind:
        case SourceKind.RTSP:
            found = uri, None, _rtsp_options(config)
        case SourceKind.STREAM:
            # FFmpeg looks at five seconds of it otherwise, for streams that begin late, and at 20
            # pictures for their rate.
            found = uri, None, {"analyzeduration": str(_MICROSECONDS), "fpsprobesize": "3"}
        case SourceKind.HTTP | SourceKind.PIPE:
            found = uri, None, {}
        case SourceKind.LAVFI:
            found = uri, "lavfi", {}
        case SourceKind.WEBCAM:
            found = *_webcam(uri), {}
        case SourceKind.SCREEN:
            found = *_screen(uri), {"framerate": "30", **_AT_ONCE}
        case _:
            # `file:` keeps a colon in a path from being read as a protocol, and `pattern_type` a
            # `%d`.
            found = f"file:{path or uri}", None, {"pattern_type": "none"}
    return found


def _tls_options(config: SourceConfig, address: Address) -> dict[str, str]:
    """What lets FFmpeg check certificates, which it does not by itself."""
    if not (_uses_tls(address) and config.tls_verify):
        return {}
    trusted = config.ca_file or _system_certificates()
    return {"tls_verify": "1", **({"ca_file": trusted} if trusted else {})}


def _uses_tls(address: Address) -> bool:
    return address.network and address.uri.partition("://")[0].lower() in _TLS


@cache
def _system_certificates() -> str | None:
    found: str | None = ssl.get_default_verify_paths().cafile
    if not found and find_spec("certifi") is not None:
        import certifi

        found = certifi.where()
    return found


def _rtsp_options(config: SourceConfig) -> dict[str, str]:
    longest_s = max(config.stall_timeout_s, config.open_timeout_s)
    return {
        "rtsp_transport": config.rtsp_transport,
        # The SDP names codec and parameters.
        **_AT_ONCE,
        # A second line of defence behind the timeouts of `av.open`, which also end a read on
        # request.
        "timeout": str(int(2 * longest_s * _MICROSECONDS)),
    }


def _screen(display: str) -> tuple[str, str]:
    """Return the address and the input format of a screen on this platform."""
    if sys.platform == "darwin":
        return display or "Capture screen 0:none", "avfoundation"
    if sys.platform == "win32":
        return display or "desktop", "gdigrab"
    return display or os.environ.get("DISPLAY", ":0"), "x11grab"


def _webcam(uri: str) -> tuple[str, str]:
    """Return device address and input format of a webcam on this platform."""
    if sys.platform == "darwin":
        return f"{uri}:none", "avfoundation"
    if sys.platform == "win32":
        return _dshow_name(uri), "dshow"
    return (f"/dev/video{int(uri)}" if uri.isdigit() else uri), "v4l2"


def _dshow_name(uri: str) -> str:
    """DirectShow knows cameras by name only: look the number up."""
    from av.device import enumerate_input_devices

    if not uri.isdigit():
        return f"video={uri}"
    cameras = [one for one in enumerate_input_devices("dshow") if "video" in one.media_types]
    if int(uri) >= len(cameras):
        raise SourceError(f"there are {len(cameras)} webcams", uri=uri, hint="count from 0")
    return f"video={cameras[int(uri)].name}"


_TLS = frozenset({"https", "rtsps", "tls", "rtmps", "hlss"})
_TLS_HINT = "give the camera's own certificate as ca_file; tls_verify: false trusts anybody"
_REFUSED: dict[type[Exception], tuple[str, str]] = {
    av.HTTPUnauthorizedError: (
        "the server refuses the credentials (401)",
        "check user and password",
    ),
    av.HTTPForbiddenError: ("the server forbids access (403)", "check user and rights"),
    av.HTTPNotFoundError: ("the server knows no such path (404)", "check the path of the address"),
    av.HTTPBadRequestError: ("the server calls the request bad (400)", "check the address"),
    av.HTTPOtherClientError: ("the server refuses the request (4xx)", "check the address"),
}
_FAILED: dict[type[Exception], tuple[str, str]] = {
    av.HTTPServerError: ("the server reports an error of its own (5xx)", "look at the server"),
    av.ConnectionRefusedError: ("connection refused", "is the server running on this port?"),
    TimeoutError: ("no answer in time", "check address and network"),
    av.ExitError: ("no answer in time", "check address and network"),
    av.FileNotFoundError: ("no such file or device", "check the path"),
    av.IsADirectoryError: ("is a folder, not a file", "name a file in it"),
    av.PermissionError: ("no permission to read it", "check the access rights"),
    av.InvalidDataError: ("holds no readable video", "it may be damaged or of another type"),
    av.ProtocolNotFoundError: (
        "this FFmpeg lacks the protocol",
        "let another program receive it and pipe it on: ... | streamprn run -",
    ),
}


def _by_address(error: Exception, address: Address, shown: str) -> SourceError | None:
    """What an error means for an address of its kind, where that is more than the error says."""
    if address.kind is SourceKind.SCREEN:
        reason = getattr(error, "strerror", None) or type(error).__name__
        hint = "name a display, such as screen::0, that this user may read"
        return SourceError(f"no screen to capture: {reason}", uri=shown, hint=hint)
    if _uses_tls(address) and getattr(error, "errno", 0) == errno.EIO:
        what = "no encrypted connection, or its certificate is not trusted"
        return SourceError(what, uri=shown, hint=_TLS_HINT)
    return None


def describe_error(
    error: Exception, address: Address, path: str | None = None, *, did: str = "opened"
) -> SourceError:
    """Turn an error of FFmpeg into a `SourceError` without credentials.

    Args:
        error: what was raised.
        address: of the source.
        path: a file that was read in place of `address.uri`.
        did: what failed, where nothing better than "cannot be opened" is known.
    """
    shown = path or address.safe_uri
    if isinstance(error, SourceError):
        return error
    if did == "opened" and (special := _by_address(error, address, shown)):
        return special
    for kind, (what, hint) in _REFUSED.items():
        if isinstance(error, kind):
            credentials = kind in (av.HTTPUnauthorizedError, av.HTTPForbiddenError)
            raised = CredentialsError if credentials else SourceRefusedError
            return raised(what, uri=shown, hint=address.doubt or hint)
    for kind, (what, hint) in _FAILED.items():
        if isinstance(error, kind):
            if kind is av.FileNotFoundError and address.kind is SourceKind.WEBCAM:
                return SourceError("no such webcam", uri=shown, hint="see `streamprn doctor`")
            unreadable = _unreadable(address) if kind is av.InvalidDataError else ""
            return SourceError(unreadable or what, uri=shown, hint=address.doubt or hint)
    reason = getattr(error, "strerror", None) or type(error).__name__
    hint = "check the filter graph" if address.kind is SourceKind.LAVFI else address.doubt
    return SourceError(f"cannot be {did}: {reason}", uri=shown, hint=hint)


def _unreadable(address: Address) -> str:
    """What "invalid data" means where the source is no video file."""
    if address.live:
        return "the server sends no readable video"
    if address.kind in (SourceKind.IMAGE, SourceKind.FOLDER):
        return "holds no readable picture"
    return ""


def ask_for_key_frame(container: InputContainer, stream: VideoStream) -> bool:
    """Ask a live source to begin anew in its session; False where its protocol knows no such thing.

    To seek is PAUSE and PLAY in RTSP, upon which encoders begin with a key frame. A source that
    refuses goes on as it did.

    Raises:
        av.FFmpegError: the connection broke meanwhile.
    """
    if container.format.name != "rtsp":
        return False
    try:
        container.seek(0, stream=stream)
    except (av.ArgumentError, av.PermissionError):
        _log.debug("PAUSE or PLAY was refused")
    return True


def rewind(container: InputContainer, stream: VideoStream) -> bool:
    """Go back to the first picture; False where the format cannot and must be opened again.

    Opening again takes several milliseconds, by which the first frame of every loop would be late.
    """
    if not {"mp4", "matroska", "avi"} & set(container.format.name.split(",")):
        return False
    try:
        container.seek(stream.start_time or 0, stream=stream)
    except av.FFmpegError:
        return False
    return True
