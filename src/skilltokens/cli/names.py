"""Names that an option may have as its value: suites, tasks, skills. For tab completion: light, silent on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skilltokens.files import parse_json, read_bytes
from skilltokens.suites import load_suite, suite_names
from skilltokens.suites.registry import BODIES, GYM
from skilltokens.types import SkilltokensError

Values = Mapping[str, Sequence[str]]
"""Name of an argument -> what was typed for it, or its default."""

PLACES = ("folder", "library", "encoder")
"""Options whose value is the path of a file or folder, though their type is text."""

PLANAR = ("direction", "reach", "jump", "strike")
BODY_TASKS = dict.fromkeys(BODIES, PLANAR) | dict.fromkeys(("ant", "humanoid"), (*PLANAR, "steering"))
"""Tasks of the bodies: their suites would load MuJoCo to say so."""


def tasks_of(suite: str) -> Sequence[str]:
    """Names of a suite's tasks; none where there is no such suite, or it cannot be loaded."""
    if suite in BODY_TASKS:
        return BODY_TASKS[suite]
    if not suite or suite.startswith(GYM):  # would load torch
        return ()
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
    return [name for name, _ in _taught(_only(typed, "library"))]


def _environments(typed: Values, word: str) -> Sequence[str]:
    """Suites, and behind a suite its tasks."""
    suite, slash, _ = word.partition("/")
    return [f"{suite}/{task}" for task in tasks_of(suite)] if slash else [f"{name}/" for name in suite_names()]


def _published(typed: Values, word: str) -> Sequence[str]:
    from skilltokens.exchange.hub import SUITES

    return SUITES


def _listed(typed: Values, word: str) -> Sequence[str]:
    """`list tasks` alone takes a suite."""
    return _suites(typed, word) if _only(typed, "what") == "tasks" else ()


def names_for(verb: str, argument: str, typed: Values, word: str) -> Sequence[str]:
    """What an argument of a verb may be, given what was typed before, and the word as far as it is typed."""
    names = _NAMES.get(f"{verb} {argument}") or _NAMES.get(argument)
    return names(typed, word) if names else ()


_NAMES: dict[str, Callable[[Values, str], Sequence[str]]] = {
    "suite": _suites,
    "demos download suite": _published,
    "list suite": _listed,
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
    suites = {suite for _, suite in _taught(library) if suite}
    return suites.pop() if len(suites) == 1 else ""


def _taught(library: str) -> list[tuple[str, str]]:
    """Name and suite of each skill in a library's library.json, as far as it can be read; a suite may be empty."""
    path = Path(library).expanduser() / "library.json"
    try:
        skills = parse_json(read_bytes(path), path)["skills"]
        return [(str(skill["name"]), str(skill["notes"].get("suite") or "")) for skill in skills]
    except (SkilltokensError, LookupError, TypeError, AttributeError, RuntimeError):
        return []
