"""`streamprn run --workers 2 --http`: one control interface in front of all workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from streamprn.cluster.driver import address_anywhere
from streamprn.config import SourceConfig
from streamprn.config.secrets import address_of
from tests.cluster.conftest import PICTURE, faces_of, program
from tests.serve.conftest import Client
from tests.support.wire import eventually

pytestmark = [
    pytest.mark.skipif(
        find_spec("ray") is None, reason="workers are tested with Ray: make test-cluster"
    ),
    pytest.mark.timeout(200),
]
HEAD = "publish: {bind: 'tcp://127.0.0.1:*'}\nhttp: {bind: '127.0.0.1:0', preview_fps: 20}\n"


def write(folder, *sources):
    lines = "".join(f"- {source}\n" for source in sources)
    (folder / "c.yaml").write_text(f"{HEAD}sources:\n{lines}" if lines else HEAD)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    write(folder, f"{{uri: '{PICTURE}', name: a}}", f"{{uri: '{PICTURE}', name: b}}")
    with program(folder, "run", "--workers", "2", "--config", "c.yaml") as one:
        one.folder = folder
        said = one.wait_for(r"publishing on (\S+);.*control on (\S+);")
        one.endpoint, one.url = said[1], said[2]
        one.client = Client(one.url)
        eventually(lambda: len(one.workers()) == 2, 90)
        eventually(lambda: one.client("GET", "/readyz").status == 200, 60)
        yield one
    assert one.process.returncode == 0


def stream(front, name):
    answer = front.client("GET", f"/streams/{name}")
    assert answer.status == 200, answer
    return answer.json


def live(front, name):
    eventually(lambda: stream(front, name)["state"] == "live", 30)


def streams_of(url):
    with urllib.request.urlopen(f"{url}/streams", timeout=5) as answer:
        return {one["name"]: one for one in json.load(answer)["streams"]}


def of_workers(front):
    """Every stream as the workers' own interfaces show it, with its slot."""
    return {
        name: (slot, shown)
        for slot, (_, url) in front.workers().items()
        for name, shown in streams_of(url).items()
    }


def test_the_front_lists_the_streams_of_all_workers_and_says_where_they_are(front):
    live(front, "a")
    live(front, "b")
    listed = {one["name"]: one["worker"] for one in front.client("GET", "/streams").json["streams"]}
    assert set(listed) == {"a", "b"}
    assert {name: slot for name, (slot, _) in of_workers(front).items()} == listed
    assert len(set(listed.values())) == 2
    schemas = front.client("GET", "/openapi.json").json["components"]["schemas"]
    assert set(stream(front, "a")) == set(schemas["Stream"]["properties"])


def test_a_stream_that_is_added_runs_at_one_worker_and_goes_when_it_is_removed(front):
    answer = front.client("POST", "/streams", {"uri": PICTURE, "name": "more"})
    assert answer.status == 201
    assert answer.headers["Location"] == "/streams/more"
    live(front, "more")
    faces_of(front.endpoint, ["more"], 20)
    assert of_workers(front)["more"][0] == stream(front, "more")["worker"]
    front.client.problem(409, "stream-exists", "POST", "/streams", {"uri": "0", "name": "more"})
    assert front.client("DELETE", "/streams/more").status == 204
    eventually(lambda: "more" not in of_workers(front), 5)
    front.client.problem(404, "no-such-stream", "GET", "/streams/more")
    front.client.problem(404, "no-such-stream", "DELETE", "/streams/more")


def test_what_cannot_be_added_is_refused_and_leaves_nothing_behind(front):
    gone = {"uri": "/no/such/file.mp4", "name": "gone"}
    front.client.problem(422, "wrong-value", "POST", "/streams", gone)
    front.client.problem(422, "wrong-value", "POST", "/streams", {"uri": PICTURE, "colour": 1})
    assert {one["name"] for one in front.client("GET", "/streams").json["streams"]} == {"a", "b"}


def test_settings_and_pauses_reach_the_worker_and_stay(front):
    live(front, "b")
    assert front.client("PATCH", "/streams/b", {"max_fps": 7}).json["source"]["max_fps"] == 7
    assert of_workers(front)["b"][1]["source"]["max_fps"] == 7
    assert front.client("POST", "/streams/b/pause").json["state"] == "paused"
    assert of_workers(front)["b"][1]["state"] == "paused"
    assert front.client("POST", "/streams/b/resume").status == 200
    live(front, "b")
    front.client.problem(404, "no-such-stream", "POST", "/streams/x/pause")


def test_pictures_of_every_stream_come_from_the_front(front):
    for name in ("a", "b"):
        live(front, name)
        answer = front.client("GET", f"/streams/{name}/snapshot.jpg")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.data[:2] == b"\xff\xd8"
        assert int(answer.headers["X-Frame-Sequence"]) > 0
    front.client.problem(404, "no-such-stream", "GET", "/streams/x/snapshot.jpg")


