"""A page that people look at: what it shows, what it asks for, and that nobody waits for it."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest

pytest.importorskip("viser", reason="viser missing: make test-view")

import zstandard
from PIL import Image
from viser import __version__ as viser_version
from viser._messages import ViewerCameraMessage
from websockets.sync.client import ClientConnection, connect

from streamprn.records import FrameImage, FrameResult, Kind, SourceState, SourceStatus
from streamprn.view.live import LiveFeed
from streamprn.wire.publish import Publisher
from tests.support.wire import eventually, make_result, make_topology

PARTS = {Kind.FACE, Kind.IMAGE, Kind.MESH, Kind.TEXTURE}


def seen(page) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(page.screenshot(timeout=60_000))).convert("RGB")
    ).astype(int)


def share_of_skin(pixels: np.ndarray) -> float:
    """How much of a picture is warm and bright, as skin is and a page is not."""
    red, _, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return float(((red > 110) & (red - blue > 25)).mean())


@pytest.fixture
def publisher():
    with Publisher("tcp://127.0.0.1:*") as publisher:
        publisher.set_topology("cam1", make_topology(50))
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE))
        yield publisher


def test_only_what_is_on_show_is_subscribed_and_without_a_browser_nothing(
    publisher, serve, browser
):
    _, address = serve(LiveFeed(publisher.endpoint))
    time.sleep(0.5)
    assert publisher.wanted("cam1") == frozenset()
    page = browser.new_page()
    page.goto(f"http://{address}")
    eventually(lambda: publisher.wanted("cam1") & {*PARTS, Kind.DEPTH} == PARTS, 20)
    page.get_by_label("camera", exact=True).uncheck()
    eventually(lambda: Kind.IMAGE not in publisher.wanted("cam1"))
    page.get_by_label("depth", exact=True).check()
    eventually(lambda: Kind.DEPTH in publisher.wanted("cam1"))
    become(page, hidden=True)
    eventually(lambda: publisher.wanted("cam1") == frozenset())
    become(page, hidden=False)
    eventually(lambda: Kind.MESH in publisher.wanted("cam1"))
    page.close()
    eventually(lambda: publisher.wanted("cam1") == frozenset())


def become(page, *, hidden: bool) -> None:
    """Without a window all tabs are on show; this one is told what a browser would tell it."""
    page.evaluate(
        "is => { Object.defineProperty(document, 'hidden', {value: is, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        hidden,
    )


def big_result(seq: int, stream: str = "cam1", faces: int = 1) -> FrameResult:
    """A picture of noise, which makes hundreds of kilobytes as JPEG too."""
    result = make_result(stream, seq, faces)
    rgb = np.random.default_rng(seq).integers(0, 256, (540, 960, 3), np.uint8)
    return replace(result, frame=replace(result.frame, image=FrameImage.from_rgb(rgb)))


def join(address: str) -> ClientConnection:
    """Connect as the page does, say where its camera is, and read nothing yet."""
    protocol = f"viser-v{viser_version}"
    client = connect(
        f"ws://{address}", subprotocols=[protocol], max_size=None, max_queue=1, proxy=None
    )
    camera = ViewerCameraMessage(
        (1, 0, 0, 0), (0, 0, 3), 0.6, 0.1, 9.0, 600, 800, (0, 0, 0), (0, 1, 0)
    )
    client.send(msgspec.msgpack.encode(camera.as_serializable_dict([])))
    return client


def told(client: ClientConnection, seconds: float) -> tuple[int, str]:
    """How many bytes come in so long, and the text that is in them."""
    size, text, until = 0, "", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            window = client.recv(timeout=left)
        except TimeoutError:
            break
        size += len(window)
        packed = int.from_bytes(window[8:16], "little")
        text += zstandard.decompress(window[16 : 16 + packed]).decode("latin-1")
    return size, text


def test_a_client_that_never_reads_holds_up_nobody(publisher, serve):
    feed = LiveFeed(publisher.endpoint)
    _, address = serve(feed)
    with join(address) as stalled, join(address) as healthy:
        assert stalled.subprotocol
        eventually(lambda: publisher.wanted("cam1") >= PARTS, 20)
        size = 0
        for seq in range(60):
            publisher.publish(big_result(seq))
            size += told(healthy, 0.08)[0]
        # Far more than sockets and queues on the way to the stalled one can hold.
        assert size > 8_000_000
        eventually(lambda: feed.moment("cam1").seq == 59)
        assert publisher.counters.overruns == 0


def test_a_frozen_tab_holds_up_nobody(publisher, serve, browser):
    feed = LiveFeed(publisher.endpoint)
    _, address = serve(feed)
    page = browser.new_page()
    page.goto(f"http://{address}")
    eventually(lambda: publisher.wanted("cam1") >= PARTS, 20)
    session = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    for seq in range(60):
        publisher.publish(big_result(seq))
        time.sleep(0.05)
    eventually(lambda: feed.moment("cam1").seq == 59)
    assert publisher.counters.overruns == 0
    session.send("Page.setWebLifecycleState", {"state": "active"})
    page.close()


def test_several_faces_stand_in_the_scene_and_streams_may_come_and_go(publisher, serve):
    feed = LiveFeed(publisher.endpoint)
    _, address = serve(feed)
    with join(address) as client:
        eventually(lambda: publisher.wanted("cam1") >= PARTS, 20)
        for seq in range(5):
            publisher.publish(make_result(seq=seq, faces=3))
            time.sleep(0.1)
        _, text = told(client, 1.0)
        assert all(f"/faces/{number}" in text for number in (1, 2, 3))
        publisher.publish_status(SourceStatus("cam2", SourceState.CONNECTING))
        eventually(lambda: set(feed.states()) == {"cam1", "cam2"})
        assert "cam2" in told(client, 1.5)[1]
        publisher.forget("cam2")
        eventually(lambda: set(feed.states()) == {"cam1"})


# Software rendering on a busy machine takes seconds for one picture.
@pytest.mark.timeout(300)
def test_the_page_shows_a_face_in_3d_beside_the_picture_on_laptop_and_phone(clip, browser):
    command = [sys.executable, "-m", "streamprn", "view", "--run", str(clip), "--port", "0"]
    program = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        said = next(line for line in program.stderr if line.startswith("open "))
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(said.split()[1])
        eventually(lambda: share_of_skin(seen(page)[:, :740]) > 0.08, 60)
        assert share_of_skin(seen(page)[:400, 780:]) > 0.08
        dark = np.median(seen(page)[-80:, :740])
        page.get_by_label("dark page", exact=True).uncheck()
        eventually(lambda: np.median(seen(page)[-80:, :740]) > dark + 100)
        page.set_viewport_size({"width": 390, "height": 844})
        eventually(lambda: share_of_skin(seen(page)) > 0.05, 20)
    finally:
        program.terminate()
        _, rest = program.communicate(timeout=15)
    assert program.returncode == 0, rest
