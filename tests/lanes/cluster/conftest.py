"""A real Ray cluster of several nodes on this machine. Run by `make cluster`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[3]
PATIENCE = 180.0
"""Seconds in which a node must have started, or a process have ended, on a busy machine."""

TRIES = 5


def path(*more: Path | str) -> str:
    """PYTHONPATH for the tests' modules, with `more` before them."""
    return os.pathsep.join([*map(str, more), str(ROOT / "src"), str(ROOT)])


class Machines:
    """A head without CPUs for runs, and nodes of one CPU each."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.cluster = Cluster()
        self._start(num_cpus=0, include_dashboard=False)

    @property
    def address(self) -> str:
        return self.cluster.address

    def need(self, count: int) -> None:
        """Starts nodes, or removes some, until there are so many."""
        self.kill(*self.nodes[count:])
        while len(self.nodes) < count:
            self.nodes.append(self.add())

    def add(self, **environment: str) -> Any:
        return self._start(num_cpus=1, env_vars=environment)

    def _start(self, **about: Any) -> Any:
        """A node, as a batch script leaves it that starts Ray in the background: Ctrl-C must reach runs too."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for attempt in range(TRIES):
                try:
                    return self.cluster.add_node(**about)
                except Exception as problem:  # Ray gives a node 30 s to start: too few on a busy machine
                    if attempt + 1 == TRIES or "timed out" not in str(problem):
                        raise
                    if self.cluster.head_node is None and about["num_cpus"] == 0:
                        self.cluster = Cluster()
        finally:
            signal.signal(signal.SIGINT, before)

    def kill(self, *nodes: Any) -> None:
        """As when their power fails: nothing of them has time to do anything. Ends when the head knows of it.

        Until then, some seconds of missed heartbeats, the head calls a node alive, and the next test would ask it.
        """
        before = self.alive()
        for node in nodes:
            if node in self.nodes:
                self.nodes.remove(node)
            self.cluster.remove_node(node, allow_graceful=False)
        wait_until(lambda: self.alive() == before - len(nodes), "the head does not miss what is dead")

    def alive(self) -> int:
        return sum(entry["Alive"] for entry in self.cluster.global_state.node_table())

    def children(self, node: Any, folder: Path) -> list[int]:
        """Processes of runs in a folder that a node has started."""
        raylet = node.all_processes["raylet"][0].process.pid
        return [child.pid for child in psutil.Process(raylet).children(recursive=True) if works_in(child, folder)]


def works_in(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error):
        words = process.cmdline()
        return "skilltokens.cli.worker" in words and str(folder) in words[-1]
    return False


def workers(folder: Path) -> list[int]:
    """Processes of runs in a folder, on any node."""
    return [process.pid for process in psutil.process_iter() if works_in(process, folder)]


def wait_until(ready: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture(scope="session", autouse=True)
def modules() -> None:
    """Nodes find the modules of the tests, as they find those of a user."""
    os.environ["PYTHONPATH"] = path()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    started = Machines()
    yield started
    started.cluster.shutdown()


def start(words: list[str], machines: Machines) -> subprocess.Popen[str]:
    """The command on the cluster, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "skilltokens", *words, "--cluster", "ray", "--cluster-address", machines.address],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit status, and what it said."""
    out, err = process.communicate(timeout=4 * PATIENCE)
    return process.returncode, out, err
