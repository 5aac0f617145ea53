"""One skill after another into a library on disk, from stores alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.pictured import TOP, pictured_stores
from tests.toy import TASKS, Toy

from skilltokens.demos import DemonstrationStore, workspace_statistics, write_store
from skilltokens.grow import learn_skill
from skilltokens.settings import PolicySettings, T2SSettings, TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Episode,
    Feature,
    LanguageError,
    LibraryError,
    Task,
)

POLICY = PolicySettings(width=32, layers=2)
TRAIN = TrainSettings(iterations=15, first_iterations=15, batch=8)
METHOD = T2SSettings(share=0.3)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    folder, toy = tmp_path_factory.mktemp("demos"), Toy()
    return [
        write_store(
            folder / task.name,
            toy.demonstrate(task, 4, 0, 0.1),
            task=task,
            features=toy.features,
            source="scripted",
            suite="toy",
        )
        for task in TASKS[:3]
    ]


def learn(folder: Path, store: DemonstrationStore, **more) -> SkillLibrary:
    return learn_skill(folder, store, method=METHOD, train=TRAIN, policy=POLICY, **more)


def actions(library: SkillLibrary, instruction: str, store: DemonstrationStore) -> np.ndarray:
    actor = library.actor(instruction)
    memory = actor.start(2)
    seen = [{n: np.asarray(store[n][[step, step + 9]]) for n in library.features if n != "action"} for step in range(8)]
    return np.stack([actor.act(observation, memory) for observation in seen])


def test_old_skills_keep_their_bits_on_disk_and_in_action(stores: list[DemonstrationStore], tmp_path: Path):
    folder = tmp_path / "library"
    learned: dict[str, np.ndarray] = {}
    files: dict[Path, bytes] = {}
    for store in stores:
        learn(folder, store)
        library = SkillLibrary.open(folder)
        assert library.skills[-1].name == store.task.name
        learned[store.task.instruction] = actions(library, store.task.instruction, stores[0])
        for path, content in files.items():
            assert path.read_bytes() == content
        files |= {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
        for instruction, before in learned.items():
            np.testing.assert_array_equal(actions(library, instruction, stores[0]), before)
    assert len(files) == 4
    assert not np.array_equal(learned[stores[0].task.instruction], learned[stores[1].task.instruction])


def test_a_new_skill_stays_inside_its_budget(stores: list[DemonstrationStore], tmp_path: Path):
    learn(tmp_path, stores[0])
    library = learn(tmp_path, stores[1])
    base = sum(parameter.numel() for parameter in library.base.parameters())
    assert 0 < library.skills[1].parameters <= METHOD.share * base


def test_instruction_wordings_and_name_may_be_given(stores: list[DemonstrationStore], tmp_path: Path):
    learn(tmp_path, stores[0])
    learn(tmp_path, stores[1], name="blue", wordings=("paint it blue", "make it blue"))
    library = SkillLibrary.open(tmp_path)
    assert (library.skills[1].name, library.skills[1].wordings) == ("blue", ("paint it blue", "make it blue"))
    assert library.select("paint it blue")[0] == 1
    assert library.notes[1]["demonstrations"]["digest"] == stores[1].digest


def test_observations_are_scaled_by_the_first_store_for_good(stores: list[DemonstrationStore], tmp_path: Path):
    learn(tmp_path, stores[0])
    learn(tmp_path, stores[1])
    scales = SkillLibrary.open(tmp_path).base.shape.scales
    assert scales[ENVIRONMENT_STATE] == workspace_statistics([stores[0]])[ENVIRONMENT_STATE]


def test_pictures_are_looked_at(tmp_path: Path):
    for store in pictured_stores(tmp_path / "demos", TASKS[:2]):
        learn_skill(tmp_path / "library", store, train=TRAIN, policy=PolicySettings(width=64, layers=1))
    library = SkillLibrary.open(tmp_path / "library")
    assert library.base.shape.kinds == {TOP: "image"}
    assert library.features.keys() == {TOP, STATE, ACTION}
    assert len(library.skills) == 2


def test_a_known_suite_says_what_is_observed_and_how_it_is_scaled(tmp_path: Path):
    suite, random = load_suite("libero-goal"), np.random.default_rng(0)
    more = {**suite.features, "observation.extra": Feature((3,))}
    values = {name: random.uniform(-1, 1, (30, *feature.shape)) for name, feature in more.items()}
    store = write_store(
        tmp_path / "demos", [Episode(values)], task=suite.tasks[0], features=more, source="human", suite=suite.name
    )
    learn_skill(tmp_path / "library", store, train=TRAIN, policy=POLICY)
    shape = SkillLibrary.open(tmp_path / "library").base.shape
    assert shape.scales == {name: suite.scales[name] for name in (ENVIRONMENT_STATE, STATE)}
    assert shape.kinds == {ENVIRONMENT_STATE: "set"}


def test_the_same_words_give_the_same_library(stores: list[DemonstrationStore], tmp_path: Path):
    for name in ("a", "b"):
        for store in stores[:2]:
            learn(tmp_path / name, store)
    for path in (tmp_path / "a").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_mistakes_leave_the_library_as_it_was(stores: list[DemonstrationStore], tmp_path: Path):
    folder = tmp_path / "library"
    learn(folder, stores[0])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = {n: f for n, f in stores[1].features.items() if n != ENVIRONMENT_STATE}
    narrow = write_store(
        tmp_path / "narrow",
        (type(e)({n: e.features[n] for n in other}) for e in stores[1]),
        task=Task("narrow", "be narrow"),
        features=other,
        source="scripted",
        suite="toy",
    )
    with pytest.raises(LibraryError, match="already"):
        learn(folder, stores[0])
    with pytest.raises(LibraryError, match="environment_state"):
        learn(folder, narrow)
    with pytest.raises(LanguageError, match="empty"):
        learn(folder, stores[1], wordings=("  ",))
    with pytest.raises(LibraryError, match="no file name"):
        learn(folder, stores[1], name="../evil")
    (folder / "base.safetensors").write_bytes(before[folder / "base.safetensors"][:-1])
    with pytest.raises(LibraryError, match="truncated or altered"):
        learn(folder, stores[1])
    (folder / "base.safetensors").write_bytes(before[folder / "base.safetensors"])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
