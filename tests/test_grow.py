"""One skill after another into a library on disk, from stores alone."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.pictured import TOP, pictured_stores
from tests.toy import TASKS, Toy

from skilltokens import grow
from skilltokens.demos import DemonstrationStore, workspace_statistics, write_store
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.grow import learn_skill
from skilltokens.locking import locked
from skilltokens.methods.attached import AttachedRowsSettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import import_skill
from skilltokens.skills.verifying import verify
from skilltokens.suites import load_suite
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    NOTE,
    STATE,
    DemonstrationError,
    Episode,
    Feature,
    LanguageError,
    LibraryError,
    Progress,
    SettingError,
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
    assert library.select("paint it blue").chosen == 1
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
    values[ENVIRONMENT_STATE][..., 0] = 1
    store = write_store(
        tmp_path / "demos", [Episode(values)], task=suite.tasks[0], features=more, source="human", suite=suite.name
    )
    news: list[Progress] = []
    learn_skill(tmp_path / "library", store, train=TRAIN, policy=POLICY, report=news.append)
    said = "the policy does not look at 'observation.extra' (float32 (3,): the suite 'libero-goal' does not observe it)"
    assert said in [one.note for one in news if one.stage == NOTE]
    shape = SkillLibrary.open(tmp_path / "library").base.shape
    assert shape.scales == {name: suite.scales[name] for name in (ENVIRONMENT_STATE, STATE)}
    assert shape.kinds == {ENVIRONMENT_STATE: "set"}


LAMP, THINGS = "observation.lamp", "observation.things"
READ = {
    "int32": (LAMP, Feature((1,), "int32"), "vector"),
    "bool": (LAMP, Feature((1,), "bool"), "vector"),
    "uint8": (LAMP, Feature((1,), "uint8"), "vector"),
    "set": (THINGS, Feature((2, 2)), "set"),
    "picture in floats": (TOP, Feature((32, 32, 3), "float64"), "float image"),
}


def lit(kind: str, on: bool, rows: int) -> np.ndarray:
    """What is seen of a lamp that is on, or off."""
    if kind == "set":
        return np.tile(np.array([[1.0, on], [0.0, 0.0]], np.float32), (rows, 1, 1))
    return np.full((rows, *READ[kind][1].shape), on, READ[kind][1].dtype)


def lamp_store(
    folder: Path, kind: str, name: str = "press", sign: int = 1, more: Mapping[str, Feature] | None = None
) -> DemonstrationStore:
    """What shall be done depends on the lamp alone: up where it is on, else down; `sign` -1: the reverse."""
    more = more or {}
    random, (feature, shape, _) = np.random.default_rng(0), READ[kind]
    episodes = [
        Episode(
            {
                STATE: random.uniform(-1, 1, (8, 2)),
                feature: lit(kind, on, 8),
                ACTION: np.full((8, 1), sign * (1 if on else -1)),
                **{n: np.zeros((8, *f.shape), f.dtype) for n, f in more.items()},
            }
        )
        for on in (True, False) * 4
    ]
    features = {STATE: Feature((2,)), feature: shape, ACTION: Feature((1,)), **more}
    task = Task(name, f"{name} what is lit")
    return write_store(folder / name, episodes, task=task, features=features, source="human", suite="own")


@pytest.mark.parametrize("kind", READ)
def test_what_is_no_vector_of_floats_is_looked_at(kind: str, tmp_path: Path):
    name, feature, read_as = READ[kind]
    store = lamp_store(tmp_path, kind)
    train = replace(TRAIN, first_iterations=60, rate=5e-3)
    library = learn_skill(tmp_path / "library", store, train=train, policy=PolicySettings(width=32, layers=1))
    assert library.features == {STATE: Feature((2,)), name: Feature(feature.shape), ACTION: Feature((1,))}
    assert library.base.shape.kinds.get(name, "vector") == read_as
    actor, state = library.actor(store.task.instruction), np.zeros((1, 2), np.float32)
    on, off = (actor.act({STATE: state, name: lit(kind, lamp, 1)}, actor.start(1))[0, 0] for lamp in (True, False))
    assert on > 0.5 > -0.5 > off
    reopened = SkillLibrary.open(tmp_path / "library")
    assert reopened.features == library.features
    assert not [finding for finding in verify(tmp_path / "library", actions=True) if finding.fault]


def test_what_is_not_looked_at_is_said_before_the_training(tmp_path: Path):
    more = {"observation.voxels": Feature((2, 2, 2, 2)), "observation.small": Feature((8, 8, 3), "uint8")}
    news: list[Progress] = []
    learn(tmp_path / "library", lamp_store(tmp_path, "bool", more=more), report=news.append)
    stages = [one.stage for one in news]
    assert stages.index(NOTE) < stages.index("train")
    assert news[stages.index(NOTE)].note == (
        "the policy does not look at 'observation.voxels' (float32 (2, 2, 2, 2): it has 4 dimensions, where 1 to 3 can "
        "be read); nor at 'observation.small' (uint8 (8, 8, 3): a picture needs 32 x 32 pixels at least)"
    )
    force, news = {"observation.force": Feature((6,))}, []
    learn(tmp_path / "library", lamp_store(tmp_path, "bool", "shun", -1, force), report=news.append)
    assert "the policy does not look at 'observation.force' (float32 (6,): the library was made without it)" in [
        one.note for one in news if one.stage == NOTE
    ]


def test_dtypes_of_pictures_are_compared(tmp_path: Path):
    learn(tmp_path / "library", lamp_store(tmp_path, "picture in floats"))
    picture = {TOP: Feature((32, 32, 3), "uint8")}
    other = lamp_store(tmp_path, "bool", "shun", -1, picture)
    with pytest.raises(LibraryError, match=r"is float32 \(32, 32, 3\) in .* but uint8 .*x / np.float32\(255\)"):
        learn(tmp_path / "library", other)


@pytest.mark.parametrize("first", [True, False])
def test_what_a_policy_would_take_for_something_else_is_refused(first: bool, tmp_path: Path):
    folder, bright = tmp_path / "library", {TOP: Feature((32, 32, 3))}
    if not first:
        learn(folder, lamp_store(tmp_path, "bool", "press", more=bright))
    features = {STATE: Feature((2,)), LAMP: Feature((1,)), **bright, ACTION: Feature((1,))}
    values = {name: np.zeros((6, *feature.shape)) for name, feature in features.items()}
    values[TOP][3] = 255
    store = write_store(
        tmp_path / "dazzle",
        [Episode(values)],
        task=Task("dazzle", "dazzle it"),
        features=features,
        source="human",
        suite="own",
    )
    with pytest.raises(DemonstrationError, match=r"episode 0, step 3, .*top', entry \(0, 0, 0\) holds 255, outside"):
        learn(folder, store)
    assert folder.exists() is not first


def test_the_same_words_give_the_same_library(stores: list[DemonstrationStore], tmp_path: Path):
    for name in ("a", "b"):
        for store in stores[:2]:
            learn(tmp_path / name, store)
    for path in (tmp_path / "a").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_library_stays_where_it_is_when_a_skill_is_learned_elsewhere(
    stores: list[DemonstrationStore], tmp_path: Path
):
    for store in stores[:2]:
        learn(tmp_path, store)
    library = SkillLibrary.open(tmp_path)
    train = replace(TRAIN, device="meta")  # which has room for shapes alone: it cannot be trained on
    learner = grow._learner(library.base, library, METHOD, train, 0)
    *_, lesson = lessons_of([store.task for store in stores], stores, library.language(), groups_of(len(stores)))
    training = learner.begin(lesson)
    tensors = [*training.policy.parameters(), *training.policy.buffers(), *training.parameters()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {tensor.device.type for tensor in library.actor_of(library.names[0], "meta").policy.parameters()} == {"meta"}
    kept = [*library.base.parameters(), *library.base.buffers(), *library.skills[1].tensors.values()]
    assert {tensor.device.type for tensor in kept} == {"cpu"}


def test_impossible_settings_are_refused_before_anything_is_made(stores: list[DemonstrationStore], tmp_path: Path):
    for said, train, policy in (
        ("train.log_every 0", replace(TRAIN, log_every=0), POLICY),
        ("no device 'gpu'", replace(TRAIN, device="gpu"), POLICY),
        ("policy.heads 0", TRAIN, replace(POLICY, heads=0)),
        ("train.window 4 is shorter than policy.history 10", replace(TRAIN, window=4), POLICY),
        ("a library grows by policies of pattention maps, not linear", TRAIN, replace(POLICY, maps="linear")),
    ):
        with pytest.raises(SettingError, match=said):
            learn_skill(tmp_path / "library", stores[0], train=train, policy=policy)
    with pytest.raises(SettingError, match=r"method\.rate 0"):
        learn_skill(tmp_path / "library", stores[0], method=replace(METHOD, rate=0.0))
    assert not list(tmp_path.iterdir())


def test_a_library_is_not_put_among_other_things(stores: list[DemonstrationStore], tmp_path: Path):
    before = {path: path.read_bytes() for path in stores[0].path.rglob("*")}
    (tmp_path / "file").write_text("mine")
    for folder, message in ((stores[0].path, "is no library and not empty"), (tmp_path / "file", "is a file")):
        with pytest.raises(LibraryError, match=message):
            learn(folder, stores[0])
    assert {path: path.read_bytes() for path in stores[0].path.rglob("*")} == before


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
        learn(folder, stores[0], seed=1)
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


# ------------------------------------------------ what is said before a training


def files_of(folder: Path) -> dict[Path, bytes]:
    """The files of a library that say or decide anything."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


