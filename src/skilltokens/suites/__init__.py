"""Suites by name. A suite is one file and one line here; other packages add theirs by the entry point
`skilltokens.suites` (name -> a callable without arguments that returns a Suite).

Nothing here imports a simulator; a suite imports its own when it makes an environment.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from skilltokens.suites.libero import Libero
from skilltokens.suites.libero import suites as libero_suites
from skilltokens.suites.metaworld import CW10, CW20, MetaWorld
from skilltokens.types import SettingError, SkilltokensError, Suite, SuiteError, Task, nearest

GROUP = "skilltokens.suites"

GYM = "gym:"
"""A Gymnasium environment with a success flag is a suite by this name: gym:ENV-ID."""

BODIES = {"halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant", "humanoid": "Humanoid"}
"""Gymnasium's bodies; their suites import MuJoCo when they are made."""


def _body(name: str) -> Suite:
    try:
        from skilltokens.suites.bodies import body_suite

        return body_suite(name)
    except ModuleNotFoundError as problem:
        raise SuiteError(f'the suite {name} needs {problem.name}: run `pip install "skilltokens[reward]"`') from problem


_SUITES: dict[str, tuple[Callable[[], Suite], str]] = {
    "metaworld": (MetaWorld, "Meta-World v3: 50 tasks of a Sawyer arm, scripted experts"),
    **{name: (functools.partial(Libero, name), summary) for name, summary in libero_suites().items()},
    **{
        name: (functools.partial(_body, name), f"{title}: moving by reward, no demonstrations")
        for name, title in BODIES.items()
    },
}
"""Name -> (what makes it, summary)."""

_SEQUENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "metaworld-cw10": ("metaworld", CW10),
    "metaworld-cw20": ("metaworld", CW20),
}
"""Name -> (suite, task names in the order they are learned)."""


def suite_names() -> dict[str, str]:
    """Every suite's name and one line about it, those of other packages included."""
    others = {entry.name: f"from {entry.value}" for entry in entry_points(group=GROUP)}
    return {**others, **{name: summary for name, (_, summary) in _SUITES.items()}}


def load_suite(name: str) -> Suite:
    """The suite of that name, or at the place "module:name" (a Suite, or a callable that returns one).

    Raises:
        SettingError: there is no such suite.
        SuiteError: a suite of another package or module cannot be loaded.
    """
    if name in _SUITES:
        return _SUITES[name][0]()
    if name.startswith(GYM):
        from skilltokens.behaviour.environments import suite_of_id

        return suite_of_id(name.removeprefix(GYM))
    if ":" in name:
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # a command, unlike a script, does not look for modules where it is started
        return _foreign(name, lambda: _load(name))
    for entry in entry_points(group=GROUP, name=name):
        return _foreign(name, entry.load)
    known = nearest(name, list(suite_names()))
    raise SettingError(f"there is no suite {name!r}: {known} (a suite of your own is called module:name)")


def _foreign(name: str, load: Callable[[], Any]) -> Suite:
    """A suite of somebody else's code: whatever it raises, its user gets one sentence."""
    try:
        found = load()
        suite = found() if callable(found) else found
    except SkilltokensError:
        raise
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise SuiteError(f"the suite {name!r} could not be loaded ({reason}): check its name and its code") from problem
    if not isinstance(suite, Suite):
        raise SuiteError(f"{name!r} is no Suite but a {type(suite).__name__}: see docs/adding-a-suite.md")
    return suite


def sequence_names() -> tuple[str, ...]:
    """Sequences of tasks that have a name in the literature."""
    return tuple(_SEQUENCES)


def sequence(name: str) -> tuple[str, tuple[str, ...]]:
    """(suite, names of tasks in the order they are learned) of a named sequence.

    Raises:
        SettingError: there is no such sequence.
    """
    if name not in _SEQUENCES:
        raise SettingError(f"there is no sequence {name!r}: {nearest(name, list(_SEQUENCES))}")
    return _SEQUENCES[name]


def task_of(suite: Suite, name: str) -> Task:
    """The suite's task of that name.

    Raises:
        SettingError: there is no such task.
    """
    for task in suite.tasks:
        if task.name == name:
            return task
    raise SettingError(f"suite {suite.name!r} has no task {name!r}: {nearest(name, [t.name for t in suite.tasks])}")


def _load(place: str):
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)
