"""A task token: a skill from reward on a frozen library, stored beside the others, which keep their bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from tests.pictured import TOP, Pictured, SeenToo, pictured_policy
from tests.small import observations
from tests.toy import TASKS, Toy

from skilltokens.behaviour.adapt import environment_for
from skilltokens.behaviour.builder import Sight, make_agent
from skilltokens.behaviour.environments import SuiteEnvironment, challenge, of_suite
from skilltokens.behaviour.ppo import ppo
from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.behaviour.token import learn_token
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.grow import learn_skill
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.model.trunks import opening
from skilltokens.model.trunks.opening import open_trunk
from skilltokens.settings import TrainSettings
from skilltokens.simulation.rollout import evaluate
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites.bodies import body_suite
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    NOTE,
    STATE,
    Episode,
    Feature,
    LibraryError,
    Progress,
    RunError,
    SettingError,
    SuiteError,
    Task,
    TrunkError,
)

POLICY = PolicySettings(width=32, layers=2, history=2)
TRAIN = TrainSettings(iterations=40, first_iterations=150, batch=16, window=6, rate=3e-3)
PPO = PpoSettings(envs=4, rollout=32, batch=64, epochs=2, hidden=(16,), critic_hidden=(16,))
SHORT = AdaptSettings(steps=256, points=2, episodes=4)
ENV = "tests.toy:Toy"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, toy_stores: list[DemonstrationStore]) -> Path:
    """A library of two toy skills."""
    folder = tmp_path_factory.mktemp("grown") / "library"
    for store in toy_stores[:2]:
        learn_skill(folder, store, method=T2SSettings(share=0.3), train=TRAIN, policy=POLICY)
    return folder


@pytest.fixture
def library(grown: Path, tmp_path: Path) -> Path:
    """A copy of it to add to."""
    import shutil

    return Path(shutil.copytree(grown, tmp_path / "library"))


def fingerprints(folder: Path, skills: int) -> list[str]:
    opened = SkillLibrary.open(folder)
    return [opened.policy(number).fingerprint() for number in range(skills)]


def test_a_token_is_added_as_a_skill_and_every_earlier_one_keeps_its_bits(library: Path):
    before, files = fingerprints(library, 2), {p: p.read_bytes() for p in library.rglob("*.safetensors")}
    grown, curve = learn_token(library, f"{ENV}/between", on="reach-blue", settings=SHORT, ppo=PPO)
    assert fingerprints(library, 2) == before
    assert all(path.read_bytes() == content for path, content in files.items())
    skill = SkillLibrary.open(library).skills[2]
    assert skill.name == "between"
    assert skill.task_token is not None
    assert skill.task_token.on == SkillLibrary.open(library).skill("reach-blue").identity
    assert skill.task_token.features == {ENVIRONMENT_STATE: 4, STATE: 2}
    assert skill.parameters == curve.trained == 6 * 16 + 16 + 16 * 32 + 32 + 1
    assert curve.steps == [0, 128, 256]
    assert not (library / "adapting").exists()
    assert "between" in (library / "README.md").read_text()
    assert grown.notes[2]["episodes"] == 4


def test_returns_and_losses_are_written_for_tensorboard_in_one_file(library: Path, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = tmp_path / "board"
    learn_token(library, f"{ENV}/between", settings=replace(SHORT, steps=512), ppo=PPO, board=board)
    (file,) = board.iterdir()  # two points of the curve, one writer
    events = EventAccumulator(str(file)).Reload()
    assert {"train/loss", "rollout/ep_rew_mean"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/loss")][-1] == 512


def test_a_board_that_cannot_be_written_is_told_before_anything_is_learned(library: Path, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingError, match="cannot be written for TensorBoard"):
        learn_token(library, f"{ENV}/between", settings=SHORT, ppo=PPO, board=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (library / "adapting").exists()


def test_the_stored_token_acts_as_it_was_trained(library: Path, toy_stores: list[DemonstrationStore]):
    grown, curve = learn_token(library, f"{ENV}/between", settings=SHORT, ppo=PPO)
    stored = SkillLibrary.open(library).actor("stop halfway between both markers")
    outcomes = evaluate(stored, Toy(), TASKS[2], SHORT.split, range(SHORT.episodes))
    assert sum(outcome.success for outcome in outcomes) == curve.successes[-1]
    assert sum(outcome.steps for outcome in outcomes) / 4 == pytest.approx(curve.lengths[-1], abs=0.06)
    opened, seen = SkillLibrary.open(library), observations(toy_stores[2], 5)
    for one, other in (
        (grown.actor("stop halfway between both markers"), opened.actor("please stop halfway between both markers")),
    ):
        memories = one.start(len(seen[0][STATE])), other.start(len(seen[0][STATE]))
        for observation in seen:
            np.testing.assert_array_equal(one.act(observation, memories[0]), other.act(observation, memories[1]))


def test_a_skill_is_learned_from_demonstrations_after_one_from_reward(
    library: Path, toy_stores: list[DemonstrationStore]
):
    learn_token(library, f"{ENV}/between", settings=SHORT, ppo=PPO)
    before = fingerprints(library, 3)
    learn_skill(library, toy_stores[3], method=T2SSettings(share=0.3, near=-1.0), train=TRAIN)
    assert fingerprints(library, 3) == before
    assert [skill.task_token is None for skill in SkillLibrary.open(library).skills] == [True, True, False, True]


def test_interrupted_training_goes_on_and_ends_with_the_same_bits(library: Path, tmp_path: Path):
    import shutil

    other = Path(shutil.copytree(library, tmp_path / "other"))
    learn_token(library, f"{ENV}/between", settings=SHORT, ppo=PPO)

    class Stopped(Exception):
        pass

    reports = []

    def stop(news):
        reports.append(news)
        if news.figures.get("success") is not None and news.done >= 128:
            raise Stopped

    with pytest.raises(Stopped):
        learn_token(other, f"{ENV}/between", settings=SHORT, ppo=PPO, report=stop)
    assert len(SkillLibrary.open(other).skills) == 2
    reports.clear()
    learn_token(other, f"{ENV}/between", settings=SHORT, ppo=PPO, report=reports.append)
    assert min(news.done for news in reports) > 128  # what was learned is not learned again
    assert fingerprints(library, 3) == fingerprints(other, 3)


@pytest.mark.parametrize(
    "other",
    [
        {"env": f"{ENV}/avoid-red"},
        {"seed": 7},
        {"on": "reach-blue"},
        {"settings": replace(SHORT, steps=512)},
        {"ppo": replace(PPO, hidden=(8,))},
    ],
)
def test_an_interrupted_training_is_not_taken_for_another(library: Path, other: dict[str, Any]):
    def stop(news):
        raise KeyboardInterrupt

    words: dict[str, Any] = {"env": f"{ENV}/between", "on": "reach-red", "name": "new", "settings": SHORT, "ppo": PPO}
    with pytest.raises(KeyboardInterrupt):
        learn_token(library, report=lambda news: stop(news) if news.done > 128 else None, **words)
    with pytest.raises(RunError, match="keeps a training of another configuration"):
        learn_token(library, **{**words, **other})
    learn_token(library, **{**words, "ppo": replace(PPO, rate=1e-4)})  # what fixes a training that diverged
    assert SkillLibrary.open(library).skills[2].name == "new"


def test_a_library_whose_token_stands_on_nothing_is_refused(library: Path):
    grown, _ = learn_token(library, f"{ENV}/between", on="reach-blue", settings=SHORT, ppo=PPO)
    skill, acted = grown.skill("between"), grown.policy_of("between").fingerprint()
    assert skill.task_token is not None
    strange = skill.with_content(task_token=replace(skill.task_token, on="0" * 64)).named("strange")
    with pytest.raises(LibraryError, match="'strange' does not fit"):
        grown.add(strange)
    grown.remove("reach-blue")
    opened = SkillLibrary.open(library)
    assert [kept.name for kept in opened.state.kept] == ["reach-blue"]
    assert opened.policy_of("between").fingerprint() == acted


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ({"env": f"{ENV}/nowhere"}, "no task"),
        ({"env": "Nothing-v7"}, "Gymnasium knows no environment 'Nothing-v7'"),
        ({"env": "CartPole-v1"}, "bounded vector"),
        ({"env": "Pendulum-v1"}, "no success flag"),
        ({"env": "metaworld/push-v3"}, "takes 4 actions where the policy gives 2: it is of another robot"),
        ({"env": f"{ENV}/between", "on": "nobody"}, "no skill 'nobody'"),
        ({"env": f"{ENV}/between", "name": "reach-red"}, "already"),
    ],
)
def test_mistakes_are_told_before_any_training(library: Path, words: dict, wrong: str):
    before = sorted(library.rglob("*"))
    with pytest.raises((SettingError, LibraryError, SuiteError), match=wrong):
        learn_token(library, settings=SHORT, ppo=PPO, **words)
    assert sorted(library.rglob("*")) == before


class Wider(gymnasium.ObservationWrapper):
    """The toy with one number more in its state: another body."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        spaces = dict(env.observation_space.spaces)  # pyright: ignore[reportAttributeAccessIssue]
        self.observation_space = gymnasium.spaces.Dict({**spaces, STATE: Box(-np.inf, np.inf, (3,), np.float32)})

    def observation(self, observation):
        return {**observation, STATE: np.append(observation[STATE], 0.0).astype(np.float32)}


