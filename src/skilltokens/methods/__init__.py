"""The methods, one file each. Other packages add theirs by the entry point group `skilltokens.methods`.

An entry point names a function without arguments that returns a `Registration`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from skilltokens import settings
from skilltokens.types import SettingError, nearest

if TYPE_CHECKING:
    from skilltokens.methods.base import Method


@dataclass(frozen=True)
class Registration:
    """How a method is found. `target` is "module:Class", imported (with torch) only when the method runs."""

    summary: str
    target: str
    settings: type[Any]


METHODS = {
    "t2s": Registration(
        "new parameter tokens a skill, the rest frozen", "skilltokens.methods.t2s:T2S", settings.T2SSettings
    ),
    "lora": Registration(
        "a low-rank adapter a skill, the rest frozen", "skilltokens.methods.lora:Lora", settings.LoraSettings
    ),
    "sequential": Registration(
        "fine-tunes everything, task after task",
        "skilltokens.methods.sequential:Sequential",
        settings.SequentialSettings,
    ),
    "single_task": Registration(
        "a policy of its own for each task", "skilltokens.methods.single_task:SingleTask", settings.SingleTaskSettings
    ),
    "multitask": Registration(
        "all tasks at once: the upper bound", "skilltokens.methods.multitask:Multitask", settings.MultitaskSettings
    ),
}


def methods() -> dict[str, Registration]:
    """Every method that is installed, by name."""
    found = dict(METHODS)
    for entry in entry_points(group="skilltokens.methods"):
        found.setdefault(entry.name, entry.load()())
    return found


def method_names() -> list[str]:
    """Names for the command line."""
    return list(methods())


def registration(name: str) -> Registration:
    """Raises SettingError for an unknown name."""
    known = methods()
    if name not in known:
        raise SettingError(f"method {name!r} is unknown: {nearest(name, list(known))}")
    return known[name]


def method_settings(name: str) -> type[Any]:
    """The dataclass of a method's settings; loads no torch for the built-in ones."""
    return registration(name).settings


def load_method(name: str) -> type[Method]:
    """The method's class."""
    module, _, attribute = registration(name).target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def method_of(chosen: Any) -> str:
    """The name of the method whose settings these are."""
    for name, entry in methods().items():
        if type(chosen) is entry.settings:
            return name
    raise SettingError(f"{type(chosen).__name__} belongs to no method: register it in skilltokens.methods")
