"""Do a library's constants cover what a store holds? What lies beyond is clipped, so it is said before a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from skilltokens.demos.kinds import NUMBERS, kind_of
from skilltokens.demos.statistics import FLOOR, largest, pieces
from skilltokens.demos.store import DemonstrationStore
from skilltokens.types import ACTION, LIMIT, Array, DemonstrationError, Scale

APART = 0.003
"""An entry hardly varies if its unit is below this share of the largest one in its feature. That is only said: entries
may be in different units."""
SHOWN = 8
"""So many entries are named in a sentence."""


def outside(store: DemonstrationStore, scales: Mapping[str, Scale]) -> list[str]:
    """A sentence for each feature of a store that has readings which constants do not cover: which entries, how many.

    Args:
        scales: constants of observation vectors, which reach `LIMIT` units from the center; and of actions, which
            without constants must lie in [-1, 1].
    """
    sentences = []
    for name, scale in _reaches(store, scales).items():
        shares = _shares_outside(store[name], scale)
        entries = np.flatnonzero(shares)
        if len(entries):
            verb = "done only up to the limit" if name == ACTION else "seen as if they lay at the limit"
            worst = entries[np.argsort(-shares[entries], kind="stable")]
            listed = ", ".join(f"{entry} ({_percent(float(shares[entry]))})" for entry in worst[:SHOWN])
            sentences.append(
                f"{_percent(float(shares.mean()))} of the numbers in {name!r} of {store.path} lie outside of what the "
                f"library's constants cover and are {verb}: entries {listed}{', ...' * (len(worst) > SHOWN)}; a new "
                "library can measure its constants on this store too (--new, --constants STORE)"
            )
    return sentences


def still_entries(store: DemonstrationStore, scales: Mapping[str, Scale]) -> list[str]:
    """A sentence for each feature some of whose entries hardly vary in a first store: their units mean little."""
    sentences = []
    for name, scale in scales.items():
        if name not in store.features or len(scale.unit) < 2 or store[name].ndim != 2:
            continue
        unit = np.asarray(scale.unit)
        most = largest(store[name])
        still = (unit < APART * unit.max()) | np.isclose(unit, FLOOR * most) | (most == 0)
        if still.any() and not still.all():
            entries = ", ".join(map(str, np.flatnonzero(still)[:SHOWN]))
            sentences.append(
                f"entries {entries}{', ...' * (int(still.sum()) > SHOWN)} of {name!r} hardly vary in {store.path}, and "
                "the library's constants are fixed with its first skill: a later skill that moves them may go beyond; "
                "begin with a store that moves all, or measure on more of them (--constants STORE)"
            )
    return sentences


def in_own_units(store: DemonstrationStore, scales: Mapping[str, Scale]) -> list[str]:
    """A sentence where a first store's actions are taken in the robot's own units, since some lie outside [-1, 1]."""
    if ACTION not in scales:
        return []
    least, most = (float(bound(store[ACTION])) for bound in (np.min, np.max))
    return [
        f"actions of {store.path} lie between {least:.6g} and {most:.6g}, so the library's actions are in the robot's "
        "own units; if they are meant to lie in [-1, 1], clip or scale them first"
    ]


def check_actions(store: DemonstrationStore, scales: Mapping[str, Scale], suite: str) -> None:
    """Raises DemonstrationError where actions lie outside [-1, 1] and the suite has no units of its own for them."""
    if ACTION in scales:
        return
    for start, piece in _numbered(store[ACTION]):
        beyond = (np.abs(piece) > 1).any(axis=1)
        if beyond.any():
            step = start + int(beyond.argmax())
            episode = int(np.searchsorted(np.asarray(store.offsets), step, side="right")) - 1
            value = piece[step - start][np.abs(piece[step - start]) > 1][0]
            raise DemonstrationError(
                f"{store.path}: episode {episode}, step {step - int(store.offsets[episode])}, feature 'action' holds "
                f"{value:.6g}, outside [-1, 1], where the suite {suite!r} takes actions in [-1, 1]: scale the actions, "
                "or clip them (--clip)"
            )


def _reaches(store: DemonstrationStore, scales: Mapping[str, Scale]) -> dict[str, tuple[Array, Array]]:
    """The least and the most that constants cover, for each vector or set of a store that they are about."""
    reaches = {}
    for name, scale in scales.items():
        if name in store.features and (name == ACTION or kind_of(name, store.features[name]) in NUMBERS):
            center, unit = np.asarray(scale.center), np.asarray(scale.unit)
            reaches[name] = (center - LIMIT * unit, center + LIMIT * unit)
    if ACTION not in scales:
        ones = np.ones(store.features[ACTION].shape)
        reaches[ACTION] = (-ones, ones)
    return reaches


def _shares_outside(array: Array, reach: tuple[Array, Array]) -> Array:
    """For each entry the share of the rows of `pieces` that lie outside."""
    low, high = (bound - sign * 1e-6 * np.abs(bound) for bound, sign in zip(reach, (1, -1), strict=True))
    beyond, rows = np.zeros(array.shape[-1]), 0
    for piece in pieces(array):
        beyond, rows = beyond + ((piece < low) | (piece > high)).sum(axis=0), rows + len(piece)
    return beyond / max(rows, 1)


def _numbered(array: Array) -> Iterator[tuple[int, Array]]:
    """The pieces of an array, each with the number of its first row."""
    start = 0
    for piece in pieces(array):
        yield start, piece
        start += len(piece)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
