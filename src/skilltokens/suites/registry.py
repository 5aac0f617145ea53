"""Suites and sequences of tasks by name: the table of those that skilltokens brings, and the ways to name others.

Nothing here imports a simulator; a suite imports its own when it makes an environment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from skilltokens.plugins import object_at
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero import suites as libero_suites
from skilltokens.suites.metaworld import CW10, CW20, MetaWorld
from skilltokens.types import SettingError, SkilltokensError, Suite, SuiteError, Task, nearest

GROUP = "skilltokens.suites"
"""The group of entry points by which other packages add suites: name -> a Suite, or a callable that returns one."""

GYM = "gym:"
"""A Gymnasium environment whose `info` has a success flag is a suite by the name gym:ENV-ID."""


@dataclass(frozen=True)
class Entry:
    """One suite of the table."""

    load: Callable[[], Suite]
    summary: str
    """One line about it, for `skilltokens list suites`."""


BODIES = {"halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant", "humanoid": "Humanoid"}
"""Gymnasium's bodies, by the name of their suite, and what Gymnasium calls them."""


def _body(name: str) -> Suite:
    """The suite of a body; it imports MuJoCo, which learning from demonstrations can do without."""
    try:
        from skilltokens.suites.bodies import body_suite

        return body_suite(name)
    except ModuleNotFoundError as problem:
        raise SuiteError(f'the suite {name} needs {problem.name}: run `pip install "skilltokens[reward]"`') from problem


SUITES: dict[str, Entry] = {
    "metaworld": Entry(MetaWorld, "Meta-World v3: 50 tasks of a Sawyer arm, scripted experts"),
    **{name: Entry(functools.partial(Libero, name), summary) for name, summary in libero_suites().items()},
    **{
        name: Entry(functools.partial(_body, name), f"{title}: moving by reward, no demonstrations")
        for name, title in BODIES.items()
    },
}
"""Every suite that skilltokens brings, by name."""

SEQUENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "metaworld-cw10": ("metaworld", CW10),
    "metaworld-cw20": ("metaworld", CW20),
}
"""Sequences of tasks that have a name in the literature: name -> (suite, names of tasks in the order learned)."""


def suite_names() -> dict[str, str]:
    """Every suite's name and one line about it, those of other packages included."""
    foreign = {entry.name: f"from {entry.value}" for entry in entry_points(group=GROUP)}
    return {**foreign, **{name: entry.summary for name, entry in SUITES.items()}}


def load_suite(name: str) -> Suite:
    """The suite of that name.

    Args:
        name: one of `suite_names()`; "gym:ENV-ID" for a Gymnasium environment; or "module:name" for a Suite, or a
            callable that returns one, in a module that can be imported from the current folder.

    Raises:
        SettingError: there is no such suite.
        SuiteError: a suite of another package or module cannot be loaded.
    """
    if name in SUITES:
        return SUITES[name].load()
    if name.startswith(GYM):
        from skilltokens.suites.gymnasium_ids import suite_of_id

        return suite_of_id(name.removeprefix(GYM))
    if ":" in name:
        return _foreign(name, lambda: object_at(name))
    for entry in entry_points(group=GROUP, name=name):
        return _foreign(name, entry.load)
    known = nearest(name, list(suite_names()))
    raise SettingError(f"there is no suite {name!r}: {known} (a suite of your own is called module:name)")


def _foreign(name: str, load: Callable[[], Any]) -> Suite:
    """A suite of somebody else's code: whatever it raises, its user gets one sentence."""
    try:
        value = load()
        suite = value() if callable(value) else value
    except SkilltokensError:
        raise
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise SuiteError(f"the suite {name!r} could not be loaded ({reason}): check its name and its code") from problem
    if not isinstance(suite, Suite):
        raise SuiteError(f"{name!r} is no Suite but a {type(suite).__name__}: see docs/adding-a-suite.md")
    return suite


def sentences_of(name: str) -> dict[str, tuple[str, ...]]:
    """What an installed suite of that name calls its tasks: task -> its instruction and its wordings.

    Empty where there is none, also where the name, which may stand in a file of anybody's, is no plain name: then no
    code is loaded.
    """
    if name not in suite_names():
        return {}
    try:
        return {task.name: (task.instruction, *task.wordings) for task in load_suite(name).tasks}
    except SkilltokensError:
        return {}


def sequence_names() -> tuple[str, ...]:
    """The names of sequences of tasks."""
    return tuple(SEQUENCES)


def sequence(name: str) -> tuple[str, tuple[str, ...]]:
    """(suite, names of tasks in the order they are learned) of a named sequence.

    Raises:
        SettingError: there is no such sequence.
    """
    if name not in SEQUENCES:
        raise SettingError(f"there is no sequence {name!r}: {nearest(name, list(SEQUENCES))}")
    return SEQUENCES[name]


def task_of(suite: Suite, name: str) -> Task:
    """The suite's task of that name.

    Raises:
        SettingError: there is no such task.
    """
    for task in suite.tasks:
        if task.name == name:
            return task
    raise SettingError(f"suite {suite.name!r} has no task {name!r}: {nearest(name, [t.name for t in suite.tasks])}")
