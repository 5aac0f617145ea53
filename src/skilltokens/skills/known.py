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


class Origin(NamedTuple):
    """The demonstrations that a skill was learned from; what is not said is empty."""

    source: str
    episodes: int | None
    digest: str
    """Of their store."""


def origin(notes: Mapping[str, Any]) -> Origin | None:
    """The demonstrations behind a skill; None where nothing is said of any."""
    said = notes.get("demonstrations")
    if isinstance(said, str):  # of a library that a run left
        said = {"digest": said}
    if not isinstance(said, Mapping):
        return None
    source, episodes, digest = (said.get(name) for name in ("source", "episodes", "digest"))
    return Origin(
        source if isinstance(source, str) else "",
        episodes if type(episodes) is int and 0 < episodes <= LARGEST else None,
        digest if isinstance(digest, str) else "",
    )


def measured_on(notes: Mapping[str, Any]) -> str:
    """What the successes were counted on, in words; empty where that is not said."""
    place, split = notes.get("suite", notes.get("environment")), notes.get("split")
    words = [word for word in (place, f"{split} states" if isinstance(split, str) else None) if isinstance(word, str)]
    return ", ".join(words)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) and 0 <= value < LARGEST else None
