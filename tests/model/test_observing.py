"""What a policy is given is checked before it acts: names, shapes, dtypes, numbers; and then it acts as before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tests.small import LANGUAGE, make_policy
from tests.toy import Toy

from skilltokens.model.actor import Memory, PolicyActor
from skilltokens.model.observing import Sense, Senses
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.task_token import TaskToken
from skilltokens.types import ACTION, ENVIRONMENT_STATE, GOAL, STATE, Feature, ObservationError, Scale

TOP, BRIGHT = "observation.images.top", "observation.images.bright"
THINGS, COMMAND = "observation.things", f"{GOAL}command"
FEATURES = {
    STATE: Feature((2,)),
    THINGS: Feature((3, 4)),
    COMMAND: Feature((3,)),
    TOP: Feature((32, 40, 3), "uint8"),
    BRIGHT: Feature((32, 40, 3)),
    ACTION: Feature((2,)),
}
WORDS = np.full(LANGUAGE, LANGUAGE**-0.5, np.float32)
ROWS = 2


def scale(width: int) -> Scale:
    return Scale((0.0,) * width, (1.0,) * width)


def seeing_policy(step: Literal["joint", "separate"] = "joint") -> Policy:
    """It reads a feature of every kind."""
    scales = {STATE: scale(2), THINGS: scale(4), COMMAND: scale(3)}
    settings = PolicySettings(width=32, layers=1, history=3, step=step)
    return Policy(Shape.of(FEATURES, scales, LANGUAGE), settings, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def actor() -> PolicyActor:
    return PolicyActor(seeing_policy(), WORDS, features=FEATURES)


def observation(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    things = random.normal(size=(ROWS, 3, 4)).astype(np.float32)
    things[..., 0] = [[1, 1, 0], [1, 0, 0]]
    command = random.normal(size=(ROWS, 3)).astype(np.float32)
    command[:, 0] = [1, 0]
    pictures = random.integers(0, 256, (ROWS, 32, 40, 3), dtype=np.uint8)
    return {
        STATE: random.normal(size=(ROWS, 2)).astype(np.float32),
        THINGS: things,
        COMMAND: command,
        TOP: pictures,
        BRIGHT: (pictures / np.float32(255)).astype(np.float32),
    }


def act(actor: PolicyActor, *steps: Mapping[str, Any]) -> np.ndarray:
    memory = actor.start(ROWS)
    return np.stack([actor.act(step, memory) for step in steps])


def altered(name: str, place: tuple[int, ...], value: float, dtype: str = "float32") -> dict[str, Any]:
    seen = observation()
    seen[name] = seen[name].astype(dtype)
    seen[name][place] = value
    return seen


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ({STATE: None}, "lacks 'observation.state', which the policy reads: it has observation.goal.command, obs"),
        ({STATE: None, "observation.staet": np.zeros((2, 2))}, "lacks 'observation.state'.* mean 'observation.staet'"),
        ({f"{GOAL}comand": np.zeros((2, 3))}, "no goal 'observation.goal.comand': did you mean 'observation.goal.comm"),
        ({STATE: np.zeros((2, 1))}, r"'observation.state' has shape \(2, 1\) where \(2, 2\) is read"),
        ({STATE: np.zeros((2, 3))}, r"has shape \(2, 3\) where \(2, 2\)"),
        ({STATE: np.zeros((1, 2))}, r"has shape \(1, 2\) where \(2, 2\)"),
        ({STATE: 0.5}, r"has shape \(\) where \(2, 2\)"),
        ({THINGS: np.zeros((2, 3, 5))}, r"'observation.things' has shape \(2, 3, 5\) where \(2, slots, 4\)"),
        ({COMMAND: np.zeros((2, 2))}, r"'observation.goal.command' has shape \(2, 2\) where \(2, 3\)"),
        (
            {TOP: np.zeros((2, 3, 32, 40), np.uint8)},
            r"\(2, 3, 32, 40\) where \(2, 32, 40, 3\) is read: colours come last",
        ),
        ({TOP: np.zeros((2, 64, 64, 3), np.uint8)}, r"\(2, 64, 64, 3\) where \(2, 32, 40, 3\)"),
        (
            {TOP: np.zeros((2, 32, 40, 3))},
            r"has dtype float64 where pictures in uint8 are read; .*np.round\(255 \* x\)",
        ),
        ({TOP: np.full((2, 32, 40, 3), 256)}, "has dtype int64 where pictures in uint8"),
        ({TOP: np.zeros((2, 32, 40, 3), bool)}, "has dtype bool where pictures in uint8"),
        ({BRIGHT: np.zeros((2, 32, 40, 3), np.uint8)}, r"has dtype uint8 where .*floats from 0 to 1 .*float32\(255\)"),
        ({STATE: np.array([["a", "b"]] * 2)}, "has dtype <U1 where numbers are read"),
        ({STATE: [[1.0], [1.0, 2.0]]}, "'observation.state' cannot be read as an array"),
        (altered(STATE, (1, 0), np.nan), r"'observation.state' holds nan, in row 1 at \(0,\)"),
        (altered(STATE, (0, 1), -np.inf), r"holds -inf, in row 0 at \(1,\)"),
        (altered(STATE, (0, 1), 1e39, "float64"), r"holds inf, in row 0 at \(1,\)"),
        (altered(THINGS, (1, 2, 3), np.nan), r"'observation.things' holds nan, in row 1 at \(2, 3\)"),
        (altered(THINGS, (1, 0, 0), 0.3), r"holds 0.3 where 1 says that there is a thing.*in row 1 at \(0, 0\)"),
        (altered(THINGS, (0, 0, 0), 0.0), r"has a full slot behind an empty one, .* in row 0 at \(1, 0\)"),
        (altered(COMMAND, (0, 0), 0.7), r"'observation.goal.command' holds 0.7 where 1 says .*the goal"),
        (altered(BRIGHT, (1, 2, 3, 0), 1.5), r"'observation.images.bright' holds 1.5, outside of 0 to 1, in row 1"),
        (
            altered(BRIGHT, (1, 2, 3, 0), np.nan),
            r"'observation.images.bright' holds nan, outside .* in row 1 at \(2, 3, 0",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(actor: PolicyActor, seen: dict[str, Any], message: str) -> None:
    expected = act(actor, observation(), observation(1))
    memory = actor.start(ROWS)
    actions = [actor.act(observation(), memory)]
    whole = {name: value for name, value in {**observation(), **seen}.items() if value is not None}
    with pytest.raises(ObservationError, match=message):
        actor.act(whole, memory)
    actions.append(actor.act(observation(1), memory))  # the memory is as it was
    np.testing.assert_array_equal(np.stack(actions), expected)


def test_one_robot_needs_a_dimension_of_rows(actor: PolicyActor) -> None:
    one = {name: value[0] for name, value in observation().items()}
    with pytest.raises(ObservationError, match=r"has shape \(.*: put a dimension of rows in front, x\[None\]"):
        actor.act(one, actor.start(1))
    assert actor.act({name: value[None] for name, value in one.items()}, actor.start(1)).shape == (1, 2)
    with pytest.raises(ObservationError, match="the observation is a ndarray: give a dictionary"):
        actor.act(np.zeros((1, 2)), actor.start(1))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("step", ["joint", "separate"])
def test_goals_may_be_left_out_and_more_may_be_there(step: Literal["joint", "separate"]) -> None:
    actor, seen = PolicyActor(seeing_policy(step), WORDS), observation()
    more = {**seen, "observation.extra": np.full((9, 9), np.nan), "note": "mine"}
    np.testing.assert_array_equal(act(actor, more), act(actor, seen))
    without = {name: value for name, value in seen.items() if name != COMMAND}
    never = {**seen, COMMAND: seen[COMMAND] * np.float32(0)}
    np.testing.assert_allclose(act(actor, without), act(actor, never), atol=1e-6)
    assert not np.array_equal(act(actor, without)[0, 0], act(actor, seen)[0, 0])


def test_numbers_of_any_dtype_are_the_same_numbers(actor: PolicyActor) -> None:
    seen = observation()
    seen[STATE] = np.array([[1, 0], [0, 1]], np.float32)
    expected = act(actor, seen)
    for values in (np.array([[1, 0], [0, 1]]), [[True, False], [False, True]], np.eye(2, dtype=np.uint8), torch.eye(2)):
        np.testing.assert_array_equal(act(actor, {**seen, STATE: values}), expected)
    np.testing.assert_array_equal(act(actor, {**seen, TOP: seen[TOP].astype(np.int64)}), expected)
    np.testing.assert_array_equal(act(actor, {**seen, BRIGHT: seen[BRIGHT].astype(np.float64)}), expected)


def test_pictures_in_another_order_of_memory_give_the_same_bits(actor: PolicyActor) -> None:
    seen = observation()
    turned = {name: np.asfortranarray(array) for name, array in seen.items()}
    np.testing.assert_array_equal(actor.act(turned, actor.start(ROWS)), actor.act(seen, actor.start(ROWS)))


def test_any_size_of_pictures_is_read_where_none_is_known() -> None:
    actor, seen = PolicyActor(seeing_policy(), WORDS), observation()
    act(actor, {**seen, TOP: np.zeros((ROWS, 64, 33, 3), np.uint8)})
    with pytest.raises(ObservationError, match=r"\(2, 31, 40, 3\) where \(2, height, width, 3\)"):
        act(actor, {**seen, TOP: np.zeros((ROWS, 31, 40, 3), np.uint8)})


def test_what_is_read_is_a_copy_in_the_dtype_that_is_computed_with() -> None:
    senses, seen = Senses.of(seeing_policy()), observation()
    arrays = senses.read(seen, ROWS)
    assert arrays.keys() == seen.keys()
    for name, array in arrays.items():
        assert array.dtype == (np.uint8 if name == TOP else np.float32)
        np.testing.assert_array_equal(array, seen[name])
        assert not np.shares_memory(array, seen[name])


def steered() -> Policy:
    """The toy's policy with a task token that reads more than it."""
    generator = torch.Generator().manual_seed(0)
    token = TaskToken({STATE: 2, THINGS: 12}, 32, 1, (8,), generator, (TOP,))
    return make_policy(PolicySettings(width=32, layers=1)).with_task_token(token)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({THINGS: None}, "lacks 'observation.things'"),
        ({THINGS: np.zeros((2, 3, 5))}, r"has shape \(2, 3, 5\) where \(2, 12\) is read"),
        ({THINGS: np.full((2, 3, 4), np.nan)}, r"'observation.things' holds nan, in row 0 at \(0, 0\)"),
        ({TOP: np.zeros((2, 32, 40, 3))}, "has dtype float64 where pictures in uint8"),
        ({STATE: np.full((2, 2), np.inf)}, r"'observation.state' holds inf, in row 0"),
    ],
)
def test_what_a_task_token_reads_is_checked_too(changes: dict[str, Any], message: str) -> None:
    actor = PolicyActor(steered(), WORDS)
    toy = {name: np.zeros((ROWS, f.shape[0]), np.float32) for name, f in Toy().features.items() if name != ACTION}
    seen = {**toy, THINGS: observation()[THINGS], TOP: observation()[TOP]}
    expected = act(actor, seen)
    flat = {**seen, THINGS: seen[THINGS].reshape(ROWS, 12)}
    np.testing.assert_array_equal(act(actor, flat), expected)
    whole = {name: value for name, value in {**seen, **changes}.items() if value is not None}
    with pytest.raises(ObservationError, match=message):
        act(actor, whole)


