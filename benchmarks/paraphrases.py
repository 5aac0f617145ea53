"""The instructions that the choice of a skill is measured on: data/paraphrases.json, and what the suites hold out.

The file has at least 20 paraphrases of each of 40 tasks, instructions not to do something, instructions for skills that
are not there, and frames around instructions, each split into a half for choosing and one for reporting. It was written
for this benchmark by a language model, not by users of a robot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.suites.registry import load_suite
from skilltokens.types import Task

DATA = Path(__file__).parent / "data" / "paraphrases.json"
KINDS = {
    "paraphrase": "other words for a skill that is there",
    "decorated": "a skill's own words inside a prompt, with underscores, or before numbers",
    "lan": "LIBERO-PRO's paraphrases of LIBERO-spatial, -object, -goal and -10",
    "held-out": "the two held-out wordings of each of Meta-World's 50 tasks, in a library of all 50",
    "negation": "an instruction not to do it",
    "absent": "a skill that is not there",
    "left out": "paraphrases of a skill that was taken out of its library, whose neighbours are there",
}


@dataclass(frozen=True)
class Case:
    """An instruction, the library that it is asked of, and the skill that it means, if any."""

    kind: str
    library: str
    text: str
    answer: str | None
    skills: Mapping[str, Sequence[str]]
    """Name -> known wordings."""


def libraries(content: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Library -> skill -> known wordings."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entry in content["libraries"].items():
        found[name] = {t.name: _known(t) for t in load_suite(entry["suite"]).tasks if t.name in entry["tasks"]}
    for name in ("metaworld", "libero-10"):
        found[name] = {task.name: _known(task) for task in load_suite(name).tasks}
    return found


def _known(task: Task) -> tuple[str, ...]:
    return (task.instruction, *task.wordings)


def cases(half: str) -> list[Case]:
    """All cases for "choosing" or "reporting"."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    known, found = libraries(content), []
    for name, entry in content["libraries"].items():
        skills = known[name]
        for task, texts in entry["tasks"].items():
            others = {other: own for other, own in skills.items() if other != task}
            for text in texts[half]:
                found += [Case("paraphrase", name, text, task, skills), Case("left out", name, text, None, others)]
            for frame in content["decorated"][half]:
                instruction = skills[task][0]
                text = frame.replace("{_}", instruction.replace(" ", "_")).replace("{}", instruction)
                found.append(Case("decorated", name, text, task, skills))
        found += [Case("negation", name, text, None, skills) for text in entry["negations"][half]]
        found += [Case("absent", name, text, None, skills) for text in entry["absent"][half]]
    return found + (_unknown(known["metaworld"]) if half == "choosing" else _held_out(known))


def _unknown(skills: Mapping[str, Sequence[str]]) -> list[Case]:
    """Each known wording of Meta-World's tasks, asked for while it is unknown, and while its skill is not there."""
    found = []
    for task, wordings in skills.items():
        others = {name: own for name, own in skills.items() if name != task}
        for text in wordings:
            rest = {**skills, task: [wording for wording in wordings if wording != text]}
            found += [Case("known", "metaworld", text, task, rest), Case("left out", "metaworld", text, None, others)]
    return found


def _held_out(known: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Case]:
    found = []
    for library, kind in (
        ("metaworld", "held-out"),
        *((f"libero-{n}", "lan") for n in ("spatial", "object", "goal", "10")),
    ):
        for task in load_suite(library).tasks:
            found += [Case(kind, library, text, task.name, known[library]) for text in task.held_out]
    return found
