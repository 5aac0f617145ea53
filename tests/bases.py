"""Recipes of the toy suite that make a base, for protocol A+; `tests.bases:two`."""

from __future__ import annotations

import dataclasses
from typing import Any

from skilltokens.experiments.metaworld_recipes import metaworld_40
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import BY_NUMBER, DemonstrationSettings, EvaluateSettings, TrainSettings


def two(method: str) -> RunSettings[Any]:
    """Two tasks on a table, learned together."""
    return RunSettings(
        method=method_settings(method)(),
        suite="tests.toy:Toy",
        tasks=("reach-red", "reach-blue"),
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(iterations=6, first_iterations=6, batch=8, window=6),
        evaluate=EvaluateSettings(episodes=2, group=2, points=1),
        demonstrations=DemonstrationSettings(episodes=3),
    )


def metaworld_two(method: str) -> RunSettings[Any]:
    """Two tasks of Meta-World, learned together for an instant."""
    base = metaworld_40(method)
    return dataclasses.replace(
        base,
        tasks=("reach", "window-open"),
        policy=PolicySettings(width=16, layers=1, history=4),
        train=dataclasses.replace(base.train, iterations=4, first_iterations=4, batch=4),
        evaluate=dataclasses.replace(base.evaluate, episodes=1, group=1, horizon=20),
        demonstrations=dataclasses.replace(base.demonstrations, episodes=2),
    )


def itself(method: str) -> RunSettings[Any]:
    """A base that would need a base."""
    return dataclasses.replace(two(method), protocol="A+", pretrain="tests.bases:itself")


def nothing(method: str) -> object:
    """No settings."""
    return method


def on_two(method: str) -> RunSettings[Any]:
    """Three tasks on the base of two."""
    few = two(method)
    return dataclasses.replace(
        few,
        tasks=("reach-blue", "between", "avoid-red"),
        protocol="A+",
        pretrain="tests.bases:two",
        evaluate=dataclasses.replace(few.evaluate, episodes=1, group=1),
        demonstrations=DemonstrationSettings(episodes=2, folder=BY_NUMBER),
    )
