"""Clusters that would do otherwise than this machine are refused before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.cli.test_grid import grid
from tests.lanes.cluster.conftest import ROOT, Machines, end, path, start, wait_until, workers


def refusal(words: list[str], machines: Machines, place: Path) -> str:
    """The one sentence of a command that leaves nothing behind."""
    before = sorted(place.rglob("*"))
    status, out, err = end(start(words, machines))
    assert (status, out) == (2, ""), err
    assert sorted(place.rglob("*")) == before
    (line,) = err.splitlines()
    return line.removeprefix("skilltokens: ")


def test_a_node_with_other_versions(tmp_path: Path, machines: Machines):
    machines.need(1)
    other = tmp_path / "other"
    info = other / "numpy-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9\n")
    shutil.copytree(ROOT / "src" / "skilltokens", other / "skilltokens")
    with (other / "skilltokens" / "metrics.py").open("a") as file:
        file.write("\n# another commit\n")
    node = machines.add(PYTHONPATH=path(other))
    try:
        line = refusal(["grid", grid(tmp_path, "other-versions")], machines, tmp_path)
    finally:
        machines.kill(node)
    assert "numpy 9.9 (here " in line
    assert "skilltokens' code " in line
    assert "torch" not in line
    assert line.endswith("install the same on every node, and start Ray there with that Python")


def test_a_node_without_skilltokens(tmp_path: Path, machines: Machines):
    """Its Python finds a package that is broken where skilltokens should be: it answers all the same."""
    machines.need(1)
    (tmp_path / "broken" / "skilltokens").mkdir(parents=True)
    (tmp_path / "broken" / "skilltokens" / "__init__.py").write_text("raise ImportError('not this one')\n")
    node = machines.add(PYTHONPATH=path(tmp_path / "broken"))
    try:
        line = refusal(["grid", grid(tmp_path, "no-package")], machines, tmp_path)
    finally:
        machines.kill(node)
    assert "skilltokens' code " in line


@pytest.mark.parametrize("hidden", ["runs", "demos"])
def test_a_node_that_does_not_share_a_folder(hidden: str, tmp_path: Path, machines: Machines):
    """The node has a file system of its own mounted there, as another machine has."""
    machines.need(1)
    for name in ("runs", "demos"):
        (tmp_path / name).mkdir()
    mounts = f"mount -t tmpfs none {tmp_path / hidden} && exec "
    if subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mounts} true"], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount anything")
    words = f"{sys.executable} -m ray.scripts.scripts start --address {machines.address} --num-cpus 1 --block"
    before = machines.alive()
    own = subprocess.Popen(["unshare", "--mount", "sh", "-c", mounts + words], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: machines.alive() == before + 1, "the node does not start")
        file = grid(tmp_path, "runs/kept")
        line = refusal(["grid", file], machines, tmp_path)
    finally:
        for process in [*psutil.Process(own.pid).children(recursive=True), own]:
            process.kill()
        own.wait()
        wait_until(lambda: machines.alive() == before, "the node does not end")
    option = {"runs": "--out", "demos": "--demonstrations.folder"}[hidden]
    assert line.startswith(f"{tmp_path / hidden} is another folder on the node ")
    assert line.endswith(f"a cluster needs folders that all nodes share, name one with {option}")


def test_a_run_that_no_node_is_large_enough_for(tmp_path: Path, machines: Machines):
    machines.need(1)
    words = ["grid", grid(tmp_path, "large", more="[[part]]\nsettings.train.threads = 3\n")]
    line = refusal(words, machines, tmp_path)
    assert line.startswith("t2s-seed0 needs 3 CPUs, and the largest node of the cluster has 1 CPU")


def test_a_head_that_dies_ends_the_command_with_a_sentence(tmp_path: Path):
    """The last test: the cluster is gone."""
    machines = Machines()
    machines.need(2)
    process = start(["grid", grid(tmp_path, "headless")], machines)
    wait_until(lambda: len(workers(tmp_path)) == 2 or process.poll() is not None, "no run began")
    machines.cluster.head_node.kill_gcs_server()
    status, _, err = end(process)
    assert status == 2, err
    assert err.splitlines()[-1].startswith("skilltokens: the head of the Ray cluster at "), err
    wait_until(lambda: not workers(tmp_path), "runs go on without a cluster")
    for cell in ("t2s-seed0", "sequential-seed0"):
        assert not os.path.exists(tmp_path / "headless" / cell / ".writer")
    machines.cluster.shutdown()
