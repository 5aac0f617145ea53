"""The model card of a skill library: what is in it, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skilltokens.skills.head import Head
from skilltokens.skills.records import Record
from skilltokens.skills.state import State

SHOWN = 100
"""How many skills the card lists, the newest: its making must not cost more the larger the library is."""


def model_card(head: Head, state: State, folder: str) -> str:
    """The model card, README.md: the skills with their successes, and how to act with them."""
    records = list(state.skills.values())
    rows = "\n".join(_row(record, head.base.parameters) for record in records[-SHOWN:])
    hidden = len(records) - SHOWN
    more = (
        f"\n{hidden} older skills are left out here: `skilltokens skills FOLDER list` shows all.\n"
        if hidden > 0
        else ""
    )
    settings = head.policy["settings"]
    return (
        f"# A skill library\n\n{len(records)} skill{'s' * (len(records) != 1)} on one frozen base of "
        f"{head.base.parameters:,} parameters ({settings.get('layers')} layers, width {settings.get('width')}), "
        f"made with skilltokens.\nInstructions are read by the sentence encoder `{head.encoder}`.\n\n"
        "| skill | instruction | parameters of its own | success | error on demonstrations kept aside |\n"
        "|---|---|---|---|---|\n"
        f"{rows}\n{more}\n"
        f"```python\nfrom skilltokens import SkillLibrary\n\nlibrary = SkillLibrary.open({folder!r})\n"
        f"actor = library.actor({records[-1].wordings[0]!r})\n"
        "memory = actor.start(batch=1)\naction = actor.act(observation, memory)  # arrays of shape (1, n)\n```\n\n"
        "Each skill acts only with the rows that were active when it was learned, so skills that are added later "
        "leave its actions the same bit for bit: `skilltokens skills FOLDER verify --actions` proves it.\n"
    )


def _row(record: Record, base: int) -> str:
    notes = record.about()
    own = record.parameters or base
    retired = " (retired)" * record.retired
    return f"| {record.label}{retired} | {record.wordings[0]} | {own:,} | {_result(notes)} | {_error(notes)} |"


def _result(notes: Mapping[str, Any]) -> str:
    """The successes in the notes, as counts for the model card."""
    return f"{notes['successes']} of {notes['episodes']}" if "episodes" in notes else "not measured"


def _error(notes: Mapping[str, Any]) -> str:
    """The action error in the notes."""
    aside = notes.get("aside")
    return f"{aside['error']:.3f}" if isinstance(aside, Mapping) and isinstance(aside.get("error"), float) else ""
