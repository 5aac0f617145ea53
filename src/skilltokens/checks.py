"""What the settings of a run can be: told in one sentence before anything is made or written. Free of torch."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from skilltokens.settings import PolicySettings, RunSettings, TrainSettings, flat
from skilltokens.suites import load_suite, task_of
from skilltokens.types import SettingError, Split, Suite

_FROM_0 = (
    "seed", "train.warmup", "train.weight_decay", "train.observation_noise", "train.average", "evaluate.horizon",
    "evaluate.workers", "demonstrations.noise", "demonstrations.seed", "adapt.horizon", "adapt.window", "motion.seed",
    "motion.noise",
)  # fmt: skip
_FROM_1 = (
    "policy.width", "policy.layers", "policy.heads", "policy.history", "policy.modes", "train.iterations",
    "train.first_iterations", "train.batch", "train.window", "train.threads", "train.log_every", "evaluate.episodes",
    "evaluate.points", "evaluate.group", "demonstrations.episodes", "adapt.steps", "adapt.points", "adapt.episodes",
    "adapt.group", "ppo.envs", "ppo.rollout", "ppo.batch", "ppo.epochs", "ppo.tokens", "ppo.threads", "motion.steps",
    "motion.part", "motion.motion_steps",
)  # fmt: skip
LEAST = {**dict.fromkeys(_FROM_0, 0), **dict.fromkeys(_FROM_1, 1)}
"""The least that a number may be."""
POSITIVE = (
    "train.rate", "train.clip", "method.rate", "method.own_rate", "method.share", "method.mu", "ppo.rate",
    "ppo.policy_rate", "ppo.critic_rate", "ppo.gradient", "ppo.clip",
)  # fmt: skip
"""Numbers that must be above 0, and may be infinite; those of a method where it has them."""


def check(settings: RunSettings[Any], suite: Suite) -> None:
    """Checks all of a run's settings that can be judged without its method and its demonstrations.

    Raises:
        SettingError: one is impossible, or something in it does not exist: a device, a task, a variant, so many
            different episodes.
    """
    wanted = settings.evaluate
    check_numbers(
        seed=settings.seed, method=settings.method, policy=settings.policy, train=settings.train, evaluate=wanted,
        demonstrations=settings.demonstrations,
    )  # fmt: skip
    check_learning(settings.policy, settings.train)
    stretches = min(settings.train.iterations, settings.train.first_iterations)
    if wanted.points - 1 > stretches:
        raise SettingError(
            f"evaluate.points {wanted.points} is impossible where a lesson has {stretches} iterations: use at most "
            f"{stretches + 1}"
        )
    check_episodes(suite, wanted.split, wanted.episodes, wanted.horizon)
    for name in wanted.variants:
        variant = load_suite(name)
        for task in settings.tasks or [task.name for task in suite.tasks]:
            task_of(variant, task)
        if dict(variant.features) != dict(suite.features):
            raise SettingError(
                f"suite {variant.name!r} cannot be in evaluate.variants: its observations or actions are not those of "
                f"{suite.name!r}"
            )
        check_episodes(variant, wanted.split, wanted.episodes, wanted.horizon)


def check_learning(policy: PolicySettings, train: TrainSettings) -> None:
    """Checks what a policy and its training ask of each other and of this machine.

    Raises:
        SettingError: a number is out of its range, or the device is not there.
    """
    check_numbers(policy=policy, train=train)
    if policy.width % policy.heads:
        raise SettingError(f"policy.width {policy.width} is no multiple of policy.heads {policy.heads}")
    if train.window < policy.history:
        raise SettingError(
            f"train.window {train.window} is shorter than policy.history {policy.history}: a policy would act on more "
            "steps than it was trained on"
        )
    if train.average >= 1:
        raise SettingError(f"train.average {train.average:g} is impossible: use a number below 1")
    check_device(train.device)


def check_numbers(**parts: Any) -> None:
    """Checks numbers by themselves. A part is a number, some, or a dataclass with some:
    check_numbers(train=TrainSettings()).

    Raises:
        SettingError: one is out of its range.
    """
    named = {
        n: part if isinstance(part, int | float | tuple) else dataclasses.asdict(part) for n, part in parts.items()
    }
    for name, found in flat(named).items():
        for value in found if isinstance(found, tuple) else (found,):
            if isinstance(value, int | float):
                _check_number(name, value)


def _check_number(name: str, value: float) -> None:
    if name in LEAST and not LEAST[name] <= value < math.inf:
        raise SettingError(f"{name} {value:g} is impossible: use {LEAST[name]} or more")
    if name in POSITIVE and not value > 0:
        raise SettingError(f"{name} {value:g} is impossible: use a number above 0")
    if name not in POSITIVE and not math.isfinite(value):
        raise SettingError(f"{name} {value:g} is impossible: use a finite number")


def check_device(name: str) -> None:
    """Raises SettingError unless torch can compute on the device: cpu, cuda, or cuda:1 and so on."""
    if name == "cpu":
        return
    found = re.fullmatch(r"cuda(?::(\d+))?", name)
    if found is None:
        raise SettingError(f"there is no device {name!r}: use cpu, cuda or cuda:1")
    import torch  # only where it is needed

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(found[1] or 0) >= there:
        raise SettingError(
            f"the device {name!r} is not there (torch {torch.__version__} sees {there} GPUs): use cpu, or mend the "
            "driver or torch's build"
        )


def check_episodes(suite: Suite, split: Split, episodes: int, horizon: int = 0) -> None:
    """Checks that a suite has so many different episodes, and allows their length (0: its own).

    Raises:
        SettingError: it does not.
    """
    count = getattr(suite, "episodes", None)
    most = None if count is None else count(split)
    if most is not None and episodes > most:
        raise SettingError(
            f"suite {suite.name!r} has {most} different episodes of the split {split!r}, not {episodes}: use {most} or "
            "fewer"
        )
    if horizon > suite.horizon:
        raise SettingError(
            f"a horizon of {horizon} steps is impossible: suite {suite.name!r} allows 1 to {suite.horizon}"
        )
