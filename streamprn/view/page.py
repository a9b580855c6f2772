"""The page: what it shows, what can be chosen, and the loop that brings it up to date."""

from __future__ import annotations

import html
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.overlays import DRAWN
from streamprn.apps.skins import SKINS
from streamprn.records import Kind
from streamprn.view.latency import COLOURS, STAGES, latency_series
from streamprn.view.picture import camera_picture, small_depth
from streamprn.view.recorded import RecordedFeed
from streamprn.view.solid import Thinned, face_glb

if TYPE_CHECKING:
    import viser

    from streamprn.records import Float32
    from streamprn.view.shown import Feed, Moment, StreamState

__all__ = ["Page"]

# Pictures a second that are sent at most, and how often tables and plots are.
_PERIOD_S, _SLOW_PERIOD_S = 1 / 12, 0.5
# How fast the scale follows the size of a face, per picture.
_FOLLOW = 0.15
_PANEL_PX = 520
_PLOT_S = 5.0
_NO_STREAM = "no stream yet"
_BRAND = (64, 156, 255)
_EMPTY = np.full((90, 160, 3), (32, 34, 40), np.uint8)
_SHOWN_AT_FIRST = ("landmarks", "pose", "box")


class Page:
    """Shows a feed to all who look, who share one choice of what is shown.

    Args:
        server: of `streamprn.view.server`.
        feed: where the streams come from.
        source: its name, for the title.
    """

    def __init__(self, server: viser.ViserServer, feed: Feed, source: str) -> None:
        self._server = server
        self._feed = feed
        self._source = source
        self._seen: tuple[object, ...] = ()
        self._thinned: Thinned | None = None
        self._nodes: dict[int, Any] = {}
        self._unit_px = 0.0
        self._slow_s = 0.0
        self._table = ""
        self._build()

    def run(self, stop: threading.Event) -> None:
        """Keep the page up to date until `stop` is set."""
        while not stop.is_set():
            began = time.monotonic()
            self.update()
            stop.wait(max(0.005, _PERIOD_S - (time.monotonic() - began)))

    def update(self) -> None:
        """Show what is new; ask for what is on show, and for nothing where nobody looks."""
        if not self._server.anyone_looks():
            self._feed.want("", frozenset())
            self._seen = ()
            return
        stream = str(self._stream.value)
        self._feed.want(stream, self._kinds())
        if time.monotonic() >= self._slow_s:
            self._slow_s = time.monotonic() + _SLOW_PERIOD_S
            self._update_states(stream)
        moment = self._feed.moment(stream)
        choice = (stream, self._skin.value, *(one.value for one in self._switches()))
        if moment is None or (moment.seq, *choice) == self._seen:
            return
        self._seen = (moment.seq, *choice)
        self._update_pictures(moment)
        self._update_faces(moment)
        if self._timeline is not None and isinstance(self._feed, RecordedFeed):
            self._show_place(self._feed)

    def _build(self) -> None:
        server, gui = self._server, self._server.gui
        server.scene.set_up_direction("+y")
        server.initial_camera.position = (0.0, 0.0, 2.6)
        server.initial_camera.look_at = (0.0, 0.0, 0.0)
        server.initial_camera.fov = 0.6
        server.on_client_connect(_fit)
        gui.set_panel_label("StreamPRN")
        self._theme(dark=True)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_PANEL_PX)
        self._picture = gui.add_image(_EMPTY, format="jpeg", jpeg_quality=80)
        self._depth_picture = gui.add_image(_EMPTY, format="jpeg", jpeg_quality=80, visible=False)
        self._timeline: Any = None
        self._playing: Any = None
        if isinstance(self._feed, RecordedFeed):
            self._build_timeline(self._feed)
        self._stream = gui.add_dropdown("stream", (_NO_STREAM,))
        self._skin = gui.add_dropdown("3D face", (*SKINS, "off"))
        with gui.add_folder("latency by stage, ms, one on the other"):
            self._plot = gui.add_uplot(
                latency_series(()),
                (
                    {"label": "s"},
                    *(
                        {"label": name, "stroke": colour, "width": 2}
                        for name, colour in zip(STAGES, COLOURS, strict=True)
                    ),
                ),
                scales={"x": {"time": False, "range": (-_PLOT_S, 0.0)}},
                height=190,
            )
        with gui.add_folder("streams"):
            self._states = gui.add_html(_table({}, ""))
        with gui.add_folder("show"):
            self._shows_picture = gui.add_checkbox("camera", initial_value=True)
            self._drawn = {
                kind: gui.add_checkbox(kind, initial_value=kind in _SHOWN_AT_FIRST)
                for kind in reversed(DRAWN)
            }
            self._shows_depth = gui.add_checkbox("depth", initial_value=False)
            self._dark = gui.add_checkbox("dark page", initial_value=True)
            self._dark.on_update(lambda _: self._theme(dark=bool(self._dark.value)))

    def _build_timeline(self, feed: RecordedFeed) -> None:
        gui = self._server.gui
        self._playing = gui.add_checkbox("play", initial_value=True)
        length = max(feed.length_s, 0.1)
        self._timeline = gui.add_slider(
            "time, s", min=0.0, max=round(length, 1), step=0.1, initial_value=0.0
        )

        def jump(event: viser.GuiEvent[Any]) -> None:
            if event.client is not None:  # else it was the page that moved it
                feed.seek(float(self._timeline.value))

        self._timeline.on_update(jump)
        self._playing.on_update(lambda _: feed.play(bool(self._playing.value)))

    def _show_place(self, feed: RecordedFeed) -> None:
        place = round(min(feed.time_s, float(self._timeline.max)), 1)
        if place != self._timeline.value:
            self._timeline.value = place

    def _theme(self, *, dark: bool) -> None:
        self._server.gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=_BRAND
        )

    def _switches(self) -> list[Any]:
        return [self._shows_picture, self._shows_depth, *self._drawn.values()]

    def _kinds(self) -> frozenset[Kind]:
        """The kinds that what is on show needs."""
        skin = str(self._skin.value)
        needs: dict[Kind, bool] = {
            Kind.FACE: True,
            Kind.IMAGE: bool(self._shows_picture.value),
            Kind.MESH: skin != "off"
            or bool(self._shows_picture.value and self._drawn["mesh"].value),
            Kind.TEXTURE: skin == "texture",
            Kind.DEPTH: bool(self._shows_depth.value),
        }
        return frozenset(kind for kind, needed in needs.items() if needed)

    def _update_states(self, stream: str) -> None:
        states = self._feed.states()
        names = tuple(states) or (_NO_STREAM,)
        if names != tuple(self._stream.options):
            self._stream.options = names
        text = _table(
            states, self._feed.trouble() or ("" if states else f"waiting for {self._source}")
        )
        if text != self._table:
            self._table = self._states.content = text
        self._plot.data = latency_series(self._feed.stamps(stream))

    def _update_pictures(self, moment: Moment) -> None:
        self._picture.visible = bool(self._shows_picture.value)
        if self._shows_picture.value:
            kinds = [kind for kind, box in self._drawn.items() if box.value]
            self._picture.image = camera_picture(moment, kinds)
        self._depth_picture.visible = bool(self._shows_depth.value)
        if self._shows_depth.value:
            depth = small_depth(moment)
            self._depth_picture.image = _EMPTY if depth is None else depth

    def _update_faces(self, moment: Moment) -> None:
        skin = str(self._skin.value)
        faces = dict(moment.vertices) if skin != "off" and moment.topology is not None else {}
        faces = {number: one for number, one in faces.items() if np.isfinite(one).all()}
        for number in set(self._nodes) - set(faces):
            self._nodes.pop(number).remove()
        if not faces or moment.topology is None:
            return
        if self._thinned is None or self._thinned.topology is not moment.topology:
            self._thinned = Thinned(moment.topology)
        centre, unit_px = self._follow(faces)
        for number, vertices in faces.items():
            texture = moment.textures.get(number)
            data = face_glb(self._thinned, vertices, skin, texture, centre, unit_px)
            if number in self._nodes:
                self._nodes[number].glb_data = data
            else:
                self._nodes[number] = self._server.scene.add_glb(
                    f"/faces/{number}", data, cast_shadow=False, receive_shadow=False
                )

    def _follow(self, faces: dict[int, Float32]) -> tuple[Float32, float]:
        """Middle of the largest face, and its size, calmed, so that it fills the view."""
        largest = max(faces.values(), key=lambda one: float(np.ptp(one[:, 1])))
        middle = 0.5 * (largest.min(axis=0) + largest.max(axis=0))
        size = max(float(np.ptp(largest, axis=0).max()), 1.0)
        known = self._unit_px if self._unit_px > 0 else size
        self._unit_px = known + _FOLLOW * (size - known)
        return middle, self._unit_px


