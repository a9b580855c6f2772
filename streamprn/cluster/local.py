"""`streamprn run --workers N`: a Ray of its own on this machine, for this run alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.errors import InputError
from streamprn.live.parts import access, with_recordings
from streamprn.wire.proxy import Proxy

if TYPE_CHECKING:
    from streamprn.cluster.crew import Crew
    from streamprn.config import Config
    from streamprn.wire.bind import Access

__all__ = ["check", "local_crew", "open_proxy", "shares"]

_OBJECT_STORE_BYTES = 80 * 1024 * 1024


def check(workers: int, max_frames: int | None) -> None:
    """Refuse what several workers cannot do.

    Raises:
        InputError: Ray is missing, or a setting needs a single process.
    """
    if find_spec("ray") is None:
        raise InputError(f"--workers {workers} needs ray", hint="pip install 'streamprn[cluster]'")
    if max_frames is not None:
        raise InputError(
            "--max-frames works with one worker", hint="leave it out, or say --workers 1"
        )


def shares(workers: int) -> list[tuple[int, ...]]:
    """The processors of each worker: equal shares of those that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    if workers > len(cores):
        return [(cores[slot % len(cores)],) for slot in range(workers)]
    bounds = [slot * len(cores) // workers for slot in range(workers + 1)]
    return [tuple(cores[a:b]) for a, b in itertools.pairwise(bounds)]


def open_proxy(config: Config, readers: Access) -> Proxy:
    """The proxy on the public address of a configuration.

    Args:
        config: what to run.
        readers: who may read; see `live.parts.access`.

    Raises:
        StreamPRNError: the address cannot be used.
    """
    settings = config.publish
    return Proxy(
        settings.bind,
        send_hwm=settings.send_hwm,
        curve=readers.keys,
        allow=readers.allow,
        heartbeat_s=settings.heartbeat_s,
    )


@contextlib.contextmanager
def local_crew(
    config: Config, workers: int, on_event: Callable[[str], None]
) -> Iterator[tuple[Crew, Proxy]]:
    """Ray, the proxy on the public address, and the workers behind it, until the block ends.

    Args:
        config: what to run.
        workers: processes.
        on_event: told of workers that come and go, in words.

    Raises:
        StreamPRNError: the address, a key or the folder of recordings cannot be used.
    """
    readers, recorded = access(config), with_recordings(config)
    with contextlib.ExitStack() as opened:
        proxy = opened.enter_context(open_proxy(config, readers))
        # Sockets in a folder of this user alone: nobody passes the proxy by.
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="streamprn-")))
        ray = _start(workers, opened)
        from streamprn.cluster.crew import Crew
        from streamprn.cluster.member import CALLS, PLACING, VIEWING, VIEWS
        from streamprn.cluster.worker import Worker, config_of_worker

        actor: Any = ray.remote(
            num_cpus=1,
            num_gpus=_gpu_share(ray, workers),
            max_concurrency=CALLS,
            max_restarts=0,
            concurrency_groups={PLACING: 1, VIEWING: VIEWS},
        )(Worker)
        cores, starts = shares(workers), iter(range(1_000_000))

        slots = [str(slot) for slot in range(workers)]

        def launch(slot: str) -> Any:
            bind = f"ipc://{folder}/{slot}-{next(starts)}"
            return actor.remote(config_of_worker(recorded, bind), cores[int(slot)])

        crew = Crew(lambda: slots, launch, proxy, on_event)
        opened.callback(crew.close)
        for source, name in zip(config.sources, config.stream_names(), strict=True):
            crew.add(replace(source, name=name))
        yield crew, proxy


def _start(workers: int, opened: contextlib.ExitStack) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        log_to_driver=True,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    opened.callback(ray.shutdown)
    return ray


def _gpu_share(ray: Any, workers: int) -> float:
    gpus = ray.cluster_resources().get("GPU", 0)
    return float(gpus) / workers if gpus else 0.0
