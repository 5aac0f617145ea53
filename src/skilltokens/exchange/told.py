"""What whoever imports demonstrations should know of how their arrays were taken, in lines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skilltokens.demos.store import DemonstrationStore
from skilltokens.exchange.known import IMAGES, camera_of, hands_in
from skilltokens.types import ACTION

USUAL = 8
"""The most numbers that the action of one arm of robosuite has: seven joints or six of motion, and the gripper."""


def notes(store: DemonstrationStore) -> Iterator[str]:
    """A line for each thing that was done, left out or is in doubt, from a store's `settings["imported"]`."""
    imported = store.settings.get("imported", {})
    if imported.get("instructions"):
        yield _chosen(store, imported["instructions"], imported["of"])
    if imported.get("late"):
        yield "observations moved on by a step: they were taken after the action of their row"
    if imported.get("turned"):
        yield f"turned the right way up: {', '.join(imported['turned'])} (--turn no leaves them)"
    if imported.get("colours_first"):
        yield f"colours moved from first to last: {', '.join(imported['colours_first'])}"
    whole = _whole_names(imported.get("keys", {}))
    if whole:
        yield f"called by their whole keys, since two would have had one name: {', '.join(whole)}"
    yield from _actions(store, imported)
    if imported.get("left"):
        kinds = imported.get("unread", {})
        names = (f"{name} ({kinds[name]})" if name in kinds else name for name in imported["left"])
        yield f"not taken: {', '.join(names)} (--keys, and --images for pictures)"


def _chosen(store: DemonstrationStore, instructions: list[str], total: int) -> str:
    """Which demonstrations were taken of a file that says several instructions."""
    others = ", ".join(repr(text) for text in instructions)
    if store.episodes < total:
        return f"{store.episodes} of {total} demonstrations, those that show it; the file shows {others}"
    return f"all {total} demonstrations were taken as one task, though the file says {others}"


def _whole_names(keys: dict[str, list[str]]) -> list[str]:
    """Cameras that are called by their keys, since another one's name would have been the same."""
    pictures = {group[0]: name for name, group in keys.items() if name.startswith(IMAGES)}
    short = [camera_of(key) for key in pictures]
    return [
        name
        for key, name in pictures.items()
        if name == IMAGES + key != IMAGES + camera_of(key) and short.count(camera_of(key)) > 1
    ]


def _actions(store: DemonstrationStore, imported: dict[str, object]) -> Iterator[str]:
    actions = store[ACTION]
    lowest, highest = float(np.min(actions)), float(np.max(actions))
    if lowest < -1 or highest > 1:
        yield f"actions from {lowest:.6g} to {highest:.6g}, kept in their own unit (--clip clips them to [-1, 1])"
    if imported.get("whole"):
        yield "actions are whole numbers in the file; they are taken as amounts, not as choices"
    keys, left = imported.get("keys"), imported.get("left")
    hands = hands_in(key for group in keys.values() for key in group) if isinstance(keys, dict) else 0
    if hands and left and actions.shape[1] > USUAL * hands:
        yield (
            f"actions have {actions.shape[1]} numbers and the state the hand of {hands} arm{'s' * (hands > 1)}: see "
            "whether something that is not taken moves too"
        )