def test_a_film_goes_on_from_picture_to_picture(front):
    live(front, "a")
    with urllib.request.urlopen(f"{front.url}/streams/a/overlay.mjpg", timeout=10) as film:
        assert film.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        seen, end = b"", time.monotonic() + 20
        while seen.count(b"\xff\xd8\xff") < 4 and time.monotonic() < end:
            seen += film.read1(65536)
    assert seen.count(b"\xff\xd8\xff") >= 4


def test_figures_of_all_workers_stand_on_one_page_each_under_one_head(front):
    live(front, "a")
    page = front.client("GET", "/metrics").data.decode()
    for name in ("streamprn_frames", "streamprn_latency_seconds", "process_cpu_seconds"):
        assert len(re.findall(rf"^# TYPE {name}(_total)? ", page, re.MULTILINE)) == 1
    assert set(re.findall(r'^streamprn_alive\{worker="(\w+)"\}', page, re.MULTILINE)) == {"0", "1"}
    assert re.search(r'^streamprn_frames_total\{worker="\d",stream="a"\}', page, re.MULTILINE)
    assert 'streamprn_workers{worker="front"} 2.0' in page
    prometheus_client = pytest.importorskip("prometheus_client.parser")
    families = {one.name for one in prometheus_client.text_string_to_metric_families(page)}
    assert {"streamprn_frames", "streamprn_stage_seconds", "streamprn_proxy_received"} <= families
    other = front.client("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert other.data.endswith(b"# EOF\n")
    assert other.data.count(b"# EOF") == 1


def test_a_reload_and_sighup_make_the_streams_those_of_the_file(front):
    a, b = (f"{{uri: '{PICTURE}', name: {name}}}" for name in "ab")
    front.client("PATCH", "/streams/b", {"max_fps": None})
    front.client("POST", "/streams", {"uri": PICTURE, "name": "mine"})
    write(front.folder, a, f"{{uri: '{PICTURE}', name: b, max_fps: 9}}", b.replace("b}", "c}"))
    assert front.client("POST", "/reload").json == {
        "added": ["c"], "removed": [], "changed": ["b"], "unchanged": ["a"], "needs_restart": [],
    }  # fmt: skip
    live(front, "c")
    assert of_workers(front)["b"][1]["source"]["max_fps"] == 9
    write(front.folder, a, b, f"{{uri: '{PICTURE}', name: b}}")
    front.client.problem(422, "wrong-value", "POST", "/reload")
    write(front.folder, a, b)
    front.process.send_signal(signal.SIGHUP)
    eventually(lambda: set(of_workers(front)) == {"a", "b", "mine"}, 10)
    front.client("DELETE", "/streams/mine")


def test_ctl_steers_all_workers(front):
    def ctl(*words):
        command = [sys.executable, "-m", "streamprn", "ctl", *words, "--at", front.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ctl("add", PICTURE, "--name", "z").stdout == "z: added\n"
    assert {line.split()[0] for line in ctl("list").stdout.splitlines()[1:]} == {"a", "b", "z"}
    assert ctl("pause", "z").stdout == "z: paused\n"
    assert ctl("remove", "z").stdout == "z: removed\n"
    refused = ctl("remove", "z")
    assert refused.returncode == 2
    assert "there is no stream 'z'" in refused.stderr


def test_a_stream_of_a_killed_worker_keeps_its_settings_and_its_pause(front):
    live(front, "a")
    live(front, "b")
    front.client("PATCH", "/streams/b", {"max_fps": 5})
    front.client("POST", "/streams/b/pause")
    slot = stream(front, "b")["worker"]
    pid, _ = front.workers()[slot]
    os.kill(pid, signal.SIGKILL)
    # Asked while it moves, the front answers all the same.
    for _ in range(20):
        assert front.client("GET", "/streams").status == 200
    eventually(lambda: stream(front, "b")["worker"] != slot, 10)
    eventually(lambda: stream(front, "b")["state"] == "paused", 10)
    assert stream(front, "b")["source"]["max_fps"] == 5
    assert front.client("GET", "/healthz").status == 200
    eventually(lambda: front.workers()[slot][0] != pid, 90)
    page = front.client("GET", "/metrics").data.decode()
    assert 'streamprn_lost_workers_total{worker="front"} 1.0' in page
    front.client("POST", "/streams/b/resume")
    live(front, "b")


@pytest.mark.parametrize("check", [address_of, address_anywhere])
def test_a_stream_that_waits_for_a_worker_shows_no_path(check):
    """As one process shows it: a path may hold a secret."""
    from streamprn.cluster.control import FrontControl

    crew = SimpleNamespace(problem=lambda name: None)
    control = FrontControl(crew, None, check)
    source = SourceConfig("rtsp://admin:pw@camera/t0ken/x?p=PW", options={"cookies": "c=secret"})
    shown = control._waiting("door", source)
    assert shown["source"]["uri"] == "rtsp://camera/***"
    assert shown["source"]["options"] == {"cookies": "***"}
    assert not any(secret in str(shown) for secret in ("pw", "t0ken", "PW", "secret"))
