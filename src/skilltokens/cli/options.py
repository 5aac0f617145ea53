"""Command-line words -> a dataclass of settings, by tyro, where every mistake is one sentence.

tyro makes the options and their help from a dataclass's fields and docstrings. Its own messages are boxes of several
lines; here they become a `SettingError`, and an unknown option gets the nearest known one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import sys
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar, cast

import tyro

from skilltokens.configuration import OLD_NAMES
from skilltokens.types import SettingError, nearest

Options = TypeVar("Options")

# Quotations and options may be long names; a box is as wide as the terminal, so words are joined again by spaces.
_BOX = re.compile(r"[│╭╮╰╯─]+|\x1b\[[0-9;]*m")
_OLD = re.compile(rf"--(no-)?((?:[\w-]+\.)*)(no[-_])?({'|'.join(OLD_NAMES)})(=.*)?", re.DOTALL)
_RULE = re.compile(r"^│ ─+ │$", re.MULTILINE)


def parse(kind: type[Options], args: Sequence[str], prog: str, default: Options | None = None) -> Options:
    """The options `args` as an instance of dataclass `kind`; `--help` prints the help and exits.

    Raises:
        SettingError: an option that does not exist, a value of the wrong type, or something missing.
    """
    options, unknown = parse_known(kind, args, prog, default)
    if unknown:
        raise unknown_option(unknown[0][0], known_options(kind if default is None else default), prog)
    return options


def parse_known(
    kind: type[Options], args: Sequence[str], prog: str, default: Options | None = None
) -> tuple[Options, list[list[str]]]:
    """As `parse`, but gives back the options that `kind` does not have: for each its name and its values."""
    args = with_new_options(args, known_options(kind if default is None else default))
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            options, rest = tyro.cli(
                cast(Any, kind),
                args=args,
                prog=prog,
                # The whole docstring: by itself tyro would leave out the examples.
                description=inspect.getdoc(typing.get_origin(kind) or kind),
                config=(tyro.conf.PositionalMetavarFromFieldName,),
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise SettingError(f"{_sentence(errors.getvalue())}: see `{prog} --help`") from None
    return options, _grouped(rest, prog)


def with_new_options(words: Sequence[str], known: Collection[str]) -> list[str]:
    """The same words with today's names of options that were called otherwise once (`configuration.OLD_NAMES`).

    For each a line on standard error says the new name. A plug-in's own setting may be called by an old name still.

    Args:
        known: the options that there are, as `known_options` has them.
    """
    renamed = []
    for word in words:
        match = _OLD.fullmatch(word)
        new = _new_option(match, known) if match else word
        if new != word:
            old_name, new_name = word.partition("=")[0], new.partition("=")[0]
            print(f"note: {old_name} is the old name: {new_name} is the same", file=sys.stderr)
        renamed.append(new)
    return renamed


def _new_option(match: re.Match[str], known: Collection[str]) -> str:
    negated, groups, inner_negated, old, value = match.groups()
    new = OLD_NAMES[old].replace("_", "-")
    if f"--{groups}{old}" in known or f"--{groups}{new}" not in known:
        return match[0]
    return f"--{groups}{'no-' if negated or inner_negated else ''}{new}{value or ''}"


def known_options(kind: Any, prefix: str = "") -> list[str]:
    """The names of all options of a dataclass, or of an instance of one, as they are typed.

    An instance tells more: fields whose type is a type variable are known by their value.
    """
    return list(_names(kind, prefix))


def unknown_option(name: str, known: Sequence[str], prog: str) -> SettingError:
    """The error for an option that does not exist."""
    return SettingError(f"{prog} has no option {name}: {nearest(name, known) if known else 'it takes none'}")


def _names(kind: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        value = getattr(kind, field.name, field.default)
        if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if dataclasses.is_dataclass(value):
            # A field named `settings` holds options that are typed without its name in front (OmitArgPrefixes).
            inner = prefix if field.name == "settings" else f"{prefix}{field.name}."
            yield from _names(value, inner)
        else:
            yield f"--{prefix}{field.name}".replace("_", "-")


def _grouped(rest: Sequence[str], prog: str) -> list[list[str]]:
    groups: list[list[str]] = []
    for word in rest:
        if word.startswith("-") and not _is_number(word):
            groups.append(word.split("=", 1))
        elif groups:
            groups[-1].append(word)
        else:
            raise SettingError(f"{prog} does not know what to do with {word!r}: see `{prog} --help`")
    return groups


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _sentence(box: str) -> str:
    """The first paragraph of one of tyro's boxes, without its title: `Error parsing --seed: ...`."""
    body = box.partition("\n")[2] or box
    first = _RULE.split(re.sub(r"\x1b\[[0-9;]*m", "", body), maxsplit=1)[0]
    return " ".join(_BOX.sub(" ", first).split()).rstrip(".") or "these options could not be read"
