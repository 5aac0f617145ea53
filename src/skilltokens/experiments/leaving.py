"""What a run has learned, left as a skill library, to use and to grow without any suite."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skilltokens.experiments.records import LifelongRecord
from skilltokens.methods.base import Lesson, Method
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ACTION


def leave_library(
    folder: Path, method: Method, lessons: Sequence[Lesson], record: LifelongRecord, base: SkillLibrary | None
) -> SkillLibrary:
    """Writes the library of a finished run, in place of half of one that an interruption left.

    Args:
        base: the library that the run began from; its skills and notes come first where the method kept them.

    Raises:
        LibraryError: it cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    policy, skills = method.library(lessons)
    store = lessons[0].stores[0]
    features = {name: store.features[name] for name in (*policy.shape.scales, ACTION)}
    if base is not None:
        features = base.features
    own = _notes(record, lessons)
    given = len(skills) - len(own)  # none where the method changed the policy that they stand on
    notes = [*(base.notes[:given] if base is not None else []), *own]
    library: SkillLibrary | None = None
    names: set[str] = set()
    for number, (skill, about) in enumerate(zip(skills, notes, strict=True)):
        if skill.name in names:  # a task that was taught again
            skill = dataclasses.replace(skill, name=f"{skill.name}.{number}")
        names.add(skill.name)
        if library is None:
            library = SkillLibrary.create(folder, policy, skill, features, record.encoder or "", about)
        else:
            library.add(skill, about)
    assert library is not None
    return library


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
