"""What an exported skill says of itself, in the file and as README.md."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from skilltokens.escaping import markdown
from skilltokens.types import Feature

SCHEMA = "skilltokens.deployed/1"


@dataclass(frozen=True)
class Card:
    """The content of `card` in a `.npz` file, and of the metadata `skilltokens` in a `.onnx` file."""

    skill: str
    """Its name, with @VERSION where it is not the first."""
    wordings: tuple[str, ...]
    features: dict[str, Feature]
    """What `act` must be given: the shape of one step, and the dtype."""
    actions: int
    """Numbers of an action."""
    units: str
    """What they are: "in [-1, 1]" or "the robot's own"."""
    history: int
    """Steps that the memory holds."""
    fingerprint: str
    """SHA-256 of all numbers that the policy computes with."""
    base: str
    """Fingerprint of the library's base."""
    versions: dict[str, str]
    plan: dict[str, Any]
    """How the step is put together, for NumPy; empty for ONNX."""
    difference: float | None = None
    """The largest difference from torch's actions, in [-1, 1] or units of the actions' constants, over the steps that
    they were compared on; None before that."""
    compared: int = 0
    """How many steps those were."""
    schema: str = SCHEMA

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def readme(card: Card, file: str) -> str:
    """README.md of an export."""
    rows = "\n".join(
        f"| `{markdown(name)}` | {'x'.join(map(str, feature.shape)) or '1'} | {feature.dtype} |"
        for name, feature in card.features.items()
    )
    return (
        f"# {markdown(card.skill)}\n\nOne skill of a skilltokens library, to act without torch: "
        f"{markdown(card.wordings[0])}.\n\n"
        f'```python\nfrom runner import Skill\n\nskill = Skill("{file}")\nskill.begin()  # at each episode\'s start\n'
        "action = skill.act(observation)  # once a step, arrays of one step\n```\n\n"
        f"| feature | shape | dtype |\n|---|---|---|\n{rows}\n\n"
        f"An action is {card.actions} numbers, {card.units}. The memory is a ring of the last {card.history} steps.\n\n"
        f"**Not the same bits as torch.** Over {card.compared} steps the largest difference of an action was "
        f"{card.difference:.1e} ({'in units of its constants' if 'own' in card.units else 'of a range of 2'}); the "
        f"export is refused above 1e-5. Policy {card.fingerprint[:16]}, base {card.base[:16]}.\n"
    )
