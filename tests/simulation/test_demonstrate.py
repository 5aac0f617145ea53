"""Demonstrations of a suite: made once, the same by any number of processes, never half written."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.suites.demonstrators import Broken, Dying, Short, Slow
from tests.toy import TASKS, Toy

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations, store_path
from skilltokens.suites import load_suite, task_of
from skilltokens.types import DemonstrationError, Feature, Progress, SettingError, SuiteError

SUITE = Toy()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> DemonstrationSettings:
    return DemonstrationSettings(episodes=3, folder=str(tmp_path / "demos"))


def change(settings: DemonstrationSettings, **changes) -> DemonstrationSettings:
    return dataclasses.replace(settings, **changes)


def digests(stores: list[DemonstrationStore]) -> list[str]:
    return [store.digest for store in stores]


def leftovers(settings: DemonstrationSettings) -> list[Path]:
    return [path for path in Path(settings.folder).rglob("*") if ".tmp-" in path.name]


def test_what_is_missing_is_made_and_what_is_there_is_used(settings) -> None:
    first = demonstrations(SUITE, TASKS[:2], settings, workers=0)
    assert [store.path for store in first] == [Path(settings.folder) / "toy" / task.name for task in TASKS[:2]]
    assert [(store.episodes, store.source, store.settings) for store in first] == [
        (3, "scripted", {"episodes": 3, "noise": 0.1, "seed": 0})
    ] * 2
    written = [(store.path / "header.json").stat().st_mtime_ns for store in first]
    again = demonstrations(SUITE, TASKS[:3], settings, workers=0)
    assert [(store.path / "header.json").stat().st_mtime_ns for store in again[:2]] == written
    assert len({store.digest for store in again}) == 3


def test_a_task_that_comes_twice_is_made_once(settings) -> None:
    reports: list[Progress] = []
    stores = demonstrations(SUITE, (TASKS[0], TASKS[1], TASKS[0]), settings, reports.append, workers=0)
    assert [store.task.name for store in stores] == ["reach-red", "reach-blue", "reach-red"]
    assert reports[-1].done == reports[-1].total == 6


def test_progress_counts_every_episode(settings) -> None:
    reports: list[Progress] = []
    demonstrations(SUITE, TASKS[:2], settings, reports.append, workers=0)
    assert [news.done for news in reports] == list(range(7))
    assert {(news.stage, news.total) for news in reports} == {("demonstrations", 6)}
    assert reports[-1].note == "reach-blue 3/3"


def test_stores_do_not_depend_on_the_number_of_processes(settings) -> None:
    serial = demonstrations(SUITE, TASKS, settings, workers=0)
    reports: list[Progress] = []
    other_folder = change(settings, folder=settings.folder + "-2")
    parallel = demonstrations(SUITE, TASKS, other_folder, reports.append, workers=2)
    assert digests(parallel) == digests(serial)
    assert [news.done for news in reports] == list(range(13))


def test_metaworld_is_demonstrated_by_two_processes_as_by_one(settings) -> None:
    suite = load_suite("metaworld")
    tasks = [task_of(suite, name) for name in ("window-close", "push")]
    serial = demonstrations(suite, tasks, settings, workers=0)
    parallel = demonstrations(suite, tasks, change(settings, folder=settings.folder + "-2"), workers=2)
    assert digests(parallel) == digests(serial)
    for store in serial:
        store.verify()


@pytest.mark.parametrize(("name", "value"), [("episodes", 4), ("noise", 0.2), ("seed", 1)])
def test_a_store_made_with_other_settings_is_neither_used_nor_overwritten(settings, name: str, value: float) -> None:
    (store,) = demonstrations(SUITE, TASKS[:1], settings, workers=0)
    with pytest.raises(DemonstrationError, match=rf"reach-red has {name} .* where {value} is needed"):
        demonstrations(SUITE, TASKS[:1], change(settings, **{name: value}), workers=0)
    assert DemonstrationStore.open(store.path).digest == store.digest


def test_a_store_of_other_versions_or_another_instruction_is_not_used(settings, monkeypatch) -> None:
    demonstrations(SUITE, TASKS[:1], settings, workers=0)
    with pytest.raises(DemonstrationError, match="has instruction"):
        demonstrations(SUITE, [dataclasses.replace(TASKS[0], instruction="go home")], settings, workers=0)
    monkeypatch.setattr(Toy, "versions", lambda self: {"toy": "2"})
    with pytest.raises(DemonstrationError, match="has versions"):
        demonstrations(SUITE, TASKS[:1], settings, workers=0)


def test_a_persons_demonstrations_are_used_whatever_the_settings(settings) -> None:
    episodes = list(SUITE.demonstrate(TASKS[0], 2, 5, 0.0))
    path = store_path(SUITE, TASKS[0], settings)
    store = write_store(path, episodes, task=TASKS[0], features=SUITE.features, source="human", suite="toy")
    assert digests(demonstrations(SUITE, TASKS[:1], settings, workers=0)) == [store.digest]


def test_a_persons_demonstrations_of_another_robot_are_refused(settings) -> None:
    episodes = list(SUITE.demonstrate(TASKS[0], 2, 5, 0.0))
    features = {**SUITE.features, "observation.state": Feature((2,), "float64")}
    write_store(
        store_path(SUITE, TASKS[0], settings), episodes, task=TASKS[0], features=features, source="human", suite="toy"
    )
    with pytest.raises(DemonstrationError, match="has features"):
        demonstrations(SUITE, TASKS[:1], settings, workers=0)


@pytest.mark.parametrize("changes", [{"episodes": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"seed": -1}])
def test_impossible_settings_are_refused(settings, changes) -> None:
    with pytest.raises(SettingError, match=rf"demonstrations\.{next(iter(changes))} \S+ is impossible"):
        demonstrations(SUITE, TASKS[:1], change(settings, **changes), workers=0)


def test_a_damaged_store_is_reported(settings) -> None:
    (store,) = demonstrations(SUITE, TASKS[:1], settings, workers=0)
    (store.path / "action.npy").write_bytes(b"short")
    with pytest.raises(DemonstrationError, match="truncated or altered"):
        demonstrations(SUITE, TASKS[:1], settings, workers=0)


def test_a_folder_that_cannot_be_written_is_reported(settings, tmp_path: Path) -> None:
    (tmp_path / "demos").write_text("a file")
    for workers in (0, 2):
        with pytest.raises(DemonstrationError, match="demos"):
            demonstrations(SUITE, TASKS[:2], settings, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_simulators_error_is_not_taken_for_one_of_the_disk(settings, workers: int) -> None:
    with pytest.raises(SuiteError, match=r"failed after 1 demonstrations \(FileNotFoundError: mesh.obj \("):
        demonstrations(Broken(), TASKS[:2], settings, workers=workers)
    assert leftovers(settings) == []


def test_a_suite_that_gives_too_few_is_reported(settings) -> None:
    with pytest.raises(SuiteError, match="gave 2 demonstrations of 'reach-red' where 3 are needed"):
        demonstrations(Short(), TASKS[:1], settings, workers=0)
    assert not store_path(SUITE, TASKS[0], settings).exists()


def test_a_task_whose_process_died_is_made_once_more(settings, tmp_path: Path) -> None:
    (tmp_path / "life1").touch()
    stores = demonstrations(Dying(folder=str(tmp_path)), TASKS, settings, workers=2)
    assert not (tmp_path / "life1").exists()
    assert digests(stores) == digests(
        demonstrations(SUITE, TASKS, change(settings, folder=settings.folder + "-2"), workers=0)
    )


def test_a_task_whose_process_dies_twice_is_reported(settings, tmp_path: Path) -> None:
    for life in range(3):
        (tmp_path / f"life{life}").touch()
    with pytest.raises(SuiteError, match=r"toy task 'between' died twice \(exit code -9\)"):
        demonstrations(Dying(folder=str(tmp_path)), TASKS, settings, workers=2)
    assert not store_path(SUITE, TASKS[2], settings).exists()


def test_a_suite_that_cannot_be_sent_to_processes_is_reported(settings) -> None:
    class Local(Toy):
        pass

    with pytest.raises(SuiteError, match="cannot be sent"):
        demonstrations(Local(), TASKS[:2], settings, workers=2)
    assert len(demonstrations(Local(), TASKS[:2], settings, workers=0)) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_leaves_whole_stores_only(settings, workers: int) -> None:
    code = f"""