def test_a_folder_without_a_library_is_no_new_one_unless_asked_for(stores: list[DemonstrationStore], tmp_path: Path):
    with pytest.raises(LibraryError, match="holds no skill library"):
        learn(tmp_path / "mistyped", stores[0], new=False)
    assert not (tmp_path / "mistyped").exists()
    learn(tmp_path / "library", stores[0], new=True)
    with pytest.raises(LibraryError, match="holds a skill library already"):
        learn(tmp_path / "library", stores[1], new=True)


def test_the_same_call_again_changes_nothing(stores: list[DemonstrationStore], tmp_path: Path):
    for number in range(2):
        learn(tmp_path, stores[number], new=True if number == 0 else None)
    before = files_of(tmp_path)
    learn(tmp_path, stores[0], new=True)
    library = learn(tmp_path, stores[1])
    assert files_of(tmp_path) == before
    assert library.names == [store.task.name for store in stores[:2]]


def test_a_skill_is_taught_again_as_a_new_version(stores: list[DemonstrationStore], tmp_path: Path):
    learn(tmp_path, stores[0])
    learn(tmp_path, stores[1])
    words = stores[1].task.instruction
    old = actions(SkillLibrary.open(tmp_path), words, stores[0])
    library = learn(tmp_path, stores[1], seed=3, again=True)
    assert (len(library.names), library.state.newest(stores[1].task.name).version) == (2, 2)
    assert not np.array_equal(actions(SkillLibrary.open(tmp_path), words, stores[0]), old)
    library.undo()
    np.testing.assert_array_equal(actions(SkillLibrary.open(tmp_path), words, stores[0]), old)


