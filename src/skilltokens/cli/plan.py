"""The words after `skilltokens run` -> complete settings for each run, one for each method and seed.

The parent makes the plan to check it and to start the children; each child makes the same plan from the same words
and takes its own run out of it, so nothing has to be handed over but words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import tyro

from skilltokens.behaviour.learners import LEARNERS
from skilltokens.cli.options import known_options, parse_known, unknown_option
from skilltokens.experiments.recipes import recipe, recipe_names, study_names
from skilltokens.experiments.settings import Method, RunSettings
from skilltokens.methods import method_names, method_settings, registration
from skilltokens.types import SettingError, nearest

PROG = "skilltokens run RECIPE"
METHOD_WORDS = ("--methods", "--method")

if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = tyro.extras.literal_type_from_choices(method_names())


@dataclass(frozen=True)
class RunOptions(Generic[Method]):
    """Learns a recipe's tasks one after another, by each method and seed, evaluates on the way, writes the report.

    A recipe is a complete configuration; every option below overrides one of its settings, for all methods that have
    it. Demonstrations are made once and shared. Each run is a process of its own; the numbers do not depend on how many
    go at once. Stop it with Ctrl-C, or lose the machine: the same command goes on where it stopped.

    examples:
      skilltokens run demo --methods t2s sequential
      skilltokens run metaworld-cw10 --methods t2s sequential lora --seeds 0 1 2
      skilltokens run demo --tasks push window-close --train.iterations 300 --out runs/two-tasks
      skilltokens run demo --method t2s --method.share 0.05 --jobs 1
      skilltokens run metaworld-cw10 --help       # that recipe's own values
    """

    methods: Annotated[tuple[MethodName, ...], tyro.conf.arg(aliases=["--method"])]
    """Methods to compare, on the same demonstrations, initial states and seeds."""
    settings: Annotated[RunSettings[Method], tyro.conf.arg(name="")]
    seeds: tuple[int, ...] = ()
    """Seeds to run, each with every method; empty: the one of --seed."""
    jobs: int = 0
    """Runs at the same time; 0: one for each core."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""


Settings = TypeVar("Settings")


@dataclass(frozen=True)
class PlannedRun(Generic[Settings]):
    """One run of the plan: by a method, or by a way to learn from reward."""

    method: str
    seed: int
    settings: Settings

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.method}-seed{self.seed}"


@dataclass(frozen=True)
class Plan(Generic[Settings]):
    """All that one command line asks for."""

    recipe: str
    out: Path
    jobs: int
    runs: tuple[PlannedRun[Settings], ...]

    def __post_init__(self) -> None:
        if self.jobs < 0:
            raise SettingError(f"--jobs {self.jobs} is impossible: use 1 or more, or 0 for one run a core")
        names = [run.name for run in self.runs]
        for run in self.runs:
            if names.count(run.name) > 1:
                raise SettingError(f"{run.method} with seed {run.seed} is asked for twice: name each once")

    def folder(self, run: PlannedRun[Settings]) -> Path:
        return self.out / run.name

    def run(self, name: str) -> PlannedRun[Settings]:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)


def make_plan(words: Sequence[str]) -> Plan[RunSettings[Any]]:
    """Reads the words after `skilltokens run`; with `--help` among them it prints the help and exits.

    Raises:
        SettingError: an unknown recipe, method or option, or an impossible value.
    """
    name = _recipe_of(words)
    options = words[1:] if words and words[0] == name else words
    methods = _methods_of(options) or ("t2s",)
    parsed = [(method, *parse_known(*_parser(name, method, options, methods))) for method in methods]
    _refuse_strangers(parsed)
    runs = [
        PlannedRun(method, seed, dataclasses.replace(options.settings, seed=seed))
        for method, options, _ in parsed
        for seed in options.seeds or (options.settings.seed,)
    ]
    first = parsed[0][1]
    return Plan(name, first.out or Path("runs") / name, first.jobs, tuple(runs))


def _recipe_of(words: Sequence[str]) -> str:
    first, known = words[0] if words else "", list(recipe_names())
    if first.startswith("-") and {"-h", "--help"} & set(words):
        return known[0]
    if not first or first.startswith("-"):
        raise SettingError(f"name a recipe first, such as `skilltokens run {known[0]}`: see `skilltokens list recipes`")
    if first not in known:
        raise SettingError(f"recipe {first!r} is unknown: {nearest(first, [*known, *study_names()])}")
    return first


def _methods_of(words: Sequence[str]) -> tuple[str, ...]:
    """The methods that are named, before the parser for their settings can be made."""
    found: list[str] = []
    taking = False
    for word in words:
        option, given, value = word.partition("=")
        if word.startswith("-"):
            taking = option in METHOD_WORDS
            found += [value] if taking and given else []
        elif taking:
            found.append(word)
    for method in found:
        if method in LEARNERS and method not in method_names():
            raise SettingError(f"{method!r} learns from reward: use it with {' or '.join(study_names())}")
        registration(method)
    return tuple(found)


def _parser(
    name: str, method: str, words: Sequence[str], methods: tuple[str, ...]
) -> tuple[Any, Sequence[str], str, RunOptions[Any]]:
    default = RunOptions(methods=methods, settings=recipe(name, method))
    # tyro reads the type argument at run time: it decides which --method.* options there are.
    kind: Any = RunOptions
    return kind[method_settings(method)], words, PROG, default


def _refuse_strangers(parsed: Sequence[tuple[str, RunOptions[Any], list[list[str]]]]) -> None:
    """Refuses an option that no method has; one that some have is theirs."""
    known = [option for _, options, _ in parsed for option in known_options(options)]
    strangers = [{group[0] for group in unknown} for _, _, unknown in parsed]
    for stranger in sorted(set.intersection(*strangers)):
        raise unknown_option(stranger, [*dict.fromkeys(known)], PROG)
