"""docs/settings.md: every setting that a run has, its usual value, what it may be, and what it does.

`python -m skilltokens.report.reference docs/settings.md` writes it from the dataclasses that hold the settings, so that
the page says what `--help` says.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from skilltokens.attached.settings import AttachedSettings
from skilltokens.behaviour.settings import AdaptSettings, MotionSettings, PpoSettings
from skilltokens.configuration import Infinite
from skilltokens.escaping import markdown
from skilltokens.experiments.settings import RewardSettings, RunSettings
from skilltokens.files import write_bytes
from skilltokens.methods import METHODS
from skilltokens.methods.cotrain import CotrainSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report import text
from skilltokens.report.configs import shown
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import RunError

HEAD = """# All settings

Made from the code by `make settings`: do not edit it.

`skilltokens run` takes each of these as an option (`--train.iterations 300`), a [grid](grids.md) as a key, Python as a
field of the dataclass that is named. The values here are the dataclass's. A recipe has others for some of them:
`skilltokens run RECIPE --method METHOD --help` shows what holds there. Yes or no is said as `--evaluate.videos`, or
with *no-* before its last word; several values stand behind one option.
"""
PARTS: tuple[tuple[str, type, str], ...] = (
    ("A run", RunSettings, ""),
    ("The policy", PolicySettings, "policy"),
    ("Training", TrainSettings, "train"),
    ("Demonstrations", DemonstrationSettings, "demonstrations"),
    ("Evaluation", EvaluateSettings, "evaluate"),
    ("Co-training", CotrainSettings, "cotrain"),
    ("Of `learn`: beside another policy", AttachedSettings, "attached"),
)
REWARD: tuple[tuple[str, type, str], ...] = (
    ("A run from reward", RewardSettings, ""),
    ("Adapting", AdaptSettings, "adapt"),
    ("PPO", PpoSettings, "ppo"),
    ("Motion", MotionSettings, "motion"),
)
COLUMNS = ("setting", "usual", "may be", "what it does")


def page() -> str:
    """The text of the page."""
    parts = [
        HEAD,
        *(_section(*part) for part in PARTS),
        "## Methods\n",
        "The settings of one method, as `--method.NAME`.",
    ]
    for name, entry in METHODS.items():
        summary = _marked(entry.summary[0].upper() + entry.summary[1:])
        parts.append(f"### {name.replace('_', '-')}\n\n{summary}. {_described(entry.settings, 'method')}\n")
    parts += ["## From reward\n", *(_section(title, kind, prefix, "###") for title, kind, prefix in REWARD)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _section(title: str, kind: type, prefix: str, level: str = "##") -> str:
    return f"{level} {title}\n\n{_described(kind, prefix)}\n"


def _described(kind: type, prefix: str) -> str:
    """The name of a dataclass, and the table of its fields."""
    rows = _rows(kind, prefix)
    if not rows:
        return "It has no settings."
    return f"`{kind.__module__}.{kind.__name__}`\n\n{text.table(COLUMNS, rows).replace('---:', '---')}"


def _rows(kind: type, prefix: str) -> list[list[str]]:
    """A row for each field of a dataclass; what a run holds of others has a section of its own."""
    hints, words = get_type_hints(kind, include_extras=True), _docstrings(kind)
    rows = []
    for field in dataclasses.fields(kind):
        factory = field.default_factory
        value = field.default if factory is dataclasses.MISSING else factory()
        name = f"{prefix}.{field.name}" if prefix else field.name
        if dataclasses.is_dataclass(value):
            rows += _rows(type(value), name) if prefix else []
            continue
        if value is dataclasses.MISSING:
            continue
        usual = f"`{shown(value)}`" if shown(value) else "empty"
        rows.append([f"`{name.replace('_', '-')}`", usual, _possible(hints[field.name]), _marked(words[field.name])])
    return rows


def _marked(sentence: str) -> str:
    """A docstring's text as Markdown: what stands between backticks is code in both."""
    parts = " ".join(sentence.split()).split("`")
    return "".join(f"`{part}`" if number % 2 else _words(part) for number, part in enumerate(parts))


def _words(part: str) -> str:
    """Escaped, with the spaces around it that escaping takes away."""
    return (
        part[: len(part) - len(part.lstrip())] + markdown(part) + (part[len(part.rstrip()) :] if part.strip() else "")
    )


def _docstrings(kind: type) -> dict[str, str]:
    """The string behind each field, in the class or the one that it comes from."""
    words: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        if not dataclasses.is_dataclass(base):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, behind in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(behind, ast.Expr):
                words[field.target.id] = inspect.cleandoc(ast.literal_eval(behind.value))
    return words


def _possible(hint: Any) -> str:
    """What a field may be, in words."""
    bounds: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        bounds = tuple(rest)
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if get_origin(hint) is tuple:
        return f"several: {_possible(inner[0])}"
    if type(None) in inner:
        return _possible(next(one for one in inner if one is not type(None)))
    if hint is bool:
        return "yes or no"
    if hint in (int, float):
        return _number("whole number" if hint is int else "number", bounds)
    return "text"


def _number(kind: str, bounds: Sequence[Any]) -> str:
    low = next(
        (f"from {b.ge:g}" if isinstance(b, Ge) else f"above {b.gt:g}" for b in bounds if isinstance(b, Ge | Gt)), ""
    )
    high = next(
        (f"to {b.le:g}" if isinstance(b, Le) else f"below {b.lt:g}" for b in bounds if isinstance(b, Le | Lt)), ""
    )
    return " ".join(part for part in (kind, low, high, "or inf" if Infinite in bounds else "") if part)


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), page().encode(), RunError)
