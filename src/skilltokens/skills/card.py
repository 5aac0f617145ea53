"""The model card of a skill library: what is in it, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skilltokens.skills.library import SkillLibrary


def model_card(library: SkillLibrary) -> str:
    """The model card, README.md: the skills with their successes, and how to act with them."""
    rows = "\n".join(
        f"| {skill.name} | {skill.wordings[0]} | {skill.parameters or library.parameters:,} | {_result(notes)} |"
        for skill, notes in zip(library.skills, library.notes, strict=True)
    )
    return (
        f"# A skill library\n\n{len(library.skills)} skill{'s' * (len(library.skills) != 1)} on one frozen base of "
        f"{library.parameters:,} parameters "
        f"({library.base.settings.layers} layers, width {library.base.settings.width}), made with skilltokens.\n"
        f"Instructions are read by the sentence encoder `{library.encoder}`.\n\n"
        "| skill | instruction | parameters of its own | success |\n|---|---|---|---|\n"
        f"{rows}\n\n"
        "```python\nfrom skilltokens import SkillLibrary\n\n"
        f'actor = SkillLibrary.open("{library.folder.name}").actor("{library.skills[-1].wordings[0]}")\n'
        "memory = actor.start(batch=1)\naction = actor.act(observation, memory)  # arrays of shape (1, n)\n```\n\n"
        "Each skill acts only with the rows that were active when it was learned, so skills that are added later "
        "leave its actions the same bit for bit.\n"
    )


def _result(notes: Mapping[str, Any]) -> str:
    """The successes in the notes, as counts for the model card."""
    return f"{notes['successes']} of {notes['episodes']}" if "episodes" in notes else "not measured"
