"""Demonstrations whose actions are in other units than their suite's, and suites whose actions are in their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.cli.running import install, sentence
from tests.pressing import Press
from tests.strange import Plan, Reach
from tests.toy import Toy

from skilltokens.behaviour.environments import of_suite
from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.grow import learn_skill
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, TrainSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.suites.remarks import remarks_on
from skilltokens.suites.units import doubt_units
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    NOTE,
    STATE,
    Episode,
    Feature,
    Progress,
    Scale,
    SuiteError,
    Task,
)

BOUND = 0.2
"""Of the environment's own action box, in m/s."""
TASK = Task("left", "press the button on the left")


def make(task: str) -> Press:
    return Press(0.1)


def expert_in(factor: float) -> Any:
    """A policy whose actions are m/s at a factor of 1, and in [-1, 1] at 1 / BOUND."""
    return lambda task: lambda raw: factor * np.clip(2 * (np.array([0.1, raw[3]]) - raw[:2]), -BOUND, BOUND)


def in_metres(task: str) -> Any:
    return expert_in(1.0)(task)


def suite(folder: Path | None = None, **others: Any) -> GymnasiumSuite:
    return GymnasiumSuite(
        "units",
        make,
        [TASK],
        demonstrations=folder,
        observation={STATE: slice(0, 2), ENVIRONMENT_STATE: slice(2, 4)},
        horizon=60,
        scales={name: Scale((0.5, 0.5), (0.2, 0.2)) for name in (STATE, ENVIRONMENT_STATE)},
        reward=False,
        **others,
    )


def store_in(folder: Path, factor: float, moved: float = 0.0, slow: float = 1.0) -> DemonstrationStore:
    """Demonstrations as people record them: the simulator is given m/s, and what is stored is that times a factor.

    Args:
        moved: added to the first reading of each, so that no initial state is found again.
        slow: how fast they go, as a share of the expert.
    """
    own = suite(actions="own")
    environment, act = own.make(TASK), expert_in(slow)("left")
    episodes = []
    for index in range(6):
        seen, steps, done = environment.reset("train", index), [], False
        while not done and len(steps) < 60:
            action = act(environment.raw)
            steps.append({**seen, ACTION: factor * action})
            seen, done = environment.step(action)
        arrays = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        arrays[STATE][0] += moved
        episodes.append(Episode(arrays))
    return write_store(folder / "left", episodes, task=TASK, features=own.features, source="human", suite="units")


def test_a_replay_shows_that_actions_are_in_the_simulators_own_units(tmp_path: Path):
    store = store_in(tmp_path, 1.0)
    doubt = doubt_units(suite(), store)
    assert doubt is not None
    assert doubt.proven
    assert "move things as demonstrated only if they are in the simulator's own units" in doubt.sentence
    with pytest.raises(SuiteError, match="miss the way by 80%"):
        check_suite(suite(tmp_path))
    assert doubt_units(suite(actions="own"), store, replay=True) is None
    check_suite(suite(tmp_path, actions="own"))


def test_a_replay_withdraws_the_doubt_about_a_slow_demonstrator(tmp_path: Path):
    store = store_in(tmp_path, 1 / BOUND, slow=0.15)  # 3 cm/s of 20, rightly stored as 0.15
    assert np.abs(store[ACTION]).max() < BOUND
    note = doubt_units(suite(), store, replay=False)
    assert note is not None
    assert not note.proven
    assert "if the demonstrator was as slow as that, nothing is wrong" in note.sentence
    assert doubt_units(suite(), store) is None


@pytest.mark.parametrize("factor", [1 / BOUND, 1.0])
def test_where_nothing_can_be_replayed_it_is_a_note(tmp_path: Path, factor: float, capsys: pytest.CaptureFixture[str]):
    store = store_in(tmp_path, factor, moved=0.01)
    doubt = doubt_units(suite(), store, replay=True)
    assert (doubt is None) == (factor != 1.0)
    check_suite(suite(tmp_path))  # no fault
    assert ("note: " in capsys.readouterr().err) == (factor == 1.0)


def test_a_suite_in_own_units_notices_normalised_actions(tmp_path: Path):
    doubt = doubt_units(suite(actions="own"), store_in(tmp_path, 1 / BOUND))
    assert doubt is not None
    assert doubt.proven
    assert "only if they are shares in [-1, 1]" in doubt.sentence
    unknown = doubt_units(suite(actions="own"), store_in(tmp_path / "moved", 1 / BOUND, moved=0.01))
    assert unknown is not None
    assert not unknown.proven
    assert "is clipped to -0.2 to 0.2" in unknown.sentence


def ranges(suite: Any, low: Sequence[float], high: Sequence[float], folder: Path) -> str:
    """What is said of a store of nothing but these actions, which nobody can replay."""
    rows = np.array([low, high], np.float32)
    seen = {n: np.full((2, *f.shape), 0.3, f.dtype) for n, f in suite.features.items() if n != ACTION}
    features = {**suite.features, ACTION: Feature(rows.shape[1:])}
    store = write_store(
        folder, [Episode({**seen, ACTION: rows})], task=TASK, features=features, source="human", suite=""
    )
    doubt = doubt_units(suite, store, replay=False)
    return "" if doubt is None else doubt.sentence


