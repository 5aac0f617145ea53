"""Settings as data: ranges checked, written plainly, read back, compared.

Settings are frozen dataclasses that live where they act. A number's range stands beside its field, in the words of
annotated-types:

    rate: Annotated[float, Gt(0)] = 1e-3

`check_settings` walks through any dataclass, a plug-in's own included: no list of names has to be kept. What several
fields ask of each other, a dataclass says in a method `check(name)`. What older files have and it has no more, it names
in a class variable `DROPPED`, a collection of names that `settings_of` passes over. Fields that were added after files
had been sealed with its text it names in `ADDED` (`plain_as_before`), and what a file without one of them means in
`BEFORE`, where that is not today's default.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from skilltokens.types import SettingError, shortened

Settings = TypeVar("Settings")


OLD_NAMES = {"films": "videos", "prompts": "commands", "place": "rows_in"}
"""Settings that were called otherwise once: files and command lines with the old name are still read.

A dataclass that has a setting of an old name itself, such as a plug-in's, keeps it.
"""


class Infinite:
    """Metadata of a field that may be infinite; every other number must be finite."""


Seed = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
"""A number of things, at least one."""
CountFrom0 = Annotated[int, Ge(0)]
"""A number of things, or 0 with a meaning of its own, which the field's docstring says."""
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Gt(0), Le(1)]
"""A part of a whole, more than nothing."""
ShareFrom0 = Annotated[float, Ge(0), Le(1)]

_BOUNDS: tuple[tuple[type, str, Callable[[float, float], bool], str], ...] = (
    (Ge, "ge", lambda value, bound: value >= bound, "use {bound:g} or more"),
    (Gt, "gt", lambda value, bound: value > bound, "use a number above {bound:g}"),
    (Le, "le", lambda value, bound: value <= bound, "use {bound:g} or less"),
    (Lt, "lt", lambda value, bound: value < bound, "use a number below {bound:g}"),
)


