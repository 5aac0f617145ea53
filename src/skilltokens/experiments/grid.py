"""A grid as its file describes it: methods x recipes x seeds x settings. docs/grids.md has the format.

A grid has parts; each part is every combination of its methods, recipes, seeds and varied values. What stands at the
top of the file is what the parts have in common, and where there is no [[part]] it is the one part. Here a file is read
and its form is checked; which methods and settings there are is checked where the cells are made (cli/cells.py).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.escaping import file_name
from skilltokens.experiments.recipes import recipe_names
from skilltokens.files import check_seal, read_bytes, read_json, sealed, shown, write_json
from skilltokens.plugins import object_at
from skilltokens.types import RunError, SettingError, SkilltokensError, nearest

SCHEMA = "skilltokens.grid/1"
KEPT = "grid.json"
"""The file in a grid's folder that says what the grid is and how its cells ended."""
MOST = 10_000
"""Seeds in a range."""

Value = str | int | float | bool
Values = Value | tuple[Value, ...]
"""What a setting may be: one value, or several for a setting that takes several, such as tasks."""

_IN_PART = ("recipe", "method", "seeds", "settings", "vary", "label")
_AT_TOP = ("name", "out", "recipe", "method", "seeds", "settings", "vary", "part", "exclude")
_PLURALS = {"recipes": "recipe", "methods": "method", "seed": "seeds", "parts": "part"}
"""The other number of a key, which is the same key."""


@dataclass(frozen=True)
class Part:
    """Cells that are described together: each combination of recipe, method, varied values and seed is one."""

    place: str
    """Where it stands, for messages: the file, and its number where there are several."""
    recipes: tuple[str, ...]
    methods: tuple[str, ...]
    """Empty: those of the recipe."""
    seeds: tuple[int, ...]
    """Empty: the recipe's own."""
    common: Mapping[str, Values]
    """Settings from the top of the file, by their name as it is typed without its dashes."""
    settings: Mapping[str, Values]
    """The part's own."""
    vary: Mapping[str, tuple[Values, ...]]
    """Settings that take each of several values."""
    label: str = ""
    """A word for the cells' folders, where another part has the same methods with other settings."""


@dataclass(frozen=True)
class Grid:
    """What a grid file says."""

    name: str
    out: Path
    """The folder of its runs."""
    parts: tuple[Part, ...]
    exclude: tuple[Mapping[str, tuple[Values, ...]], ...]
    """Combinations that are left out: cells that have one of the values of each key."""
    content: Mapping[str, Any]
    """The file as it is, to be kept beside the runs."""
    place: str
    """Where it was read, for messages."""


