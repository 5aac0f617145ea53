"""How a method is found, by name, before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Otherwise = Literal["newest", "base"]
"""What a skill starts from where no earlier one is near by its instruction: the newest skill, or the base itself."""


@dataclass(frozen=True)
class Registration:
    """A method's entry in the table. `target` is "module:Class", imported (with torch) only when the method runs."""

    summary: str
    target: str
    settings: type[Any]
    trials: tuple[Mapping[str, Any], ...] = ()
    """What `skilltokens tune` tries besides a recipe's own settings: three times what to change in them. Where it is
    left out, the setting `rate` times 1/2, 2 and 1/4 (experiments/tuning.py)."""
    expert: bool = False
    """Whether the suite's scripted expert acts instead of a policy: not every suite has one."""
    beside: bool = False
    """Whether it learns on a policy of another make, which `base` and `loader` name."""
    once: str = ""
    """A method's name that its usual settings had once: see `methods.today`."""
