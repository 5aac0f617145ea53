"""A suite of one task, made of a Gymnasium environment by its id, such as "FetchReach-v4" or "module:Name-v0".

What is typed is [MODULE:]ID[?NAME=VALUE[&NAME=VALUE...]], as in "Meta-World/MT1?env_name=push-v3&seed=1". A value is
read as JSON where it is JSON (1, true, [0.1, 2], "1"), and as text where it is not; %26 stands for "&" in it, as in
addresses on the web. `max_episode_steps` and `disable_env_checker` are arguments of `gymnasium.make` itself.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import gymnasium
from gymnasium.envs import registration
from gymnasium.spaces import Dict as DictSpace

from skilltokens.plugins import module_at
from skilltokens.simulation.blame import blaming, words_of
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.suites.gymnasium_calls import limit_of, made
from skilltokens.suites.gymnasium_reading import Part, entries
from skilltokens.types import STATE, SettingError, SuiteError, Task

_MODULES = {"Meta-World": "metaworld"}
"""Namespaces that a well-known package registers as it is imported, where its name is another."""
_QUERY = "?"


@dataclass(frozen=True)
class Id:
    """What was typed for an environment."""

    typed: str
    module: str
    """The module that registers it; empty: none is named."""
    name: str
    """What Gymnasium calls it."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """For the environment that it makes."""

    @property
    def task(self) -> str:
        """The name of its one task: that of the environment, and the arguments' values; it can name a file."""
        words = [self.name.rpartition("/")[2], *map(str, self.arguments.values())]
        return re.sub(r"[^a-z0-9_.]+", "-", "-".join(words).lower()).strip("-._")[:100]

    def known(self) -> bool:
        """Whether Gymnasium knows it, once its module is imported.

        Raises:
            SettingError: there is no such module.
            SuiteError: the module cannot be imported.
        """
        import_registering(self)
        try:
            namespace, name, version = registration.parse_env_id(self.name)
        except gymnasium.error.Error:
            return False
        newest = registration.find_highest_version(namespace, name) if version is None else None
        return self.name in gymnasium.registry or newest is not None


def parse(typed: str) -> Id:
    """What was typed, in its parts.

    Raises:
        SettingError: it lacks a name, or its arguments cannot be read.
    """
    head, query, words = typed.partition(_QUERY)
    module, colon, name = head.rpartition(":")
    if not name or (colon and not module):
        raise SettingError(f"{typed!r} names no environment: type ID or MODULE:ID, such as FetchReach-v4")
    arguments: dict[str, Any] = {}
    for word in words.split("&") if query else ():
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or key in arguments:
            raise SettingError(
                f"{typed!r}: {word!r} is no argument: type NAME=VALUE, each name once, with & between two of them"
            )
        arguments[key] = _value(unquote(value))
    return Id(typed, module, name, arguments)


def suite_of_id(typed: str, instruction: str = "") -> GymnasiumSuite:
    """A suite of one task, made of a Gymnasium environment; its name is "gym:" and what was typed.

    Raises:
        SettingError: Gymnasium does not know it, or it lacks a limit of steps.
        SuiteError: it raises, or lacks a success flag or a fitting space.
    """
    identity = parse(typed)
    where = f"the environment {typed}"
    environment = made(functools.partial(environment_of_id, typed), where)
    try:
        space, horizon = environment.observation_space, limit_of(environment)
    finally:
        with blaming(f"{where}, in close"):
            environment.close()
    if not horizon:
        raise SettingError(
            f"{typed} has no limit of steps: register it with max_episode_steps, or type "
            f"{typed}{'&' if identity.arguments else _QUERY}max_episode_steps=200"
        )
    parts: dict[str, Part] = dict(entries(space)) if isinstance(space, DictSpace) else {STATE: slice(None)}
    task = Task(identity.task, instruction or identity.task.replace("-", " "))
    return _OfId(
        f"gym:{typed}", functools.partial(_of_task, typed), [task], observation=parts, horizon=horizon, typed=typed
    )


class _OfId(GymnasiumSuite):
    """It blames its environment by the id that was typed."""

    def __init__(self, *words: Any, typed: str, **others: Any) -> None:
        self._typed = typed
        super().__init__(*words, **others)

    def _where(self, task: Task) -> str:
        return f"the environment {self._typed}"


def environment_of_id(typed: str) -> gymnasium.Env[Any, Any]:
    """The environment itself.

    Raises:
        SettingError: Gymnasium does not know it, or does not take its arguments.
        Exception: whatever the environment raises as it is made.
    """
    identity = parse(typed)
    if not identity.known():
        raise unknown(identity)
    try:
        # Its checker only warns, several lines for each fault; what matters here is checked by Calls and Reader.
        return gymnasium.make(identity.name, **{"disable_env_checker": True, **identity.arguments})
    except gymnasium.error.Error as problem:
        raise SettingError(f"Gymnasium cannot make {typed!r}: {_line(problem)}") from problem
    except TypeError as problem:
        if "argument" not in str(problem):
            raise
        example = "env_name=push-v3" if identity.name.startswith("Meta-World/") else "NAME=VALUE"
        raise SettingError(
            f"{typed!r} was not made ({_line(problem)[:200]}): arguments go behind its name, as in "
            f"{typed.partition(_QUERY)[0]}{_QUERY}{example}"
        ) from problem


def import_registering(identity: Id) -> None:
    """Imports the module that registers an environment, where one is named or well known.

    Raises:
        SettingError: there is no such module.
        SuiteError: it cannot be imported.
    """
    namespace = identity.name.rpartition("/")[0]
    module = identity.module or _MODULES.get(namespace, "")
    if not module:
        return
    try:
        module_at(module)
    except Exception as problem:
        if isinstance(problem, ModuleNotFoundError) and (f"{module}.").startswith(f"{problem.name}."):
            known = " (a package to install)" if not identity.module else ""
            raise SettingError(
                f"{identity.typed!r}: there is no module {module!r}{known}, neither installed nor in the current folder"
            ) from problem
        raise SuiteError(
            f"the module {module!r} of {identity.typed!r} cannot be imported ({words_of(problem)}): correct it"
        ) from problem


def unknown(identity: Id) -> SettingError:
    """The sentence about an environment that Gymnasium does not know."""
    try:
        registration.spec(identity.name)
        reason = "it is registered under another name"
    except Exception as problem:  # Gymnasium's own words, which know what is near
        reason = _line(problem).rstrip(".")
    namespace = identity.name.partition("/")[0]
    module = namespace if namespace != identity.name and _importable(namespace) else "MODULE"
    advice = f"type the module that registers it in front, {module}:{identity.typed}"
    if identity.module:
        advice = f"the module {identity.module!r} does not register it; see `gymnasium.pprint_registry()`"
    return SettingError(f"Gymnasium knows no environment {identity.name!r} ({reason}): {advice}")


def _of_task(typed: str, _: str) -> gymnasium.Env[Any, Any]:
    return environment_of_id(typed)


def _importable(name: str) -> bool:
    return name.isidentifier() and importlib.util.find_spec(name) is not None


def _value(text: str) -> Any:
    """A value as JSON, or as the text that it is."""

    def refused(word: str) -> Any:
        raise ValueError(word)  # NaN and Infinity are no JSON

    try:
        return json.loads(text, parse_constant=refused)
    except ValueError:
        return text


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
