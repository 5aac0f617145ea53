"""Reads a whole open store and lists every fault in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from skilltokens.demos.rules import wrong_value
from skilltokens.files import digest

if TYPE_CHECKING:
    from skilltokens.demos.store import DemonstrationStore

_PIECE = 1 << 24  # bytes read at a time


def findings(store: DemonstrationStore) -> Iterator[str]:
    """Every fault of an open store, one sentence a fault. All of it is read, in pieces of bounded size."""
    for name, entry in store.files.items():
        file = store.path / name
        if digest(file) != entry["sha256"]:
            yield f"{file} was altered since it was written (its digest differs): restore it or make the store again"
    fault = _offsets_fault(store)
    if fault is not None:
        yield f"{store.path}: {fault}: restore offsets.npy or make the store again"
        return
    offsets = np.asarray(store.offsets)
    for name in (*store.features, *store.private):
        yield from _value_faults(store, name, offsets)


def _offsets_fault(store: DemonstrationStore) -> str | None:
    offsets = np.asarray(store.offsets)
    if store.episodes < 1:
        return "there is no episode"
    if offsets[0] != 0 or offsets[-1] != store.steps:
        return f"the offsets run from {offsets[0]} to {offsets[-1]} where 0 to {store.steps} is needed"
    lengths = np.diff(offsets)
    if (lengths < 1).any():
        return f"episode {int((lengths < 1).argmax())} is empty"
    return None


def _value_faults(store: DemonstrationStore, name: str, offsets: np.ndarray) -> Iterator[str]:
    """The first wrong value of each piece of one feature."""
    array = store[name]
    rows = max(1, _PIECE * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        fault = wrong_value(np.asarray(array[start : start + rows]))
        if fault is not None:
            step, problem = fault
            row = start + step
            episode = int(np.searchsorted(offsets, row, side="right")) - 1
            yield f"{store.path}: episode {episode}, step {row - int(offsets[episode])}, feature {name!r} {problem}"
