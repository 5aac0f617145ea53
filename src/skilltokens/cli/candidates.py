"""What may be typed at a place of a command line. A shell asks it when Tab is pressed, so it must answer at once.

The scripts of `skilltokens completion` call `skilltokens completion --words WORD...`, the last word as far as it is
typed; bash, which cuts words at ":" and "=", gives its line instead: `--line LINE END`. The answer is a line that says
whether the shell completes a path as well, `files` or `words`, and then a line for each word that may stand there.

Nothing here parses or checks a command, and neither torch nor a simulator is loaded: options are read from the
dataclasses that the verbs' parsers are made from, names from the tables of recipes, suites and methods.
"""

from __future__ import annotations

import re
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from skilltokens.cli import VERBS
from skilltokens.escaping import terminal

if TYPE_CHECKING:
    from skilltokens.cli.names import Values

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Candidates:
    """Words that may stand at a place, and whether the path of a file may."""

    words: tuple[str, ...] = ()
    files: bool = False


@dataclass(frozen=True)
class Argument:
    """An option of a verb, or one of its positional arguments."""

    name: str
    """The field's name, without those of the groups that it lies in."""
    options: tuple[str, ...]
    """As it is typed: `--tasks`. None for a positional argument."""
    count: Literal["none", "one", "many"]
    """How many values it takes."""
    choices: tuple[str, ...]
    """Its values, where its type says them."""
    path: bool
    default: str = ""
    """Where it is text."""


def answer(words: Sequence[str]) -> int:
    """Answers a shell's question: the words after `skilltokens completion`."""
    form, *rest = words
    if form == "--line":
        line, end = (*rest, "", "")[:2]
        _print(split(line), end)
    else:
        _print(rest)
    return 0


def _print(words: Sequence[str], end: str | None = None) -> None:
    """Prints what may be typed for the last word, or in place of its end only."""
    offer = candidates(words)
    start = len(words[-1]) - len(end) if end is not None and words and words[-1].endswith(end) else 0
    print("files" if offer.files else "words")
    for word in offer.words:
        if terminal(word) == word:  # what holds an end of a line can't be answered in one, nor typed
            print(word[start:] if end is None else typed_in_bash(word[start:]))


def typed_in_bash(text: str) -> str:
    """A part of a word as it is typed in bash, which puts an answer into the line as it is; zsh and fish quote by
    themselves. A skill may be called $(reboot)."""
    return re.sub(r"[^\w@%+=:,./-]", r"\\\g<0>", text)


