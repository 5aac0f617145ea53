"""Recipes of learning from reward: a learner's name -> a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.behaviour.settings import AdaptSettings, MotionSettings, PpoSettings
from skilltokens.experiments.settings import RewardSettings
from skilltokens.settings import TrainSettings


def task_tokens(learner: str) -> RewardSettings:
    """Every task of HalfCheetah from reward, by a task token and its rivals: hours; --tasks, --seeds.

    Every task of a body by every way to learn; five times the steps for those that begin from nothing.

    All curves have a point every 10,000 steps, so that none is rounded up further than another.
    """
    steps, points = (600_000, 60) if learner_of(learner).scratch else (120_000, 12)
    adapt = AdaptSettings(steps=steps, points=points)
    settings = RewardSettings(learner=learner, adapt=adapt, ppo=_ppo(learner))
    # A policy that is left as it is still knows what a speed is when it is asked for one.
    return settings if learner_of(learner).policy == "frozen" else replace(settings, commands=())


def task_tokens_walker2d(learner: str) -> RewardSettings:
    """The same with Walker2d, which can fall.

    The same for a body that can fall, and soon does when it tries more; its experts take longer, look further ahead
    and try more.
    """
    settings = _falling(learner, "walker2d")
    ppo = settings.ppo if learner_of(learner).scratch else replace(settings.ppo, log_std=-1.7)
    expert = replace(settings.motion.ppo, rollout=128, batch=256, gamma=0.99, gae=0.95, log_std=-0.7)
    return replace(settings, ppo=ppo, motion=replace(settings.motion, steps=4_000_000, part=400_000, ppo=expert))


def task_tokens_ant(learner: str) -> RewardSettings:
    """The same with Ant, which turns; steering besides.

    The same for a body that turns, with twice the steps and as many points; its expert learns as PPO from scratch
    does, and its model of more motion, for longer.
    """
    settings = _falling(learner, "ant")
    expert = replace(settings.motion.ppo, gamma=0.99, log_std=-1.2, learn_std=False)
    return replace(
        settings,
        motion=replace(settings.motion, steps=3_200_000, part=200_000, motion_steps=320_000, ppo=expert),
        train=replace(settings.train, first_iterations=8000),
        adapt=replace(settings.adapt, steps=2 * settings.adapt.steps),
    )


def _falling(learner: str, body: str) -> RewardSettings:
    """What is learned on the model of a body that can fall sees more of an episode before it changes."""
    settings = replace(task_tokens(learner), body=body)
    if learner_of(learner).scratch:
        return settings
    return replace(settings, ppo=replace(settings.ppo, rollout=128, stagger=False))


def task_tokens_halfcheetah(learner: str) -> RewardSettings:
    """One task from reward by a task token and by PPO from scratch, in ten minutes.

    The short form: one task by a task token and by PPO from scratch, in ten minutes with all that they need.
    """
    steps, points = (250_000, 25) if learner_of(learner).scratch else (80_000, 8)
    return RewardSettings(
        learner=learner,
        tasks=("reach",),
        motion=MotionSettings(
            steps=300_000, part=100_000, motion_steps=60_000, kinds=("runner",), folder="demos/short"
        ),
        train=TrainSettings(first_iterations=1000, batch=256, window=1),
        adapt=AdaptSettings(steps=steps, points=points, episodes=20),
        ppo=_ppo(learner),
        gravity=(),
        friction=(),
        noise=(),
        commands=(),
    )


def task_tokens_metaworld(learner: str) -> RewardSettings:
    """Tasks that a T2S library (metaworld-cw10) has never seen, from success alone, and PPO from scratch.

    Tasks that a T2S library of Continual World's ten skills has never seen, from success alone.
    """
    scratch = learner_of(learner).scratch
    steps, points = (400_000, 40) if scratch else (80_000, 8)
    return RewardSettings(
        learner=learner,
        library="runs/metaworld-cw10/t2s-seed0/library",
        suite="metaworld",
        tasks=("button-press", "coffee-button"),
        adapt=AdaptSettings(steps=steps, points=points, horizon=200, window=4),
        # where the skill never succeeds by itself, a loud first token is what finds the first successes
        ppo=_ppo(learner)
        if learner_of(learner).scratch
        else PpoSettings(rollout=64, epochs=5, normalize=False, presence=0.0),
    )


def _ppo(learner: str) -> PpoSettings:
    """What each way to learn does best with on bodies, by success on validation states.

    What begins from a frozen model that is told where to go tries less around it; without a command it has to find the
    way, and finds none with so little noise. Staggered first episodes make it learn reach sooner, and not lose it
    again; PPO from scratch does as well without.
    """
    if learner_of(learner).scratch:
        return PpoSettings(rollout=64, rate=3e-4, policy_rate=3e-4, gae=0.92, gradient=0.8)
    settings = PpoSettings(rollout=64, stagger=True, log_std=-1.7 if learner_of(learner).commanded else -1.2)
    rate = learner_of(learner).policy_rate
    return settings if rate is None else replace(settings, policy_rate=rate)


REWARD: dict[str, tuple[Callable[[str], RewardSettings], tuple[str, ...]]] = {
    "task-tokens": (task_tokens, tuple(LEARNERS)),
    "task-tokens-walker2d": (task_tokens_walker2d, tuple(LEARNERS)),
    "task-tokens-ant": (task_tokens_ant, tuple(LEARNERS)),
    "task-tokens-halfcheetah": (task_tokens_halfcheetah, ("token", "mlp")),
    "task-tokens-metaworld": (task_tokens_metaworld, ("token", "goal", "mlp")),
}
"""Name -> its settings, and the learners that are compared where none is named."""
