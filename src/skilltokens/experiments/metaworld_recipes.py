"""Recipes on Meta-World: a method's name -> a complete configuration. docs/protocols.md says what each is for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import BY_NUMBER, DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.suites import load_suite, sequence
from skilltokens.suites.names import CW10

FOUR = ("hammer", "push-wall", "faucet-close", "window-close")
"""Four of Continual World's tasks that differ in what is done."""


def demo(method: str) -> RunSettings[Any]:
    """Four Meta-World skills in a few minutes: what forgetting looks like, and what it looks like without."""
    return _metaworld(
        method,
        FOUR,
        TrainSettings(iterations=400, first_iterations=600),
        EvaluateSettings(workers=1, points=3, videos=True),
    )


def metaworld_cw10(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, one after another from scratch (protocol A), state observations."""
    return _metaworld(method, sequence("metaworld-cw10")[1], TrainSettings(), EvaluateSettings(workers=1))


def metaworld_cw20(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, twice over: does a second pass cost anything?"""
    return _metaworld(method, sequence("metaworld-cw20")[1], TrainSettings(), EvaluateSettings(workers=1))


def metaworld_cw10_b(method: str) -> RunSettings[Any]:
    """Continual World's first six tasks together, then four one by one from 10 demonstrations each (protocol B)."""
    together = replace(metaworld_cw10(method), protocol="B", first=6, later_demonstrations=10)
    return replace(together, demonstrations=DemonstrationSettings(folder=BY_NUMBER))


def metaworld_40(method: str) -> RunSettings[Any]:
    """Meta-World's 40 tasks that are not Continual World's, together: the base that metaworld-few begins from."""
    others = tuple(name for name in _all_tasks() if name not in CW10)
    settings = _metaworld(
        method,
        others,
        TrainSettings(iterations=200, first_iterations=200, batch=64),
        EvaluateSettings(workers=1, points=1, episodes=5, horizon=200),
    )
    return replace(settings, demonstrations=DemonstrationSettings(episodes=20, folder=BY_NUMBER))


def metaworld_few(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks from 5 demonstrations each, on a base of the other 40 (protocol A+): transfer.

    The base is made when it is missing. The same from scratch: --protocol A. Other numbers: --demonstrations.episodes.
    """
    settings = _metaworld(
        method,
        sequence("metaworld-cw10")[1],
        TrainSettings(iterations=400, first_iterations=400),
        EvaluateSettings(workers=1, points=5, horizon=200),
    )
    few = DemonstrationSettings(episodes=5, folder=BY_NUMBER)
    return replace(settings, protocol="A+", pretrain="metaworld-40", demonstrations=few)


def metaworld_50(method: str) -> RunSettings[Any]:
    """All 50 tasks of Meta-World one after another (protocol A), 10 demonstrations each: what does a long life cost?"""
    settings = _metaworld(
        method,
        _all_tasks(),
        TrainSettings(iterations=400),
        EvaluateSettings(workers=1, points=1, episodes=10, horizon=200, old="end"),
    )
    return replace(settings, demonstrations=DemonstrationSettings(episodes=10, folder=BY_NUMBER))


def metaworld_recurring(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks in 40 lessons, some tasks often and some seldom (a power law): a recurring stream."""
    settings = _metaworld(
        method,
        sequence("metaworld-cw10")[1],
        TrainSettings(iterations=400),
        EvaluateSettings(workers=1, points=1, episodes=10, horizon=200, old="end"),
    )
    return replace(settings, order="power-law", lessons=40)


def _all_tasks() -> tuple[str, ...]:
    """The names of Meta-World's 50 tasks."""
    return tuple(task.name for task in load_suite("metaworld").tasks)


def metaworld_images(method: str) -> RunSettings[Any]:
    """Four of Continual World's tasks (protocol A), seen through two cameras: pictures in place of poses."""
    settings = _metaworld(
        method,
        FOUR,
        # Full training costs as much as there are pictures in a batch.
        TrainSettings(iterations=600, first_iterations=600, batch=8, window=8),
        EvaluateSettings(workers=1, points=3, horizon=200),
    )
    return replace(settings, suite="metaworld-images", policy=PolicySettings(history=4))


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
