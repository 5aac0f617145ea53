"""What a method's settings say of the skill that a new one starts from. Free of torch.

neighbour   the rule that chooses it (methods/neighbours.py)
named       what the rule "named" goes by
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from skilltokens.types import SettingError, nearest

NeighbourRule = Literal["instruction", "data", "named"]
"""By what a new skill's neighbour is chosen: its instruction, its demonstrations, or a name."""
BASE_ITSELF = "base"
"""The base itself among the skills that `named` names, unless a skill is called so."""


def check_start(name: str, neighbour: str, named: Sequence[str], start: str, copies: str) -> None:
    """Checks what the settings of a new skill's start ask of each other.

    Args:
        name: how the command calls the method's settings.
        start, copies: what the setting `start` says, and a value of it by which a new skill starts as a neighbour.

    Raises:
        SettingError: a rule is chosen that nothing goes by, or one that lacks what it goes by.
    """
    if neighbour != "instruction" and start in ("base", "learned"):
        raise SettingError(
            f"{name}.neighbour {neighbour} chooses nothing where {name}.start is {start}: use {name}.start {copies}"
        )
    if neighbour == "named" and not named:
        raise SettingError(f"{name}.neighbour named goes by names: give {name}.named, such as TASK=SKILL")
    if neighbour != "named" and named:
        raise SettingError(f"{name}.named is for the rule named: add {name}.neighbour named, or leave it out")


def named_skill(named: Sequence[str], task: str, names: Sequence[str]) -> int | None:
    """The number of the skill that `named` names for a task; None: the base itself.

    Args:
        named: entries TASK=SKILL, and one SKILL for all other tasks: a name, of several the first, or a number.
        names: the skills that there are, in the order learned.

    Raises:
        SettingError: no entry is for the task, or there is no such skill.
    """
    entries = {place: skill for place, _, skill in (entry.rpartition("=") for entry in named)}
    skill = entries.get(task, entries.get(""))
    if skill is None:
        raise SettingError(f"method.named says nothing of {task}: add {task}=SKILL, or a SKILL for all other tasks")
    if skill in names:
        return names.index(skill)
    if skill == BASE_ITSELF:
        return None
    if skill.isdecimal() and int(skill) < len(names):
        return int(skill)
    raise SettingError(
        f"method.named has {task} start from {skill!r}, which is none of the {len(names)} skills before it: "
        f"{nearest(skill, [*dict.fromkeys(names), BASE_ITSELF])}"
    )
