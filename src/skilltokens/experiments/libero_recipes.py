"""Recipes on LIBERO: a method's name -> a complete configuration. docs/protocols.md says what each is for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import BY_NUMBER, DemonstrationSettings, EvaluateSettings, TrainSettings

EARLY = (0.0, 0.1, 0.25, 0.5, 1.0)
"""The shares of training at which transfer shows best."""


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
    """LIBERO-10's ten long tasks (protocol A), state observations."""
    return _libero(method, "libero-10", 520)


def libero_goal_b(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's first six tasks together, then four one by one from 10 demonstrations each (protocol B)."""
    together = replace(_libero(method, "libero-goal"), protocol="B", first=6, later_demonstrations=10)
    return replace(together, demonstrations=DemonstrationSettings(folder=BY_NUMBER))


def libero_spatial_and_object(method: str) -> RunSettings[Any]:
    """The 20 tasks of LIBERO-Spatial and LIBERO-Object together: the base that libero-few begins from."""
    settings = _libero(method, "libero-spatial-and-object")
    return replace(
        settings,
        train=replace(settings.train, iterations=600, first_iterations=600),
        evaluate=replace(settings.evaluate, points=1, episodes=5, variants=()),
        demonstrations=DemonstrationSettings(episodes=20, folder=BY_NUMBER),
    )


def libero_few(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's ten tasks from 10 demonstrations each, on a base of two other suites (protocol A+): transfer.

    The base is made when it is missing. The same from scratch: --protocol A. Other numbers: --demonstrations.episodes.
    """
    return _few(_libero(method, "libero-goal"))


def libero_few_long(method: str) -> RunSettings[Any]:
    """LIBERO-10's long tasks from 10 demonstrations each, on the base of libero-few (protocol A+): transfer.

    The same from scratch: --protocol A.
    """
    return _few(_libero(method, "libero-10", 520))


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


def _few(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The same tasks from 10 demonstrations each, on the base of two other suites; early points show transfer best."""
    return replace(
        settings,
        protocol="A+",
        pretrain="libero-spatial-and-object",
        train=replace(settings.train, iterations=800, first_iterations=800),
        evaluate=replace(settings.evaluate, at=EARLY, variants=()),
        demonstrations=DemonstrationSettings(episodes=10, folder=BY_NUMBER),
    )
