"""All that a library knows of one skill: what it is made of, by the names of those that it builds on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skilltokens.model.pattention import BEND
from skilltokens.skills.known import Aside, Counts, aside, counts
from skilltokens.skills.listed import LibraryList
from skilltokens.skills.records import Record
from skilltokens.skills.skill import BASE, TaskTokenSpec
from skilltokens.skills.state import Event, labels_of
from skilltokens.skills.telling import changes_of

THE_BASE = "the base"
"""What the base is called where skills stand by their names; no skill's name has a space."""


@dataclass(frozen=True)
class Steering:
    """How a skill from reward steers another one."""

    on: str
    """The skill that it steers."""
    token: TaskTokenSpec


@dataclass(frozen=True)
class Description:
    """One skill, or one version of it.

    Attributes:
        record: what the library's list says: name, version, wordings, form, identity, ...
        label: its name, with its version where a newer one is called in its place.
        is_base: it is the base itself and has no parameters of its own.
        share: its parameters as a part of the base's; 1 of the base itself.
        own_rows: rows that it learned or, of the base, has, over all linear maps.
        bends: numbers of its own that bend the base's rows where it shares them.
        reused: rows of others that it computes with, by who learned them, over all maps.
        steering: of a skill from reward.
        dependants: skills that cannot act without it; those that were removed themselves in brackets.
        counts: successes of episodes, where they were measured.
        aside: the error of its actions on demonstrations kept aside.
        notes: what else is known of it.
        older: labels of its older versions.
        proof: where the actions were recorded by which `verify --actions` proves it.
        changes: its part of the library's history.
    """

    record: Record
    label: str
    is_base: bool
    share: float
    own_rows: int
    bends: int
    reused: Mapping[str, int]
    steering: Steering | None
    dependants: tuple[str, ...]
    counts: Counts | None
    aside: Aside | None
    notes: Mapping[str, Any]
    older: tuple[str, ...]
    proof: Mapping[str, str]
    changes: tuple[Event, ...]


def describe(library: LibraryList, name: str) -> Description:
    """What a library knows of a skill. Its file is read and checked.

    Args:
        name: the skill, or NAME@VERSION.

    Raises:
        LibraryError: there is no such skill, or its file is damaged.
    """
    record, state = library.state.record(name), library.state
    skill = library.skill_of(record)
    labels = labels_of(state)
    by_identity = {other.identity: labels[id(other)] for other in reversed(state.everything())}  # called ones win
    reused: Counter[str] = Counter()
    for rows in skill.active.values():
        for source, count in rows.counts().items():
            reused[THE_BASE if source == BASE else by_identity[source]] += count
    is_base = not skill.tensors
    token, proof, notes = skill.task_token, skill.content.proof, record.about()
    return Description(
        record=record,
        label=labels[id(record)],
        is_base=is_base,
        share=1.0 if is_base else record.parameters / library.parameters,
        own_rows=library.own_rows(skill),
        bends=sum(tensor.numel() for part, tensor in skill.tensors.items() if BEND in part),
        reused=dict(reused.most_common()),
        steering=None if token is None else Steering(by_identity[token.on], token),
        dependants=tuple(labels[id(other)] for other in state.dependants(record)),
        counts=counts(notes),
        aside=aside(notes),
        notes=notes,
        older=tuple(labels[id(old)] for old in state.older if old.name == record.name),
        proof={} if proof is None else dict(proof.machine),
        changes=tuple(changes_of(library.history(), record.name)),
    )
