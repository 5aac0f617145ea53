"""The methods, one folder each: settings and registration in its `__init__.py`, the method itself in `method.py`.

`attached` has five methods, those on a policy of another make. Two folders are no methods but what methods share:
`start` (what binds a skill to where it starts) and `cotrain` (old windows beside new ones, a setting of the run). Other
packages add theirs by the entry points `skilltokens.methods`.

An entry point names a function without arguments that returns a `Registration`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skilltokens.configuration import settings_of
from skilltokens.methods import (
    adapters,
    agem,
    attached,
    er,
    ewc,
    expert,
    full_copy,
    head_only,
    l2,
    lora,
    lwf,
    merge,
    multitask,
    nearest,
    packnet,
    prompts,
    psec,
    sequential,
    single_task,
    slow_learner,
    t2s,
    t2s_paper,
    untrained,
)
from skilltokens.methods.registration import Registration
from skilltokens.plugins import entry_points
from skilltokens.types import SettingError
from skilltokens.types import nearest as nearest_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from skilltokens.methods.base import Method


METHODS = {
    "t2s": t2s.REGISTRATION,
    "t2s-rows": t2s.ROWS,
    "t2s-paper": t2s_paper.REGISTRATION,
    "sequential": sequential.REGISTRATION,
    "lora": lora.REGISTRATION,
    "er": er.REGISTRATION,
    "agem": agem.REGISTRATION,
    "l2": l2.REGISTRATION,
    "ewc": ewc.REGISTRATION,
    "lwf": lwf.REGISTRATION,
    "slow_learner": slow_learner.REGISTRATION,
    "merge": merge.REGISTRATION,
    "packnet": packnet.REGISTRATION,
    "psec": psec.REGISTRATION,
    "adapters": adapters.REGISTRATION,
    "prompts": prompts.REGISTRATION,
    "full_copy": full_copy.REGISTRATION,
    "head_only": head_only.REGISTRATION,
    "nearest": nearest.REGISTRATION,
    "untrained": untrained.REGISTRATION,
    "expert": expert.REGISTRATION,
    "single_task": single_task.REGISTRATION,
    "multitask": multitask.REGISTRATION,
    "attached_rows": attached.ROWS,
    "attached_lora": attached.LORA,
    "attached_own": attached.OWN,
    "attached_full_copy": attached.FULL_COPY,
    "attached_scratch": attached.SCRATCH,
}
"""The methods of this package, in the order that tables and legends show them."""


def methods() -> dict[str, Registration]:
    """Every method that is installed, by name."""
    registrations = dict(METHODS)
    for entry in entry_points(group="skilltokens.methods"):
        if entry.name not in registrations:
            registrations[entry.name] = _foreign(entry, registrations)
    return registrations


def _foreign(entry: EntryPoint, others: Mapping[str, Registration]) -> Registration:
    """The registration of another package's method: whatever its code does, its user gets one sentence.

    Raises:
        SettingError: it cannot be loaded, or has no settings of its own that can be made without arguments.
    """
    advice = f"fix {entry.value}, or uninstall its package (docs/adding-a-method.md)"
    try:
        registered = entry.load()()
        if not isinstance(registered, Registration):
            raise TypeError(f"{type(registered).__name__} is no Registration")
        if not (isinstance(registered.settings, type) and dataclasses.is_dataclass(registered.settings)):
            raise TypeError(f"its settings are no dataclass but {registered.settings!r}")
        registered.settings()
        for name, other in others.items():
            if registered.settings is other.settings:  # they say whose run it is
                raise TypeError(f"its settings are those of {name!r}: give it a class of its own")
    except Exception as problem:  # anybody's code may raise anything
        raise SettingError(
            f"the method {entry.name!r} could not be loaded ({type(problem).__name__}: {problem}): {advice}"
        ) from problem
    return registered


def method_names() -> list[str]:
    """Names for the command line."""
    return list(methods())


def registration(name: str) -> Registration:
    """Raises SettingError for an unknown name."""
    known = methods()
    if name not in known:
        raise SettingError(f"method {name!r} is unknown: {nearest_name(name, list(known))}")
    return known[name]


def method_settings(name: str) -> type[Any]:
    """The dataclass of a method's settings; loads no torch for the built-in ones."""
    return registration(name).settings


def load_method(name: str) -> type[Method]:
    """The method's class."""
    module, _, attribute = registration(name).target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def today(name: str, content: Mapping[str, Any]) -> str:
    """What a method is called today whose name and settings a file has: where usual settings have changed, the former
    ones have a name of their own (`Registration.once`), by which older runs and libraries go, too.

    Args:
        content: the settings as the file has them; those that it lacks have the values of its time.
    """
    for other, entry in METHODS.items():
        if entry.once == name:
            usual, former = METHODS[name].settings(), entry.settings()
            moved = [field.name for field in dataclasses.fields(usual) if _differ(usual, former, field.name)]
            with contextlib.suppress(SettingError):
                chosen = settings_of(type(usual), content)
                if not any(_differ(chosen, former, field) for field in moved):
                    return other
    return name


def _differ(a: Any, b: Any, field: str) -> bool:
    return getattr(a, field) != getattr(b, field)


def method_of(chosen: Any) -> str:
    """The name of the method whose settings these are."""
    for name, entry in methods().items():
        if type(chosen) is entry.settings:
            return name
    raise SettingError(f"{type(chosen).__name__} belongs to no method: register it in skilltokens.methods")
