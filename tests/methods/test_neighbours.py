"""Which skill a new one starts from: by words, by data, by a name; the same each time, and kept in run.json."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import ENCODER, TRAIN, lessons, make_policy, make_stores, numbers, teach
from tests.toy import TASKS

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import Lesson
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.neighbours import WINDOWS, asked_about_data
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.start.choosing import named_skill
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report.runs import read_run
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import DemonstrationError, SettingError

STARTING: dict[str, Any] = {
    "t2s": T2SSettings(),
    "lora": LoraSettings(start="copy"),
    "full copy": FullCopySettings(start="nearest"),
}
Run = Callable[[Any, str], Any]
starting = pytest.mark.parametrize("settings", STARTING.values(), ids=list(STARTING))


def make(settings: Any, train: TrainSettings = TRAIN) -> SkillMethod:
    method = load_method(method_of(settings))(make_policy(), settings, train, 0)
    assert isinstance(method, SkillMethod)
    return method


def taught(settings: Any, plan: list[Lesson], train: TrainSettings = TRAIN) -> SkillMethod:
    method = make(settings, train)
    for lesson in plan:
        teach(method, lesson, train)
    return method


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> list[Lesson]:
    """Red and blue are learned; then, in words that are none of theirs, what is done for red comes once more."""
    folder = tmp_path_factory.mktemp("again")
    red, blue = TASKS[:2]
    words = dataclasses.replace(red, name="other-words", instruction="head for blue over there", wordings=())
    stores = [*make_stores(folder, [blue, red], 12), *make_stores(folder / "more", [red], 3)]
    plan = lessons(stores)
    renamed = dataclasses.replace(plan[2], names=(words.name,), wordings=((words.instruction,),))
    return [*plan[:2], dataclasses.replace(renamed, embeddings=(ENCODER([words.instruction]),))]


@starting
def test_data_chooses_the_skill_that_does_what_is_shown_where_words_choose_another(settings: Any, again: list[Lesson]):
    train = dataclasses.replace(TRAIN, iterations=40, first_iterations=40, rate=3e-3)
    method = taught(dataclasses.replace(settings, near=-1.0), again[:2], train)
    method.begin(again[2])
    by_words = method.neighbour()
    method.settings = dataclasses.replace(settings, neighbour="data", near=-1.0)
    method.begin(again[2])
    by_data = method.neighbour()
    assert by_words is not None
    assert by_data is not None
    assert (by_words.name, by_words.by_instruction) == ("reach-blue", "reach-blue")
    assert (by_data.name, by_data.number, by_data.by_instruction) == ("reach-red", 1, "reach-blue")
    assert [score.score for score in by_data.scores] == sorted(score.score for score in by_data.scores)
    assert {score.skill for score in by_data.scores} == {"reach-blue", "reach-red", "base"}
    assert by_data.asked == 3


@starting
def test_the_chosen_skill_is_what_the_new_one_begins_as(settings: Any, toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:3])
    method = taught(settings, plan[:2])
    starts = {}
    for name in ("reach-red", "reach-blue", "1", "base"):
        method.settings = dataclasses.replace(settings, neighbour="named", named=("avoid-red=9", name))
        starts[name] = numbers(method.begin(plan[2]).policy)
        neighbour = method.neighbour()
        assert neighbour is not None
        assert neighbour.name == {"1": "reach-blue"}.get(name, name)
    alike = lambda a, b: all(torch.equal(starts[a][key], starts[b][key]) for key in starts[a])  # noqa: E731
    assert alike("reach-blue", "1")
    assert alike("base", "reach-red")  # the first skill is the base itself
    assert not alike("base", "reach-blue")


@starting
@pytest.mark.parametrize("rule", ["instruction", "data", "named"])
def test_a_lesson_that_begins_again_chooses_the_same_and_a_restored_one_chooses_nothing(
    settings: Any, rule: str, toy_stores: list[DemonstrationStore], tmp_path: Path
):
    named = ("reach-blue",) if rule == "named" else ()
    settings = dataclasses.replace(settings, neighbour=rule, named=named)
    plan = lessons(make_stores(tmp_path / "demos", TASKS[:3]))
    plan[1] = dataclasses.replace(plan[1], names=("reach-blue",))
    method = taught(dataclasses.replace(settings, named=("reach-red",) if named else ()), plan[:2])
    method.settings = settings
    first, choice = numbers(method.begin(plan[2]).policy), method.neighbour()
    again = method.begin(plan[2])
    assert method.neighbour() == choice
    assert all(torch.equal(value, first[name]) for name, value in numbers(again.policy).items())
    teach(method, plan[2])
    state = {name: tensor.clone() for name, tensor in method.state().items()}
    shutil.rmtree(tmp_path / "demos")
    restored = make(settings)
    restored.restore(state, plan)
    assert restored.neighbour() is None
    assert all(torch.equal(value, state[name]) for name, value in restored.state().items())


def test_demonstrations_that_are_gone_are_told_in_a_sentence(tmp_path: Path):
    plan = lessons(make_stores(tmp_path, TASKS[:2]))
    method = taught(T2SSettings(neighbour="data"), plan[:1])
    shutil.rmtree(tmp_path / TASKS[1].name)
    for lesson in (plan[1], dataclasses.replace(plan[1], stores=())):
        with pytest.raises(DemonstrationError, match=r"the demonstrations of reach-blue, .* not .*make them"):
            method.begin(lesson)


def test_of_many_skills_the_nearest_by_instruction_are_asked():
    generator = np.random.default_rng(0)
    wordings = [generator.standard_normal((2, 8)) for _ in range(100)]
    embedding = generator.standard_normal(8)
    asked = asked_about_data(embedding, wordings)
    assert len(asked) == 64
    assert asked == sorted(asked)
    nearness = [float((own @ embedding).max()) for own in wordings]
    assert min(nearness[i] for i in asked) >= max(nearness[i] for i in set(range(100)) - set(asked))
    assert asked_about_data(embedding, wordings[:5]) == [0, 1, 2, 3, 4]


def test_every_skill_is_asked_about_the_same_windows_and_no_noise(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    scores = []
    for noise in (0.0, 0.5):
        method = taught(T2SSettings(neighbour="data"), plan[:1])
        method.train = dataclasses.replace(TRAIN, observation_noise=noise)
        method.begin(plan[1])
        neighbour = method.neighbour()
        assert neighbour is not None
        scores.append(neighbour.scores)
    assert scores[0] == scores[1]
    assert WINDOWS % 64 == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (T2SSettings(neighbour="named"), "method.neighbour named goes by names: give method.named"),
        (T2SSettings(named=("a",)), "method.named is for the rule named: add method.neighbour named"),
        (LoraSettings(neighbour="data"), "chooses nothing where method.start is base: use method.start copy"),
        (FullCopySettings(neighbour="data"), "chooses nothing where method.start is base: use method.start nearest"),
    ],
)
def test_settings_of_a_rule_that_nothing_goes_by_are_refused(settings: Any, said: str):
    with pytest.raises(SettingError, match=said):
        check_settings(settings, "method")


def test_named_skills_are_found_by_name_then_by_number():
    names = ["hammer", "push", "hammer", "2"]
    named = ("drawer=push", "door=3", "lid=2", "cup=base", "hammer")
    chosen = [named_skill(named, task, names) for task in ("drawer", "door", "lid", "cup", "window")]
    assert chosen == [1, 3, 3, None, 0]
    assert named_skill(("base",), "cup", [*names, "base"]) == 4
    with pytest.raises(SettingError, match="says nothing of cup: add cup=SKILL"):
        named_skill(("drawer=push",), "cup", names)
    with pytest.raises(SettingError, match="start from 'hamer', which is none of the 4 skills before it: did you mean"):
        named_skill(("hamer",), "cup", names)
    with pytest.raises(SettingError, match="'9'"):
        named_skill(("9",), "cup", names)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One run of the toy suite in a folder of its name."""

    def go(method: Any, name: str) -> Any:
        settings = RunSettings(
            method=method,
            suite="tests.toy:Toy",
            tasks=("reach-red", "reach-blue", "between"),
            policy=PolicySettings(width=16, layers=1, history=4),
            train=TrainSettings(iterations=6, first_iterations=6, batch=8, window=6),
            evaluate=EvaluateSettings(episodes=2, group=2, at=(0.0, 0.2, 1.0)),
            demonstrations=DemonstrationSettings(episodes=2, folder=str(tmp_path / "demos")),
        )
        return learn(settings, tmp_path / name, recipe="small")

    return go


