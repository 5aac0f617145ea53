"""Names that an option may have as its value: suites, tasks, skills. For tab completion: light, silent on failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skilltokens.experiments.published import published_names
from skilltokens.methods import method_names
from skilltokens.skills.outline import Outline, outline
from skilltokens.suites import load_suite, suite_names
from skilltokens.suites.registry import BODIES, GYM
from skilltokens.types import SkilltokensError

Values = Mapping[str, Sequence[str]]
"""Name of an argument -> what was typed for it, or its default."""

PLACES = ("folder", "library", "encoder", "results", "grid")
"""Options whose value is the path of a file or folder, though their type is text."""

PLANAR = ("direction", "reach", "jump", "strike")
BODY_TASKS = dict.fromkeys(BODIES, PLANAR) | dict.fromkeys(("ant", "humanoid"), (*PLANAR, "steering"))
"""Tasks of the bodies: their suites would load MuJoCo to say so."""


def tasks_of(suite: str) -> Sequence[str]:
    """Names of a suite's tasks; none where there is no such suite, or it cannot be loaded."""
    if suite in BODY_TASKS:
        return BODY_TASKS[suite]
    if suite not in suite_names() and (":" not in suite or suite.startswith(GYM) or re.search("[/?]", suite)):
        return ()  # no suite, or an environment, which would load torch
    try:
        return [task.name for task in load_suite(suite).tasks]
    except SkilltokensError:
        return ()


def _suites(typed: Values, word: str) -> Sequence[str]:
    return tuple(suite_names())


def _tasks(typed: Values, word: str) -> Sequence[str]:
    """Those of the suite named, else of the suite of the library or the body named."""
    return tasks_of(_only(typed, "suite") or _suite_of(_only(typed, "library")) or _only(typed, "body"))


def _skills(typed: Values, word: str) -> Sequence[str]:
    library = _outline(_only(typed, "library"))
    return list(library.wordings) if library else ()


def _versions(typed: Values, word: str) -> Sequence[str]:
    """Skills and their older versions."""
    library = _outline(_only(typed, "library"))
    return [*library.wordings, *library.older] if library else ()


def _older(typed: Values, word: str) -> Sequence[str]:
    library = _outline(_only(typed, "library"))
    return library.older if library else ()


def _retired(typed: Values, word: str) -> Sequence[str]:
    library = _outline(_only(typed, "library"))
    return [name for name in library.wordings if name in library.retired] if library else ()


def _called(typed: Values, word: str) -> Sequence[str]:
    library = _outline(_only(typed, "library"))
    return [name for name in library.wordings if name not in library.retired] if library else ()


def _environments(typed: Values, word: str) -> Sequence[str]:
    """Suites, and behind a suite its tasks."""
    suite, slash, _ = word.partition("/")
    return [f"{suite}/{task}" for task in tasks_of(suite)] if slash else [f"{name}/" for name in suite_names()]


def _published(typed: Values, word: str) -> Sequence[str]:
    from skilltokens.exchange.hub import SUITES

    return SUITES


def _methods(typed: Values, word: str) -> Sequence[str]:
    return method_names()


def _listed(typed: Values, word: str) -> Sequence[str]:
    """`list tasks` alone takes a suite."""
    return _suites(typed, word) if _only(typed, "what") == "tasks" else ()


def names_for(verb: str, argument: str, typed: Values, word: str) -> Sequence[str]:
    """What an argument of a verb may be, given what was typed before, and the word as far as it is typed."""
    names = _NAMES.get(f"{verb} {argument}") or _NAMES.get(argument)
    return names(typed, word) if names else ()


_NAMES: dict[str, Callable[[Values, str], Sequence[str]]] = {
    "against": _methods,
    "suite": _suites,
    "compare results": lambda typed, word: published_names(),
    "demos download suite": _published,
    "list suite": _listed,
    "skills show name": _versions,
    "skills export name": _versions,
    "skills drop version": _older,
    "skills rename name": _skills,
    "skills reword name": _skills,
    "skills remove name": _skills,
    "skills retire name": _called,
    "skills restore name": _retired,
    "variants": _suites,
    "tasks": _tasks,
    "on": _skills,
    "env": _environments,
    "encoder": lambda typed, word: ("minilm",),
    "device": lambda typed, word: ("cpu", "cuda"),
    "body": lambda typed, word: tuple(BODIES),
}
"""Name of an argument, with its verb in front where that one's differs -> what it may be."""


def _only(typed: Values, name: str) -> str:
    return typed[name][-1] if typed.get(name) else ""


def _suite_of(library: str) -> str:
    """The suite that a library's skills were learned on, where they are of one."""
    known = _outline(library)
    suites = known.suites if known is not None else frozenset()
    return next(iter(suites)) if len(suites) == 1 and suites <= set(suite_names()) else ""  # no code of a file's choice


def _outline(library: str) -> Outline | None:
    """What the list of a library says, where there is one that can be read."""
    try:
        return outline(Path(library).expanduser())
    except (SkilltokensError, RuntimeError):
        return None
