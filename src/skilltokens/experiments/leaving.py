"""What a run has learned, left as a skill library, to use and to grow without any suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skilltokens.attached.base import OtherBase
from skilltokens.demos.kinds import as_read
from skilltokens.experiments.base import Base
from skilltokens.experiments.leaving_attached import leave_attached
from skilltokens.experiments.records import LifelongRecord
from skilltokens.files import replacing
from skilltokens.methods.attached.method import AttachedMethod
from skilltokens.methods.base import Lesson, Method
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.types import ACTION, Feature, LibraryError


def leave_library(
    folder: Path, method: Method, lessons: Sequence[Lesson], record: LifelongRecord, base: Base | None
) -> None:
    """Writes the library of a finished run, in place of one that an earlier attempt left.

    Args:
        base: what the run began from; a library's skills and notes come first where the method kept them.

    Raises:
        LibraryError: it cannot be written.
    """
    notes = _notes(record, lessons)
    if isinstance(base, OtherBase):
        assert isinstance(method, AttachedMethod)
        leave_attached(folder, method, notes, record.encoder or "")
        return
    policy, skills = method.library(lessons)
    if not skills:  # of a method that learns none
        return
    pairs = list(zip(skills, notes, strict=True))
    features: Mapping[str, Feature]
    if base is None:
        store = lessons[0].stores[0]
        features = {name: as_read(name, store.features[name]) for name in (*policy.shape.scales, ACTION)}
        kept: list[Skill] = []
    else:
        features = base.features
        if method.keeps:  # else it changed the policy that they stand on
            pairs = [*zip(base.skills, base.notes, strict=True), *pairs]
        kept = _needed_beside(base, [skill for skill, _ in pairs])
    with replacing(folder, LibraryError) as fresh:
        SkillLibrary.create(
            fresh, policy, pairs, features, record.encoder or "", kept=kept, at=""
        )  # run.json has the times


def _needed_beside(base: SkillLibrary, skills: Sequence[Skill]) -> list[Skill]:
    """Skills that these need and that are not among them: older versions, or removed ones."""
    known = {skill.identity for skill in skills}
    needed = {name: base.find(name) for skill in skills for name in skill.content.needs if name not in known}
    return list(needed.values())


def _notes(record: LifelongRecord, lessons: Sequence[Lesson]) -> list[dict[str, Any]]:
    """For each task what library.json says of it: how well it was done at the end, and what it was learned from."""
    last = {cell.task: cell for cell in record.cells}
    digests = [store.digest for lesson in lessons for store in lesson.stores]
    return [
        {
            "successes": last[task].successes,
            "episodes": last[task].episodes,
            "split": last[task].split,
            "suite": record.suite,
            "demonstrations": digest,
        }
        for task, digest in enumerate(digests)
    ]
