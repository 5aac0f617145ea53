"""What a cluster needs, as far as it shows without Ray. tests/lanes/cluster has the rest, on a real cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.running import ROOT, command, sentence

import skilltokens
from skilltokens.cli import main
from skilltokens.cli.batch import Job
from skilltokens.cli.cluster.checks import (
    PACKAGES,
    check_folders,
    check_sizes,
    check_versions,
    existing,
    fits,
    slots,
    tell_processors,
    tokens,
)
from skilltokens.cli.cluster.connection import Node
from skilltokens.cli.cluster.node import CODE, seen_here, versions_here
from skilltokens.types import ClusterError, RunError

SMALL = Node("1", "small", 2.0, 4e9)
LARGE = Node("2", "large", 8.0, 5e9)


def job(threads: int = 1, memory: int = 0) -> Job:
    return Job("a", (), Path("a.log"), threads, memory)


@pytest.mark.parametrize("verb", ["run", "grid", "tune"])
def test_without_ray_it_says_what_to_install(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    monkeypatch.chdir(ROOT)
    (tmp_path / "grid.toml").write_text(f'recipe = "demo"\nmethods = ["sequential"]\nout = "{tmp_path}/runs"\n')
    words = {
        "run": command(tmp_path, "runs", "--methods", "t2s"),
        "grid": ["grid", str(tmp_path / "grid.toml")],
        "tune": ["tune", "demo", "--methods", "sequential", "--out", str(tmp_path / "runs")],
    }
    line = sentence([*words[verb], "--cluster", "ray"], capsys)
    assert line == '--cluster ray needs Ray: run `pip install "skilltokens[cluster]"`'
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"], "something was made"


def test_an_address_wants_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    line = sentence(command(tmp_path, "runs", "--cluster-address", "head:6379"), capsys)
    assert line == "--cluster-address head:6379 is for a cluster: add --cluster ray"


def test_the_help_names_the_option(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["grid", "--help"])
    assert "--cluster {local,ray}" in capsys.readouterr().out


def test_every_version_that_differs_is_named_once():
    here = {"python": "3.11.7", "torch": "2.13", "numpy": "2.4", CODE: "aa"}
    check_versions(here, {"one": dict(here), "two": dict(here)})
    theirs = {"one": dict(here), "two": {"python": "3.11.7", "torch": "2.12", CODE: "aa", "mujoco": "3.3"}}
    with pytest.raises(ClusterError) as caught:
        check_versions(here, theirs)
    assert str(caught.value).startswith(
        "the node two has torch 2.12 (here 2.13), numpy is missing (here 2.4), mujoco 3.3 (here it is missing): "
    )


def test_another_version_of_skilltokens_is_said_without_its_code():
    here = {"skilltokens": "0.2", CODE: "aa"}
    with pytest.raises(ClusterError, match=r"the node n has skilltokens 0\.1 \(here 0\.2\): figures"):
        check_versions(here, {"n": {"skilltokens": "0.1", CODE: "bb"}})
    with pytest.raises(ClusterError, match=f"the node n has {CODE} bb"):
        check_versions(here, {"n": {**here, CODE: "bb"}})


def test_versions_know_every_module_of_the_package(tmp_path: Path):
    known = versions_here(PACKAGES)
    assert {"python", "skilltokens", "torch", "numpy", CODE} <= known.keys()
    assert known == versions_here(PACKAGES)
    package = tmp_path / "skilltokens"
    shutil.copytree(Path(skilltokens.__file__).parent, package)
    assert code_in(tmp_path) == known[CODE]
    module = package / "methods" / "rule.py"
    module.write_text(module.read_text() + "#")
    assert code_in(tmp_path) != known[CODE]


def code_in(folder: Path) -> str:
    """What stands for the code of the package in a folder: asked with a copy of node.py alone, as Ray does."""
    shutil.copy(Path(skilltokens.__file__).parent / "cli" / "cluster" / "node.py", folder / "node.py")
    words = [sys.executable, "-c", "import node; print(node.versions_here(())[node.CODE])"]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_folder_is_shared_where_the_token_is_read(tmp_path: Path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    with tokens({str(mine): "--out"}) as put:
        assert seen_here(put, str(mine), str(tmp_path)) == {}
        (token,) = put.values()
        assert seen_here({str(theirs): token}, str(theirs), str(tmp_path)) == {str(theirs): "is another folder"}
        (theirs / token[0]).write_text("another word")
        assert seen_here({str(theirs): token}, str(theirs), str(tmp_path)) == {str(theirs): "is another folder"}
        gone = str(tmp_path / "gone")
        assert seen_here({gone: token}, gone, gone) == {gone: "is not there"}
    assert not list(mine.iterdir())


def test_a_folder_that_cannot_be_written_is_known_by_its_names():
    kernel = "/proc/sys/fs"  # where nobody makes a file
    with tokens({kernel: "--demonstrations.folder"}) as put:
        assert put[kernel][0] == ""
        assert seen_here(put, "", "/") == {}
        assert seen_here({"/proc/sys/vm": put[kernel]}, "", "/") == {"/proc/sys/vm": "is another folder"}
    with pytest.raises(RunError, match=r"/proc/sys/fs cannot be written .* with --out"), tokens({kernel: "--out"}):
        pass


def test_a_folder_that_is_not_there_yet_is_checked_where_it_will_be(tmp_path: Path):
    assert existing(tmp_path / "runs" / "new") == str(tmp_path)
    assert existing(tmp_path) == str(tmp_path)


def test_the_sentence_names_the_folder_the_node_and_the_option():
    options = {"/data": "--out"}
    check_folders({"one": {}}, options)
    with pytest.raises(ClusterError, match=r"^/data is another folder on the node two: .*, name one with --out$"):
        check_folders({"one": {}, "two": {"/data": "is another folder"}}, options)
    with pytest.raises(ClusterError, match=r"^/home is not there on the node two: .*, start the command there$"):
        check_folders({"two": {"/home": "is not there"}}, options)


def test_a_job_that_fits_nowhere_is_refused():
    check_sizes([SMALL, LARGE], [job(), job(8, int(5e9))])
    with pytest.raises(
        ClusterError, match=r"a needs 9 CPUs, and the largest node of the cluster has 8 CPUs and 4\.7 GiB"
    ):
        check_sizes([SMALL, LARGE], [job(9)])
    with pytest.raises(ClusterError, match=r"a needs 1 CPU and 5\.6 GiB of memory"):
        check_sizes([SMALL, LARGE], [job(1, int(6e9))])
    assert not fits(Node("3", "many", 8.0, 1e9), job(1, int(2e9)))


@given(st.integers(1, 9), st.sampled_from([0, int(1e9), int(3e9)]), st.lists(st.sampled_from([SMALL, LARGE])))
def test_slots_are_what_the_nodes_hold_side_by_side(threads: int, memory: int, nodes: list[Node]):
    count = slots(nodes, [job(threads, memory)] * 99)
    held = sum(min(entry.cpus // threads, entry.memory // memory if memory else 99) for entry in nodes)
    assert count == held
    assert (count > 0) == any(fits(entry, job(threads, memory)) for entry in nodes)


def test_other_processors_are_noted(capsys: pytest.CaptureFixture[str]):
    tell_processors([SMALL, LARGE], ["Xeon", "Xeon"])
    assert capsys.readouterr().err == ""
    tell_processors([SMALL, LARGE], ["Xeon", "EPYC"])
    assert "Xeon (small), EPYC (large)" in capsys.readouterr().err
