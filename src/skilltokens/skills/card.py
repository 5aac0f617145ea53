"""The model card of a skill library: what is in it, for whoever finds the folder."""

from __future__ import annotations

from skilltokens.escaping import markdown, python
from skilltokens.skills.head import Head
from skilltokens.skills.known import aside, counts
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
    layers, width = (markdown(str(settings.get(name))) for name in ("layers", "width"))
    called = next((record for record in reversed(records) if not record.retired), records[-1])
    return (
        f"# A skill library\n\n{len(records)} skill{'s' * (len(records) != 1)} on one frozen base of "
        f"{head.base.parameters:,} parameters ({layers} layers, width {width}), "
        f"made with skilltokens.\nInstructions are read by the sentence encoder {markdown(head.encoder)}.\n\n"
        "| skill | instruction | parameters of its own | success | error on demonstrations kept aside |\n"
        "|---|---|---|---|---|\n"
        f"{rows}\n{more}\n"
        f"```python\nfrom skilltokens import SkillLibrary\n\nlibrary = SkillLibrary.open({python(folder)})\n"
        f"actor = library.actor({python(called.wordings[0])})\n"
        "memory = actor.start(batch=1)\naction = actor.act(observation, memory)  # arrays of shape (1, n)\n```\n\n"
        "Each skill acts only with the rows that were active when it was learned, so skills that are added later "
        "leave its actions the same bit for bit: `skilltokens skills FOLDER verify --actions` proves it.\n"
    )


def _row(record: Record, base: int) -> str:
    """A skill's line of the table. Its words and notes are a stranger's where it was imported."""
    notes = record.about()
    measured, error = counts(notes), aside(notes)
    cells = (
        markdown(record.label) + " (retired)" * record.retired,
        markdown(record.wordings[0]),
        f"{record.parameters or base:,}",
        f"{measured.successes} of {measured.episodes}" if measured else "not measured",
        f"{error.error:.3f}" if error else "",
    )
    return f"| {' | '.join(cells)} |"
