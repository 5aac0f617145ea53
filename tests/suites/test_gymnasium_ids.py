"""Environments by their ids, as people have them: names, arguments, flags, spaces, faults. See tests/strange.py."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strange import Plan

from skilltokens.behaviour.environments import challenge
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites import load_suite, suite_and_task, task_of
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.suites.gymnasium_flags import FLAGS, truth
from skilltokens.suites.gymnasium_ids import parse
from skilltokens.suites.gymnasium_reading import Reader
from skilltokens.suites.registry import place_of
from skilltokens.types import ACTION, STATE, SettingError, SkilltokensError, SuiteError

HERE = "tests.strange:"


def successes(suite: Any, actor: Any = None, episodes: int = 4) -> int:
    return sum(outcome.success for outcome in evaluate(actor or Plan(), suite, suite.tasks[0], "test", range(episodes)))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("typed", "kind", "suite", "task"),
    [
        ("metaworld", "suite", "metaworld", ""),
        ("metaworld/push", "task", "metaworld", "push"),
        ("metaworld/push-v3", "task", "metaworld", "push-v3"),
        ("tests.toy:Toy", "suite", "tests.toy:Toy", ""),
        ("tests.toy:Toy/between", "task", "tests.toy:Toy", "between"),
        (f"{HERE}Reach-v0", "id", f"{HERE}Reach-v0", ""),
        (f"{HERE}lab/Reach", "id", f"{HERE}lab/Reach", ""),
        (f"{HERE}Strange", "id", f"{HERE}Strange", ""),
        (f"{HERE}lab/Push-v1", "id", f"{HERE}lab/Push-v1", ""),
        (f"gym:{HERE}lab/Push-v1?pace=0.3", "id", f"{HERE}lab/Push-v1?pace=0.3", ""),
        ("lab/Push-v1", "id", "lab/Push-v1", ""),  # this module has imported the one that registers it
        ("Pendulum-v1", "id", "Pendulum-v1", ""),
        ("Pendulum", "id", "Pendulum", ""),
        ("gym:metaworld/push", "id", "metaworld/push", ""),
    ],
)
def test_it_is_decided_in_one_place_what_a_name_means(typed: str, kind: str, suite: str, task: str):
    place = place_of(typed)
    assert (place.kind, place.suite, place.task) == (kind, suite, task)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("metawold/push", "did you mean 'metaworld'"),
        ("metawold", "did you mean 'metaworld'"),
        ("nolab/Reach", "type the module that registers it in front, MODULE:nolab/Reach"),
        ("json/Reach-v0", "type the module that registers it in front, json:json/Reach-v0"),
        ("Reech-v9", "Gymnasium knows no environment 'Reech-v9'"),
        (f"{HERE}lab/Nothing", "has no attribute 'lab' that could be a suite, and registers no environment"),
        ("no_such_module:Reach-v0", "No module named 'no_such_module'"),
        ("gym:no_such_module:Reach-v0", "there is no module 'no_such_module'"),
        (f"gym:{HERE}Nothing-v0", "does not register it"),
        (f"{HERE}Reach-v0?pace", "'pace' is no argument"),
        (f"{HERE}Reach-v0?pace=1&pace=2", "each name once"),
        (f"{HERE}Reach-v0?peace=1", "arguments go behind its name"),
        ("gym:", "names no environment"),
    ],
)
def test_a_name_that_means_nothing_gets_a_sentence_that_says_what_to_type(typed: str, sentence: str):
    with pytest.raises(SkilltokensError, match=sentence.replace("?", r"\?")) as caught:
        load_suite(typed)
    assert "\n" not in str(caught.value)


def test_a_task_where_a_suite_is_needed_and_the_other_way_round():
    with pytest.raises(SettingError, match="is a task: name the suite, metaworld, and the task push"):
        load_suite("metaworld/push")
    with pytest.raises(SettingError, match="is a suite: say which of its tasks, as in metaworld/"):
        suite_and_task("metaworld")


def test_meta_worlds_own_names_of_tasks():
    assert suite_and_task("metaworld/push-v3")[1].name == "push"
    assert task_of(load_suite("metaworld"), "push-v3").name == "push"
    with pytest.raises(SettingError, match="did you mean 'push'"):  # another version is another task
        task_of(load_suite("metaworld"), "push-v2")


def test_arguments_reach_the_environment_and_stay_in_the_suites_name():
    suite = load_suite(f'{HERE}lab/Push-v1?pace=0.5&mark="7"&max_episode_steps=9')
    assert suite.name == f'gym:{HERE}lab/Push-v1?pace=0.5&mark="7"&max_episode_steps=9'
    assert (suite.tasks[0].name, suite.horizon) == ("push-v1-0.5-7-9", 9)
    inner = suite.make(suite.tasks[0])._calls.environment.unwrapped  # type: ignore[attr-defined]
    assert (inner.pace, inner.named) == (0.5, "7")


JSON = st.one_of(st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False), st.none())


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), JSON, max_size=4))
def test_arguments_are_json_where_they_are_json(arguments: dict[str, Any]):
    import json
    from urllib.parse import quote

    words = "&".join(f"{name}={quote(json.dumps(value))}" for name, value in arguments.items())
    assert parse(f"m:lab/Push-v1{'?' * bool(words)}{words}").arguments == arguments


def test_arguments_that_are_no_json_are_text():
    assert parse("Meta-World/MT1?env_name=push-v3&seed=1&x=NaN&path=a/b:c").arguments == {
        "env_name": "push-v3",
        "seed": 1,
        "x": "NaN",
        "path": "a/b:c",
    }


@pytest.mark.slow
def test_meta_worlds_own_ids():
    pytest.importorskip("metaworld")
    with pytest.raises(SettingError, match=r"as in Meta-World/MT1\?env_name=push-v3"):
        load_suite("Meta-World/MT1")
    suite = load_suite("Meta-World/MT1?env_name=push-v3&seed=1")
    assert (suite.tasks[0].name, suite.horizon, suite.features[STATE].shape) == ("mt1-push-v3-1", 500, (39,))
    environment = suite.make(suite.tasks[0])
    environment.reset("test", 0)
    assert environment.step(np.zeros(4))[1] is False


# ---------------------------------------------------------------- success


@given(st.one_of(st.booleans(), st.sampled_from([0, 1, 0.0, 1.0])), st.integers(0, 3))
def test_a_flag_is_true_or_false_in_any_dress(value: float, depth: int):
    assert truth(value) is bool(value)
    assert truth(np.array(value)) is bool(value)
    assert truth(np.full((1,) * depth, value)) is bool(value)


@given(
    st.one_of(st.none(), st.text(), st.floats().filter(lambda x: x not in (0, 1)), st.lists(st.booleans(), min_size=2))
)
def test_what_is_no_truth_value_says_nothing(value: Any):
    assert truth(value) is None
    assert truth(object()) is None
    assert truth({"a": 1}) is None


@pytest.mark.parametrize(
    ("name", "flag", "last", "said"),
    [
        ("Reach", FLAGS[0], False, ""),
        (
            "Both",
            FLAGS[1],
            False,
            "info['success'] says whether the task is done ('is_success' is None, no",
        ),
        ("LastOnly", FLAGS[0], True, "at the last step of an episode alone"),
        ("Latched", FLAGS[1], False, ""),
    ],
)
def test_the_flag_that_is_a_truth_value_is_taken_and_named(name: str, flag: str, last: bool, said: str):
    suite: Any = load_suite(f"{HERE}{name}-v0")
    assert (suite.flag.name, suite.flag.last) == (flag, last)
    assert said in " ".join(suite.remarks())
    assert bool(said) == bool(suite.remarks())
    check_suite(suite)
    assert successes(suite) == 4
    env = challenge(f"{HERE}{name}-v0").make()  # the same in adapt
    (seen, _), ended, info = env.reset(seed=0), False, {}
    while not ended:
        seen, _, ended, _, info = env.step(Plan().act({STATE: seen[STATE][None]}, None)[0])
    assert info["is_success"] is True


def test_an_environment_without_a_truth_value_is_told_what_it_has():
    with pytest.raises(SuiteError, match=r"info\['is_success'\] = 'no', info\['success'\] = array\(\[0., 0., 0.\]\)"):
        load_suite(f"{HERE}Text-v0")
    with pytest.raises(SuiteError, match="its info has neither"):
        load_suite("Pendulum-v1")


def test_a_flag_that_stops_being_one_is_a_sentence():
    with pytest.raises(SuiteError, match=r"gave info\['is_success'\] = nan: a flag is True or False"):
        successes(load_suite(f"{HERE}Sometimes-v0"), Plan(0.0))


def test_a_flag_at_the_end_needs_the_whole_episode():
    with pytest.raises(SettingError, match="says at the end of an episode alone whether its task is done"):
        challenge(f"{HERE}LastOnly-v0", horizon=5)


def test_the_users_own_key_is_taken_as_it_is():
    def suite(**others: Any) -> GymnasiumSuite:
        return GymnasiumSuite("own", lambda _: gymnasium.make("Both-v0"), {"reach": "go"}, **others)

    assert successes(suite()) == successes(suite(success="success")) == 4
    with pytest.raises(SuiteError, match=r"info\['is_success'\] = None: a flag is True or False"):
        successes(suite(success="is_success"))
    with pytest.raises(SuiteError, match="no 'sucess' in its info at the end of an episode: did you mean 'success'"):
        successes(suite(success="sucess"))


# ---------------------------------------------------------------- spaces


def test_dictionaries_in_dictionaries_are_features():
    suite = load_suite(f"{HERE}Nested-v0")
    assert set(suite.features) == {STATE, "goal.xy", ACTION}
    check_suite(suite)
    assert successes(suite) == 4


def test_counts_and_switches_are_numbers():
    suite = load_suite(f"{HERE}Counted-v0")
    shapes = {name: feature.shape for name, feature in suite.features.items()}
    counted = {"direction": (4,), "switches": (4,), "gears": (5,), "speed": (1,), "ticks": (1,)}
    assert shapes == {STATE: (4,), ACTION: (2,), **counted}
    seen = suite.make(suite.tasks[0]).reset("test", 0)
    assert {seen[name].dtype for name in seen} == {np.dtype("float32")}
    np.testing.assert_array_equal(seen["direction"], [0, 1, 0, 0])  # one-hot, from 1 on
    np.testing.assert_array_equal(seen["gears"], [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(seen["switches"], [1, 0, 0, 1])
    check_suite(suite)
    env = challenge(f"{HERE}Counted-v0").make()
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize("name", ["Half", "Whole"])
def test_a_box_of_any_kind_and_place_is_a_range(name: str):
    suite = load_suite(f"{HERE}{name}-v0")
    assert successes(suite) == 4
    env = challenge(f"{HERE}{name}-v0").make()
    space: Any = env.unwrapped.action_space
    env.reset(seed=0)
    for share, expected in ((1.0, space.high), (-1.0, space.low)):
        env.step(np.full(2, share, np.float32))
        np.testing.assert_array_equal(env.unwrapped.given, expected)  # type: ignore[attr-defined]
        assert env.unwrapped.given.dtype == space.dtype  # type: ignore[attr-defined]


def test_whole_actions_are_rounded_to_the_nearest():
    env: Any = challenge(f"{HERE}Whole-v0").make()
    env.reset(seed=0)
    env.step(np.array([0.3, -0.3], np.float32))  # 0.9 of 3
    np.testing.assert_array_equal(env.unwrapped.given, [1, -1])


def test_a_picture_in_floats_is_refused_since_it_would_be_black():
    space = gymnasium.spaces.Dict({"top": gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)})
    reader = Reader(space, {"observation.images.top": "top"}, "the environment x")
    seen = reader.read({"top": np.full((32, 32, 3), 200, np.int64)})["observation.images.top"]
    assert (seen.dtype, int(seen.max())) == (np.uint8, 200)
    with pytest.raises(SuiteError, match=r"observation.images.top is float64 where the suite declares uint8"):
        reader.read({"top": np.full((32, 32, 3), 0.8)})
    with pytest.raises(SuiteError, match="left 'top' out of its observation"):
        reader.read({"side": 1})


def test_actions_without_bounds_say_what_to_do():
    with pytest.raises(SuiteError, match='actions="own" and demonstrations'):
        load_suite(f"{HERE}Endless-v0")


def test_plain_policies_of_stable_baselines3_take_the_features():
    from stable_baselines3 import PPO

    for name in (f"{HERE}Nested-v0", "tests.toy:Toy/between"):
        env = challenge(name).plain()
        assert all("." not in key for key in env.observation_space.spaces)  # type: ignore[attr-defined]
        model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu")
        model.learn(8)


# ---------------------------------------------------------------- faults


FAULTS = {
    "reset": r"in reset\(seed=\d+\), raised KeyError: 'door' \(strange.py, line \d+\)",
    "old-reset": "gave no pair .* is it written for the old Gym API",
    "step": r"in step 4 after reset\(seed=\d+\), raised ValueError: the gripper is gone \(strange.py, line",
    "reading": "observation.state is not finite",
    "shape": r"observes observation.state as float32 \(3,\) where its observation space says Box",
    "words": "observes observation.state as <U1",
    "ending": "gave terminated = None",
    "reward": "gave the reward nan",
    "old": "old Gym API",
    "close": r"in close, raised OSError: the bus is gone \(strange.py",
}


def measure(name: str) -> None:
    suite = load_suite(name)
    evaluate(Plan(0.0), suite, suite.tasks[0], "test", range(1))


def learn_in(name: str) -> None:
    env = challenge(name).make()
    env.reset(seed=0)
    for _ in range(6):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_an_environment_raises_blames_it_in_one_sentence(fault: str):
    name = f"{HERE}Fault-{fault}-v0"
    use = learn_in if fault == "reward" else measure  # an evaluation reads no reward
    with pytest.raises(SkilltokensError, match=rf"the environment {name}.*{FAULTS[fault]}") as caught:
        use(name)
    assert "\n" not in str(caught.value)


def test_an_environment_that_cannot_be_made_is_blamed():
    with pytest.raises(
        SuiteError, match=r"Unmade-v0, when it was made, raised FileNotFoundError: arm.xml \(strange.py"
    ):
        load_suite(f"{HERE}Unmade-v0")


def test_a_worker_process_blames_as_this_one_does():
    suite = load_suite(f"{HERE}Fault-step-v0")
    with Pool(suite, 1) as pool, pytest.raises(SuiteError, match=r"in step 4 .* raised ValueError: the gripper is"):
        evaluate(Plan(0.0), suite, suite.tasks[0], "test", range(1), pool=pool)


def test_a_reading_beyond_its_bounds_is_read():
    env = challenge(f"{HERE}Reach-v0?pace=0.2").make()
    env.unwrapped.observation_space = gymnasium.spaces.Box(0, 0.1, (4,), np.float32)
    assert math.isfinite(float(env.reset(seed=0)[0][STATE].sum()))
