"""PPO in parts: it learns, goes on bit for bit, and stops where numbers are no numbers."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import Env
from tests.toy import TASKS, Toy

from skilltokens.behaviour.agents import MlpAgent
from skilltokens.behaviour.environments import SuiteEnvironment
from skilltokens.behaviour.ppo import Diverged, Stop, check_start, ppo
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.types import ENVIRONMENT_STATE, STATE, RunError

SETTINGS = PpoSettings(envs=4, rollout=32, batch=64, epochs=4, hidden=(32,), critic_hidden=(32,), rate=1e-3)
WIDTHS = {STATE: 2, ENVIRONMENT_STATE: 4}


class Near(SuiteEnvironment):
    """The toy's first task, with the way that is left as a reward; from step `after` on the reward is no number."""

    def __init__(self, after: float = float("inf")) -> None:
        super().__init__(Toy(), TASKS[0], 40)
        self.after, self.count = after, 0

    def step(self, action):
        observation, reward, done, over, info = super().step(action)
        self.count += 1
        table = self._environment
        left = float(np.linalg.norm(table.place - table.goal))  # pyright: ignore[reportAttributeAccessIssue]
        return observation, float("nan") if self.count > self.after else reward - left, done, over, info


def agent(settings: PpoSettings = SETTINGS) -> MlpAgent:
    return MlpAgent(WIDTHS, 2, settings, torch.Generator().manual_seed(0))


def train(stops: list[int], start=None, make=Near, settings: PpoSettings = SETTINGS) -> tuple[MlpAgent, list[Stop]]:
    learner = agent(settings)
    return learner, list(ppo(learner, make, settings, stops, 3, horizon=40, start=start))


def numbers(learner: MlpAgent) -> list[np.ndarray]:
    return [value.detach().clone().numpy() for value in learner.state_dict().values()]


def test_the_return_rises():
    _, stops = train([0, 12_000], settings=replace(SETTINGS, rate=3e-3, log_std=-0.5))
    curve = stops[-1].curve.reward
    assert curve[-1] > curve[1] + 4
    assert stops[0].steps == 0
    assert stops[-1].steps >= 12_000


@pytest.mark.parametrize("stagger", [False, True])
def test_going_on_from_a_saved_state_ends_with_the_same_bits(stagger: bool):
    settings = replace(SETTINGS, stagger=stagger)
    whole, _ = train([256, 512, 768], settings=settings)
    state = None
    for stop in ppo(agent(), Near, settings, [256, 512, 768], 3, horizon=40):
        if stop.part == 1:
            tensors, rest = stop.state()
            state = {name: value.clone() for name, value in tensors.items()}, dict(rest)
            break
    resumed, stops = train([256, 512, 768], state, settings=settings)
    assert [stop.part for stop in stops] == [2]
    assert stops[-1].curve.steps == [256, 512, 768]
    for one, other in zip(numbers(whole), numbers(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def _first(tensors: dict[str, torch.Tensor], prefix: str) -> str:
    return next(name for name in tensors if name.startswith(prefix) and tensors[name].ndim == 2)


WRONG = {
    "no number": (lambda t: {_first(t, "agent."): t[_first(t, "agent.")] * np.nan}, {}, "not finite"),
    "another kind": (lambda t: {_first(t, "agent."): t[_first(t, "agent.")].double()}, {}, "of another training"),
    "another shape": (lambda t: {_first(t, "agent."): torch.zeros(2, 2)}, {}, "of another training"),
    "a moment of another shape": (lambda t: {"optimizer.0.exp_avg": torch.zeros(1)}, {}, "of another training"),
    "a moment of nothing": (lambda t: {"optimizer.99.exp_avg": torch.zeros(1)}, {}, "is altered"),
    "a stranger": (lambda t: {"stranger": torch.zeros(1)}, {}, "of another training"),
    "steps before none": (lambda t: {}, {"steps": -1}, "is altered"),
    "a part of a dream": (lambda t: {}, {"part": True}, "is altered"),
    "returns that cannot be": (lambda t: {}, {"returns": [0.0, float("inf"), 1.0]}, "is altered"),
    "a curve of words": (lambda t: {}, {"curve": '{"steps": ["x"], "reward": []}'}, "is altered"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_cannot_be_of_this_agent_is_refused_before_it_is_taken_over(name: str):
    change, said_otherwise, message = WRONG[name]
    _, (_, stop) = train([0, 128])
    tensors, rest = stop.state()
    check_start((tensors, rest), agent(), Path("state"))
    with pytest.raises(RunError, match=message) as refusal:
        check_start(({**tensors, **change(dict(tensors))}, {**rest, **said_otherwise}), agent(), Path("state"))
    assert str(refusal.value).startswith("state")


def test_staggered_environments_begin_each_part_with_episodes_of_different_lengths():
    collectors = []

    class Counted(Near):
        """Gives 1 at each step, and keeps the lengths of its episodes."""

        def __init__(self):
            super().__init__()
            self.lengths, self.at = [], 0
            collectors.append(self)

        def reset(self, **words):
            self.lengths, self.at = [*self.lengths, self.at], 0
            return super().reset(**words)

        def step(self, action):
            observation, _, done, over, info = super().step(action)
            self.at += 1
            return observation, 1.0, done, over, info

    _, stops = train([512, 1024], make=Counted, settings=replace(SETTINGS, stagger=True))
    part = [[10, 40, 40, 38], [20, 40, 40, 28], [30, 40, 40, 18], [40, 40, 40, 8]]  # 128 steps each, then a new reset
    assert [one.lengths for one in collectors] == [[0, *lengths, *lengths[:3]] for lengths in part]
    assert set(stops[-1].curve.reward) == {40.0}  # what was cut is not told as a return


def test_another_seed_is_another_training():
    one, other = agent(), agent()
    for learner, seed in ((one, 0), (other, 1)):
        list(ppo(learner, Near, SETTINGS, [256], seed))
    assert any((a != b).any() for a, b in zip(numbers(one), numbers(other), strict=True))


def test_a_reward_that_is_no_number_stops_the_training_after_the_last_good_state():
    kept = []
    training = ppo(agent(), functools.partial(Near, 100), SETTINGS, [128, 256, 512, 4096], 0)
    with pytest.raises(Diverged, match=r"return|finite"):
        kept.extend(stop.state() for stop in training)
    assert kept
    assert all(bool(torch.isfinite(value).all()) for value in kept[-1][0].values())


def test_parameters_outside_the_groups_keep_their_bits():
    learner = agent()
    before = learner.log_std.detach().clone()  # learn_std is off
    list(ppo(learner, Near, SETTINGS, [256], 0))
    assert torch.equal(before, learner.log_std.detach())


def test_the_environment_is_closed():
    closed = []

    class Closing(Near):
        def close(self):
            closed.append(self)
            super().close()

    def make() -> Env:
        return Closing()

    list(ppo(agent(), make, SETTINGS, [128], 0))
    assert len(closed) == SETTINGS.envs


def test_nothing_is_left_among_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    train([128])
    assert list(tmp_path.iterdir()) == []
