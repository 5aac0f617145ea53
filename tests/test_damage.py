"""Whatever was done to a file: it is refused in one sentence, or what is read is equal. `make soak` does more of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.damage import EQUAL, OTHER, REFUSED, survives, variants
from tests.formats import Format, formats

COUNT = 40
"""Damages of each file."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    return {entry.name: entry for entry in formats(tmp_path_factory.mktemp("formats"))}


NAMES = [
    "demonstration store", "HDF5 export", "HDF5 of others", "LeRobot export", "LeRobot of others",
    "LeRobot of others, with a video", "drawn episode", "run.json of a lifelong run",
    "run.json without a seal", "run.json of learning from reward", "a method's state", "a child's job",
    "comparison", "CSV of results", "LeRobot's results", "LIBERO's results", "LIBERO's matrix",
    "LIBERO's matrix, packed", "a lesson in training", "a training from reward", "sentence vector",
]  # fmt: skip


def test_every_format_is_tried(made: dict[str, Format]):
    assert list(made) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused_or_equal(name: str, made: dict[str, Format], tmp_path: Path):
    entry, rng = made[name], random.Random(7)
    files = len([path for path in entry.whole.rglob("*") if path.is_file()]) or 1
    damages = list(variants(entry.whole, rng, 12 if entry.costly else COUNT * files, entry.unsealed))
    counts = survives(entry.read, entry.said, entry.whole, tmp_path, damages)
    outcomes = {outcome for _, outcome in counts}
    assert REFUSED in outcomes
    assert outcomes <= {REFUSED, EQUAL, OTHER}
