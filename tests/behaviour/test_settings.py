"""Impossible settings of learning from reward are told in one sentence, before anything is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.configuration import check_settings
from skilltokens.experiments.recipes import RECIPES
from skilltokens.experiments.settings import RewardSettings
from skilltokens.types import SettingError


@pytest.mark.parametrize(
    ("adapt", "ppo", "seed", "said"),
    [
        ({"points": 0}, {}, 0, r"adapt\.points 0 is impossible: use 1 or more"),
        ({"episodes": 0}, {}, 0, "episodes"),
        ({"steps": -5}, {}, 0, "steps"),
        ({"window": -1}, {}, 0, "window -1 is impossible: use 0 or more"),
        ({}, {"tokens": 0}, 0, "tokens"),
        ({}, {"envs": 0}, 0, "envs"),
        ({}, {"batch": 48}, 0, "no divisor of the 512 steps"),
        ({}, {"batch": 1}, 0, "nothing to scale advantages by"),
        ({}, {"rate": 0.0}, 0, "a number above 0"),
        ({}, {"policy_rate": float("nan")}, 0, "a number above 0"),
        ({}, {"hidden": (16, 0)}, 0, r"ppo\.hidden 0 is impossible: use 1 or more"),
        ({}, {}, -1, "seed -1 is impossible"),
    ],
)
def test_an_impossible_setting_is_told(adapt: dict, ppo: dict, seed: int, said: str):
    settings = RewardSettings(adapt=replace(AdaptSettings(), **adapt), ppo=replace(PpoSettings(), **ppo), seed=seed)
    with pytest.raises(SettingError, match=said):
        check_settings(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (RewardSettings(suite="metaworld"), "--suite is for a library: name one with --library"),
        (RewardSettings(on="push"), "--on is for a library"),
        (RewardSettings(library="x", suite="metaworld", body="ant"), "--body is for bodies"),
        (RewardSettings(library="x", suite="metaworld", gravity=(2.0,)), "--gravity is for bodies"),
        (RewardSettings(library="x"), "--library needs --suite"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(settings: RewardSettings, said: str):
    with pytest.raises(SettingError, match=said):
        check_settings(settings)


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if recipe.experiment.name == "reward"])
def test_every_recipe_is_possible(name: str):
    for learner in RECIPES[name].learners:
        check_settings(RECIPES[name].settings(learner))
