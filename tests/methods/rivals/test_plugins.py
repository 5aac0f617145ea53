"""Two rivals as plug-ins on rules: each runs, is interrupted and resumes bit for bit, and does what its name says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.experiments.lifelong.runs import TASKS, figures
from tests.methods.rivals.lwf import LwF, LwFSettings
from tests.methods.rivals.packnet import PackNet, PackNetSettings
from tests.small import TRAIN, called, changed, lessons, make_policy, numbers, observations, teach, train

from skilltokens import methods
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments import checkpoint
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import Registration
from skilltokens.methods.base import Method
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import Progress

RIVALS: dict[str, Any] = {
    "lwf": LwFSettings(),
    "packnet": PackNetSettings(tasks=3),
}
CLASSES: dict[str, type[Method]] = {"lwf": LwF, "packnet": PackNet}
DECAYING = dataclasses.replace(TRAIN, iterations=8, first_iterations=8, weight_decay=0.01, observation_noise=0.05)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in RIVALS.items():
        target = f"{CLASSES[name].__module__}:{CLASSES[name].__name__}"
        monkeypatch.setitem(methods.METHODS, name, Registration(name, target, type(settings)))


def build(name: str, train: TrainSettings = DECAYING, **changes: Any) -> Any:
    return CLASSES[name](make_policy(), dataclasses.replace(RIVALS[name], **changes), train, 0)


# ------------------------------------------------ interruptions


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demos")


def run_of(name: str, demos: Path) -> RunSettings[Any]:
    return RunSettings(
        method=RIVALS[name],
        suite="tests.toy:Toy",
        tasks=TASKS,
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(
            iterations=12,
            first_iterations=12,
            batch=8,
            window=6,
            log_every=1,
            observation_noise=0.01,
            weight_decay=0.01,
        ),
        evaluate=EvaluateSettings(episodes=2, group=2, points=3),
        demonstrations=DemonstrationSettings(episodes=4, folder=str(demos)),
    )


@pytest.mark.parametrize("name", RIVALS)
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(name: str, demos: Path, tmp_path: Path):
    settings = run_of(name, demos)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    learn(settings, whole)

    def stop(news: Progress) -> None:
        if news.lesson == 1 and news.stage == "train" and news.done == 8:
            raise ConnectionError("the news can't be told")

    with pytest.raises(ConnectionError):
        learn(settings, cut, stop)
    before = checkpoint.load_progress(cut, checkpoint.Tie.of(read_lifelong(cut), 1))
    assert before is not None
    assert before.start[1]["step"] == 6
    steps: list[int] = []
    learn(settings, cut, lambda news: steps.append(news.done) if news.stage == "train" else None)
    assert steps[0] == 6
    assert figures(cut) == figures(whole)
    states = [checkpoint.load_state(folder, 3, read_lifelong(folder).state) for folder in (whole, cut)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# ------------------------------------------------ known answers


def both_taught(first: Method, second: Method, stores: list[DemonstrationStore]) -> None:
    for lesson in lessons(stores[:3]):
        for method in (first, second):
            teach(method, lesson, DECAYING)


def test_a_weight_of_0_is_fine_tuning_bit_for_bit(toy_stores: list[DemonstrationStore]):
    plain, rival = Sequential(make_policy(), SequentialSettings(), DECAYING, 0), build("lwf", weight=0.0)
    both_taught(plain, rival, toy_stores)
    assert not changed(numbers(plain.base), rival.base)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_not_fine_tuning(name: str, toy_stores: list[DemonstrationStore]):
    plain, rival = Sequential(make_policy(), SequentialSettings(), DECAYING, 0), build(name)
    both_taught(plain, rival, toy_stores)
    assert changed(numbers(plain.base), rival.base)


def test_old_instructions_are_answered_as_before(toy_stores: list[DemonstrationStore]):
    plan, seen, ways = lessons(toy_stores[:2]), observations(toy_stores[1], 4), []
    for weight in (0.0, 30.0):
        method = build("lwf", dataclasses.replace(DECAYING, iterations=30), weight=weight)
        teach(method, plan[0], DECAYING)
        before = called(method, plan[0], seen)
        teach(method, plan[1], dataclasses.replace(DECAYING, iterations=30))
        ways.append(float(np.square(called(method, plan[0], seen) - before).mean()))
    assert ways[1] < 0.3 * ways[0]


def test_what_a_task_owns_never_moves_again(toy_stores: list[DemonstrationStore]):
    method, plan, seen = build("packnet"), lessons(toy_stores[:3]), observations(toy_stores[0], 4)
    learned = []
    for lesson in plan:
        teach(method, lesson, DECAYING)
        learned.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, learned, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    owner = method.kept["layers.0.ffn.key"]
    shares = [float((owner == number).float().mean()) for number in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)
    assert set(method.kept["layers.0.distance"].unique().tolist()) == {1}
    assert not np.array_equal(learned[0], learned[1])


def test_without_weights_left_a_task_changes_nothing(toy_stores: list[DemonstrationStore]):
    method, plan = build("packnet", tasks=2), lessons(toy_stores[:3])
    for lesson in plan[:2]:
        teach(method, lesson, DECAYING)
    before = numbers(method.base)
    train(method.begin(plan[2]), DECAYING)
    assert not changed(before, method.base)
