"""ER and A-GEM: what they keep of the demonstrations, how it is spread, and what they do with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.pictured import TOP, pictured_lessons, pictured_policy, pictured_stores
from tests.small import TRAIN, lessons, make_policy, make_stores, teach
from tests.toy import TASKS, Toy

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.agem import AGEMSettings
from skilltokens.methods.agem.method import AGEM, Project, project
from skilltokens.methods.base import Lesson, Method
from skilltokens.methods.er import ERSettings
from skilltokens.methods.er import method as er
from skilltokens.methods.er.memory import Memory, most_bytes
from skilltokens.methods.er.method import ER, Replay
from skilltokens.methods.er.phases import MOST, SHORTEST, change_points, equal_shares, spread
from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.multitask.method import Multitask
from skilltokens.methods.rule import Now
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import ACTION, STATE, Episode, SettingError


def taught(method: Method, plan: list[Lesson], settings: TrainSettings = TRAIN) -> Any:
    for lesson in plan:
        teach(method, lesson, settings)
    return method


# ------------------------------------------------ what is kept


def same(one: Examples, other: Examples) -> bool:
    pairs = zip(sorted(one.tensors().items()), sorted(other.tensors().items()), strict=True)
    return all(a == b and x.dtype == y.dtype and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("number", [1, 5, 40, 10**6])
def test_kept_windows_are_those_of_the_demonstrations_bit_for_bit(
    chunk: int, number: int, toy_stores: list[DemonstrationStore]
):
    settings = dataclasses.replace(TRAIN, window=4)  # shorter than the episodes
    memory = Memory(settings)
    plan = [dataclasses.replace(lesson, chunk=chunk) for lesson in lessons(toy_stores[:3])]
    ends = []
    for lesson in plan:
        steps = lesson.stores[0].steps
        ends.append(np.sort(np.random.default_rng(steps).choice(steps, min(number, steps), replace=False)))
        memory.add(lesson, ends[-1])
    joint = dataclasses.replace(
        plan[0],
        stores=tuple(lesson.stores[0] for lesson in plan),
        embeddings=tuple(lesson.embeddings[0] for lesson in plan),
    )
    before = np.cumsum([0, *(store.steps for store in joint.stores)])
    numbers = np.concatenate([own + start for own, start in zip(ends, before, strict=False)])
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    replayed = memory.source().sample(200, one)
    expected = Source(joint, settings).at(numbers[other.integers(len(numbers), size=200)], other)
    assert same(replayed, expected)
    again = Memory(settings)
    again.restore(memory.state(), plan)
    assert same(again.source().sample(200, np.random.default_rng(3)), replayed)
    assert again.nbytes() == memory.nbytes()


def test_bytes_are_those_of_the_steps_and_never_more_than_the_demonstrations(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    step = (2 + 4 + 2) * 4
    whole = taught(ER(make_policy(), ERSettings(windows=10**6), TRAIN, 0), plan)
    few = taught(ER(make_policy(), ERSettings(windows=2), TRAIN, 0), plan)
    steps = sum(store.steps for store in toy_stores[:2])
    words = sum(lesson.embeddings[0].nbytes for lesson in plan)
    offsets = 8 * sum(store.episodes + 1 for store in toy_stores[:2])
    assert whole.remembered() == step * steps + 8 * steps + offsets + words
    assert few.remembered() < 0.6 * whole.remembered()
    assert most_bytes(plan, 10**6, TRAIN.window) == step * steps
    assert most_bytes([*plan, *plan], 1, TRAIN.window) == 2 * step * TRAIN.window
    assert few.remembered() - words <= most_bytes(plan, 2, TRAIN.window) + 2 * 8 * (2 + 3)
    assert whole.stored() == sum(parameter.numel() for parameter in whole.base.parameters())


def test_pictures_are_kept_in_bytes(tmp_path: Path):
    plan = pictured_lessons(pictured_stores(tmp_path))
    method = taught(ER(pictured_policy(), ERSettings(windows=4), TRAIN, 0), plan[:1])
    (kept,) = method.memory.lessons["reach-red"].stores
    assert kept[TOP].dtype == np.uint8
    assert kept[TOP].nbytes < method.remembered() <= most_bytes(plan[:1], 4, TRAIN.window) + 2000
    rule = method.begin(plan[1]).rule
    new = Source(plan[1], TRAIN).draw(np.random.default_rng(0))
    now = Now(0, 1, np.random.default_rng(0), np.random.default_rng(0))
    assert rule.examples(new, now).observation[TOP].dtype == torch.uint8


def test_a_task_that_comes_back_is_kept_once(toy_stores: list[DemonstrationStore]):
    red, blue = toy_stores[:2]
    method = ER(make_policy(), ERSettings(windows=5), TRAIN, 0)
    sizes = []
    for lesson in lessons([red, blue, red, red]):
        teach(method, lesson)
        sizes.append(len(method.memory))
    assert sizes == [5, 10, 10, 10]
    again = ER(make_policy(), ERSettings(windows=5), TRAIN, 0)
    again.restore(method.state(), lessons([red, blue, red, red]))
    assert {name: list(ends) for name, ends in again.memory.ends.items()} == {
        name: list(ends) for name, ends in method.memory.ends.items()
    }


def test_several_tasks_of_a_lesson_have_as_many_windows_each(toy_stores: list[DemonstrationStore]):
    (joint,) = lessons(toy_stores, joint=True)
    method = taught(ER(make_policy(), ERSettings(windows=7), TRAIN, 0), [joint])
    assert {name: len(ends) for name, ends in method.memory.ends.items()} == {task.name: 7 for task in TASKS}


def test_more_memory_than_there_is_is_refused_before_anything_is_written(
    toy_demos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings: RunSettings[Any] = RunSettings(
        method=ERSettings(windows=50),
        suite="tests.toy:Toy",
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(iterations=2, first_iterations=2, batch=8, window=6),
        evaluate=EvaluateSettings(episodes=2, group=2, points=1),
        demonstrations=DemonstrationSettings(episodes=4, folder=toy_demos),
    )
    monkeypatch.setattr(er, "available", lambda: 1000)
    with pytest.raises(SettingError, match=r"replay would take .* \(50 windows of 6 steps .*: lower method.windows"):
        learn(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    monkeypatch.setattr(er, "available", lambda: None)  # a system that does not say
    record = learn(settings, tmp_path / "run")
    assert record.passes == [1.0, 2.0, 2.0, 2.0]
    assert len(record.remembered) == 4
    assert record.remembered == sorted(set(record.remembered))


# ------------------------------------------------ which windows


def ends_of(settings: ERSettings, lesson: Lesson, seed: int) -> NDArray[np.int64]:
    """The last steps, over the demonstrations, of the windows that are kept."""
    return ER(make_policy(), settings, TRAIN, seed)._chosen(lesson, np.random.default_rng([seed, lesson.index, 0]))


def test_a_reservoir_is_a_fair_sample_of_all_episodes(toy_stores: list[DemonstrationStore]):
    (lesson,) = lessons(toy_stores[:1])
    (store,), draws, number = lesson.stores, 300, 10
    times = np.zeros(store.steps)
    for seed in range(draws):
        ends = ends_of(ERSettings(windows=number), lesson, seed)
        assert len(set(ends)) == number
        times[ends] += 1
    expected = draws * number / store.steps
    assert abs(times - expected).max() < 5 * np.sqrt(expected)
    episodes = np.array(
        [times[first:last].sum() for first, last in zip(store.offsets, store.offsets[1:], strict=False)]
    )
    shares = np.diff(store.offsets) / store.steps
    assert np.abs(episodes / (draws * number) - shares).max() < 0.04


def phased(folder: Path, lengths: list[list[int]], noise: float = 0.05) -> tuple[DemonstrationStore, list[list[int]]]:
    """Episodes in which the action jumps from phase to phase, and the steps at which it does."""
    random = np.random.default_rng(0)
    levels = np.array([[0.8, 0.0], [0.0, 0.6], [-0.7, 0.1], [0.1, -0.8]])
    episodes = []
    for phases in lengths:
        action = np.repeat(levels[: len(phases)], phases, 0) + noise * random.standard_normal((sum(phases), 2))
        observed: Mapping[str, Any] = {name: np.zeros((len(action), *f.shape)) for name, f in Toy().features.items()}
        seen = random.standard_normal((len(action), 2))
        episodes.append(Episode({**observed, STATE: seen, ACTION: action.clip(-1, 1)}))
    store = write_store(
        folder / "phased", episodes, task=TASKS[0], features=Toy().features, source="scripted", suite="toy"
    )
    return store, [list(np.cumsum(phases)[:-1]) for phases in lengths]


def test_change_points_are_where_the_actions_jump(tmp_path: Path):
    store, points = phased(tmp_path, [[20, 4, 30, 10], [15, 5, 25, 12], [40, 20], [7, 7, 7]])
    for number, expected in enumerate(points):
        assert change_points(store.episode(number).features[ACTION]) == expected


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_units_of_actions_change_no_phase(unit: float, tmp_path: Path):
    store, points = phased(tmp_path, [[20, 4, 30, 10]])
    actions = np.asarray(store.episode(0).features[ACTION], np.float64)
    assert change_points(unit * actions + 3) == points[0]
    still = np.concatenate([actions, np.full((len(actions), 1), 0.3)], 1)
    assert change_points(still) == points[0]


@pytest.mark.parametrize("actions", [np.zeros((30, 2)), np.ones((1, 2)), np.ones((9, 3))])
def test_an_episode_without_changes_is_one_phase(actions: NDArray[np.float64]):
    assert change_points(actions) == []


@given(st.integers(1, 120), st.integers(1, 7), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_phases_are_few_and_none_is_too_short(steps: int, width: int, seed: int, trend: float):
    random = np.random.default_rng(seed)
    actions = random.standard_normal((steps, width)) + trend * np.sign(np.sin(np.arange(steps) / 9))[:, None]
    points = change_points(actions)
    assert np.all(np.diff([0, *points, steps]) >= (SHORTEST if points else 0))
    assert len(points) < MOST


def test_noise_alone_makes_no_phases():
    random = np.random.default_rng(0)
    assert all(change_points(random.standard_normal((100, 4))) == [] for _ in range(50))


def test_phases_have_equal_memory_where_a_fair_sample_starves_short_ones(tmp_path: Path):
    lengths = [[60, 6, 60, 60], [80, 6, 40, 50]]
    store, points = phased(tmp_path, lengths)
    (lesson,) = lessons([store])
    starts = [0, *points[0], *(sum(lengths[0]) + np.array([0, *points[1]]))]

    def counts(settings: ERSettings) -> list[int]:
        ends = ends_of(settings, lesson, 0)
        assert len(set(ends)) == settings.windows
        times = Counter(int(np.searchsorted(starts, end, side="right")) for end in ends)
        return [times[i + 1] for i in range(8)]

    assert counts(ERSettings(windows=40, keep="phases")) == [5] * 8
    assert sorted(counts(ERSettings(windows=45, keep="phases"))) == [5, 5, 5] + [6] * 5
    # two short ones are kept whole, what they leave goes to the others
    assert sorted(counts(ERSettings(windows=72, keep="phases"))) == [6, 6, *[10] * 6]
    fair = counts(ERSettings(windows=40))
    assert max(fair[1], fair[5]) <= 3 < 8 <= max(fair)


def test_phases_keep_everything_where_there_is_room(toy_stores: list[DemonstrationStore]):
    store = toy_stores[0]
    assert list(spread(store, 10**6, np.random.default_rng(0))) == list(range(store.steps))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 200), st.integers(0, 99))
def test_equal_shares(sizes: list[int], total: int, seed: int):
    groups = np.array(sizes)
    shares = equal_shares(groups, total, np.random.default_rng(seed))
    assert shares.sum() == min(total, groups.sum())
    assert (shares <= groups).all()
    assert shares[shares < groups].min(initial=31) >= shares.max() - 1


# ------------------------------------------------ what is done with it


def test_old_windows_come_behind_the_new_ones_in_any_of_their_wordings(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:3])
    method = taught(ER(make_policy(), ERSettings(windows=9), TRAIN, 0), plan[:2])
    rule = method.begin(plan[2]).rule
    assert isinstance(rule, Replay)
    assert rule.passes == 2
    new = Source(plan[2], TRAIN).draw(np.random.default_rng(0))
    generator, words = np.random.default_rng(1), set[tuple[float, ...]]()
    for step in range(30):
        both = rule.examples(new, Now(step, 30, generator, np.random.default_rng(0)))
        assert both.parts == (TRAIN.batch, TRAIN.batch)
        assert same(both.split()[0], new)
        words |= {tuple(row) for row in both.words[TRAIN.batch :].tolist()}
    known = {tuple(row) for lesson in plan[:2] for row in lesson.embeddings[0].tolist()}
    assert words == known


def test_nothing_is_replayed_while_nothing_was_learned(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:1])
    plain, method = (kind(make_policy(), settings, TRAIN, 0) for kind, settings in KINDS)
    assert method.begin(plan[0]).rule.passes == 1
    for one in (plain, method):
        teach(one, plan[0])
    assert plain.base.fingerprint() == method.base.fingerprint()


KINDS: list[tuple[Any, Any]] = [(Sequential, SequentialSettings()), (ER, ERSettings())]


@pytest.mark.slow
def test_replay_of_all_demonstrations_approaches_learning_all_tasks_at_once(tmp_path: Path):
    plan = lessons(make_stores(tmp_path, TASKS[:3], 30))
    (joint,) = lessons([lesson.stores[0] for lesson in plan], joint=True)
    settings = dataclasses.replace(TRAIN, iterations=120, first_iterations=120, batch=16)

    def mean_loss(method: Method) -> float:
        """On all windows of the three tasks."""
        losses = []
        for lesson in plan:
            source, generator = Source(lesson, TRAIN), np.random.default_rng(0)
            with torch.no_grad():
                windows = source.at(np.arange(len(source)), generator)
                losses.append(float(imitation(method.base, windows, TRAIN, generator)))
        return float(np.mean(losses))

    rate = 3e-3
    forgets = mean_loss(taught(Sequential(make_policy(), SequentialSettings(rate=rate), settings, 0), plan, settings))
    replays = mean_loss(taught(ER(make_policy(), ERSettings(rate=rate, windows=10**6), settings, 0), plan, settings))
    longer = dataclasses.replace(settings, iterations=360)
    at_once = mean_loss(taught(Multitask(make_policy(), MultitaskSettings(rate=rate), settings, 0), [joint], longer))
    print(f"sequential {forgets:.4f}, replay {replays:.4f}, multitask {at_once:.4f}")
    assert replays < at_once + 0.15 * (forgets - at_once)


# ------------------------------------------------ A-GEM


def test_projection_takes_out_what_points_against_the_reference():
    random = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,), ()]
    reference = [torch.randn(shape, generator=random) for shape in shapes]
    for sign in (1.0, -1.0):
        gradients = [sign * r + 0.3 * torch.randn(r.shape, generator=random) for r in reference]
        before = [gradient.clone() for gradient in gradients]
        project(gradients, reference)
        g, b, r = (torch.cat([t.flatten() for t in tensors]).double() for tensors in (gradients, before, reference))
        if sign > 0:
            assert torch.equal(g, b)
        else:
            assert b @ r < 0
            assert abs(float(g @ r)) < 1e-5
            torch.testing.assert_close(g, b - (b @ r) / (r @ r) * r, rtol=1e-5, atol=1e-6)


def test_projected_gradients_do_not_raise_the_old_loss(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    method = taught(AGEM(make_policy(), AGEMSettings(windows=60), TRAIN, 0), plan[:1])
    rule = method.begin(plan[1]).rule
    assert isinstance(rule, Project)
    assert rule.passes == 2
    parameters = list(method.base.parameters())
    for seed in range(3):
        old = rule.memory.sample(TRAIN.batch, np.random.default_rng(seed))
        reference = torch.autograd.grad(imitation(method.base, old, TRAIN, np.random.default_rng(0)), parameters)
        noise = torch.Generator().manual_seed(seed)
        for towards in (1.0, -1.0):
            for parameter, gradient in zip(parameters, reference, strict=True):
                parameter.grad = towards * gradient + 0.01 * torch.randn(gradient.shape, generator=noise)
            before = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
            rule.gradients(Now(0, 8, np.random.default_rng(seed), np.random.default_rng(0)))
            after = [parameter.grad for parameter in parameters if parameter.grad is not None]
            product = sum(float((gradient * r).sum()) for gradient, r in zip(after, reference, strict=True))
            if towards > 0:
                assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
            else:
                assert abs(product) < 1e-4 * sum(float(r.square().sum()) for r in reference) + 1e-6
