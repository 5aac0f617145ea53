"""A suite whose two tasks are told by the same words, importable by spawned processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.toy import TASKS, Toy

from skilltokens.types import Task


@dataclass
class Twins(Toy):
    """Reaching red, and reaching blue under the same instruction."""

    name: str = "twins"
    tasks: tuple[Task, ...] = (TASKS[0], replace(TASKS[1], instruction=TASKS[0].instruction, wordings=()))
