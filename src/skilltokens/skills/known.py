"""What the notes of a skill say of its worth. Notes come along with other people's files, so they may say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LARGEST = 10**9


class Counts(NamedTuple):
    """Successes of episodes."""

    successes: int
    episodes: int


def counts(notes: Mapping[str, Any]) -> Counts | None:
    """How often the skill succeeded; None where that was not measured, or what is said cannot be."""
    good, tried = notes.get("successes"), notes.get("episodes")
    if type(good) is not int or type(tried) is not int or not 0 <= good <= tried <= LARGEST or tried == 0:
        return None
    return Counts(good, tried)


class Aside(NamedTuple):
    """The mean distance of the skill's actions from demonstrations that were kept aside; see `worth.ActionError`."""

    error: float
    still: float | None
    """The same of their mean action."""
    episodes: int | None


def aside(notes: Mapping[str, Any]) -> Aside | None:
    """The action error; None where there is none."""
    said = notes.get("aside")
    error = _number(said.get("error")) if isinstance(said, Mapping) else None
    if error is None or not isinstance(said, Mapping):
        return None
    episodes = said.get("episodes")
    return Aside(error, _number(said.get("still")), episodes if type(episodes) is int and episodes > 0 else None)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) and 0 <= value < LARGEST else None
