"""Demonstrations whose observations take long to compute: the simulator's states come first, pictures later.

A suite that names another one with the same episodes as its attribute `states` has its demonstrations drawn from that
one's stores. Drawing one task takes minutes, so every episode is kept as soon as it is drawn, in a hidden folder beside
the store to be, which goes when the store is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.files import replacing
from skilltokens.simulation.signs import sign
from skilltokens.types import DemonstrationError, Episode, Suite, Task

DRAWN_FROM = "drawn_from"
"""In the settings of a store: the digest of the store that it was drawn from."""


def states_of(suite: Suite) -> Suite | None:
    """The suite whose stores this one's are drawn from; None where it demonstrates by itself."""
    return getattr(suite, "states", None)


def draw_episodes(suite: Any, task: Task, store: DemonstrationStore, parts: Path) -> Iterator[Episode]:
    """Every demonstration of `store` as `suite` observes it; those in the folder `parts` are not drawn again.

    Raises:
        DemonstrationError: the store cannot be drawn from, or `parts` cannot be written.
        SuiteError: the simulator is missing or cannot draw.
    """
    for index in range(store.episodes):
        part = parts / f"{index}.npz"
        episode = _kept(part)
        if episode is None:
            episode = suite.draw(task, store, index)
            with replacing(part, DemonstrationError) as fresh:
                np.savez(fresh, **episode.features)
        sign()
        yield episode


def parts_folder(path: Path, suite: Suite, store: DemonstrationStore) -> Path:
    """Where episodes of the store at `path` are kept while it is drawn; what is left of others is removed."""
    digest = hashlib.sha256(json.dumps([store.digest, suite.versions()], sort_keys=True).encode()).hexdigest()
    parts = path.with_name(f".{path.name}.drawn-{digest[:16]}")
    for other in path.parent.glob(f".{path.name}.drawn-*"):
        if other != parts:
            shutil.rmtree(other, ignore_errors=True)
    return parts


def _kept(part: Path) -> Episode | None:
    """An episode that was drawn before; None where it must be drawn."""
    if not part.is_file():  # a pipe would be waited for
        return None
    try:
        with part.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Episode(dict(arrays))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
