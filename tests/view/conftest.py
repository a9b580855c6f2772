"""The page served in this process, and Chromium to look at it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium missing: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright missing")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*SOFTWARE_GL, "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Serve a feed; gives the server and its address."""
    from streamprn.view.page import Page
    from streamprn.view.server import open_server

    stop, ends = threading.Event(), []

    def call(feed, source="test"):
        server = open_server("127.0.0.1", 0)
        page = Page(server, feed, source)
        thread = threading.Thread(target=page.run, args=(stop,))
        thread.start()
        ends.extend([thread.join, feed.close, server.stop])
        return server, f"127.0.0.1:{server.get_port()}"

    yield call
    stop.set()
    for end in ends:
        end()


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    from streamprn.source.sample_clip import make_clip

    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    make_clip(path, frames=60, width=640, height=480, fps=15)
    return path
