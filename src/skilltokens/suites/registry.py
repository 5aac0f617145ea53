"""Suites and sequences of tasks by name: the table of those that skilltokens brings, and the ways to name others.

Nothing here imports a simulator; a suite imports its own when it makes an environment. The suites themselves are
imported when they are loaded: their names are known without.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from skilltokens.plugins import entry_points, module_at, object_at
from skilltokens.suites.names import CW10, CW20, libero_suites
from skilltokens.types import SettingError, SkilltokensError, Suite, SuiteError, Task, nearest

GROUP = "skilltokens.suites"
"""The group of entry points by which other packages add suites: name -> a Suite, or a callable that returns one."""

GYM = "gym:"
"""A Gymnasium environment whose `info` has a success flag is a suite by its id; its name begins so."""


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


def _metaworld() -> Suite:
    from skilltokens.suites.metaworld import MetaWorld

    return MetaWorld()


def _metaworld_images() -> Suite:
    from skilltokens.suites.metaworld import MetaWorldImages

    return MetaWorldImages()


def _libero(name: str) -> Suite:
    from skilltokens.suites.libero import Libero

    return Libero(name)


LIBERO_TWO = "libero-spatial-and-object"


def _libero_two() -> Suite:
    """LIBERO's suites of arrangements and of things as one."""
    from skilltokens.suites.joined import Joined

    return Joined(LIBERO_TWO, [_libero("libero-spatial"), _libero("libero-object")])