class Blind(gymnasium.ObservationWrapper):
    """The toy without its markers."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Dict({STATE: Box(-np.inf, np.inf, (2,), np.float32)})

    def observation(self, observation):
        return {STATE: observation[STATE]}


ODD = {"toy/Wider-v0": Wider, "toy/Blind-v0": Blind}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("toy/Wider-v0", r"3 numbers where the policy knows 2: it is a model of another body"),
        ("toy/Blind-v0", r"does not observe 'observation\.environment_state'"),
    ],
)
def test_an_environment_that_does_not_fit_the_policy_is_told(library: Path, name: str, wrong: str):
    entry: Any = lambda **_: ODD[name](SuiteEnvironment(Toy(), TASKS[2], 40))  # noqa: E731
    gymnasium.register(name, entry, max_episode_steps=40)
    try:
        with pytest.raises(SettingError, match=wrong):
            learn_token(library, name, settings=SHORT, ppo=PPO)
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize("name", [f"{ENV}/between", "halfcheetah/reach"])
def test_an_episode_is_as_long_as_the_horizon_says(name: str):
    env = challenge(name, horizon=7).make()
    env.reset(seed=0)
    over = [env.step(np.zeros(env.action_space.shape or ()))[3] for _ in range(7)]
    assert over == [False] * 6 + [True]
    env.close()
    with pytest.raises(SettingError, match=r"adapt\.horizon 9999 is impossible: .* allows 1 to"):
        challenge(name, horizon=9999)


def test_the_flag_that_is_taken_is_said_before_the_training(tmp_path: Path):
    """And the environment's counts and switches are for the encoder."""
    rng = np.random.default_rng(0)
    episode = Episode({STATE: rng.uniform(-1, 1, (20, 4)), ACTION: rng.uniform(-1, 1, (20, 2))})
    features = {STATE: Feature((4,)), ACTION: Feature((2,))}
    task = Task("reach", "reach the mark")
    store = write_store(tmp_path / "reach", [episode], task=task, features=features, source="human", suite="own")
    learn_skill(tmp_path / "library", store, train=replace(TRAIN, first_iterations=2), policy=POLICY)
    lines: list[Progress] = []
    settings = replace(SHORT, steps=128, points=1, episodes=1)
    learn_token(tmp_path / "library", "tests.strange:Both-v0", settings=settings, ppo=PPO, report=lines.append)
    (said,) = [news.note for news in lines if news.stage == NOTE and "success" in news.note]
    assert "info['success'] says whether the task is done" in said
    library, _ = learn_token(tmp_path / "library", "tests.strange:Counted-v0", settings=settings, ppo=PPO)
    token = library.skill("counted-v0").task_token
    assert token is not None
    assert token.features == {"direction": 4, "gears": 5, STATE: 4, "speed": 1, "switches": 4, "ticks": 1}


