"""Tasks that one sentence calls: with equal words the newest skill answers, and the others are miscalled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skilltokens.language import LanguageEncoder
from skilltokens.skills.selection import TIE
from skilltokens.suites.context import scene_of
from skilltokens.types import Progress, Report, Suite, Task

STAGE = "namesakes"
"""The stage of the news that tasks share words."""


def namesakes(tasks: Sequence[Task], encoder: LanguageEncoder) -> list[tuple[str, str, str]]:
    """(an earlier task, a later one, the sentence), where a sentence of the later one calls the earlier one too.

    All sentences that are trained on count. Each later task is named once, with the first that it meets.
    """
    texts = [(task.name, text) for task in tasks for text in (task.instruction, *task.wordings)]
    vectors = encoder([text for _, text in texts])
    pairs: dict[str, tuple[str, str, str]] = {}
    for number, (name, text) in enumerate(texts):
        nearness = vectors[:number] @ vectors[number]
        for other in np.flatnonzero(nearness >= 1 - TIE):
            if texts[other][0] != name:
                pairs.setdefault(name, (texts[other][0], name, text))
    return list(pairs.values())


def tell_namesakes(tasks: Sequence[Task], encoder: LanguageEncoder, suite: Suite, report: Report) -> None:
    """Reports in one sentence which tasks share words, what follows, and what to do about it; nothing where none do."""
    pairs = namesakes(tasks, encoder)
    if not pairs:
        return
    shown = "; ".join(f"{first} and {second} by {text!r}" for first, second, text in pairs[:3])
    more = f"; and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    has_scenes = all(scene_of(suite, task) for task in tasks)
    remedy = "--context scene says where each is done" if has_scenes else "give them other words"
    report(
        Progress(
            STAGE,
            0,
            1,
            f"the same words call several tasks ({shown}{more}): of skills with equal words the newest answers, so "
            f"that the others count as miscalled, not as forgotten; {remedy}",
        )
    )
