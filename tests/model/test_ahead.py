"""Acting ahead: chunks of actions, what is remembered between two looks, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small import (
    LANGUAGE,
    POLICY,
    act,
    lessons,
    make_method,
    make_policy,
    make_stores,
    observations,
    train,
    variants,
)
from tests.toy import TASKS, Toy

from skilltokens.behaviour.agents import PolicyAgent
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lessons import lessons_of
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import METHODS, method_settings
from skilltokens.methods.base import Lesson, Training
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.prompts import PromptsSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.model.ahead import Ahead
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.model.task_token import TaskToken
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.simulation.rollout import evaluate
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, Scale, SettingError

CHUNKED = replace(POLICY, history=4, chunk=4)


def embedding() -> Array:
    return np.full(LANGUAGE, LANGUAGE**-0.5, np.float32)


def lively(settings: PolicySettings, store: DemonstrationStore) -> Policy:
    """A policy whose actions depend on what it sees and remembers."""
    policy = make_policy(settings)
    (lesson,) = lessons([store])
    lesson = replace(lesson, chunk=settings.chunk)
    train(Training(policy, [{"params": list(policy.parameters()), "lr": 1e-2}], [lesson]))
    return policy


def window_of(policy: Policy, seen: list[dict[str, Array]], stride: int) -> np.ndarray:
    """All predictions (batch, steps, chunk, A) of a whole window in which every `stride`-th step is seen."""
    batch = len(seen[0][STATE])
    window = {name: torch.as_tensor(np.stack([step[name] for step in seen], 1)) for name in policy.shape.scales}
    words = torch.as_tensor(embedding()).expand(batch, -1)
    with torch.no_grad():
        return policy.chunks(policy(window, words, stride=torch.full((batch,), stride))).numpy()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "settings", variants(step=("joint", "separate"), head=("regression", "mixture")), ids=lambda s: f"{s.step}-{s.head}"
)
def test_acting_ahead_is_what_was_trained(settings: PolicySettings, n: int, toy_stores: list[DemonstrationStore]):
    policy = lively(replace(settings, chunk=4), toy_stores[0])
    actor, seen = PolicyActor(policy, embedding()), observations(toy_stores[0], 24)
    memory = actor.start(3)
    looks = range(0, len(seen), n)
    chunks = np.stack([actor.chunk(seen[step], memory, n) for step in looks], 1)
    assert chunks.shape == (3, len(looks), n, 2)
    assert memory.age == len(looks) * n
    np.testing.assert_allclose(chunks, window_of(policy, seen, n)[:, looks, :n], rtol=0, atol=2e-5)
    if 1 < n < settings.history:  # the steps between are really left out
        assert np.abs(chunks - window_of(policy, seen, 1)[:, looks, :n]).max() > 1e-3


def test_a_task_tokens_weights_move_with_the_memory(toy_stores: list[DemonstrationStore]):
    """Looks at uneven distances, where attention has weights too: as a window that has the seen steps alone."""
    policy = lively(CHUNKED, toy_stores[0])
    token = TaskToken({STATE: 2}, 32, 2, (8,), torch.Generator().manual_seed(1), presence=-0.5)
    steered, seen = policy.with_task_token(token), observations(toy_stores[0], 7)
    actor = PolicyActor(steered, embedding())
    memory = actor.start(3)
    actor.predict(seen[0], memory)
    memory.move(2)
    actor.predict(seen[3], memory)
    memory.move(1)
    cached = actor.predict(seen[5], memory)
    window = {name: torch.as_tensor(np.stack([step[name] for step in seen], 1)) for name in steered.shape.scales}
    mask = torch.tensor([True, False, False, True, False, True, False]).expand(3, -1)
    with torch.no_grad():
        whole = steered(window, torch.as_tensor(embedding()).expand(3, -1), mask)
        np.testing.assert_allclose(cached, steered.chunks(whole)[:, 5].numpy(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_chunk_of_one_is_an_action_bit_for_bit(chunk: int, toy_stores: list[DemonstrationStore]):
    policy = lively(replace(CHUNKED, chunk=chunk), toy_stores[0])
    seen, actor = observations(toy_stores[0], 9), PolicyActor(policy, embedding())
    memory, plan = actor.start(3), Ahead(actor, 1).start(3)
    actions = act(policy, embedding(), seen)
    assert actions.shape == (9, 3, 2)
    np.testing.assert_array_equal(np.stack([actor.chunk(step, memory, 1)[:, 0] for step in seen]), actions)
    np.testing.assert_array_equal(np.stack([Ahead(actor, 1).act(step, plan) for step in seen]), actions)


def test_what_is_observed_between_two_looks_is_not_read(toy_stores: list[DemonstrationStore]):
    policy = lively(CHUNKED, toy_stores[0])
    ahead, seen = Ahead(PolicyActor(policy, embedding()), 3), observations(toy_stores[0], 8)
    others = [step if i % 3 == 0 else {} for i, step in enumerate(seen)]
    plans = ahead.start(3), ahead.start(3)
    one = np.stack([ahead.act(step, plans[0]) for step in seen])
    other = np.stack([ahead.act(step, plans[1]) for step in others])
    np.testing.assert_array_equal(one, other)
    assert np.abs(np.diff(one, axis=0)).max() > 1e-3


@pytest.mark.parametrize(("chunk", "n", "said"), [(4, 0, "use 1 to 4"), (4, 5, "use 1 to 4"), (1, 2, "so use 1, or")])
def test_a_chunk_that_was_not_learned_is_refused(chunk: int, n: int, said: str):
    actor = PolicyActor(make_policy(replace(CHUNKED, chunk=chunk)), embedding())
    seen = {STATE: np.zeros((1, 2)), ENVIRONMENT_STATE: np.zeros((1, 4))}
    with pytest.raises(SettingError, match=f"a chunk of {n} actions is impossible: .*{said}"):
        Ahead(actor, n)
    memory = actor.start(1)
    with pytest.raises(SettingError, match=f"a chunk of {n} actions"):
        actor.chunk(seen, memory, n)
    assert memory.age == 0


def test_a_task_token_steers_one_action_at_a_time():
    token = TaskToken({STATE: 2}, 32, 1, (8,), torch.Generator().manual_seed(1))
    policy = make_policy(CHUNKED).with_task_token(token)
    actor = PolicyActor(policy, embedding())
    seen = {STATE: np.ones((1, 2), np.float32), ENVIRONMENT_STATE: np.ones((1, 4), np.float32)}
    with pytest.raises(SettingError, match="a task token steers this policy"):
        actor.chunk(seen, actor.start(1), 2)
    agent = PolicyAgent(policy, embedding(), {STATE: 2}, PpoSettings(), torch.Generator().manual_seed(0))
    mean = agent.mean({name: torch.as_tensor(value) for name, value in seen.items()}).detach().numpy()
    np.testing.assert_allclose(mean.clip(-1, 1), actor.act(seen, actor.start(1)), atol=2e-5)


def test_chunks_are_in_the_robots_own_units(toy_stores: list[DemonstrationStore]):
    plain, units = make_policy(CHUNKED), Scale((30.0, -5.0), (10.0, 2.0))
    policy = Policy(replace(plain.shape, action=units), CHUNKED)
    policy.load_state_dict({**policy.state_dict(), **plain.state_dict()})
    seen = observations(toy_stores[0], 1)[0]
    actor = PolicyActor(policy, embedding())
    one, other = (a.chunk(seen, a.start(3), 4) for a in (actor, PolicyActor(plain, embedding())))
    np.testing.assert_allclose(one, np.array([30, -5]) + other * np.array([10, 2]), rtol=1e-5)
    learned = replace(lessons(toy_stores[:1])[0], chunk=4)
    training = Training(policy, [{"params": list(policy.parameters()), "lr": 1e-2}], [learned])
    assert np.isfinite(train(training).loss).all()


def test_targets_of_another_number_are_refused(toy_stores: list[DemonstrationStore]):
    policy, (lesson,) = make_policy(CHUNKED), lessons(toy_stores[:1])
    with pytest.raises(SettingError, match="make its lesson with chunk=4"):
        train(Training(policy, [{"params": list(policy.parameters()), "lr": 1e-2}], [lesson]))


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if not entry.beside])
def test_every_method_learns_to_act_ahead(method: str, toy_demos: str, tmp_path: Path):
    settings: RunSettings[Any] = RunSettings(
        method=PromptsSettings(share=0.3) if method == "prompts" else method_settings(method)(),  # keys are long here
        suite="tests.toy:Toy",
        tasks=("reach-red", "reach-blue"),
        policy=PolicySettings(width=32, layers=1, history=4, chunk=3),
        train=TrainSettings(iterations=4, first_iterations=4, batch=8, window=6, observation_noise=0.01),
        evaluate=EvaluateSettings(episodes=2, group=2, points=1, ahead=3),
        demonstrations=DemonstrationSettings(episodes=4, folder=toy_demos),
    )
    record = learn(settings, tmp_path / "run")
    assert record.finished
    assert record.config["policy"]["chunk"] == record.config["evaluate"]["ahead"] == 3
    base, trained = record.parameters.base or 0, record.parameters.trained
    if method in ("t2s", "lora"):
        assert 0.05 * base < trained[1] <= 0.08 * base


def test_a_policy_that_acts_ahead_does_its_task(tmp_path: Path):
    """Three actions a look, from demonstrations alone; without the gaps in training it would do it by luck."""
    (store,) = make_stores(tmp_path, TASKS[:1], 100)
    policy, (lesson,) = make_policy(replace(POLICY, chunk=3)), lessons([store])
    settings = TrainSettings(iterations=150, batch=32, window=12, warmup=2)
    groups = [{"params": list(policy.parameters()), "lr": 3e-3}]
    train(Training(policy, groups, [replace(lesson, chunk=3)]), settings)
    actor = PolicyActor(policy, lesson.embeddings[0][0])
    for n in (1, 3):
        outcomes = evaluate(Ahead(actor, n), Toy(), TASKS[0], "test", range(20))
        assert sum(outcome.success for outcome in outcomes) >= 15


def test_lessons_are_made_for_a_policys_chunk(toy_stores: list[DemonstrationStore]):
    tasks = [store.task for store in toy_stores[:2]]

    def encoder(texts: Any) -> Array:
        return np.zeros((len(texts), LANGUAGE), np.float32)

    chunked: list[Lesson] = lessons_of(tasks, toy_stores[:2], encoder, [range(2)], 5)  # pyright: ignore[reportArgumentType]
    assert [lesson.chunk for lesson in chunked] == [5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (T2SSettings(), r"method\.share 0\.08 and method\.bend 0\.5 leave no rank to bend .* lower policy\.chunk"),
        (LoraSettings(), r"method\.share 0\.08 leaves no rank .* lower policy\.chunk"),
    ],
    ids=["t2s", "lora"],
)
def test_a_head_that_takes_the_whole_budget_is_refused_in_words(settings: T2SSettings | LoraSettings, message: str):
    wide = make_policy(replace(POLICY, head="mixture", chunk=16))
    with pytest.raises(SettingError, match=message):
        make_method(settings, wide).check(2)
