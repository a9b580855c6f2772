"""`streamprn cluster` with a real Ray of two nodes on one machine, of which parts are killed."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec

import psutil
import pytest

from streamprn import Subscriber
from streamprn.cluster.folder import ClusterFolder
from streamprn.cluster.machines import status
from streamprn.errors import InputError
from streamprn.wire import record
from streamprn.wire.segments import recordings
from tests.cluster.conftest import PICTURE, Program, faces_of, program, read, wait_for
from tests.serve.conftest import Client

pytestmark = [
    pytest.mark.skipif(
        find_spec("ray") is None, reason="workers are tested with Ray: make test-cluster"
    ),
    pytest.mark.timeout(280),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A head and a machine that has joined, each with one worker."""

    def __init__(self, folder):
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.client = Client(self.url)
        sources = "".join(f"- {{uri: '{PICTURE}', name: {name}}}\n" for name in "ab")
        (folder / "c.yaml").write_text(
            f"publish: {{bind: '{self.endpoint}'}}\n"
            f"http: {{bind: '{self.url.removeprefix('http://')}'}}\n"
            f"cluster: {{address: '{self.address}', folder: h}}\nrecord: {{dir: recordings}}\n"
            f"sources:\n{sources}"
        )

    def up(self):
        words = ("--config", "c.yaml", "--workers", "1")
        return Program(self.folder, "cluster", "up", *words, name="up.log")

    def join(self):
        words = (self.address, "--token-file", "h/token", "--workers", "1", "--folder", "n")
        return Program(self.folder, "cluster", "join", *words, name="join.log")

    def command(self, *words):
        command = [sys.executable, "-m", "streamprn", "cluster", *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )

    def status(self, folder="h"):
        try:
            return status(ClusterFolder(self.folder / folder))
        except InputError:
            return {"role": "none"}

    def workers(self, folder="h"):
        return {one["name"]: one for one in self.status(folder).get("workers", ())}

    def where(self):
        return {one["name"]: one["worker"] for one in self.status().get("streams", ())}

    def names(self):
        """Of the head and of the other machine."""
        return (self.folder / "h/name").read_text(), (self.folder / "n/name").read_text()

    def ready(self, machines=2, streams=("a", "b")):
        """Wait until every machine has a worker and every worker a stream that is live."""

        def is_ready():
            found = self.status()
            shown = {one["name"]: one["state"] for one in found.get("streams", ())}
            used = {one["worker"] for one in found.get("streams", ())}
            return (
                len(found.get("workers", ())) == machines
                and set(shown) == set(streams)
                and set(shown.values()) == {"live"}
                and len(used) == min(machines, len(streams))
            )

        wait_for(is_ready, 90)

    def as_before(self):
        """Undo what a test that failed half-way left."""
        if self.head.process.poll() is not None:
            self.head = self.up()
            self.head.wait_for("control on")
        if self.machine.process.poll() is not None:
            self.machine = self.join()
        for one in self.client("GET", "/streams").json["streams"]:
            if one["name"] not in ("a", "b"):
                self.client("DELETE", f"/streams/{one['name']}")

    def ray(self, machine, name):
        """A process of the Ray of a machine."""
        pid = json.loads((self.folder / machine / "ray.process").read_text())["pid"]
        found = psutil.Process(pid).children(recursive=True)
        (one,) = [child for child in found if child.name().startswith(name)]
        return one


