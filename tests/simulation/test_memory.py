"""Workers are as many as fit into memory, whoever limits it, and a line says so where that is fewer than asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.toy import TASKS, Toy

from skilltokens.cli.progress import Plain
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation import demonstrate, memory
from skilltokens.simulation.memory import available, fitting
from skilltokens.simulation.pool import Pool
from skilltokens.types import Progress

GIBIBYTE = 2**30


@dataclass
class Heavy(Toy):
    """Says that each of its processes takes a gibibyte."""

    memory: int = GIBIBYTE


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up machine with 3.5 GiB free and no limit of any control group: its /proc and /sys/fs/cgroup."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    write(tmp_path / "proc/meminfo", f"MemTotal: 9999999 kB\nMemAvailable:  {int(3.5 * 2**20)} kB\n")
    return tmp_path


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_as_many_workers_as_fit_are_used_and_a_line_says_so(machine: Path):
    reports: list[Progress] = []
    assert fitting(8, Heavy(), reports.append) == 3
    (news,) = reports
    assert news.note == "8 processes of toy would take 8.0 GiB of memory where 3.5 GiB are free: 3 are used"


@pytest.mark.parametrize(("suite", "workers"), [(Heavy(), 3), (Heavy(), 1), (Heavy(), 0), (Toy(), 64)])
def test_nothing_is_said_where_all_fit_or_nothing_is_known(machine: Path, suite: Toy, workers: int):
    reports: list[Progress] = []
    assert fitting(workers, suite, reports.append) == workers
    assert not reports


def test_one_worker_is_used_whatever_is_free(machine: Path):
    assert fitting(4, Heavy(memory=100 * GIBIBYTE)) == 1


def test_a_machine_that_says_nothing_is_believed_to_have_enough(machine: Path):
    (machine / "proc/meminfo").unlink()
    assert available() is None
    assert fitting(8, Heavy()) == 8


def test_the_limit_of_a_container_counts_but_for_pages_of_files(machine: Path):
    write(machine / "proc/self/cgroup", "0::/jobs/mine")
    write(machine / "cgroup/jobs/mine/memory.max", "max")
    write(machine / "cgroup/jobs/mine/memory.current", GIBIBYTE)
    write(machine / "cgroup/jobs/memory.max", 3 * GIBIBYTE)
    write(machine / "cgroup/jobs/memory.current", 2 * GIBIBYTE)
    write(machine / "cgroup/jobs/memory.stat", f"anon 7\ninactive_file {GIBIBYTE // 2}\nactive_file {GIBIBYTE // 4}")
    assert available() == 1.75 * GIBIBYTE


def test_control_groups_of_version_1_count_too_seen_from_within(machine: Path):
    write(machine / "proc/self/cgroup", "4:cpu,memory:/a/path/of/the/host\n1:name=systemd:/x")
    write(machine / "cgroup/memory/memory.limit_in_bytes", 2 * GIBIBYTE)
    write(machine / "cgroup/memory/memory.usage_in_bytes", GIBIBYTE)
    assert available() == GIBIBYTE
    write(machine / "cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    assert available() == 3.5 * GIBIBYTE


def test_a_pool_starts_no_more_than_fit(machine: Path):
    reports: list[Progress] = []
    with Pool(Heavy(), 8, reports.append) as pool:
        assert pool.workers == 3
    assert len(reports) == 1


def test_demonstrations_are_made_by_as_many_as_fit(machine: Path, monkeypatch: pytest.MonkeyPatch):
    counts: list[int] = []
    in_processes = demonstrate._in_processes

    def counting(*arguments: Any) -> None:
        counts.append(arguments[-1])
        in_processes(*arguments)

    monkeypatch.setattr(demonstrate, "_in_processes", counting)
    settings = DemonstrationSettings(episodes=1, folder=str(machine / "demos"))
    reports: list[Progress] = []
    write(machine / "proc/meminfo", f"MemAvailable: {2 * 2**20 + 5} kB")
    assert len(demonstrate.demonstrations(Heavy(), TASKS[:3], settings, reports.append, workers=3)) == 3
    assert counts == [2]
    assert reports[0].stage == memory.STAGE


def test_the_line_is_printed_however_soon_after_another(capsys: pytest.CaptureFixture[str]):
    with Plain(["a"]) as view:
        view.update("a", Progress("demonstrations", 0, 1))
        view.update("a", Progress(memory.STAGE, 0, 1, "fewer are used"))
    assert capsys.readouterr().err.splitlines()[-1] == "a  fewer are used"