@pytest.mark.parametrize(
    ("low", "high", "noticed"),
    [
        ([-0.01, -0.01, -0.01, -1], [0.01, 0.01, 0.01, 1], True),  # metres
        ([-0.01, -0.01, -0.01, -1], [0.01, 0.02, 0.01, 1], False),  # slow, but more than a centimetre of metres
        ([-1, -0.3, -1, -1], [0.3, 1, 1, 1], False),
        ([-0.001, 0, 0, 0], [0.001, 0, 0, 0], False),  # nearly still: neither
        ([-1, -1, -1, -1], [1, 1, 5, 1], True),  # clipped
    ],
)
def test_the_range_that_is_used_speaks_for_metres(low: list[float], high: list[float], noticed: bool, tmp_path: Path):
    assert bool(ranges(MetaWorld(), low, high, tmp_path / "s")) is noticed


def test_a_suite_that_says_nothing_of_its_units_is_asked_for_clipping_alone(tmp_path: Path):
    assert not ranges(Toy(), [-0.1, -0.1], [0.1, 0.1], tmp_path / "narrow")
    assert "clipped to -1 to 1" in ranges(Toy(), [-0.1, -0.1], [0.1, 3], tmp_path / "wide")


def test_demos_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    store = store_in(tmp_path, 1.0)
    monkeypatch.chdir(tmp_path)
    assert main(["demos", "check", str(store.path)]) == 0  # nobody says which suite that is
    (tmp_path / "units_here.py").write_text("from tests.suites.test_units import suite\n")
    assert main(["demos", "check", str(store.path), "--suite", "units_here:suite"]) == 2
    assert "only if they are in the simulator's own units" in capsys.readouterr().err


def test_whoever_evaluates_or_learns_is_told_without_a_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = store_in(tmp_path, 1.0)
    (remark,) = remarks_on(suite(tmp_path), [TASK])  # what `skilltokens evaluate` prints
    assert "within the simulator's own range of -0.2 to 0.2" in remark
    assert not remarks_on(suite(tmp_path, actions="own"), [TASK])
    install(tmp_path, "skilltokens.suites", units="tests.suites.test_units:suite")
    monkeypatch.syspath_prepend(str(tmp_path))
    lines: list[Progress] = []
    settings = {"train": TrainSettings(first_iterations=1), "policy": PolicySettings(width=32, layers=1)}
    learn_skill(tmp_path / "library", store, **settings, report=lines.append)  # type: ignore[arg-type]
    assert remark in [news.note for news in lines if news.stage == NOTE]


# ---------------------------------------------------------------- suites in their own units


def test_a_suite_in_its_own_units_learns_and_acts(tmp_path: Path):
    metres = suite(actions="own", expert=in_metres)
    assert metres.scales[ACTION].center == (0.0, 0.0)
    np.testing.assert_allclose(metres.scales[ACTION].unit, (BOUND, BOUND))
    check_suite(metres)
    (store,) = demonstrations(metres, metres.tasks, DemonstrationSettings(episodes=12, noise=0.1, folder=str(tmp_path)))
    assert 0.1 < np.abs(store[ACTION]).max() <= np.float32(BOUND)
    folder = tmp_path / "library"
    library = learn_skill(
        folder, store, train=TrainSettings(first_iterations=150, batch=32), policy=PolicySettings(width=32, layers=2)
    )
    actor = library.actor(TASK.instruction)
    assert sum(outcome.success for outcome in evaluate(actor, metres, TASK, "test", range(4))) >= 3
    env: Any = of_suite(metres, TASK).make()  # and PPO's actions of one unit are the box's bounds
    env.reset(seed=0)
    before = env._environment.raw[:2]
    env.step(np.ones(2, np.float32))
    np.testing.assert_allclose(env._environment.raw[:2] - before, 0.25 * BOUND, atol=1e-6)


def test_one_unit_of_what_ppo_gives_is_the_bound_of_the_box():
    metres = GymnasiumSuite("rewarded", make, [TASK], horizon=60, actions="own")
    env: Any = of_suite(metres, TASK).make()
    env.reset(seed=0)
    before = env.unwrapped.hand
    env.step(np.ones(2, np.float32))
    np.testing.assert_allclose(env.unwrapped.hand - before, 0.25 * BOUND, atol=1e-6)
    env.step(np.full(2, 7, np.float32))
    np.testing.assert_allclose(env.unwrapped.hand - before, 0.5 * BOUND, atol=1e-6)


class Unbounded(Reach):
    action_space: Any = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def move(self, action: Any) -> Any:
        return np.clip(np.asarray(action) / 90, -1, 1)


def make_unbounded(task: str) -> Unbounded:
    return Unbounded()


def test_actions_without_bounds_take_their_constants_from_the_demonstrations(tmp_path: Path):
    def degrees(folder: Path) -> GymnasiumSuite:
        return GymnasiumSuite(
            "degrees", make_unbounded, {"reach": "go to the mark"}, demonstrations=folder, horizon=30, actions="own"
        )

    with pytest.raises(SuiteError, match="actions without bounds, and no demonstrations"):
        degrees(tmp_path / "none")
    task, rows = Task("reach", "go to the mark"), np.array([[-90, 0], [30, 0], [0, 0]])
    episode = Episode({STATE: np.zeros((3, 4)), ACTION: rows})
    features = {STATE: Feature((4,)), ACTION: Feature((2,))}
    write_store(tmp_path / "reach", [episode], task=task, features=features, source="human", suite="degrees")
    metres = degrees(tmp_path)
    assert metres.scales[ACTION].center == pytest.approx((-20.0, 0.0))
    assert metres.scales[ACTION].unit == pytest.approx((np.std([-90, 30, 0]), 1.0))
    assert sum(outcome.success for outcome in evaluate(Plan(90), metres, metres.tasks[0], "test", range(3))) == 3


def test_the_command_refuses_unknown_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "no suite 'unitz'" in sentence(
        ["demos", "check", str(store_in(tmp_path, 1.0).path), "--suite", "unitz"], capsys
    )
