"""What the cells of a transfer matrix are learned and measured with. Free of torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from skilltokens.experiments.lessons import order_of
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_of
from skilltokens.types import SettingError, Suite

EVALUATION: Mapping[str, Any] = {
    "split": "validation",
    "old": "end",
    "variants": (),
    "videos": False,
    "wordings": False,
}
"""How every cell is evaluated: on states that are never reported, since rules and ceilings are chosen by them."""
STARTING = ("t2s", "lora", "full_copy")
"""The methods that can start from a skill."""


def from_base(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The run that learns every task from the base alone: the skills that others start from.

    Raises:
        SettingError: there is no base, the method cannot start from a skill, or old demonstrations come in.
    """
    name = method_of(settings.method)
    if name not in STARTING:
        raise SettingError(
            f"a transfer matrix needs a method that starts from an earlier skill: use {', '.join(STARTING)}, not {name}"
        )
    if settings.protocol != "A+":
        raise SettingError(
            f"a transfer matrix measures what a skill gives over a base: use protocol A+, not {settings.protocol}"
        )
    if settings.cotrain.share:
        raise SettingError("a transfer matrix learns from the new demonstrations alone: leave out --cotrain.share")
    method = dataclasses.replace(settings.method, start="base", neighbour="instruction", named=())
    evaluate = dataclasses.replace(settings.evaluate, **EVALUATION)
    return dataclasses.replace(settings, method=method, evaluate=evaluate)


def from_skill(settings: RunSettings[Any], number: int) -> Any:
    """The method's settings that start a new skill as a copy of the skill of a number."""
    copies = settings.method.COPIES
    return dataclasses.replace(settings.method, start=copies, neighbour="named", named=(str(number),))


def check_tasks(settings: RunSettings[Any], suite: Suite) -> None:
    """Raises SettingError where a task comes twice, or is alone."""
    names = order_of(settings, suite)
    if len(set(names)) < len(names) or len(names) < 2:
        raise SettingError("a transfer matrix needs two tasks or more, each once: see --tasks, --order and --lessons")