def test_a_set_that_a_task_token_reads_has_so_many_slots() -> None:
    policy = seeing_policy().with_task_token(TaskToken({THINGS: 12}, 32, 1, (8,), torch.Generator().manual_seed(0)))
    actor, seen = PolicyActor(policy, WORDS), observation()
    act(actor, seen)
    with pytest.raises(ObservationError, match=r"\(2, 2, 4\) where \(2, 3, 4\)"):
        act(actor, {**seen, THINGS: seen[THINGS][:, :2]})


def test_a_part_of_the_senses_asks_for_no_more() -> None:
    senses = Senses.of(seeing_policy()).only([STATE])
    assert senses.read({STATE: np.zeros((5, 2))}).keys() == {STATE}
    with pytest.raises(ObservationError, match=r"\(0, 2\) where \(rows, 2\)"):
        senses.read({STATE: np.zeros((0, 2))})
    both = Senses([Sense(STATE, "vector", 2), Sense(ENVIRONMENT_STATE, "vector", 4)])
    with pytest.raises(ObservationError, match=r"has shape \(3, 4\) where \(2, 4\)"):
        both.read({STATE: np.zeros((2, 2)), ENVIRONMENT_STATE: np.zeros((3, 4))})


def test_numbers_of_chance_are_read_where_flags_do_not_count() -> None:
    seen = altered(THINGS, (1, 0, 0), 0.3)
    assert Senses.of(seeing_policy()).without_flags().read(seen, ROWS)[THINGS][1, 0, 0] == np.float32(0.3)


def test_the_memory_of_a_refused_first_step_is_a_fresh_one(actor: PolicyActor) -> None:
    memory: Memory = actor.start(ROWS)
    with pytest.raises(ObservationError):
        actor.act({}, memory)
    assert memory.age == 0
    np.testing.assert_array_equal(actor.act(observation(), memory), act(actor, observation())[0])