def test_an_attempt_ends_where_the_body_falls_and_is_no_success():
    suite = body_suite("walker2d")
    env = SuiteEnvironment(suite, suite.tasks[0], suite.horizon)
    env.reset(seed=0)
    outcome: list[Any] = [0.0, False, False, {}]
    while not any(outcome[1:3]):  # with limp motors it soon lies
        outcome = list(env.step(np.zeros(6, np.float32))[1:])
    assert outcome == [0.0, True, False, {"is_success": False}]
    env.close()


@pytest.mark.parametrize("window", [1, 2])
def test_a_policy_that_looks_at_pictures_is_steered_whatever_it_remembers(window: int):
    suite = Pictured()
    policy = pictured_policy().requires_grad_(False)
    make = environment_for(policy, of_suite(suite, suite.tasks[0]), replace(SHORT, window=window))
    agent = make_agent("token", policy, np.zeros(policy.shape.language, np.float32), make().observation_space, PPO, 0)  # pyright: ignore[reportArgumentType]
    (stop,) = ppo(agent, make, PPO, [128], 0)
    assert stop.steps == 128


SEEN = "tests.pictured:SeenToo/between"
SEES = replace(SHORT, picture=True, trunk="lite0-random")


def test_a_token_that_sees_through_a_trunk_is_kept_with_its_name_and_acts_as_it_was_trained(library: Path):
    _, curve = learn_token(library, SEEN, settings=SEES, ppo=PPO)
    opened = SkillLibrary.open(library)
    skill = opened.skill("between")
    assert skill.task_token is not None
    assert (skill.task_token.pictures, skill.task_token.trunk) == ((TOP,), "lite0-random")
    assert ENVIRONMENT_STATE not in skill.task_token.features
    assert skill.parameters == curve.trained
    outcomes = evaluate(opened.actor("stop halfway between both markers"), SeenToo(), TASKS[2], SHORT.split, range(4))
    assert sum(outcome.success for outcome in outcomes) == curve.successes[-1]
    assert sum(outcome.steps for outcome in outcomes) / 4 == pytest.approx(curve.lengths[-1], abs=0.06)