def _fit(client: viser.ClientHandle) -> None:
    """Step back where the window is narrow: on a phone, with the panel over its lower half."""
    aspect = float(client.camera.aspect)
    if 0.0 < aspect < 1.0:
        client.camera.position = (0.0, -0.9, 2.6 / aspect)
        client.camera.look_at = (0.0, -0.9, 0.0)


def _table(states: dict[str, StreamState], trouble: str) -> str:
    """The streams as HTML; all texts come from the network."""
    rows = [
        f"<tr><td><b>{html.escape(name)}</b></td><td>{html.escape(one.state)}</td>"
        f"<td style='text-align:right'>{one.fps:.0f}/s</td>"
        f"<td style='text-align:right'>{one.faces} face{'s' * (one.faces != 1)}</td>"
        f"<td style='text-align:right'>{one.gaps} lost</td></tr>"
        + (
            f"<tr><td colspan=5 style='opacity:.7'>{html.escape(one.cause)}</td></tr>"
            * bool(one.cause)
        )
        for name, one in states.items()
    ]
    said = f"<p style='margin:0 0 .4em'>{html.escape(trouble)}</p>" if trouble else ""
    style = "width:100%;font-size:.85em;border-spacing:.4em .15em"
    return (
        f"<div style='padding:.3em .8em'>{said}<table style='{style}'>{''.join(rows)}</table></div>"
    )