def processes_of(folder):
    """All that has to do with a folder: its name stands in an argument or in the environment."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            text = [*process.cmdline(), process.environ().get("STREAMPRN_CLUSTER_FOLDER", "")]
            if any(str(folder) in part for part in text):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def cluster(shared):
    yield shared
    shared.as_before()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    one = Cluster(tmp_path_factory.mktemp("c"))
    one.head, one.machine = one.up(), None
    try:
        one.head.wait_for("control on")
        one.machine = one.join()
        yield one
        assert one.machine.end() == 0
        assert one.command("down", "--config", "c.yaml").returncode == 0
        assert one.head.process.wait(30) == 0
        left = processes_of(one.folder)
    finally:
        for running in (one.machine, one.head):
            if running is not None and running.process.poll() is None:
                running.process.kill()
                running.process.wait(5)
        for process in processes_of(one.folder):
            process.kill()
        for name in ("up.log", "join.log", "h/worker-0/log", "n/worker-0/log"):
            if (one.folder / name).is_file():
                print(f"--- {name}", (one.folder / name).read_text()[-6000:], sep="\n")
    assert left == [], "it left processes behind"


@contextmanager
def subscribed(cluster, streams=("a", "b")):
    topics = [f"{stream}/face" for stream in streams]
    with Subscriber(cluster.endpoint, topics, newest=False, receive_hwm=1000) as subscriber:
        yield subscriber


def heard(streams=("a", "b")):
    """Whether there is a message of every stream."""
    return lambda found: {message.stream for _, message in found} == set(streams)


def longest_gap(found, stream, began, ended):
    times = [at for at, message in found if message.stream == stream]
    return max(b - a for a, b in itertools.pairwise([began, *times, ended]))


def runs_in_turn(found, stream):
    """The runs of a stream, each once for every time that it took over."""
    runs = [message.run for _, message in found if message.stream == stream]
    return [run for run, _ in itertools.groupby(runs)]


def assert_from_one_worker_at_a_time(found, streams=("a", "b")):
    for stream in streams:
        runs = runs_in_turn(found, stream)
        assert len(runs) == len(set(runs)), f"{stream}: {runs}"


def frames_of(url, stream):
    with urllib.request.urlopen(f"{url}/streams/{stream}", timeout=5) as answer:
        return json.load(answer)["frames"]


def test_streams_of_two_machines_come_from_one_address(cluster):
    cluster.ready()
    found = faces_of(cluster.endpoint, ["a", "b"])
    assert len({message.run for _, message in found}) == 2
    head, machine = cluster.names()
    assert sorted(cluster.where().values()) == sorted([f"{head}/0", f"{machine}/0"])
    listed = cluster.client("GET", "/streams").json["streams"]
    assert {one["name"]: one["worker"] for one in listed} == cluster.where()
    workers = cluster.workers()
    assert workers[f"{head}/0"]["endpoint"].startswith("ipc://")
    # What leaves a machine is encrypted, and nobody reads it in the clear.
    other = workers[f"{machine}/0"]
    assert other["endpoint"].startswith("tcp://127.0.0.1:")
    (stream,) = [name for name, at in cluster.where().items() if at == f"{machine}/0"]
    with Subscriber(other["endpoint"], f"{stream}/face") as stranger:
        assert read(stranger, 2) == []
    with Subscriber(other["endpoint"], f"{stream}/face", server_key=other["server_key"]) as friend:
        assert read(friend, 10, bool)


def test_every_machine_records_its_streams(cluster):
    cluster.ready()
    folder = cluster.folder / "recordings"
    wait_for(lambda: set(recordings(folder)) >= {"a", "b"}, 10)
    last = {stream: recordings(folder)[stream][-1] for stream in "ab"}
    wait_for(lambda: all(len(list(record.read(path))) > 2 for path in last.values()), 10)


def test_status_shows_machines_workers_and_streams_on_each_machine(cluster):
    cluster.ready()
    head, machine = cluster.names()
    text = cluster.command("status", "--config", "c.yaml").stdout
    for part in (cluster.endpoint, cluster.url, f"{head}/0", f"{machine}/0", "live", "OpenVINO"):
        assert part in text
    assert all(one["cores"] is not None for one in cluster.status()["workers"])
    shown = json.loads(cluster.command("status", "--json", "--folder", "h").stdout)
    assert {one["name"] for one in shown["machines"]} == {head, machine}
    text = cluster.command("status", "--folder", "n").stdout
    assert f"{machine}: joined ({cluster.address})" in text
    assert f"{machine}/0" in text


def test_streams_of_a_killed_worker_publish_again_within_five_seconds(cluster):
    cluster.ready()
    for name in cluster.names():
        pid = cluster.workers()[f"{name}/0"]["pid"]
        with subscribed(cluster) as subscriber:
            found = read(subscriber, 20, heard())
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            found += read(subscriber, 8)
            ended = time.monotonic()
        for stream in ("a", "b"):
            assert longest_gap(found, stream, killed, ended) < 5
        assert_from_one_worker_at_a_time(found)
        moved = [stream for stream in ("a", "b") if len(runs_in_turn(found, stream)) > 1]
        assert moved, "no stream had to move"
        wait_for(lambda n=name, p=pid: cluster.workers().get(f"{n}/0", {}).get("pid", p) != p, 60)
        cluster.ready()


def test_a_machine_that_was_given_up_is_not_heard_and_comes_back(cluster):
    cluster.ready()
    _, machine = cluster.names()
    worker = cluster.workers()[f"{machine}/0"]
    (stream,) = [name for name, at in cluster.where().items() if at == f"{machine}/0"]
    with subscribed(cluster) as subscriber:
        found = read(subscriber, 20, heard())
        # Ray on that machine is gone; its worker is not, and reads the camera as before.
        cluster.ray("n", "raylet").kill()
        killed = time.monotonic()
        found += read(subscriber, 0.5)
        before = frames_of(worker["http"], stream)
        found += read(subscriber, 1)
        assert frames_of(worker["http"], stream) > before, "its worker went with Ray"
        found += read(subscriber, 10, lambda _: cluster.workers().get(f"{machine}/0") is None)
        found += read(subscriber, 25, lambda _: cluster.workers().get(f"{machine}/0") is not None)
        found += read(subscriber, 3)
        ended = time.monotonic()
    for name in ("a", "b"):
        assert longest_gap(found, name, killed, ended) < 5
    # Its stream went to the other worker, and may have come back in the end; with both heard at
    # once the runs would take turns many times.
    turns = runs_in_turn(found, stream)
    assert turns[0] == worker["run"]
    assert len(turns) in (2, 3)
    cluster.ready()
    assert cluster.workers()[f"{machine}/0"]["pid"] == worker["pid"], "it was found again"
    shown = json.load(urllib.request.urlopen(f"{worker['http']}/streams", timeout=5))["streams"]
    held = {name for name, at in cluster.where().items() if at == f"{machine}/0"}
    assert {one["name"] for one in shown} == held


def test_machines_come_and_go_under_load_and_no_stream_is_lost(cluster):
    more = [f"m{number}" for number in range(4)]
    for name in more:
        assert cluster.client("POST", "/streams", {"uri": PICTURE, "name": name}).status == 201
    streams = ["a", "b", *more]
    cluster.ready(streams=streams)
    head, machine = cluster.names()
    with subscribed(cluster, streams) as subscriber:
        found = read(subscriber, 20, heard(streams))
        left = time.monotonic()
        assert cluster.machine.end() == 0
        found += read(subscriber, 6)
        assert set(cluster.where().values()) == {f"{head}/0"}
        ended = time.monotonic()
        for stream in streams:
            assert longest_gap(found, stream, left, ended) < 5
        cluster.machine = cluster.join()
        found += read(subscriber, 40, lambda _: f"{machine}/0" in cluster.where().values())
        found += read(subscriber, 6)
    assert_from_one_worker_at_a_time(found, streams)
    for name in more:
        assert cluster.client("DELETE", f"/streams/{name}").status == 204
    cluster.ready()


def test_nobody_notices_when_the_process_that_speaks_with_ray_is_killed(cluster):
    cluster.ready()
    assert cluster.client("POST", "/streams", {"uri": PICTURE, "name": "late"}).status == 201
    cluster.ready(streams=("a", "b", "late"))
    time.sleep(1.5)
    before = cluster.where()
    (driver,) = [
        one
        for one in psutil.Process(cluster.head.process.pid).children()
        if "streamprn.cli.cluster_driver" in one.cmdline()
    ]
    streams = ("a", "b", "late")
    with subscribed(cluster, streams) as subscriber:
        found = read(subscriber, 20, heard(streams))
        driver.kill()
        killed = time.monotonic()
        found += read(subscriber, 15)
        ended = time.monotonic()
    for stream in streams:
        assert len(runs_in_turn(found, stream)) == 1
        assert longest_gap(found, stream, killed, ended) < 2
    cluster.ready(streams=streams)
    assert cluster.where() == before
    wait_for(lambda: cluster.client("GET", "/readyz").status == 200, 20)
    assert cluster.client("DELETE", "/streams/late").status == 204


def test_nobody_notices_when_the_head_of_ray_is_killed_and_all_machines_rejoin(cluster):
    cluster.ready()
    pids = {name: one["pid"] for name, one in cluster.workers().items()}
    with subscribed(cluster) as subscriber:
        found = read(subscriber, 20, heard())
        cluster.ray("h", "gcs_server").kill()
        killed = time.monotonic()
        found += read(subscriber, 25)
        ended = time.monotonic()
    for stream in ("a", "b"):
        assert len(runs_in_turn(found, stream)) == 1
        assert longest_gap(found, stream, killed, ended) < 2
    cluster.ready()
    assert {name: one["pid"] for name, one in cluster.workers().items()} == pids


@pytest.mark.parametrize("of_ray_too", [True, False])
def test_workers_publish_on_without_a_head_and_rejoin_the_next_one(cluster, of_ray_too):
    cluster.ready()
    _, machine = cluster.names()
    workers = cluster.workers()
    (stream,) = [name for name, at in cluster.where().items() if at == f"{machine}/0"]
    other = workers[f"{machine}/0"]
    with subscribed(cluster) as subscriber:
        found = read(subscriber, 20, heard())
        if of_ray_too:
            cluster.ray("h", "gcs_server").kill()
        cluster.head.process.kill()
        cluster.head.process.wait(5)
        time.sleep(3)
        # Nobody is in front: who knows a worker's own address reads it there.
        key = other["server_key"]
        with Subscriber(other["endpoint"], f"{stream}/face", server_key=key) as direct:
            alone = read(direct, 10, lambda found: len(found) > 30)
        assert {message.run for _, message in alone} == {other["run"]}
        if of_ray_too:
            wait_for(lambda: cluster.status("n").get("joined") is False, 20)
        cluster.head = cluster.up()
        cluster.ready()
        back = time.monotonic()
        last = read(subscriber, 5)
    # The same runs go on: nothing was started again but the head.
    runs = {name: one["run"] for name, one in workers.items()}
    assert {name: one["run"] for name, one in cluster.workers().items()} == runs
    for name in ("a", "b"):
        assert runs_in_turn(last, name) == [runs[cluster.where()[name]]]
        assert longest_gap(last, name, back, back + 5) < 2
        assert set(runs_in_turn(found, name)) <= {runs[cluster.where()[name]]}


def test_the_configuration_is_read_again_on_sighup(cluster):
    cluster.ready()
    file = cluster.folder / "c.yaml"
    before = file.read_text()
    file.write_text(f"{before}- {{uri: '{PICTURE}', name: c}}\n")
    cluster.head.process.send_signal(signal.SIGHUP)
    cluster.ready(streams=("a", "b", "c"))
    file.write_text(before)
    assert cluster.client("POST", "/reload").json["removed"] == ["c"]
    cluster.ready()


def test_a_file_that_only_another_machine_could_have_fails_by_name_and_alone(cluster):
    cluster.ready()
    gone = {"uri": "/no/such/file.mp4", "name": "gone"}
    problem = cluster.client.problem(422, "wrong-value", "POST", "/streams", gone)
    assert "no such file" in problem["detail"]
    cluster.ready()


def test_two_programs_cannot_share_a_folder(cluster):
    done = cluster.command(
        "up", "--config", "c.yaml", "--folder", "h", "--bind", "tcp://127.0.0.1:*"
    )
    assert done.returncode == 2
    assert "a cluster runs here already" in done.stderr


def test_who_has_another_token_cannot_join(cluster):
    (cluster.folder / "wrong").write_text("0" * 64)
    (cluster.folder / "wrong").chmod(0o600)
    words = (cluster.address, "--token-file", "wrong", "--workers", "1", "--folder", "w")
    with program(cluster.folder, "cluster", "join", *words, name="wrong.log") as one:
        assert one.process.wait(60) == 2
        assert "error:" in one.text
    assert len(cluster.status()["machines"]) == 2
