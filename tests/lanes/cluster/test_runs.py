"""Runs on a real Ray cluster: the same cells as without it, whatever dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.cli.running import run
from tests.cli.test_grid import grid, states
from tests.lanes.cluster.conftest import Machines, end, start, wait_until, workers

CELLS = ("t2s-seed0", "sequential-seed0")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def alone(place: Path) -> dict[str, object]:
    """The results of each cell without a cluster."""
    done = run(["grid", grid(place, "alone")])
    assert done.returncode == 0, done.stderr
    return results(place / "alone")


def results(folder: Path) -> dict[str, object]:
    """All of each cell's run.json but its times, and whether another commit resumed it."""
    return {cell: _timeless(json.loads((folder / cell / "run.json").read_text())) for cell in CELLS}


def _timeless(content: dict[str, object]) -> dict[str, object]:
    assert content["finished"]
    times = ("started", "finished", "timing", "command", "digest", "commit", "resumed")
    return {key: value for key, value in content.items() if key not in times}


def begun(folder: Path) -> bool:
    """Whether both runs are somewhere between their beginning and their end."""
    return all((folder / cell / "run.json").exists() for cell in CELLS)


def test_cells_are_equal_with_and_without_ray(alone: dict[str, object], place: Path, machines: Machines):
    machines.need(2)
    status, out, err = end(start(["grid", grid(place, "rayed")], machines))
    assert status == 0, err
    assert "2 runs, 2 at once" in err
    assert results(place / "rayed") == alone
    assert states(place / "rayed") == dict.fromkeys(CELLS, "done")
    assert {path.name for path in (place / "rayed").iterdir()} == {*CELLS, "report.html", "grid.json"}
    assert "sequential" in out
    assert not list(place.glob(".*"))


def test_a_run_goes_on_where_its_node_died(alone: dict[str, object], place: Path, machines: Machines):
    machines.need(2)
    out = place / "died"
    process = start(["grid", grid(place, "died")], machines)
    wait_until(lambda: begun(out) or process.poll() is not None, "no run began")
    victim = machines.nodes[0]
    assert machines.children(victim, out), "the node has no run"
    machines.kill(victim)
    wait_until(lambda: len(workers(out)) <= 1, "the dead node's run goes on")
    status, _, err = end(process)
    assert status == 0, err
    assert "its node has died: it goes on from its last point on another one" in err
    assert results(out) == alone


def test_where_no_node_is_left_it_says_so_and_resumes(alone: dict[str, object], place: Path, machines: Machines):
    machines.need(2)
    out = place / "left"
    process = start(["grid", grid(place, "left")], machines)
    wait_until(lambda: begun(out) or process.poll() is not None, "no run began")
    machines.need(0)
    status, _, err = end(process)
    assert status == 2, err
    assert "no node of the cluster is left that has 1 CPU for t2s-seed0: start one, and the same command again" in err
    assert states(out) == dict.fromkeys(CELLS, "failed")
    machines.need(1)
    status, _, err = end(start(["grid", grid(place, "left")], machines))
    assert status == 0, err
    assert results(out) == alone


def test_ctrl_c_saves_everywhere(alone: dict[str, object], place: Path, machines: Machines):
    machines.need(2)
    out = place / "stopped"
    process = start(["grid", grid(place, "stopped")], machines)
    wait_until(lambda: begun(out) or process.poll() is not None, "no run began")
    assert len(workers(out)) == 2
    process.send_signal(signal.SIGINT)
    status, _, err = end(process)
    assert status == 130, err
    assert "resumes where it stopped" in err
    assert not workers(out)
    for cell in CELLS:
        assert not (out / cell / ".writer").exists(), "it was killed: this file goes with a clean end"
    assert not list(out.glob(".jobs-*"))
    done = run(["grid", grid(place, "stopped")])  # without the cluster
    assert done.returncode == 0, done.stderr
    assert results(out) == alone


def test_runs_end_with_the_command_that_is_killed(place: Path, machines: Machines):
    machines.need(2)
    out = place / "orphans"
    process = start(["grid", grid(place, "orphans")], machines)
    wait_until(lambda: len(workers(out)) == 2 or process.poll() is not None, "no run began")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not workers(out), "runs outlive the command")


def test_a_failed_run_says_why(place: Path, machines: Machines):
    machines.need(1)
    status, _, err = end(start(["grid", grid(place, "half", share=0.001)], machines))
    assert status == 2
    assert err.splitlines()[-1].startswith("skilltokens: t2s-seed0: method.share 0.001"), err
    assert states(place / "half") == {"t2s-seed0": "failed", "sequential-seed0": "done"}
