"""The machines that Ray knows, and the workers that each is to have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from streamprn.cluster.keeper import Keeper, Order
from streamprn.cluster.member import CALLS, PLACING, VIEWING, VIEWS
from streamprn.cluster.ray_node import RESOURCE
from streamprn.serve.listen import read_token
from streamprn.wire.bind import read_public_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamprn.config import Config
    from streamprn.wire.bind import CurveKeys

__all__ = ["Fleet", "Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """One that has joined.

    Attributes:
        name: of it.
        id: of its Ray, which changes when that is started again.
        host: its address.
        workers: that it is to have.
        gpus: that it has.
        started: when its Ray was, as it says itself.
    """

    name: str
    id: str
    host: str
    workers: int
    gpus: float
    started: int


class Fleet:
    """Names the workers that there are to be, and starts them where they belong.

    Args:
        config: that all run.
        head: name of the machine with the proxy.
        keys: of the proxy.
    """

    def __init__(self, config: Config, head: str, keys: CurveKeys) -> None:
        self._head = head
        token_file = config.http.token_file
        self._token = None if token_file is None else read_token(Path(token_file))
        self._readers: tuple[tuple[str, str], ...] | None = None
        allow = config.publish.curve_allow_dir
        if allow is not None:
            listed = [(path.stem, read_public_key(path)) for path in Path(allow).glob("*.key")]
            self._readers = (*sorted(listed), ("streamprn-proxy", keys.public))
        # What it says to others is passed on to none of the workers.
        self._config = replace(config, sources=(), http=replace(config.http, token_file=None))
        self._machines: dict[str, Machine] = {}
        self._actor: Any = ray.remote(
            num_cpus=0,
            resources={RESOURCE: 1},
            max_restarts=0,
            max_concurrency=CALLS,
            concurrency_groups={PLACING: 1, VIEWING: VIEWS},
        )(Keeper)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All that were there when `slots` last looked."""
        return tuple(self._machines.values())

    def slots(self) -> Collection[str]:
        """The workers that there are to be now: MACHINE/NUMBER."""
        self._machines = _machines()
        return [f"{one.name}/{index}" for one in self.machines for index in range(one.workers)]

    def launch(self, slot: str) -> Any:
        """Start the keeper of a worker; does not wait for it."""
        name, _, index = slot.rpartition("/")
        machine = self._machines[name]
        order = Order(
            self._config,
            int(index),
            machine.workers,
            "" if name == self._head else machine.host,
            self._token,
            self._readers,
        )
        where = NodeAffinitySchedulingStrategy(machine.id, soft=False)
        return self._actor.options(
            scheduling_strategy=where, num_gpus=machine.gpus / machine.workers
        ).remote(order)


def _machines() -> dict[str, Machine]:
    found: dict[str, Machine] = {}
    for node in ray.nodes():
        workers = int(node["Resources"].get(RESOURCE, 0))
        if not (node["Alive"] and workers):
            continue
        machine = Machine(
            node["NodeName"],
            node["NodeID"],
            node["NodeManagerAddress"],
            workers,
            float(node["Resources"].get("GPU", 0)),
            int(node.get("Labels", {}).get("started", 0)),
        )
        # Where Ray was started again on a machine, the one before may seem to live for a while.
        if machine.name not in found or found[machine.name].started < machine.started:
            found[machine.name] = machine
    return found