def split(line: str) -> list[str]:
    """The words after the command in a line that ends where the cursor is, as bash reads them; the last may be empty.

    A quotation that is still open ends at the cursor.
    """
    cursor = "\0"
    for closing in ("", "'", '"'):
        lexer = shlex.shlex(f"{line}{cursor}{closing}", posix=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            return [word.removesuffix(cursor) for word in lexer][1:]
        except ValueError:
            continue
    return []


def candidates(words: Sequence[str]) -> Candidates:
    """What may be typed for the last of the words that follow `skilltokens`; it may be empty or half typed."""
    *before, word = words or [""]
    if not before:
        return _beginning((*VERBS, "help", *HELP, "--version"), word)
    verb, *before = before
    if verb == "help":
        return _beginning(_helped(before), word)
    if verb in ("demos", "hub"):
        actions = import_module(f"skilltokens.cli.verbs.{verb}").ACTIONS
        if not before:
            return _beginning((*actions, *HELP), word)
        action, *before = before
        return _of_verb(f"{verb} {action}", [actions[action][1]], before, word) if action in actions else Candidates()
    if verb == "skills":
        return _of_skills(before, word)
    if verb in ("run", "tune"):
        return _of_run(verb, before, word)
    if verb not in VERBS:
        return Candidates()
    module = import_module(f"skilltokens.cli.verbs.{verb}")
    return _of_verb(verb, [getattr(module, f"{verb.capitalize()}Options")], before, word)


def _helped(before: Sequence[str]) -> Sequence[str]:
    """What may follow `skilltokens help`."""
    if list(before) in (["demos"], ["hub"], ["skills"]):
        return tuple(import_module(f"skilltokens.cli.verbs.{before[0]}").ACTIONS)
    return () if before else tuple(VERBS)


def _of_skills(before: Sequence[str], word: str) -> Candidates:
    """After `skilltokens skills`: a library, then an action, then what that takes."""
    from skilltokens.cli.verbs.skills import ACTIONS

    if not before:
        return _beginning(HELP, word, files=not word.startswith("-"))
    library, *before = before
    if not before:
        return _beginning((*ACTIONS, *HELP), word)
    action, *before = before
    if action not in ACTIONS:
        return Candidates()
    return _of_verb(f"skills {action}", [ACTIONS[action][1]], before, word, {"library": [library]})


def _of_run(verb: str, before: Sequence[str], word: str) -> Candidates:
    """After `skilltokens run`, `tune` or `transfer`: a recipe or a run.json, then the options of that recipe and the
    methods named.

    The latter two have options of their own besides.
    """
    from skilltokens.experiments.recipes import RECIPES, settings_from

    own: list[Any] = []
    if verb == "tune":
        from skilltokens.cli.verbs.tune import TuneOptions

        own = [TuneOptions()]
    if verb == "transfer":
        from skilltokens.cli.verbs.transfer import TransferOptions

        own = [TransferOptions()]
    if not before:
        options = [option for kind in own for argument in arguments_of(kind) for option in argument.options]
        return _beginning((*RECIPES, *options, *HELP), word, files=not word.startswith("-"))
    name, *before = before
    if name not in RECIPES:
        return Candidates()
    from skilltokens.cli.plan import METHOD_WORDS
    from skilltokens.cli.run_options import options_type

    recipe = RECIPES[name]
    typed = {part for option in before for part in option.split("=")} if set(METHOD_WORDS) & _options(before) else set()
    named = [learner for learner in recipe.experiment.learners() if learner in typed]
    kind = options_type(recipe.experiment)
    kinds = [
        kind(methods=(), settings=settings_from(recipe, learner)) for learner in named or recipe.experiment.usual[:1]
    ]
    return _of_verb("run", [*kinds, *own], before, word)


def _of_verb(
    verb: str, kinds: Sequence[Any], before: Sequence[str], word: str, known: Values | None = None
) -> Candidates:
    """After a verb whose options are these dataclasses', or instances' of them, all together.

    Args:
        known: values that were typed in front of the options, by name.
    """
    arguments = list(dict.fromkeys(argument for kind in kinds for argument in arguments_of(kind)))
    options = {option: argument for argument in arguments for option in argument.options}
    argument, values = _place([a for a in arguments if not a.options], options, before)
    values |= {name: list(given) for name, given in (known or {}).items()}
    if word.startswith("-") and "=" in word:
        option, _, part = word.partition("=")
        argument = options.get(option.replace("_", "-"))
        answer = _values(verb, argument, values, arguments, part) if argument else Candidates()
        return Candidates(tuple(f"{option}={value}" for value in answer.words), answer.files)
    if argument is None or word.startswith("-"):
        return _beginning((*options, *HELP), word)
    return _values(verb, argument, values, arguments, word)


def _place(
    positionals: Sequence[Argument], options: Mapping[str, Argument], before: Sequence[str]
) -> tuple[Argument | None, dict[str, list[str]]]:
    """The argument that the next word belongs to, unless it is an option, and the values typed so far."""
    values: dict[str, list[str]] = {}
    waiting = list(positionals)
    taking: Argument | None = None
    for word in before:
        if word.startswith("-") and not word[1:2].isdigit():
            option, equals, value = word.partition("=")
            taking = options.get(option.replace("_", "-"))
            if taking is not None and (equals or taking.count == "none"):
                values.setdefault(taking.name, []).append(value)
                taking = None
            continue
        argument = taking or (waiting[0] if waiting else None)
        if argument is None:
            continue
        values.setdefault(argument.name, []).append(word)
        if argument.count == "one":
            taking = None
            if not argument.options:
                waiting.pop(0)
    return taking or (waiting[0] if waiting else None), values


def _values(verb: str, argument: Argument, typed: Values, arguments: Sequence[Argument], word: str) -> Candidates:
    """What may be typed for an argument. A name that stands there already is not offered again."""
    from skilltokens.cli.names import PLACES, names_for

    files = argument.path or argument.name in PLACES
    defaults = {other.name: [other.default] for other in reversed(arguments) if other.default}
    names = argument.choices or names_for(verb, argument.name, {**defaults, **typed}, word)
    taken = typed.get(argument.name, ()) if argument.count == "many" else ()
    return _beginning([name for name in names if name not in taken], word, files)


def _beginning(names: Sequence[str], word: str, files: bool = False) -> Candidates:
    return Candidates(tuple(name for name in names if name.startswith(word)), files)


def _options(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("-")}


# ---------------------------------------------------------------- the arguments of a dataclass


def arguments_of(kind: Any, prefix: str = "") -> Iterator[Argument]:
    """The arguments that tyro makes of a dataclass, or of an instance of one, whose values are then the defaults."""
    from tyro.conf import Positional

    hints = typing.get_type_hints(kind if isinstance(kind, type) else type(kind), include_extras=True)
    for field in fields(kind):
        hint, marks = _unwrapped(hints[field.name])
        default = _default(kind, field)
        name = next((mark.name for mark in marks if getattr(mark, "name", None) is not None), field.name)
        if is_dataclass(default):
            yield from arguments_of(default, f"{prefix}{name}." if name else prefix)
            continue
        leaves = tuple(_leaves(hint))
        flag = leaves == (bool,)
        if Positional in marks:
            options: tuple[str, ...] = ()
        else:
            also = next((mark.aliases for mark in marks if getattr(mark, "aliases", None)), ())
            shown = (prefix + name).replace("_", "-")
            group, _, last = shown.rpartition(".")
            negated = (f"--{group}.no-{last}" if group else f"--no-{last}",) if flag else ()
            options = (f"--{shown}", *negated, *also)
        many = typing.get_origin(hint) in (tuple, list)
        count: Literal["none", "one", "many"] = "none" if flag else "many" if many else "one"
        choices = tuple(leaf for leaf in leaves if isinstance(leaf, str))
        yield Argument(field.name, options, count, choices, Path in leaves, default if isinstance(default, str) else "")


def _default(kind: Any, field: Any) -> Any:
    """A field's value in an instance, or what it is where nothing is typed."""
    if not isinstance(kind, type):
        return getattr(kind, field.name)
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without what is written beside it for tyro and others, and that."""
    if typing.get_origin(hint) is Annotated:
        inner, marks = _unwrapped(hint.__origin__)
        return inner, (*marks, *hint.__metadata__)
    return hint, ()


def _leaves(hint: Any) -> Iterator[Any]:
    """The plain types in a type, and the values of a Literal: of `tuple[Path, ...] | None` it is Path."""
    hint, _ = _unwrapped(hint)
    if typing.get_origin(hint) is Literal:
        yield from typing.get_args(hint)
    elif inner := typing.get_args(hint):
        for part in inner:
            yield from _leaves(part)
    elif hint not in (None, type(None), ...):
        yield hint