def read_grid(word: str) -> Grid:
    """The grid that a word on the command line names: a TOML file, module:function, or the folder of a grid's runs.

    Raises:
        SettingError: there is none, or it is no grid; one sentence with the file and the key.
        RunError: the folder's grid.json is damaged.
    """
    path = Path(word)
    if os.path.isdir(path) or path.name == KEPT:
        folder = path if os.path.isdir(path) else path.parent
        kept = read_kept(folder)
        return grid_of({"name": kept["name"], **kept["grid"], "out": str(folder)}, str(folder / KEPT))
    if ":" in word and not os.path.exists(path):
        return grid_of(_returned(word), word, word.partition(":")[2])
    if path.suffix != ".toml":
        raise SettingError(f"{shown(path)} is no grid: name a file GRID.toml, module:function, or a grid's folder")
    return grid_of(read_toml(path), word, path.stem)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SettingError: it is missing or no TOML; the sentence quotes the line.
    """
    try:
        text = read_bytes(path, SettingError).decode()
    except UnicodeDecodeError as problem:
        raise SettingError(f"{path} is no text in UTF-8: save it as such") from problem
    try:
        return tomllib.loads(text + "\n")  # so that a mistake in the last line is told with its number
    except tomllib.TOMLDecodeError as problem:
        line = re.search(r"at line (\d+)", str(problem))
        quoted = text.splitlines()[int(line[1]) - 1 : int(line[1])] if line else []
        where = f", in {quoted[0].strip()!r:.100}" if quoted else ""
        raise SettingError(f"{path} cannot be read as TOML ({problem}{where}): correct that line") from problem


def grid_of(content: Mapping[str, Any], place: str, name: str = "") -> Grid:
    """A grid out of the tables of its file.

    Args:
        place: where they come from, for messages.
        name: the grid's, where it says none.

    Raises:
        SettingError: a key is unknown, missing or twice, or a value is of the wrong kind.
    """
    top = _keys(content, _AT_TOP, place)
    name = _word(top.get("name", name), f"{place}: name")
    if file_name(name) != name:
        raise SettingError(f"{place}: name {name!r} is no name for a folder: use letters, digits, - and _")
    out = Path(_word(top["out"], f"{place}: out")).expanduser() if "out" in top else Path("runs") / name
    tables = _tables(top.get("part", []), f"{place}: part")
    parts = []
    for number, table in enumerate(tables or [{}], 1):
        parts.append(_part(top, table, place, f"{place}, part {number}" if tables else place))
    exclude = tuple(
        _excluded(table, f"{place}, exclude") for table in _tables(top.get("exclude", []), f"{place}: exclude")
    )
    return Grid(name, out, tuple(parts), exclude, dict(content), place)


def seeds_of(value: object, place: str) -> tuple[int, ...]:
    """Seeds out of a number, a list, or ranges such as "0-2" or "0-2,7".

    Raises:
        SettingError: they are none, or there are none of them.
    """
    items = value if isinstance(value, list | tuple) else [value]
    seeds: list[int] = []
    for item in items:
        if isinstance(item, int) and not isinstance(item, bool):
            seeds.append(item)
            continue
        for word in str(item).split(","):
            ends = re.fullmatch(r"\s*(-?\d+)(?:-(\d+))?\s*", word) if isinstance(item, str) else None
            if ends is None or int(ends[2] or ends[1]) - int(ends[1]) not in range(MOST):
                raise SettingError(f"{place} {item!r} are no seeds: write numbers, or ranges such as 0-4")
            seeds += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    if not seeds:
        raise SettingError(f"{place}: the list is empty: write numbers, or ranges such as 0-4")
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise SettingError(f"{place}: {twice} is named twice: name each seed once")
    return tuple(seeds)


def settings_in(table: object, place: str) -> dict[str, Values]:
    """The settings of a table, by their names as they are typed: train.rate, also where it stands in a table [train].

    Raises:
        SettingError: one is named twice, or has a value that no setting can have.
    """
    settings: dict[str, Values] = {}
    for name, value in _leaves(table, place):
        settings[_once(name, settings, place)] = _values(value, f"{place}: {name}")
    return settings


# ---------------------------------------------------------------- a grid's folder


def read_kept(folder: Path) -> dict[str, Any]:
    """What a grid's folder keeps of it.

    Raises:
        RunError: there is none, or it is damaged.
    """
    path = Path(folder) / KEPT
    if not os.path.lexists(path):
        raise RunError(f"{shown(Path(folder))} holds no grid ({KEPT} is missing): name the grid's file, or its folder")
    content = read_json(path, SCHEMA, RunError)
    check_seal(content, path, RunError)
    kinds = {"name": str, "grid": dict, "cells": list}
    if not all(isinstance(content.get(key), kind) for key, kind in kinds.items()):
        raise RunError(f"{path} is truncated or altered: restore it, or name the grid's own file")
    return content


def keep(grid: Grid, cells: Sequence[Mapping[str, Any]]) -> None:
    """Writes a grid and how its cells stand beside its runs. Raises RunError where it cannot."""
    content = {"schema": SCHEMA, "name": grid.name, "grid": grid.content, "cells": list(cells)}
    write_json(grid.out / KEPT, sealed(content), RunError)


# ---------------------------------------------------------------- parts


def _part(top: Mapping[str, Any], table: Mapping[str, Any], place: str, own_place: str) -> Part:
    own = _keys(table, _IN_PART, own_place)
    both = {**top, **own}
    if "recipe" not in both:
        raise SettingError(f"{own_place} names no recipe: add recipe = {next(iter(recipe_names()))!r}, or another")
    common, settings = settings_in(top.get("settings", {}), place), settings_in(own.get("settings", {}), own_place)
    varied_above, varied = _varied(top.get("vary", {}), place), _varied(own.get("vary", {}), own_place)
    _refuse_both(common, varied_above, place)
    _refuse_both(settings, varied, own_place)
    said = {*settings, *varied}  # by the part itself, which comes before what the top says
    return Part(
        place=own_place,
        recipes=_words(both["recipe"], f"{own_place}: recipe"),
        methods=_words(both["method"], f"{own_place}: methods") if "method" in both else (),
        seeds=seeds_of(both["seeds"], f"{own_place}: seeds") if "seeds" in both else (),
        common={name: value for name, value in common.items() if name not in said},
        settings=settings,
        vary={**{name: values for name, values in varied_above.items() if name not in said}, **varied},
        label=_label(own.get("label", ""), own_place),
    )


def _refuse_both(settings: Mapping[str, Values], varied: Mapping[str, tuple[Values, ...]], place: str) -> None:
    for name in varied:
        if name in settings:
            raise SettingError(f"{place}: {name} is in settings and in vary: keep one of the two")


def _label(value: object, place: str) -> str:
    if value == "":
        return ""
    word = _word(value, f"{place}: label")
    if file_name(word) != word:
        raise SettingError(f"{place}: label {word!r} is no name for a folder: use letters, digits, - and _")
    return word


def _varied(table: object, place: str) -> dict[str, tuple[Values, ...]]:
    varied: dict[str, tuple[Values, ...]] = {}
    for name, value in _leaves(table, f"{place}, vary"):
        where = f"{place}, vary: {name}"
        if not isinstance(value, list | tuple):
            raise SettingError(f"{where} is not a list: write [{value!r}], or put it under settings")
        if not value:
            raise SettingError(f"{where}: the list is empty: write the values that it takes")
        values = tuple(_values(item, where) for item in value)
        twice = next((item for item in values if values.count(item) > 1), None)
        if twice is not None:
            raise SettingError(f"{where}: {twice!r} is there twice: name each value once")
        varied[_once(name, varied, place)] = values
    return varied


def _excluded(table: Mapping[str, Any], place: str) -> dict[str, tuple[Values, ...]]:
    """One combination to leave out: key -> the values of which a cell must have one."""
    excluded: dict[str, tuple[Values, ...]] = {}
    for name, value in _leaves(table, place):
        key = _PLURALS.get(name, name)
        if key == "seeds":
            excluded[_once(key, excluded, place)] = seeds_of(value, f"{place}: {name}")
            continue
        items = value if isinstance(value, list | tuple) else [value]
        excluded[_once(key, excluded, place)] = tuple(_values(item, f"{place}: {name}") for item in items)
    if not excluded:
        raise SettingError(f"{place}: an empty combination would leave out every cell: name a method, a seed, a value")
    return excluded


# ---------------------------------------------------------------- kinds of values


def _keys(table: Mapping[str, Any], known: Sequence[str], place: str) -> dict[str, Any]:
    """A table by its keys in the singular; an unknown one is refused, and one that stands there in both numbers."""
    keys: dict[str, Any] = {}
    for name, value in table.items():
        key = _PLURALS.get(name, name)
        if key not in known:
            raise SettingError(f"{place} has an unknown key {name!r}: {_help(name, known)}")
        if key in keys:
            raise SettingError(f"{place} says {key} twice, as {name!r} too: keep one")
        keys[key] = value
    return keys


def _help(name: str, known: Sequence[str]) -> str:
    if "." in name or name in ("train", "evaluate", "policy", "demonstrations", "tasks", "suite"):
        return f"settings of the runs stand under [settings], so write settings.{name}"
    return nearest(name, known)


def _once(name: str, known: Mapping[str, Any], place: str) -> str:
    """The name of a setting as it is typed, if nobody said it before."""
    typed = name.replace("_", "-")
    if typed in known:
        raise SettingError(f"{place}: {typed} is named twice: keep one")
    return typed


def _leaves(table: object, place: str, prefix: str = "") -> list[tuple[str, Any]]:
    """The values of a table and of those inside it, by dotted names."""
    if not isinstance(table, Mapping):
        raise SettingError(f"{place}: {shown(table)} is no table of settings: write name = value lines")
    leaves = []
    for name, value in table.items():
        inner = isinstance(value, Mapping)
        leaves += _leaves(value, place, f"{prefix}{name}.") if inner else [(f"{prefix}{name}", value)]
    return leaves


def _values(value: object, place: str) -> Values:
    if isinstance(value, list | tuple):
        return tuple(_value(item, place) for item in value)
    return _value(value, place)


def _value(value: object, place: str) -> Value:
    if not isinstance(value, str | int | float | bool):
        raise SettingError(f"{place}: {shown(value)} is no value of a setting: write a number, a text, true or false")
    return value


def _word(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise SettingError(f"{place} {shown(value)} is no text: write it in quotes")
    return value


def _words(value: object, place: str) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise SettingError(f"{place}: the list is empty: name at least one")
    words = tuple(_word(item, place) for item in items)
    twice = next((word for word in words if words.count(word) > 1), None)
    if twice is not None:
        raise SettingError(f"{place}: {twice!r} is named twice: name each once")
    return words


def _tables(value: object, place: str) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(item, Mapping):
            raise SettingError(f"{place}: {shown(item)} is no table: begin each with a line [[part]] or [[exclude]]")
        items.append(item)
    return items


def _returned(word: str) -> Mapping[str, Any]:
    """What a function of somebody's code returns."""
    try:
        function = object_at(word)
        content = function() if callable(function) else function
    except SkilltokensError:
        raise
    except Exception as problem:  # anybody's code may raise anything: its user gets one sentence
        reason = f"{type(problem).__name__}: {problem}"
        raise SettingError(f"there is no grid at {word!r} ({reason}): check its name and its code") from problem
    if not isinstance(content, Mapping):
        raise SettingError(f"{word!r} gives no grid: return a dictionary with the keys of a grid file")
    return content
