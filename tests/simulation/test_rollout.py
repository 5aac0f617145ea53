"""The rollout loop: episodes are pure, and end as they should. test_pool.py breaks simulators."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults import Faulty
from tests.toy import TASKS, Still, Toy, ToyExpert

from skilltokens.simulation.rollout import Ending, Pool, evaluate, play, record_video
from skilltokens.types import (
    ENVIRONMENT_STATE,
    STATE,
    Array,
    Observation,
    Outcome,
    Progress,
    SettingError,
    SkilltokensError,
)

SUITE, TASK = Toy(), TASKS[0]
EXPERT = ToyExpert(TASK)
ROOT = Path(__file__).parents[2]


class Network:
    """A random torch network; its matrix products' last bits depend on the batch's shape and on the row."""

    def __init__(self, width: int = 256):
        torch.set_num_threads(1)  # small products on two threads take ten times as long where the cores are busy
        generator = torch.Generator().manual_seed(0)
        self.maps = [
            torch.randn(a, b, generator=generator) / a**0.5 for a, b in ((6, width), (width, width), (width, 2))
        ]

    def start(self, batch: int) -> list[torch.Tensor]:
        return [torch.zeros(batch, 2)]

    def act(self, observation: Observation, memory: list[torch.Tensor]) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(np.concatenate([observation[STATE], observation[ENVIRONMENT_STATE]], axis=1))
            for weights in self.maps:
                x = torch.sin(3 * x @ weights)
            memory[0] = 0.5 * memory[0] + 0.5 * x
            return memory[0].numpy()


def bits(endings: dict[int, Ending], only: int | None = None) -> dict[int, tuple[Outcome, bytes]]:
    return {
        index: (ending.outcome, b"".join(value.tobytes() for value in ending.observation.values()))
        for index, ending in endings.items()
        if only in (None, index)
    }


def all_bits(workers: int = 0) -> dict[int, tuple[Outcome, bytes]]:
    with Pool(SUITE, workers) as pool:
        return bits(play(Network(), pool, TASK, "test", range(13), group=5))


@pytest.fixture(scope="module")
def together() -> dict[int, tuple[Outcome, bytes]]:
    return all_bits()


def test_the_expert_solves_every_task_within_the_horizon() -> None:
    for task in TASKS:
        outcomes = evaluate(ToyExpert(task), SUITE, task, "test", range(20))
        assert all(outcome.success and 0 < outcome.steps < SUITE.horizon for outcome in outcomes)


def test_an_episode_is_what_a_plain_loop_over_one_environment_gives() -> None:
    with Pool(SUITE) as pool:
        endings = play(EXPERT, pool, TASK, "validation", range(30), group=4)
    for index, ending in endings.items():
        table, success, steps = SUITE.make(TASK), False, 0
        observation = table.reset("validation", index)
        while not success and steps < SUITE.horizon:
            batch = {name: value[None] for name, value in observation.items()}
            observation, success = table.step(EXPERT.act(batch, [0])[0])
            steps += 1
        assert ending.outcome == Outcome(success, steps)
        assert all(np.array_equal(ending.observation[name], observation[name]) for name in observation)


def test_the_purity_tests_can_fail(together: dict[int, tuple[Outcome, bytes]]) -> None:
    """Another batch shape does change the bits of this network, so fixed shapes are needed and tested."""
    with Pool(SUITE) as pool:
        assert bits(play(Network(), pool, TASK, "test", range(13), group=1)) != together


@settings(max_examples=25)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=14))
def test_an_episode_does_not_depend_on_which_others_are_asked_for_or_in_which_order(
    together: dict[int, tuple[Outcome, bytes]], indices: list[int]
) -> None:
    with Pool(SUITE) as pool:
        endings = bits(play(Network(), pool, TASK, "test", indices, group=5))
    assert endings == {index: together[index] for index in set(indices)}


def test_an_episode_does_not_depend_on_what_ran_before_in_the_same_simulators(
    together: dict[int, tuple[Outcome, bytes]],
) -> None:
    with Pool(SUITE) as pool:
        play(EXPERT, pool, TASK, "validation", range(7), group=5)
        play(Network(), pool, TASKS[1], "test", range(3), group=5)
        play(Network(), pool, TASK, "test", [11, 4], group=5)
        assert bits(play(Network(), pool, TASK, "test", [4], group=5), 4) == {4: together[4]}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_episode_does_not_depend_on_the_number_of_workers(
    workers: int, together: dict[int, tuple[Outcome, bytes]]
) -> None:
    assert all_bits(workers) == together


def test_an_episode_does_not_depend_on_the_process(together: dict[int, tuple[Outcome, bytes]]) -> None:
    script = "from tests.simulation.test_rollout import all_bits, summary; print(summary(all_bits()))"
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == summary(together)


def summary(endings: dict[int, tuple[Outcome, bytes]]) -> str:
    return hashlib.sha256(repr(sorted(endings.items())).encode()).hexdigest()


def test_outcomes_come_in_the_order_asked_for() -> None:
    inorder = evaluate(EXPERT, SUITE, TASK, "test", range(12), group=4)
    assert evaluate(EXPERT, SUITE, TASK, "test", [7, 0, 7, 11], group=4) == [inorder[i] for i in (7, 0, 7, 11)]
    assert evaluate(EXPERT, SUITE, TASK, "test", []) == []


def test_an_episode_ends_at_success_or_at_the_horizon_and_is_never_stepped_past_either() -> None:
    full = evaluate(EXPERT, SUITE, TASK, "test", range(10))  # the table raises when it is stepped past its end
    horizon = sorted(outcome.steps for outcome in full)[5]
    short = evaluate(EXPERT, SUITE, TASK, "test", range(10), horizon=horizon)
    assert short == [Outcome(one.steps <= horizon, min(one.steps, horizon)) for one in full]
    never = evaluate(Still(), SUITE, TASK, "test", range(3))
    assert never == [Outcome(False, SUITE.horizon)] * 3


class Watching(Still):
    """Keeps every batch that it is shown."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.seen: list[Observation] = []

    def act(self, observation: Observation, memory: list[int]) -> Array:
        self.seen.append(observation)
        return super().act(observation, memory)


