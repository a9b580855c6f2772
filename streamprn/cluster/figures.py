"""What Prometheus reads of all workers: their own pages as one, each line with its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streamprn.cluster.calls import fetch_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from streamprn.cluster.crew import Crew
    from streamprn.cluster.desk import ProxyClient
    from streamprn.wire.proxy import Proxy

__all__ = ["FrontFigures", "merged"]

_OK = 200
_EOF = "# EOF"
#: The name under which the process in front of all has its own lines.
FRONT = "front"


class FrontFigures(Collector):
    """Everything under /metrics in front of all workers.

    Args:
        crew: the workers.
        proxy: in front of them.
    """

    def __init__(self, crew: Crew, proxy: Proxy | ProxyClient) -> None:
        self._crew = crew
        self._proxy = proxy
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type; see `serve.metrics.Metrics`."""
        encode, content_type = choose_encoder(accept)
        answers = fetch_all(self._crew.members, "/metrics", accept)
        pages = {FRONT: encode(self._registry).decode()}
        pages |= {
            slot: answer.body.decode()
            for slot, answer in sorted(answers.items())
            if answer.status == _OK
        }
        return merged(pages).encode(), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing before somebody asks; see `Collector`."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        members = self._crew.members
        yield _gauge("workers", "Workers that are open", len(members))
        yield _counter("lost_workers", "Workers that died and were replaced", self._crew.lost)
        yield _gauge("placed_streams", "Streams that there are", len(self._crew.names))
        cores = GaugeMetricFamily(
            "streamprn_worker_load_cores",
            "Processors that the streams of a worker take, as measured",
            labels=["slot"],
        )
        for slot, load in self._crew.load().items():
            cores.add_metric([slot], load)
        yield cores
        came, went = self._proxy.received, self._proxy.counters
        yield _counter("proxy_received", "Messages of workers", came.received)
        yield _counter(
            "proxy_fenced", "Of those, of a run that the stream does not belong to", came.fenced
        )
        yield _counter("proxy_errors", "Messages of workers that cannot be read", came.errors)
        yield _counter("proxy_messages", "Messages sent to subscribers", went.messages)
        yield _counter("proxy_bytes", "Bytes of those messages", went.bytes)
        yield _counter("proxy_overruns", "Times that a subscriber's queue was full", went.overruns)


def merged(pages: Mapping[str, str]) -> str:
    """Pages in the text format of Prometheus, or in OpenMetrics, as one.

    Args:
        pages: by worker, which each line gets as a label.

    Returns:
        One page in which each figure has one head and the lines of all workers.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    ended = False
    for worker, page in pages.items():
        head: list[str] = []
        lines: list[str] = []
        known: set[str] = set()
        for line in page.splitlines():
            if line == _EOF:
                ended = True
            elif line.startswith("# "):
                name = line.split(" ", 3)[2]
                if name not in known:
                    known.add(name)
                    head, lines = families.setdefault(name, ([], []))
                if line not in head:
                    head.append(line)
            elif line:
                lines.append(_labelled(line, worker))
    parts = [line for head, lines in families.values() for line in (*head, *lines)]
    return "\n".join([*parts, *([_EOF] if ended else []), ""])


def _labelled(line: str, worker: str) -> str:
    """A line with one more label. Names and labels hold no brace before the labels begin."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, rest = line.partition(" ")
    return f'{name}{{worker="{worker}"}} {rest}'


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamprn_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"streamprn_{name}", text, value=value)
