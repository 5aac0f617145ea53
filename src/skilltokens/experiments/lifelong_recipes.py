"""Recipes of learning task after task from demonstrations: a method's name -> a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.suites import sequence


def demo(method: str) -> RunSettings[Any]:
    """Four Meta-World skills in a few minutes: what forgetting looks like, and what it looks like without."""
    return _metaworld(
        method,
        ("hammer", "push-wall", "faucet-close", "window-close"),
        TrainSettings(iterations=400, first_iterations=600),
        EvaluateSettings(workers=1, points=3, videos=True),
    )


def metaworld_cw10(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, one after another from scratch (protocol A), state observations."""
    return _metaworld(method, sequence("metaworld-cw10")[1], TrainSettings(), EvaluateSettings(workers=1))


def metaworld_cw20(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, twice over: does a second pass cost anything?"""
    return _metaworld(method, sequence("metaworld-cw20")[1], TrainSettings(), EvaluateSettings(workers=1))


def libero_spatial(method: str) -> RunSettings[Any]:
    """LIBERO-Spatial's ten tasks (protocol A), state observations: one bowl and plate in ten arrangements."""
    return _libero(method, "libero-spatial")


def libero_object(method: str) -> RunSettings[Any]:
    """LIBERO-Object's ten tasks (protocol A), state observations: ten things into a basket."""
    return _libero(method, "libero-object")


def libero_goal(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's ten tasks (protocol A), state observations: ten goals on one scene."""
    return _libero(method, "libero-goal")


def libero_10(method: str) -> RunSettings[Any]:
    """LIBERO-10's long tasks (protocol A), state observations; those that a scripted expert can do."""
    return _libero(method, "libero-10", 520)


def libero_goal_images(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's ten tasks (protocol A) from two cameras: hours on a CPU, or some of the --tasks in half an hour."""
    return RunSettings(
        method=method_settings(method)(),
        suite="libero-goal-images",
        policy=PolicySettings(history=4),
        # Full training costs as much as there are pictures in a batch.
        train=TrainSettings(iterations=600, first_iterations=600, batch=8, window=8),
        evaluate=EvaluateSettings(workers=1, horizon=300, points=3, variants=("libero-goal-lan-images",)),
        demonstrations=DemonstrationSettings(),
    )


def _libero(method: str, suite: str, horizon: int = 300) -> RunSettings[Any]:
    """Episodes end after 300 steps (long tasks: 520), where LIBERO's own evaluation waits for 600."""
    chosen = method_settings(method)()
    if isinstance(chosen, T2SSettings):  # by success on validation states of LIBERO-Goal
        chosen = replace(chosen, own_rate=5e-3)
    return RunSettings(
        method=chosen,
        suite=suite,
        policy=PolicySettings(),
        # Noise on what is seen makes a policy steer by offsets, which stand out of it, and not by where things usually
        # are.
        train=TrainSettings(iterations=1500, first_iterations=1500, observation_noise=0.2),
        evaluate=EvaluateSettings(workers=1, horizon=horizon, variants=(f"{suite}-lan",)),
        demonstrations=DemonstrationSettings(),
    )


def _metaworld(
    method: str, tasks: tuple[str, ...], train: TrainSettings, evaluate: EvaluateSettings
) -> RunSettings[Any]:
    return RunSettings(
        method=method_settings(method)(),
        suite="metaworld",
        tasks=tasks,
        policy=PolicySettings(),
        train=train,
        evaluate=evaluate,
        demonstrations=DemonstrationSettings(),
    )


LIFELONG: dict[str, Callable[[str], RunSettings[Any]]] = {
    "demo": demo,
    "metaworld-cw10": metaworld_cw10,
    "metaworld-cw20": metaworld_cw20,
    "libero-spatial": libero_spatial,
    "libero-object": libero_object,
    "libero-goal": libero_goal,
    "libero-10": libero_10,
    "libero-goal-images": libero_goal_images,
}