from tests.suites.demonstrators import Slow
from tests.toy import TASKS
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
if __name__ == "__main__":
    settings = DemonstrationSettings(episodes=30, folder={settings.folder!r})
    demonstrations(Slow(), TASKS, settings, lambda news: print(news.done, flush=True), workers={workers})
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while int(process.stdout.readline()) < 5:
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
        errors = process.stderr.read()
        process.wait()
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert process.returncode != 0
    end = time.monotonic() + 10
    while leftovers(settings) and time.monotonic() < end:
        time.sleep(0.05)
    assert leftovers(settings) == []
    for path in Path(settings.folder).glob("toy/*"):
        DemonstrationStore.open(path).verify()
    longer = change(settings, episodes=30)
    assert len(demonstrations(Toy(), TASKS[:1], longer, workers=0)) == 1


@pytest.mark.slow
def test_processes_whose_parent_was_killed_end_even_while_an_expert_fails(settings, tmp_path: Path) -> None:
    code = f"""
from tests.suites.demonstrators import Failing
from tests.toy import TASKS
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
if __name__ == "__main__":
    settings = DemonstrationSettings(episodes=3, folder={settings.folder!r})
    demonstrations(Failing(folder={str(tmp_path)!r}), TASKS[:2], settings, workers=2)
"""

    def numbers() -> list[int]:
        return [int(path.stem) for path in tmp_path.glob("*.pid")]

    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        while len(numbers()) < 2 and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    assert len(numbers()) == 2
    end = time.monotonic() + 60
    while any(Path(f"/proc/{number}").exists() for number in numbers()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{number}").exists() for number in numbers())


def test_slow_is_toy(settings) -> None:
    """The suite that the test above interrupts gives what Toy gives."""
    slow = demonstrations(Slow(), TASKS[:1], settings, workers=0)
    toy = demonstrations(SUITE, TASKS[:1], change(settings, folder=settings.folder + "-2"), workers=0)
    assert digests(slow) == digests(toy)


AT_ONCE = """
import sys
from tests.suites.demonstrators import Slow
from tests.toy import TASKS
from skilltokens.locking import WAITING
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import STAGE, demonstrations
news = []
settings = DemonstrationSettings(episodes=3, folder=sys.argv[1])
stores = demonstrations(Slow(), TASKS[:2], settings, news.append, workers=0)
made = max((entry.done for entry in news if entry.stage == STAGE), default=0)
print(made, any(entry.stage == WAITING for entry in news), *[store.digest for store in stores])
"""


def test_of_two_processes_at_once_one_makes_the_stores_and_the_other_waits_and_takes_them(settings) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    words = [sys.executable, "-c", AT_ONCE, settings.folder]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) for _ in range(2)]
    outputs = [process.communicate()[0].split() for process in both]
    assert sorted(made for made, *_ in outputs) == ["0", "6"]
    assert [waited for made, waited, *_ in outputs if made == "0"] == ["True"]
    assert outputs[0][2:] == outputs[1][2:]
    assert leftovers(settings) == []