SUITES: dict[str, Entry] = {
    "metaworld": Entry(_metaworld, "Meta-World v3: 50 tasks of a Sawyer arm, scripted experts"),
    "metaworld-images": Entry(_metaworld_images, "Meta-World v3: the same 50 tasks, seen through two cameras"),
    **{name: Entry(functools.partial(_libero, name), summary) for name, summary in libero_suites().items()},
    LIBERO_TWO: Entry(
        _libero_two, "LIBERO: the 20 tasks of libero-spatial and libero-object as one suite, scripted experts"
    ),
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
        name: one of `suite_names()`; "module:name" for a Suite, or a callable that returns one, in a module that can be
            imported from the current folder; or a Gymnasium environment's id, with "gym:" in front where the name could
            be a suite's as well ("gym:ENV-ID", gymnasium_ids.py).

    Raises:
        SettingError: there is no such suite.
        SuiteError: a suite of another package or module cannot be loaded.
    """
    place = place_of(name)
    if place.kind == "task":
        raise SettingError(
            f"{name!r} is a task: name the suite, {place.suite}, and the task {place.task} where tasks are named"
        )
    return _suite_at(place)


def suite_and_task(name: str, instruction: str = "") -> tuple[Suite, Task]:
    """A task by a single name: SUITE/TASK, or the id of a Gymnasium environment.

    Args:
        instruction: of an environment that is no suite's.

    Raises:
        SettingError: there is no such suite, task or environment.
        SuiteError: a suite of another package or module, or the environment, cannot be loaded.
    """
    place = place_of(name)
    suite = _suite_at(place, instruction)
    if place.kind == "suite":
        raise SettingError(
            f"{name!r} is a suite: say which of its tasks, as in {name}/{suite.tasks[0].name} (see `skilltokens list "
            f"tasks {name}`)"
        )
    return suite, task_of(suite, place.task) if place.kind == "task" else suite.tasks[0]


@dataclass(frozen=True)
class Place:
    """What a name means: a suite, a task of a suite, or an environment by its id."""

    kind: Literal["suite", "task", "id"]
    suite: str
    """The suite's name, or what was typed for the environment."""
    task: str = ""


def place_of(name: str) -> Place:
    """The one place where it is decided what a name means, in this order:

    1. "gym:..." is always the id of a Gymnasium environment.
    2. SUITE, or SUITE/TASK, where SUITE is one of `suite_names()`.
    3. MODULE:...: an environment that the module registers with Gymnasium; else MODULE:SUITE or MODULE:SUITE/TASK,
       where SUITE is an object of the module.
    4. An environment that Gymnasium knows.

    Raises:
        SettingError: it means nothing.
        SuiteError: a module cannot be imported.
    """
    if name.startswith(GYM):
        return Place("id", name.removeprefix(GYM))
    suites = suite_names()
    suite, slash, task = name.rpartition("/")
    if name in suites:
        return Place("suite", name)
    if slash and suite in suites:
        return Place("task", suite, task)
    if not re.search(r"[:/?]|-v\d+$", name) and (near := nearest(name, list(suites))).startswith("did you mean"):
        raise _no_suite(name, near)  # a mistyped suite is no reason to load Gymnasium's plug-ins
    return _beyond(name)


def _beyond(name: str) -> Place:
    """What a name means that is no installed suite's: in a module, or known to Gymnasium."""
    from skilltokens.suites.gymnasium_ids import parse, unknown

    identity = parse(name)
    if not identity.module:
        if identity.known():
            return Place("id", name)
        suite = name.rpartition("/")[0]
        near = nearest(suite, list(suite_names())) if suite else ""
        if near.startswith("did you mean"):
            raise SettingError(f"there is neither a suite {suite!r} ({near}) nor an environment {name!r}")
        if re.search(r"[/?]|-v\d+$", name):
            raise unknown(identity)
        raise _no_suite(name, nearest(name, list(suite_names())))
    module, _, rest = name.partition(":")
    attribute, slash, task = rest.partition("/")
    try:
        owner = module_at(module)
    except Exception as problem:
        raise _not_loaded(name, problem) from problem
    if identity.known():
        return Place("id", name)
    if hasattr(owner, attribute):
        return Place("task", f"{module}:{attribute}", task) if slash else Place("suite", name)
    raise SuiteError(
        f"{name!r} is unknown: the module {module!r} has no attribute {attribute!r} that could be a suite, and "
        f"registers no environment {identity.name!r} with Gymnasium"
    )


def _no_suite(name: str, known: str) -> SettingError:
    return SettingError(
        f"there is no suite {name!r}: {known} (a suite of your own is called module:name, a Gymnasium environment by "
        "its id)"
    )


def _suite_at(place: Place, instruction: str = "") -> Suite:
    name = place.suite
    if place.kind == "id":
        from skilltokens.suites.gymnasium_ids import suite_of_id

        return suite_of_id(name, instruction)
    if name in SUITES:
        return SUITES[name].load()
    if ":" in name:
        return _foreign(name, lambda: object_at(name))
    (entry,) = entry_points(group=GROUP, name=name)
    return _foreign(name, entry.load)


def _foreign(name: str, load: Callable[[], Any]) -> Suite:
    """A suite of somebody else's code: whatever it raises, its user gets one sentence."""
    try:
        value = load()
        suite = value() if callable(value) else value
    except SkilltokensError:
        raise
    except Exception as problem:
        raise _not_loaded(name, problem) from problem
    if not isinstance(suite, Suite):
        raise SuiteError(f"{name!r} is no Suite but a {type(suite).__name__}: see docs/adding-a-suite.md")
    return suite


def _not_loaded(name: str, problem: Exception) -> SuiteError:
    reason = f"{type(problem).__name__}: {problem}"
    return SuiteError(f"the suite {name!r} could not be loaded ({reason}): check its name and its code")


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
    """The suite's task of that name, or of the name that its simulator has for it: Meta-World's "push-v3" is "push".

    Raises:
        SettingError: there is no such task.
    """
    own = name.removesuffix(getattr(suite, "suffix", ""))
    for word in (name, own):
        for task in suite.tasks:
            if task.name == word:
                return task
    raise SettingError(f"suite {suite.name!r} has no task {name!r}: {nearest(name, [t.name for t in suite.tasks])}")
