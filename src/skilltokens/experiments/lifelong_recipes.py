"""Recipes of learning task after task from demonstrations: a method's name -> a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skilltokens.experiments import libero_recipes as libero
from skilltokens.experiments import metaworld_recipes as metaworld
from skilltokens.experiments.settings import RunSettings

LIFELONG: dict[str, Callable[[str], RunSettings[Any]]] = {
    "demo": metaworld.demo,
    "metaworld-cw10": metaworld.metaworld_cw10,
    "metaworld-cw20": metaworld.metaworld_cw20,
    "metaworld-few": metaworld.metaworld_few,
    "metaworld-cw10-b": metaworld.metaworld_cw10_b,
    "metaworld-50": metaworld.metaworld_50,
    "metaworld-recurring": metaworld.metaworld_recurring,
    "metaworld-images": metaworld.metaworld_images,
    "metaworld-40": metaworld.metaworld_40,
    "libero-spatial": libero.libero_spatial,
    "libero-object": libero.libero_object,
    "libero-goal": libero.libero_goal,
    "libero-10": libero.libero_10,
    "libero-few": libero.libero_few,
    "libero-few-long": libero.libero_few_long,
    "libero-goal-b": libero.libero_goal_b,
    "libero-spatial-and-object": libero.libero_spatial_and_object,
    "libero-goal-images": libero.libero_goal_images,
}

USUAL = ("t2s",)
"""The methods that are run where none is named."""
LEARNER = "multitask"
"""The method that makes a base."""
TOGETHER = ("metaworld-40", "libero-spatial-and-object")
"""Those that make a base: where no method is named, their tasks are learned together."""
