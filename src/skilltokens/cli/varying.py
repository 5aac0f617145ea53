"""Settings with a value of their own for each run: as words of a command line, as combinations, as a folder's name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from skilltokens.configuration import flat, plain
from skilltokens.escaping import file_name
from skilltokens.experiments.grid import Value, Values
from skilltokens.types import SettingError, nearest

Combination = Mapping[str, Values]
"""Settings by their names as they are typed, without dashes, and the value that each has in one run."""


def usual_settings(settings: Any) -> dict[str, Any]:
    """All settings by their names as they are typed, without dashes, with the values that they have in an instance."""
    values = {name.replace("_", "-"): value for name, value in flat(plain(settings)).items()}
    return {name: value for name, value in values.items() if not isinstance(value, dict)}


def combinations(varied: Mapping[str, Sequence[Values]]) -> Iterator[Combination]:
    """Every combination of the values, the last setting's values changing first; one empty one where nothing varies."""
    for values in itertools.product(*varied.values()):
        yield dict(zip(varied, values, strict=True))


def words_for(name: str, value: Values, usual: Any) -> list[str]:
    """The words that give a setting its value on a command line.

    Args:
        usual: the value that it has otherwise, which tells whether it is a switch, or takes several values.

    Raises:
        SettingError: a switch is neither true nor false, or a setting of one value is given several.
    """
    if isinstance(usual, bool) or isinstance(value, bool):
        if not (isinstance(usual, bool) and isinstance(value, bool)):
            kind = "true or false" if isinstance(usual, bool) else "no switch: give it a value such as"
            raise SettingError(f"{name} {_text(value)!r} is impossible: it is {kind} {'' if usual is None else usual}")
        group, _, last = name.rpartition(".")
        return [f"--{group}.{'' if value else 'no-'}{last}" if group else f"--{'' if value else 'no-'}{last}"]
    if isinstance(value, tuple):
        if not isinstance(usual, list):
            raise SettingError(f"{name} takes one value: to have runs with each of several, let it vary")
        return [f"--{name}", *map(_text, value)]
    return [f"--{name}", _text(value)] if isinstance(usual, list) else [f"--{name}={_text(value)}"]


def label_of(combination: Combination, all_varied: Collection[str]) -> str:
    """A part of a folder's name that says the values: episodes5-rate0.001.

    Args:
        all_varied: every setting that varies anywhere, so that two of them are not called alike.
    """
    lasts = [name.rpartition(".")[2] for name in all_varied]
    parts = []
    for name, value in combination.items():
        last = name.rpartition(".")[2]
        shown = last if lasts.count(last) == 1 else name.replace(".", "-")
        parts.append(f"{shown}{file_name(_text(value)) if value != () else '-none'}")
    return "-".join(parts)


def own_folder(usual: Mapping[str, Any], combination: Combination) -> dict[str, Values]:
    """A folder for demonstrations that vary, since one folder keeps one kind of a task; empty for the usual kind, and
    where the folder's name has their number in it already.

    Args:
        usual: all settings, where nothing varies.
    """
    varied = {name: value for name, value in combination.items() if name.startswith("demonstrations.")}
    others = {name: value for name, value in varied.items() if value != usual[name]}
    folder = usual.get("demonstrations.folder", "")
    if "{episodes}" in folder:  # says the number by itself
        others.pop("demonstrations.episodes", None)
    if not others or "demonstrations.folder" in varied:
        return {}
    return {"demonstrations.folder": f"{folder}-{label_of(others, list(others))}"}


def varied_in(texts: Sequence[str], usuals: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Value, ...]]:
    """What is typed for --vary, NAME=VALUE,VALUE each, as settings and their values.

    Args:
        usuals: all settings of each learner.

    Raises:
        SettingError: a text of another form, or a setting that no learner has.
    """
    known = dict.fromkeys(name for usual in usuals for name in usual)
    varied: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        name, _, values = text.removeprefix("--").partition("=")
        name, words = name.replace("_", "-"), [word for word in values.split(",") if word]
        if not words:
            raise SettingError(f"--vary {text} is impossible: write a setting and its values, train.rate=1e-3,2e-3")
        if name == "seed":
            raise SettingError(f"--vary {text}: name seeds with --seeds")
        if name not in known:
            raise SettingError(f"--vary {text}: no method has a setting {name!r}: {nearest(name, list(known))}")
        if name in varied or len(set(words)) < len(words):
            raise SettingError(f"--vary {text}: name each setting and each value once")
        varied[name] = tuple(map(typed_value, words))
    return varied


def _text(value: Values) -> str:
    """A value as it is typed; of several, with plus signs between them, for a name alone."""
    if isinstance(value, tuple):
        return "+".join(map(_text, value))
    return re.sub(r"\.0$", "", repr(value)) if isinstance(value, float) else str(value)


def typed_value(word: str) -> Value:
    """A word of a command line as a value: a number where it is one, true, false, or a text."""
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
