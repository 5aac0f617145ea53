"""Whose sentences a new skill would answer: said before it is trained, since nobody would notice it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from skilltokens.language import normal
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.ranking import Index, ask
from skilltokens.types import LibraryError

NEAR = 0.3
"""Sentences whose cosine to all of the new wordings is below this are not asked for: they stay with their skills."""
MOST = 500
"""Sentences that are asked for at most, the nearest ones."""
Sentences = Callable[[str], Mapping[str, Sequence[str]]]
"""A suite's name -> for each of its tasks the sentences that the suite has for it."""


def check_takeover(
    library: ActingLibrary, name: str, wordings: Sequence[str], allowed: bool, known: Sentences
) -> list[str]:
    """Sentences that call other skills today and would call the new one, one line each.

    Looked at are the other skills' wordings, what their demonstrations were called in other words, and the sentences
    that their suite has for their task.

    Args:
        library: as it is now.
        name: of the new skill; what calls another version of it is its own.
        wordings: of the new skill.
        allowed: that is what is wanted.
        known: gives the sentences of a suite.

    Raises:
        LibraryError: there are such sentences, and it is not allowed.
    """
    sentences = _taken(library, name, wordings, known)
    lines = [f"{text!r} would call {name!r} and no more {owner!r}" for text, owner in sentences]
    if lines and not allowed:
        shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
        raise LibraryError(
            f"{shown}: give the new skill other words (--instruction, --wordings), or let it have these (--take-over)"
        )
    return lines


def _taken(library: ActingLibrary, name: str, wordings: Sequence[str], known: Sentences) -> list[tuple[str, str]]:
    """The sentences, and the skill that each calls today."""
    encoder = library.language()
    vectors = encoder(wordings)
    sentences = [(text, owner) for text, owner in _sentences(library, known) if owner != name]
    if not sentences:
        return []
    nearness = (encoder([text for text, _ in sentences]) @ vectors.T).max(1)
    near = [number for number in np.argsort(-nearness)[:MOST] if nearness[number] >= NEAR]
    before, after = library.index, _with(library, name, wordings)
    taken: list[tuple[str, str]] = []
    for number in sorted(near):
        text, owner = sentences[number]
        old, new = ask(text, encoder, before), ask(text, encoder, after)
        if old.chosen is not None and library.names[old.chosen] == owner and new.candidates[0].name == name:
            taken.append((text, owner))
    return taken


def _with(library: ActingLibrary, name: str, wordings: Sequence[str]) -> Index:
    """The index as it would be with the new skill, which is the newest of its name."""
    skills = [
        (skill.name, skill.wordings, skill.embeddings)
        for skill, record in zip(library.skills, library.records, strict=True)
        if not record.retired and skill.name != name
    ]
    return Index.of([*skills, (name, tuple(wordings), library.language()(wordings))])


def _sentences(library: ActingLibrary, known: Sentences) -> list[tuple[str, str]]:
    """Sentences that are known for each skill that is called, each once."""
    sentences: dict[tuple[str, str], None] = {}
    tasks: dict[str, Mapping[str, Sequence[str]]] = {}
    for record in library.records:
        if record.retired:
            continue
        notes = record.about()
        said = [str(text) for text in notes.get("said", ()) if text]
        suite = str(notes.get("suite", ""))
        if suite not in tasks:
            tasks[suite] = known(suite) if suite else {}
        for text in (*record.wordings, *said, *tasks[suite].get(str(notes.get("task", record.name)), ())):
            sentences.setdefault((text, record.name))
    own = {normal(text): record.name for record in library.records for text in record.wordings}
    return [(text, owner) for text, owner in sentences if own.get(normal(text), owner) == owner]
