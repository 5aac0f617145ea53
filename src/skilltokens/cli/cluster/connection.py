"""The connection to a Ray cluster, its nodes, and whether it is still there. Ray is imported when it is first used."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from skilltokens.cli.cluster import node
from skilltokens.cli.place import AUTO
from skilltokens.types import ClusterError, SettingError

START = "start one with `ray start --head`, or name its head with --cluster-address HOST:PORT"
ANSWER = 5.0
"""Seconds that a cluster's head gets to answer."""
SILENCE = 20.0
"""Seconds after which a head that does not answer is gone. Ray would end this process after 60, without a word."""
QUESTION = 120.0
"""Seconds that a node gets for a check, most of which it takes to start Ray's process there."""
QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Under `uv run` Ray would copy the working folder to the nodes, and start there what uv makes of it.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""Environment variables that are set before Ray is imported."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    id: str
    name: str
    """Its address, and its host's name where it has one."""
    cpus: float
    memory: float
    """Bytes that runs may take there."""


class Connection:
    """A cluster that this process is connected to."""

    def __init__(self, ray: Any, address: str) -> None:
        self.ray = ray
        self.lost = False
        """Whether the cluster's head is gone: what asks it would wait for ever."""
        self._address = address
        self._heard = time.monotonic()

    def answers(self) -> bool:
        """Whether the cluster's head answers now; where it does not, `nodes` would wait for it.

        Raises:
            ClusterError: it has not answered for a while.
        """
        if _answers(self._address):
            self._heard = time.monotonic()
            return True
        if time.monotonic() - self._heard > SILENCE:
            self.lost = True
            raise ClusterError(
                f"the head of the Ray cluster at {self._address} does not answer any more: start a cluster again, "
                "and the same command again, which goes on where the runs were"
            )
        return False

    def nodes(self) -> list[Node]:
        """The nodes that are alive, this one first."""
        here = self.ray.get_runtime_context().get_node_id()
        alive = [_node(entry) for entry in self.ray.nodes() if entry["Alive"]]
        several = Counter(entry.name for entry in alive)  # nodes of one machine
        named = [
            replace(entry, name=f"{entry.name}, {entry.id[:8]}") if several[entry.name] > 1 else entry
            for entry in alive
        ]
        return sorted(named, key=lambda entry: (entry.id != here, entry.name, entry.id))

    def ask(self, question: Callable[..., Any], nodes: Sequence[Node], *words: Any) -> list[Any]:
        """What a function of node.py returns on each of the nodes.

        Raises:
            ClusterError: a node does not answer.
        """
        pinned = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        remote = self.ray.remote(num_cpus=0, max_retries=1)(question)
        answers = [
            remote.options(scheduling_strategy=pinned(entry.id, soft=False)).remote(*words)  # all at once
            for entry in nodes
        ]
        results = []
        for entry, answer in zip(nodes, answers, strict=True):
            try:
                results.append(self.ray.get(answer, timeout=QUESTION))
            except self.ray.exceptions.RayError as problem:
                reason = str(problem).strip().rpartition("\n")[2]
                raise ClusterError(
                    f"the node {entry.name} does not answer ({reason:.200}): start Ray there again, or leave it out"
                ) from problem
        return results

    def actor(self, kind: type, cpus: int, memory: int) -> Any:
        """A new object of a class of node.py on a node that has so much free, as soon as there is one."""
        resources = {"memory": memory} if memory else {}
        return self.ray.remote(num_cpus=cpus, max_restarts=0, **resources)(kind).remote()


def _node(entry: dict[str, Any]) -> Node:
    address, host = entry["NodeManagerAddress"], entry["NodeManagerHostname"]
    resources = entry["Resources"]
    name = f"{host} ({address})" if host not in ("", address) else address
    return Node(entry["NodeID"], name, resources.get("CPU", 0.0), resources.get("memory", 0.0))


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """Connects to a cluster; the connection ends with the block, and with it whatever this process has started there.

    Args:
        address: HOST:PORT of its head, or "auto": the one in $RAY_ADDRESS, else the one that this machine is a node of.

    Raises:
        SettingError: Ray is not installed, or an address that no cluster can have.
        ClusterError: no cluster is there, or this machine is none of its nodes.
    """
    ray = _ray()
    place = os.environ.get("RAY_ADDRESS") or AUTO if address == AUTO else address
    if "://" in place:
        raise SettingError(
            f"{place} is an address of Ray's client, which runs nothing here: start the command on a node of the "
            "cluster, and name its head as HOST:PORT"
        )
    if place != AUTO and not _answers(place):
        raise ClusterError(f"no Ray cluster answers at {place}: {START}")
    try:
        ray.init(address=place, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (RuntimeError, ConnectionError, ValueError) as problem:
        if place == AUTO and isinstance(problem, ConnectionError):
            raise ClusterError(f"no Ray cluster is there: {START}") from problem
        reason = " ".join(str(problem).split())
        raise ClusterError(
            f"the Ray cluster {place} cannot be used from here ({reason:.300}): start the command on a node of it, "
            "with the same Ray and Python"
        ) from problem
    ray.cloudpickle.register_pickle_by_value(node)
    connection = Connection(ray, ray.get_runtime_context().gcs_address)
    try:
        yield connection
    finally:
        ray.cloudpickle.unregister_pickle_by_value(node)
        if connection.lost:
            atexit.unregister(ray.shutdown)  # it would ask the head
            atexit.register(_leave)
        else:
            ray.shutdown()


def _leave() -> None:
    """Ends this process after a mistake, without Ray's own end, which crashes where its head is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _ray() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as problem:
        raise SettingError('--cluster ray needs Ray: run `pip install "skilltokens[cluster]"`') from problem
