"""Where faults are tried: a service, a neighbour that must notice nothing, and what breaks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.rig.camera import Camera
from benchmarks.rig.ears import Ears
from benchmarks.rig.line import Line
from benchmarks.rig.pest import Pest
from benchmarks.rig.places import clip, clip_of_codec
from benchmarks.rig.service import Service
from streamprn.wire.subscribe import Subscriber

NEIGHBOUR = "stays"
_FIRST_FACE_S = 30.0
_FPS = 15.0
_EVERYTHING_S = 2.0
_MOST = 10
_GUESTS = [f"guest.{number}" for number in range(_MOST)]


class Stage:
    """A service with one camera that is left alone; a context manager.

    Args:
        folder: for clips, configuration and recordings.
        records: where it records to; None does not.
        program: see `Service`.
        environment: of the service, beside this one's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        records: Path | None = None,
        program: Sequence[str] = ("-m", "streamprn"),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.clips = [clip(folder), clip(folder, 480, 360)]
        self.other_codec = clip_of_codec(folder, self.clips[0])
        self._opened = contextlib.ExitStack()
        self._neighbour = Camera(self.clips[0], fps=_FPS)
        self.sources = [{"uri": self._neighbour.uri(), "name": NEIGHBOUR}]
        settings: dict[str, Any] = {}
        if records is not None:
            settings["record"] = {"dir": str(records), "segment_s": 2.0, "keep_mb": 8}
        self.service = Service(folder, self.sources, settings, program)
        self.service.environment = environment or {}
        self.ears: Ears

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._neighbour)
            opened.enter_context(self.service)
            self.ears = opened.enter_context(
                Ears(self.service.endpoint, [NEIGHBOUR, "guest", *_GUESTS])
            )
            self._ask_for_everything()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _ask_for_everything(self) -> None:
        """What is opened when first asked for, and stays open, is no trace of a fault."""
        with Subscriber(self.service.endpoint, "", newest=False) as heard:
            end = time.monotonic() + _EVERYTHING_S
            while time.monotonic() < end:
                heard.receive(0.1)


class Guest:
    """The streams that a fault strikes, and what it strikes with; a context manager.

    Args:
        stage: where.
        kind: of the camera, see `Camera`; "" for none: the fault strikes the service.
        count: of streams of that camera.
        fps: of each.
        settings: further ones of these streams.
        beside: so many further streams, of a camera that is left alone.
        relayed: whether a `Line` stands between.
        host: name of the host in their address.

    Attributes:
        streams: those that must come back.
    """

    def __init__(
        self,
        stage: Stage,
        kind: str,
        *,
        count: int = 1,
        beside: int = 0,
        fps: float = _FPS,
        settings: dict[str, Any] | None = None,
        relayed: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.stage = stage
        self.streams = [NEIGHBOUR]
        self.pest: Pest | None = None
        self.scratch: dict[str, Any] = {}
        self._kind, self._count, self._beside, self._fps = kind, count, beside, fps
        self._settings, self._relayed, self._host = settings or {}, relayed, host
        self._opened = contextlib.ExitStack()
        self.camera: Camera
        self.line: Line

    def __enter__(self) -> Self:
        if not self._kind:
            return self
        stage = self.stage
        with contextlib.ExitStack() as opened:
            clips = [stage.clips[0], stage.other_codec] if self._kind == "udp" else stage.clips
            self.camera = opened.enter_context(Camera(*clips, kind=self._kind, fps=self._fps))
            port = self.camera.port
            if self._relayed:
                self.line = opened.enter_context(Line(port))
                port = self.line.port
            uri = self.camera.uri(port).replace("127.0.0.1", self._host)
            self.streams = ["guest"] if self._count == 1 else _GUESTS[: self._count]
            for name in self.streams:
                self._add(opened, name, uri)
            if self._beside:
                other = opened.enter_context(Camera(stage.clips[0], fps=self._fps))
                for number in range(self._beside):
                    self._add(opened, f"beside.{number}", other.uri())
            self.wait_for_faces()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.pest is not None:
            self.pest.leave()
        self._opened.close()

    @property
    def service(self) -> Service:
        """What runs."""
        return self.stage.service

    def wait_for_faces(self) -> None:
        """Wait until all its streams show a face."""
        since = time.monotonic_ns()
        for name in self.streams:
            if self.stage.ears.face_ns(name, since, _FIRST_FACE_S) is None:
                raise RuntimeError(f"{name} shows no face: {self.service.said()}")

    def _add(self, opened: contextlib.ExitStack, name: str, uri: str) -> None:
        body = {"uri": uri, "name": name, "required": False, **self._settings}
        status, answer = self.service.ask("POST", "/streams", body)
        if status != 201:
            raise RuntimeError(f"{name} is refused: {status} {answer[:300]!r}")
        opened.callback(self.service.ask, "DELETE", f"/streams/{name}")