def test_a_token_is_not_read_behind_another_trunk(library: Path, monkeypatch: pytest.MonkeyPatch):
    learn_token(library, SEEN, settings=SEES, ppo=PPO)
    monkeypatch.setattr(opening, "_open", {"lite0-random": open_trunk("lite0")})
    with pytest.raises(TrunkError, match="learned behind another trunk"):
        SkillLibrary.open(library).actor("stop halfway between both markers")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            replace(SEES, picture=False),
            r"adapt\.trunk 'lite0-random' is for an encoder that sees pictures: say --adapt\.picture",
        ),
        (replace(SEES, trunk="lite9"), r"adapt\.trunk 'lite9' is no trunk"),
    ],
)
def test_a_trunk_that_shows_nothing_is_refused(library: Path, settings: AdaptSettings, message: str):
    with pytest.raises(SettingError, match=message):
        learn_token(library, SEEN, settings=settings, ppo=PPO)
    assert not (library / "adapting").exists()


def test_a_policy_that_sees_is_steered_through_its_own_trunk_alone():
    suite, settings = Pictured(), replace(SEES, window=1)
    task = of_suite(suite, suite.tasks[0])
    with pytest.raises(SettingError, match="sees the same pictures through 'none'"):
        environment_for(pictured_policy(), task, settings)
    policy = pictured_policy(trunk="lite0-random").requires_grad_(False)
    make, sight = environment_for(policy, task, settings), Sight(picture=True, trunk="lite0-random")
    space: Any = make().observation_space
    agent = make_agent("token", policy, np.zeros(policy.shape.language, np.float32), space, PPO, 0, sight)
    (stop,) = ppo(agent, make, PPO, [128], 0)
    assert stop.steps == 128
