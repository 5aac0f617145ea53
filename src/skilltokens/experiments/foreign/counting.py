"""Cells of other programs' results: counts as they are, and rates with the number of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skilltokens.experiments.foreign.facts import Facts
from skilltokens.experiments.records import Cell
from skilltokens.types import RunError


def cell_of(
    facts: Facts, task: int, after: int, successes: int, episodes: int, progress: float = 1.0, outcomes: str = ""
) -> Cell:
    """One test of one task; tasks and lessons count from 0."""
    return Cell(
        after=after,
        progress=progress,
        task=task,
        split=facts.split or "test",
        selected_by=facts.selected_by or "instruction",
        successes=successes,
        episodes=episodes,
        outcomes=outcomes,
    )


def count_of(rate: float, episodes: int, place: str, path: Path) -> int:
    """How many of the episodes succeeded.

    Raises:
        RunError: it is no rate, or none that so many episodes can have.
    """
    successes = round(rate * episodes) if 0 <= rate <= 1 else -1
    if successes < 0 or abs(successes - rate * episodes) > 1e-3:
        raise RunError(
            f"{path} has success {rate:g} {place}, which {episodes} episodes cannot have: say how many there were, as "
            f"{path}:episodes=N"
        )
    return successes


def without_counts(path: Path, place: str = "") -> RunError:
    """What to raise for rates of nobody knows how many episodes."""
    return RunError(
        f"{path} has success rates{place} and not the number of episodes, without which chance cannot be told from a "
        f"difference: say it, as {path}:episodes=20"
    )


def number_in(entry: Any, key: str) -> float | None:
    """A number in a JSON object, or None."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
