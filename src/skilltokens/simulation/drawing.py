"""Demonstrations whose observations take long to compute: the simulator's states come first, pictures later.

A suite that names another one with the same episodes as its attribute `states` has its demonstrations drawn from that
one's stores. Drawing one task takes minutes, so every episode is kept as soon as it is drawn, in a hidden folder beside
the store to be, which goes when the store is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from skilltokens.demos import DemonstrationStore
from skilltokens.files import payload_of, read_bytes, with_seal, write_bytes
from skilltokens.simulation.signs import sign
from skilltokens.types import DemonstrationError, Episode, Suite, Task

DRAWN_FROM = "drawn_from"
"""In the settings of a store: the digest of the store that it was drawn from."""
PART = ".episode"
"""How the name of a kept episode's file ends: SHA-256 over which episode it is and the rest, a safetensors file."""


def states_of(suite: Suite) -> Suite | None:
    """The suite whose stores this one's are drawn from; None where it demonstrates by itself."""
    return getattr(suite, "states", None)


def draw_episodes(suite: Any, task: Task, store: DemonstrationStore, parts: Path) -> Iterator[Episode]:
    """Every demonstration of `store` as `suite` observes it; those in the folder `parts` are not drawn again.

    Raises:
        DemonstrationError: the store was altered or cannot be drawn from, or `parts` cannot be written.
        SuiteError: the simulator is missing or cannot draw.
    """
    store.verify()  # what is drawn gets a digest of its own, which must not cover altered states
    for index in range(store.episodes):
        part, which = parts / f"{index}{PART}", f"{store.digest} {index}"
        episode = _kept(part, which)
        if episode is None:
            episode = suite.draw(task, store, index)
            arrays = {name: np.ascontiguousarray(array) for name, array in episode.features.items()}
            payload = save(arrays)
            write_bytes(part, with_seal(which, payload), DemonstrationError)
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


def _kept(part: Path, which: str) -> Episode | None:
    """An episode that was drawn before; None where it must be drawn: there is none, or a byte of it is wrong."""
    try:
        payload = payload_of(which, read_bytes(part, DemonstrationError))
        return None if payload is None else Episode(load(payload))
    except (DemonstrationError, SafetensorError, ValueError):
        return None