def test_words_of_another_skill_are_taken_over_only_where_that_is_allowed(
    stores: list[DemonstrationStore], tmp_path: Path
):
    first, second = stores[:2]
    learn(tmp_path, first, wordings=("go to the red marker please",))
    before = files_of(tmp_path)
    for words in ((first.task.instruction,), ("go to the red marker please!",)):  # one that it was called, and its own
        news: list[Progress] = []
        with pytest.raises(LibraryError, match=f"would call '{second.task.name}' and no more '{first.task.name}'"):
            learn(tmp_path, second, wordings=words, report=news.append)
        assert not [one for one in news if one.stage == "train"]
    assert files_of(tmp_path) == before
    news = []
    learn(tmp_path, second, wordings=(first.task.instruction,), take_over=True, report=news.append)
    assert any(one.stage == "note" and "would call" in one.note for one in news)


def test_demonstrations_kept_aside_measure_the_skill_and_are_not_learned_from(
    stores: list[DemonstrationStore], tmp_path: Path
):
    whole = learn(tmp_path / "whole", stores[0], aside=0)
    spared = learn(tmp_path / "spared", stores[0], aside=2)
    assert "aside" not in whole.notes[0]
    about = spared.notes[0]["aside"]
    assert about["episodes"] == 2
    assert about["steps"] == sum(len(stores[0].episode(i).features[ACTION]) for i in (2, 3))
    assert 0 < about["error"] < 2
    assert spared.fingerprints() != whole.fingerprints()
    with pytest.raises(SettingError, match="4 of 4 demonstrations cannot be kept aside"):
        learn(tmp_path / "none", stores[0], aside=4)
    assert not (tmp_path / "none").exists()


