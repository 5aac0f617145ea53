"""Whose time it is: the rooms of this package that a stack of functions goes through."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import skilltokens
from skilltokens.cli.profile.sampling import Stack

HOME = str(Path(skilltokens.__file__).parent) + "/"
IMPORTS, ELSEWHERE = "imports", "python"
"""What is no room: loading modules, of this package or another, and what no function of this package asked for."""
LOOPS = {
    "train": "training steps",
    "simulation": "rollouts, for evaluation and demonstrations",
    "behaviour": "learning from reward",
}
"""Rooms whose time is divided by the rooms that they call: the first of them on a stack."""
ABOUT = {
    "cli": "the command itself",
    "demos": "demonstrations: loading windows",
    "experiments": "what holds a run together",
    "files": "reading and writing files",
    "language": "sentence vectors",
    "methods": "the method: its batches and its rule",
    "model": "the policy: forward and backward",
    "optimizer": "AdamW",
    "skills": "the skill library",
    "suites": "the simulators",
    "tensors": "reading and writing tensors",
    IMPORTS: "loading Python modules",
    ELSEWHERE: "outside of this package",
}
"""What some rooms are, in a few words."""
IN_LOOP = {("simulation", "model"): "acting"}
"""What some are within a loop."""


@dataclass(frozen=True)
class Place:
    """Whose time it is: a room's, within a loop or by itself."""

    loop: str
    """One of LOOPS; otherwise the same as `room`."""
    room: str

    @property
    def words(self) -> str:
        """What it is."""
        if self.loop == self.room:
            return ABOUT.get(self.room, "") if self.room not in LOOPS else "the loop itself"
        return IN_LOOP.get((self.loop, self.room)) or ABOUT.get(self.room, "")


def room_of(code: CodeType) -> str | None:
    """The room that a function stands in, the first part of its module's name; None for another package's."""
    return _room(code.co_filename)


@functools.cache
def _room(file: str) -> str | None:
    return file.removeprefix(HOME).partition("/")[0].removesuffix(".py") if file.startswith(HOME) else None


def place_of(stack: Stack) -> Place:
    """Whose time it is that a stack was seen for: of its innermost function of this package."""
    if any(code.co_filename.startswith("<frozen importlib") for code in stack):
        return Place(IMPORTS, IMPORTS)
    rooms = [room for code in stack if (room := room_of(code)) is not None]
    if not rooms:
        return Place(ELSEWHERE, ELSEWHERE)
    loop = next((loop for loop in LOOPS if loop in rooms), rooms[0])
    return Place(loop, rooms[0])


def entries(stack: Stack) -> Iterator[CodeType]:
    """The functions of this package that were called from another of its files, or from outside."""
    inner: CodeType | None = None
    for code in stack:
        if room_of(code) is None:
            continue
        if inner is not None and inner.co_filename != code.co_filename:
            yield inner
        inner = code
    if inner is not None:
        yield inner


def name_of(code: CodeType) -> str:
    """`train.py: fit`, or `numpy/linalg/_linalg.py: norm` of another package."""
    path = code.co_filename.removeprefix(HOME).rpartition("/site-packages/")[2]
    return f"{path}: {code.co_qualname}"
