"""The files in `deploy/` fit the program: figures, settings, unit, health check."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from streamprn.config import load_config
from streamprn.config.load import parse_yaml
from streamprn.records import SourceState
from tests.serve.conftest import running
from tests.support.wire import eventually

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FOREIGN = {"up"}
# What PromQL itself brings.
WORDS = {
    *("sum", "rate", "max", "min", "by", "on", "and", "le", "increase", "histogram_quantile"),
    *("label_values", "stream", "stage", "loop", "state", "cause", "job"),
}


@pytest.fixture(scope="module")
def figures(engine, detector, clips, tmp_path_factory):
    """The names of all figures, once every kind of them was counted."""
    record = {"dir": str(tmp_path_factory.mktemp("recordings"))}
    with running(engine, detector, record=record) as one:
        call = one.client
        call("POST", "/streams", {"uri": clips.still().uri, "name": "film", "realtime": False})
        eventually(lambda: call("GET", "/streams/film").json["frames"] == 30)
        text = call("GET", "/metrics").data.decode()
    return set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE)), text


def _names(expression):
    bare = re.sub(r'"[^"]*"|\[[^]]*\]|\$\w+', "", expression)
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS - FOREIGN


def test_the_dashboard_asks_for_figures_that_there_are(figures):
    names, text = figures
    board = json.loads((DEPLOY / "grafana" / "streamprn.json").read_text())
    asked = [one["expr"] for panel in board["panels"] for one in panel["targets"]]
    asked += [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    assert len(asked) > 20
    for expression in asked:
        assert _names(expression) <= names, expression
    for label in re.findall(r"by \(([\w, ]+)\)", " ".join(asked)):
        assert set(re.split(r",\s*", label)) <= {"le", "stream", "stage"}
    for field in re.findall(r"\{\{(\w+)\}\}", json.dumps(board)):
        assert f'{field}="' in text


def test_the_dashboard_shows_what_the_recorder_does(figures):
    names, _ = figures
    board = json.loads((DEPLOY / "grafana" / "streamprn.json").read_text())
    asked = " ".join(one["expr"] for panel in board["panels"] for one in panel["targets"])
    recorded = {name for name in names if name.startswith("streamprn_record")}
    recorded = {name for name in recorded if not name.endswith("_created")}
    assert len(recorded) == 7
    assert recorded <= _names(asked)


def test_no_two_panels_of_the_dashboard_lie_on_each_other():
    board = json.loads((DEPLOY / "grafana" / "streamprn.json").read_text())
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_alerts_ask_for_figures_and_states_that_there_are(figures):
    names, _ = figures
    groups = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 4
    for rule in rules:
        assert _names(rule["expr"]) <= names, rule["expr"]
        for states in re.findall(r'state=~"([^"]+)"', rule["expr"]):
            assert set(states.split("|")) <= {str(state) for state in SourceState}


def test_the_compose_file_mounts_what_there_is_and_its_settings_are_taken():
    compose = parse_yaml((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            found = (DEPLOY / source).exists() if "/" in source else source in compose["volumes"]
            assert found, volume
        for other in service.get("depends_on", ()):
            assert other in services
    config = load_config(DEPLOY / "compose-config.yaml")
    assert config.http.token_file == "/run/streamprn/token"
    engine, port = config.http.bind, services["engine"]["ports"][0]
    assert engine.rpartition(":")[2] == port.rpartition(":")[2] == "8088"
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in
               one.get("ports", ()))  # fmt: skip
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scrape["authorization"]["credentials_file"] == config.http.token_file


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/Dockerfile.gpu"])
def test_an_image_runs_as_nobody_with_rights_and_its_program_takes_its_arguments(name):
    from streamprn.cli import whole_parser

    text = (ROOT / name).read_text()
    assert "\nUSER 10001:10001\n" in text
    lines = re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)
    program, *arguments = [word for line in lines for word in json.loads(line)]
    args = whole_parser().parse_args(arguments)
    assert (program, str(args.config)) == ("streamprn", "/etc/streamprn/config.yaml")
    extras = set(re.search(r"'/src\[([\w,]+)\]'", text).group(1).split(","))
    assert "serve" in extras


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path):
    text = (DEPLOY / "streamprn.service").read_text()
    assert "Type=notify\n" in text
    unit = tmp_path / "streamprn.service"
    unit.write_text(text.replace("/opt/streamprn/bin/streamprn", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "streamprn" in line]
    assert (done.returncode, said) == (0, []), done.stderr