def test_a_part_of_a_store_is_its_episodes(stores: list[DemonstrationStore]):
    part = stores[0].part(1, 3)
    assert (part.episodes, len(part.offsets)) == (2, 3)
    for index in range(2):
        for name, array in stores[0].episode(1 + index).features.items():
            np.testing.assert_array_equal(part.episode(index).features[name], array)
    assert part.steps == len(part[ACTION])
    with pytest.raises(IndexError):
        stores[0].part(2, 2)


def test_a_skill_that_the_library_cannot_take_is_kept_beside_it(
    stores: list[DemonstrationStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "library"
    learn(folder, stores[0])

    def full(*_: object, **__: object) -> None:
        raise LibraryError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(SkillLibrary, "add", full)
        with pytest.raises(LibraryError, match="the disk is full; the skill is learned and kept in"):
            learn(folder, stores[1])
    assert SkillLibrary.open(folder).names == [stores[0].task.name]
    library = SkillLibrary.open(folder)
    import_skill(library, tmp_path / f"{stores[1].task.name}.skill")
    kept = actions(SkillLibrary.open(folder), stores[1].task.instruction, stores[0])
    learn(tmp_path / "other", stores[0])
    learn(tmp_path / "other", stores[1])
    np.testing.assert_array_equal(
        kept, actions(SkillLibrary.open(tmp_path / "other"), stores[1].task.instruction, stores[0])
    )


def test_a_library_that_is_being_made_says_who_makes_it(stores: list[DemonstrationStore], tmp_path: Path):
    folder = tmp_path / "library"
    written = pytest.raises(LibraryError, match="is being written by process")
    with locked(folder), ThreadPoolExecutor(1) as other, written:  # a lock belongs to a thread
        other.submit(learn, folder, stores[0]).result()
    learn(folder, stores[0])


def test_a_skill_may_be_learned_by_lora(stores: list[DemonstrationStore], tmp_path: Path):
    learn(tmp_path, stores[0])
    settings = LoraSettings(share=0.3)
    library = learn_skill(tmp_path, stores[1], method=settings, train=TRAIN)
    assert library.records[1].form == "lora"
    before = actions(library, stores[1].task.instruction, stores[0])
    learn(tmp_path, stores[2])
    np.testing.assert_array_equal(actions(SkillLibrary.open(tmp_path), stores[1].task.instruction, stores[0]), before)
    with pytest.raises(SettingError, match="sequential keeps one policy for all"):
        learn_skill(tmp_path, stores[1], name="other", method=SequentialSettings(), train=TRAIN)
    with pytest.raises(SettingError, match="attached_rows is a method of `skilltokens run`"):
        learn_skill(tmp_path, stores[1], name="other", method=AttachedRowsSettings(), train=TRAIN)


def arm_store(path: Path, name: str, target: float, reach: float = 60.0) -> DemonstrationStore:
    """An arm whose two joints, in degrees, are told where to go; a gripper from 0 to 100 beside them."""
    random = np.random.default_rng(len(name))
    episodes = []
    for _ in range(12):
        joints = np.linspace(random.uniform(-reach, reach, 2), [target, -target], 15)
        following = np.vstack([joints[1:], joints[-1:]])
        gripper = np.linspace(0, 100, 15)[:, None]
        state, action = np.hstack([joints, gripper]), np.hstack([following, gripper])
        episodes.append(Episode({STATE: state, ACTION: action}))
    features = {STATE: Feature((3,)), ACTION: Feature((3,))}
    task = Task(name, f"bring the arm to the {name}")
    return write_store(path, episodes, task=task, features=features, source="human", suite="own")


def test_actions_in_degrees_are_learned_and_done_in_degrees(tmp_path: Path):
    left, right = (arm_store(tmp_path / name, name, at) for name, at in (("left", 40.0), ("right-hand-side", -40.0)))
    train = TrainSettings(first_iterations=300, iterations=200)
    settings = {"train": train, "policy": PolicySettings(width=32), "method": T2SSettings(share=0.3, mu=0.9)}
    learn_skill(tmp_path / "library", left, **settings)
    library = learn_skill(tmp_path / "library", right, **settings)
    shape = SkillLibrary.open(tmp_path / "library").shape
    assert shape.action == workspace_statistics([left.part(0, 11)])[ACTION]  # one is kept aside
    for store in (left, right):
        actor, episode = library.actor(store.task.instruction), store.episode(0).features
        memory = actor.start(1)
        action = [actor.act({STATE: row[None]}, memory)[0] for row in np.asarray(episode[STATE])]
        assert np.abs(np.array(action) - episode[ACTION]).mean() < 8  # of a range of 120 degrees and 100 parts
    before = [library.policy(number).fingerprint() for number in (0, 1)]
    again = SkillLibrary.open(tmp_path / "library")
    assert [again.policy(number).fingerprint() for number in (0, 1)] == before


def test_constants_of_a_new_library_may_be_measured_on_further_stores(tmp_path: Path):
    near = arm_store(tmp_path / "near", "near", 5.0, 5.0)
    far = arm_store(tmp_path / "far", "far", 100.0, 170.0)
    news: list[Progress] = []
    small = {"train": TrainSettings(first_iterations=2, iterations=2), "policy": PolicySettings(width=16)}
    learn_skill(tmp_path / "one", near, **small, report=news.append)
    assert any("in the robot's own units" in line.note for line in news if line.stage == NOTE)
    news.clear()
    learn_skill(tmp_path / "one", far, **small, method=T2SSettings(share=0.3, mu=0.9), report=news.append)
    notes = [line.note for line in news if line.stage == NOTE]
    assert any("numbers in 'observation.state'" in note and "--constants" in note for note in notes)
    assert any("numbers in 'action'" in note for note in notes)
    news.clear()
    learn_skill(tmp_path / "two", near, **small, constants=[far])
    learn_skill(tmp_path / "two", far, **small, method=T2SSettings(share=0.3, mu=0.9), report=news.append)
    assert not [line.note for line in news if line.stage == NOTE]
    with pytest.raises(SettingError, match="fixed with a library's first skill"):
        learn_skill(tmp_path / "two", near, **small, name="near-again", constants=[far])


def test_a_library_learns_from_scenes_moved_aside_where_it_is_said_what_moves(
    stores: list[DemonstrationStore], tmp_path: Path
):
    shifted = replace(TRAIN, shift=0.05)
    with pytest.raises(SettingError, match=r"train.shift is impossible: .* does not say which .* by train.places"):
        learn_skill(tmp_path / "never", stores[0], train=shifted, policy=POLICY)
    assert not (tmp_path / "never").exists()
    shifted = replace(shifted, places=(f"{STATE}:0", f"{ENVIRONMENT_STATE}:0,2"))
    plain, moved, again = (
        learn_skill(tmp_path / name, stores[0], train=train, policy=POLICY)
        for name, train in (("plain", TRAIN), ("moved", shifted), ("again", shifted))
    )
    said = stores[0].task.instruction
    assert (actions(moved, said, stores[0]) == actions(again, said, stores[0])).all()
    assert (actions(moved, said, stores[0]) != actions(plain, said, stores[0])).any()


def test_a_chunk_longer_than_every_demonstration_makes_no_library(tmp_path: Path, stores: list[DemonstrationStore]):
    with pytest.raises(SettingError, match=r"policy\.chunk 99 is longer than every demonstration of 'reach-red'"):
        learn_skill(tmp_path / "library", stores[0], train=TRAIN, policy=replace(POLICY, chunk=99))
    assert not (tmp_path / "library").exists()