def test_batches_have_a_fixed_shape_with_each_episode_in_its_own_row() -> None:
    watching = Watching()
    evaluate(watching, SUITE, TASK, "test", [12, 14], group=5, horizon=3)
    states = np.array([batch[STATE] for batch in watching.seen])
    assert states.shape == (3, 5, 2)
    assert not states[:, [0, 1, 3]].any(), "rows without an episode stay as they are"
    assert np.array_equal(states[0, 2], SUITE.make(TASK).reset("test", 12)[STATE])
    assert np.array_equal(states[0, 4], SUITE.make(TASK).reset("test", 14)[STATE])
    assert len(np.unique(states[:, 2], axis=0)) == 3, "an actor may keep what it was shown"


def test_the_last_observation_stands_in_the_row_of_an_episode_that_has_ended() -> None:
    class Spy(ToyExpert):
        def act(self, observation: Observation, memory: list[int]) -> Array:
            seen.append(observation[STATE])
            return super().act(observation, memory)

    seen: list[Array] = []
    with Pool(SUITE) as pool:
        endings = play(Spy(TASK), pool, TASK, "test", range(5), group=5)
    first = min(endings, key=lambda index: endings[index].outcome.steps)
    steps = endings[first].outcome.steps
    assert len(seen) > steps
    assert all(np.array_equal(states[first], endings[first].observation[STATE]) for states in seen[steps:])


def test_the_batch_lies_at_addresses_on_which_vectorised_sums_agree() -> None:
    watching = Watching()
    evaluate(watching, SUITE, TASK, "test", range(3), group=3)
    assert {value.ctypes.data % 64 for batch in watching.seen for value in batch.values()} == {0}


def test_progress_counts_episodes() -> None:
    news: list[Progress] = []
    evaluate(EXPERT, SUITE, TASK, "test", range(7), group=3, report=news.append)
    assert [news[0].done, news[-1].done] == [0, 7]
    assert all(one.total == 7 and one.stage == "evaluate" and one.note == TASK.name for one in news)
    assert news[-1].figures == {"success": 1.0}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("actor", "message"),
    [
        (Still(np.nan, after=2), r"toy task 'reach-red', .*episode 0, step 2 is not finite"),
        (Still(width=3), r"gave actions \(10, 3\) where \(10, 2\) is needed"),
    ],
)
def test_impossible_actions_are_reported(actor: Still, message: str, workers: int) -> None:
    with Pool(SUITE, workers) as pool, pytest.raises(SkilltokensError, match=message):
        evaluate(actor, SUITE, TASK, "test", range(4), pool=pool)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="group of 0"):
        evaluate(EXPERT, SUITE, TASK, "test", [0], group=0)
    with pytest.raises(SettingError, match="episode -1 does not exist"):
        evaluate(EXPERT, SUITE, TASK, "test", [0, -1])
    with pytest.raises(SettingError, match=r"horizon of 41 .* allows 1 to 40"):
        evaluate(EXPERT, SUITE, TASK, "test", [0], horizon=41)
    with pytest.raises(SettingError, match="horizon of 0"):
        evaluate(EXPERT, SUITE, TASK, "test", [0], horizon=0)
    with pytest.raises(SettingError, match="number of workers is -1"):
        Pool(SUITE, -1)
    with Pool(Faulty()) as pool, pytest.raises(SettingError, match="pool runs suite 'faulty', not 'toy'"):
        evaluate(EXPERT, SUITE, TASK, "test", [0], pool=pool)
    with pytest.raises(SettingError, match="every 0 steps"):
        record_video(EXPERT, SUITE, TASK, "test", 0, Path("nowhere.webp"), every=0)
