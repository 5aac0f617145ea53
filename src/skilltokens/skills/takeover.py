"""Whose sentences a new skill would answer: said before it is trained, since nobody would notice it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from skilltokens.language import normal
from skilltokens.skills.listed import LibraryList
from skilltokens.skills.ranking import Index, ask
from skilltokens.skills.records import Record
from skilltokens.types import Array, LibraryError

NEAREST = 64
"""So many skills are looked at, those whose wordings are nearest to the new ones: the cost does not grow with the
library, and farther ones keep their sentences."""
MOST = 100
"""Sentences that are ranked at most, beside the skills' own wordings."""
Sentences = Callable[[str], Mapping[str, Sequence[str]]]
"""A suite's name -> for each of its tasks the sentences that the suite has for it."""


def check_takeover(
    library: LibraryList, name: str, wordings: Sequence[str], allowed: bool, known: Sentences
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


def _taken(library: LibraryList, name: str, wordings: Sequence[str], known: Sentences) -> list[tuple[str, str]]:
    """The sentences, and the skill that each calls today."""
    encoder = library.language()
    near = [record for record in _nearest(library, encoder(wordings)) if record.name != name]
    if not near:
        return []
    skills = [library.skill_of(record) for record in near]
    before = Index.of([(skill.name, skill.wordings, skill.embeddings) for skill in skills])
    after = Index.of(
        [*((skill.name, skill.wordings, skill.embeddings) for skill in skills), (name, wordings, encoder(wordings))]
    )
    new = {normal(text) for text in wordings}
    taken = [(text, record.name) for record in near for text in record.wordings if normal(text) in new]
    for text, owner in list(_sentences(near, known))[:MOST]:
        old, rank = ask(text, encoder, before), ask(text, encoder, after)
        if old.chosen is not None and before.names[old.chosen] == owner and rank.candidates[0].name == name:
            taken.append((text, owner))
    return taken


def _nearest(library: LibraryList, vectors: Array) -> list[Record]:
    """The skills that are called whose wordings are nearest to these unit vectors (n, language), the nearest first."""
    index, records = library.index, library.records
    nearness = np.maximum.reduceat((index.vectors @ vectors.T).max(1), index.starts)
    order = np.argsort(-nearness, kind="stable")[: 2 * NEAREST]
    return [records[number] for number in order.tolist() if not records[number].retired][:NEAREST]


def _sentences(records: Sequence[Record], known: Sentences) -> Iterator[tuple[str, str]]:
    """Sentences that are known for these skills beside their own wordings, and whose they are."""
    own = {normal(text) for record in records for text in record.wordings}
    suites: dict[str, Mapping[str, Sequence[str]]] = {}
    for record in records:
        notes = record.about()
        suite = str(notes.get("suite", ""))
        if suite not in suites:
            suites[suite] = known(suite) if suite else {}
        said = notes.get("said")
        texts = [text for text in said if isinstance(text, str) and text] if isinstance(said, list) else []
        for text in dict.fromkeys([*texts, *suites[suite].get(str(notes.get("task", record.name)), ())]):
            if normal(text) not in own:
                yield text, record.name
