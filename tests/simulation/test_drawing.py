"""Demonstrations that are drawn from another suite's: states first, pictures later, and nothing is drawn twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.suites.demonstrators import Drawn
from tests.toy import TASKS, Toy

from skilltokens.demos import DemonstrationStore, stores_in, write_store
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations, store_path
from skilltokens.types import ACTION, STATE, DemonstrationError, Progress, SuiteError

TASK = TASKS[0]


@pytest.fixture
def settings(tmp_path: Path) -> DemonstrationSettings:
    return DemonstrationSettings(episodes=4, folder=str(tmp_path / "demos"))


@pytest.fixture
def suite(tmp_path: Path) -> Drawn:
    folder = tmp_path / "counted"
    folder.mkdir()
    return Drawn(folder=str(folder))


def drawn_by(suite: Drawn) -> list[str]:
    """TASK.INDEX of everything that was drawn, in order."""
    files = sorted(Path(suite.folder).iterdir(), key=lambda path: int(path.suffix[1:]))
    return [path.stem for path in files]


def hidden(settings: DemonstrationSettings) -> list[Path]:
    """The task's unfinished drawings. Another task's, drawn at the same time, may be finished or not."""
    return list(Path(settings.folder, "drawn").glob(f".{TASK.name}.drawn-*"))


def test_what_is_drawn_from_is_made_first(suite: Drawn, settings: DemonstrationSettings):
    reports: list[Progress] = []
    stores = demonstrations(suite, TASKS[:2], settings, reports.append, workers=0)
    assert [store.path.parent.name for store in stores] == ["drawn", "drawn"]
    for store, task in zip(stores, TASKS, strict=False):
        source = DemonstrationStore.open(store_path(suite.states, task, settings))
        np.testing.assert_array_equal(store[STATE], -source[STATE])
        assert store.settings == {**source.settings, "drawn_from": source.digest}
        assert (store.source, store.suite, store.versions) == ("scripted", "drawn", suite.versions())
    assert [(news.done, news.total) for news in reports][-1] == (8, 8)
    assert len(drawn_by(suite)) == 8
    assert hidden(settings) == []


def test_what_is_there_is_not_drawn_again(suite: Drawn, settings: DemonstrationSettings):
    (first,) = demonstrations(suite, [TASK], settings, workers=0)
    assert demonstrations(suite, [TASK], settings, workers=0)[0].digest == first.digest
    assert len(drawn_by(suite)) == 4


def test_a_killed_process_costs_the_episode_that_it_was_drawing(suite: Drawn, settings: DemonstrationSettings):
    dying = dataclasses.replace(suite, victim=TASK.name)
    with pytest.raises(SuiteError, match="died twice"):
        demonstrations(dying, TASKS[:2], settings, workers=2)
    assert drawn_by(suite).count(f"{TASK.name}.0") == 1  # the second attempt resumed there
    assert len(hidden(settings)) == 1
    (store,) = demonstrations(suite, [TASK], settings, workers=0)
    assert [name for name in drawn_by(suite) if name.startswith(TASK.name)] == [f"{TASK.name}.{i}" for i in range(4)]
    assert hidden(settings) == []
    other_folder = dataclasses.replace(settings, folder=settings.folder + "-2")
    assert demonstrations(suite, [TASK], other_folder, workers=0)[0].digest == store.digest


def test_unfinished_drawings_are_no_stores(suite: Drawn, settings: DemonstrationSettings):
    with pytest.raises(SuiteError, match="died twice"):
        demonstrations(dataclasses.replace(suite, victim=TASK.name), TASKS[:2], settings, workers=2)
    assert f"drawn/{TASK.name}" not in {f"{s.path.parent.name}/{s.path.name}" for s in stores_in(settings.folder)}


def test_episodes_drawn_in_another_way_are_not_taken(suite: Drawn, settings: DemonstrationSettings):
    with pytest.raises(SuiteError, match="died twice"):
        demonstrations(dataclasses.replace(suite, victim=TASK.name), TASKS[:2], settings, workers=2)
    demonstrations(dataclasses.replace(suite, version="2"), [TASK], settings, workers=0)
    assert drawn_by(suite).count(f"{TASK.name}.0") == 2
    assert hidden(settings) == []


@pytest.mark.parametrize(("name", "value"), [("episodes", 3), ("noise", 0.3), ("seed", 7)])
def test_stores_made_in_another_way_are_refused(suite: Drawn, settings: DemonstrationSettings, name: str, value: float):
    demonstrations(suite, [TASK], settings, workers=0)
    with pytest.raises(DemonstrationError, match=rf"drawn/reach-red has {name}"):
        demonstrations(suite, [TASK], dataclasses.replace(settings, **{name: value}), workers=0)


def test_pictures_of_other_states_are_refused(suite: Drawn, settings: DemonstrationSettings):
    demonstrations(suite, [TASK], settings, workers=0)
    source = DemonstrationStore.open(store_path(suite.states, TASK, settings))
    human(suite.states, settings, list(source)[::-1])
    with pytest.raises(DemonstrationError, match="has drawn_from"):
        demonstrations(suite, [TASK], settings, workers=0)


def test_humans_demonstrations_are_drawn_as_many_as_there_are(suite: Drawn, settings: DemonstrationSettings):
    source = human(suite.states, settings, list(suite.states.demonstrate(TASK, 2, 5, 0.0)))
    (store,) = demonstrations(suite, [TASK], settings, workers=0)
    assert (store.source, store.episodes) == ("human", 2)
    np.testing.assert_array_equal(store[ACTION], -source[ACTION])


def human(toy: Toy, settings: DemonstrationSettings, episodes: list) -> DemonstrationStore:
    """Somebody's demonstrations, in place of those that a script would make."""
    return write_store(
        store_path(toy, TASK, settings), episodes, task=TASK, features=toy.features, source="human", suite="toy"
    )


def _begun(suite: Drawn, settings: DemonstrationSettings) -> Path:
    """The folder of a drawing that died in its second episode."""
    with pytest.raises(SuiteError, match="died twice"):
        demonstrations(dataclasses.replace(suite, victim=TASK.name), TASKS[:2], settings, workers=2)
    (folder,) = hidden(settings)
    return folder


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-200], lambda content: content[:-1] + bytes([content[-1] ^ 1])]
)
def test_a_kept_episode_that_was_damaged_is_drawn_again(
    damage: Callable[[bytes], bytes], suite: Drawn, settings: DemonstrationSettings
):
    part = _begun(suite, settings) / "0.episode"
    part.write_bytes(damage(part.read_bytes()))
    (store,) = demonstrations(suite, [TASK], settings, workers=0)
    assert drawn_by(suite).count(f"{TASK.name}.0") == 2
    elsewhere = dataclasses.replace(settings, folder=settings.folder + "-2")
    assert demonstrations(suite, [TASK], elsewhere, workers=0)[0].digest == store.digest


def test_nothing_is_drawn_from_states_that_were_altered(suite: Drawn, settings: DemonstrationSettings):
    (states,) = demonstrations(suite.states, [TASK], settings, workers=0)
    content = bytearray((states.path / f"{STATE}.npy").read_bytes())
    content[-1] ^= 1
    (states.path / f"{STATE}.npy").write_bytes(content)
    with pytest.raises(DemonstrationError, match="was altered since it was written"):
        demonstrations(suite, [TASK], settings, workers=0)
    assert drawn_by(suite) == []