def test_run_json_says_what_each_skill_started_from_and_why(run: Run, tmp_path: Path):
    record = run(T2SSettings(neighbour="data"), "data")
    assert read_lifelong(tmp_path / "data").starts == record.starts
    assert [start.lesson for start in record.starts] == [1, 2]
    assert [start.asked for start in record.starts] == [2, 3]
    for start in record.starts:
        assert (start.rule, start.skill, start.number) == ("data", start.scores[0].skill, start.scores[0].number)
    assert sorted({cell.progress for cell in record.cells}) == [0.0, 0.2, 1.0]
    figures = read_run(tmp_path / "data").figures
    assert figures is not None
    assert figures.fwt is not None


def test_the_rule_by_instruction_is_kept_too(run: Run):
    record = run(LoraSettings(start="copy"), "words")
    assert [start.rule for start in record.starts] == ["instruction"] * 2
    assert [start.skill for start in record.starts] == [start.by_instruction for start in record.starts]


def test_a_name_that_there_is_not_is_refused_before_anything_is_learned(run: Run, tmp_path: Path):
    named = ("reach-blue=reach-red", "between=avoid-red")
    with pytest.raises(SettingError, match="has between start from 'avoid-red', which is none of the 2 skills before"):
        run(T2SSettings(neighbour="named", named=named), "named")
    assert not (tmp_path / "named" / "run.json").exists()