def check_settings(settings: Any, name: str = "") -> None:
    """Checks every number of a dataclass against the range beside its field, then what its fields ask of each other.

    Args:
        settings: a dataclass, others inside it included.
        name: how the command calls it, such as "train"; empty: its fields stand by themselves.

    Raises:
        SettingError: the first number out of its range; one sentence with its name, its value and what is possible.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        full_name = f"{name}.{field.name}" if name else field.name
        if dataclasses.is_dataclass(value):
            check_settings(value, full_name)
        else:
            _check_value(full_name, value, hints[field.name])
    check: Callable[[str], None] | None = getattr(settings, "check", None)
    if check is not None:
        check(name)


def check_setting(settings: Any, name: str) -> None:
    """Checks one field of a dataclass against the range beside it; see `check_settings`."""
    _check_value(name, getattr(settings, name), get_type_hints(type(settings), include_extras=True)[name])


def check_number(name: str, value: float, hint: Any) -> None:
    """Checks one number against a range such as `Count`; see `check_settings`."""
    _check_value(name, value, hint)


def _check_value(name: str, value: Any, hint: Any) -> None:
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    if isinstance(value, tuple | list):
        inner = get_args(hint)
        for number, item in enumerate(value):
            _check_value(name, item, inner[0 if inner[-1] is Ellipsis else number] if inner else Any)
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    for bound in metadata:
        for kind, attribute, holds, advice in _BOUNDS:
            if isinstance(bound, kind) and not holds(value, getattr(bound, attribute)):
                raise SettingError(f"{name} {value:g} is impossible: {advice.format(bound=getattr(bound, attribute))}")
    if not math.isfinite(value) and Infinite not in metadata:
        raise SettingError(f"{name} {value:g} is impossible: use a finite number")


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as JSON has it: what is kept in files, and compared with them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def plain_as_before(settings: Any) -> dict[str, Any]:
    """`plain` without the fields that the class names in `ADDED` where they are what an older file means.

    For what must stay the same, byte for byte, where the new fields say nothing: sealed files, and records that are
    compared with older ones. `settings_of` reads it back.
    """
    left_out = _usual(settings)
    return {name: value for name, value in plain(settings).items() if name not in left_out}


def repr_as_before(self: Any) -> str:
    """The `__repr__` of a dataclass that has `ADDED`: fingerprints made of it stay the same; see `plain_as_before`."""
    left_out = _usual(self)
    shown = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.name not in left_out]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _usual(settings: Any) -> set[str]:
    """The fields of `ADDED` that are what a file without them means: their default, or what `BEFORE` says."""
    added: Sequence[str] = getattr(settings, "ADDED", ())
    before: Mapping[str, Any] = getattr(settings, "BEFORE", {})
    fields = [field for field in dataclasses.fields(settings) if field.name in added]
    return {f.name for f in fields if getattr(settings, f.name) == before.get(f.name, f.default)}


def settings_of(kind: type[Settings], content: Mapping[str, Any]) -> Settings:
    """The reverse of `plain`: settings_of(type(x), plain(x)) == x.

    What an older file lacks has its default, or what the class says in `BEFORE`; old names are read as today's
    (`OLD_NAMES`), and what a class says it has dropped is passed over. Ranges are not checked here.

    Args:
        kind: the dataclass, with its argument where it is generic: RunSettings[T2SSettings].

    Raises:
        SettingError: a value of the wrong kind, or a setting that this version does not have.
    """
    import msgspec  # loads in 10 ms, but `--help` does without

    content = _of_today(kind, content)
    strangers = sorted(_strangers(kind, content))
    if strangers:
        raise SettingError(
            f"this version of skilltokens has no setting {strangers[0][:100]}: use the version of the file"
        )
    try:
        return msgspec.convert(content, kind, strict=False)  # files of before 2025-11-26 have 0 and 1 for no and yes
    except ValueError as problem:  # msgspec's own, or half a character in a name
        raise SettingError(f"these settings cannot be read ({shortened([str(problem)])})") from problem


def with_new_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the names that its settings have today, where their class is not known."""
    return {
        OLD_NAMES.get(name, name): with_new_names(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
    }


def _of_today(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """What an older file says of a dataclass, by today's names and without what was dropped since."""
    types, dropped = _types(kind), getattr(kind, "DROPPED", ())
    today: dict[str, Any] = dict(getattr(kind, "BEFORE", {}))
    for old, value in content.items():
        name = old if old in types else OLD_NAMES.get(old, old)
        inner = types.get(name)
        if old not in dropped:
            nested = isinstance(value, Mapping) and dataclasses.is_dataclass(inner)
            today[name] = _of_today(inner, value) if nested else value
    return today


def _strangers(kind: Any, content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names in `content` that are no fields of the dataclass."""
    types = _types(kind)
    for name, value in content.items():
        if name not in types:
            yield f"{prefix}{name}"
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(types[name]):
            yield from _strangers(types[name], value, f"{prefix}{name}.")


def _types(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass and their types, its type argument in place."""
    plain_kind = get_origin(kind) or kind
    arguments = dict(zip(getattr(plain_kind, "__parameters__", ()), get_args(kind), strict=False))
    hints = get_type_hints(plain_kind)
    names = [field.name for field in dataclasses.fields(plain_kind)]
    return {name: arguments.get(hints[name], hints[name]) for name in names}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as one level of dotted names."""
    entries: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            entries |= flat(value, f"{prefix}{key}.")
        else:
            entries[f"{prefix}{key}"] = value
    return entries


def changes_of(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str] = ()) -> list[str]:
    """Where two flat configurations differ, but for settings in `free`: a clause for each setting."""
    was, now = ({key: value for key, value in config.items() if key not in free} for config in (old, new))
    return [f"{k} was {was.get(k)!r}, is {now.get(k)!r}" for k in sorted(was | now) if was.get(k) != now.get(k)]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str] = ()) -> str:
    """Where two flat configurations differ, but for settings in `free`, as one text; empty where they are equal."""
    return shortened(changes_of(old, new, free))
