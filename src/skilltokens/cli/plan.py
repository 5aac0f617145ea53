"""The words after `skilltokens run` -> complete settings for each run, one for each learner and seed.

"Learner" stands for a method as well: what is compared, whatever the experiment.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skilltokens.cli.options import known_options, parse_known, unknown_option, with_new_options
from skilltokens.cli.run_options import options_type
from skilltokens.escaping import shell
from skilltokens.experiments.experiment import Experiment, home_of
from skilltokens.experiments.grid import Values
from skilltokens.experiments.recipes import RECIPES, Recipe, recipe_of, settings_from
from skilltokens.experiments.repeating import names_a_run, recipe_in, to_be_typed
from skilltokens.types import SettingError, nearest

METHOD_WORDS = ("--methods", "--method")


@dataclass(frozen=True)
class PlannedRun:
    """One run of the plan."""

    learner: str
    seed: int
    settings: Any
    folder: Path
    recipe: Recipe
    command: str
    """What to type for this run alone, or for all runs of the plan, as its run.json keeps it."""
    varied: Mapping[str, Values] = field(default_factory=dict)
    """The values that this run has of settings that vary in the plan."""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name


@dataclass(frozen=True)
class Plan:
    """The runs of one command line, or of one grid; all are of one kind of experiment."""

    out: Path
    jobs: int
    runs: tuple[PlannedRun, ...]
    repeats: Path | None = None
    """The run that this one repeats."""

    def __post_init__(self) -> None:
        if self.jobs < 0:
            raise SettingError(f"--jobs {self.jobs} is impossible: use 1 or more, or 0 for one run a core")
        names = [run.name for run in self.runs]
        for run in self.runs:
            if names.count(run.name) > 1:
                raise SettingError(f"{run.learner} with seed {run.seed} is named twice: name each once")

    @property
    def experiment(self) -> Experiment[Any]:
        return self.runs[0].recipe.experiment


def make_plan(words: Sequence[str]) -> Plan:
    """Reads the words after `skilltokens run`; with `--help` among them it prints the help and exits.

    Raises:
        SettingError: an unknown recipe, learner or option, or an impossible value.
        RunError: a run to repeat cannot be read.
    """
    name, rest = _first_word(words)
    recipe = recipe_in(Path(name)) if names_a_run(name) else recipe_of(name)
    learners = _learners_of(rest, recipe.experiment) or recipe.learners
    prog = f"skilltokens run {name}"
    kind = options_type(recipe.experiment)
    defaults = {learner: kind(methods=learners, settings=settings_from(recipe, learner)) for learner in learners}
    known = {option for default in defaults.values() for option in known_options(default)}
    rest = with_new_options(rest, known)  # once, not again for each learner
    parsed = [(learner, *_parsed(recipe, learner, defaults[learner], rest, prog)) for learner in learners]
    _refuse_strangers(parsed, prog)
    first = parsed[0][1]
    if names_a_run(name):
        _check_typed(name, settings_from(recipe, learners[0]), rest)
    out, command = first.out or Path("runs") / recipe.name.replace(":", "-"), shlex.join(["skilltokens", "run", *words])
    runs = []
    for learner, options, _ in parsed:
        seeds = options.seeds or (options.settings.seed,)
        for seed in recipe.experiment.seeds(learner, seeds):
            settings = recipe.experiment.with_learner(options.settings, learner, seed)
            runs.append(PlannedRun(learner, seed, settings, out / f"{learner}-seed{seed}", recipe, command))
    return Plan(out, first.jobs, tuple(runs), Path(name) if names_a_run(name) else None)


def options_of(recipe: Recipe, learner: str, words: Sequence[str], prog: str) -> Any:
    """A recipe's options for one learner, with what the words say otherwise.

    Raises:
        SettingError: an impossible value.
    """
    default = options_type(recipe.experiment)(methods=(learner,), settings=settings_from(recipe, learner))
    options, _ = _parsed(recipe, learner, default, words, prog)
    return options


def check_learners(names: Sequence[str], experiment: Experiment[Any]) -> None:
    """Raises SettingError for a name that is none of an experiment's learners."""
    for name in names:
        if name not in experiment.learners():
            raise _unknown_learner(name, experiment)


def _first_word(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The recipe, or the run to repeat, and the words behind it."""
    first = words[0] if words else ""
    usual = next(iter(RECIPES))
    if first.startswith("-") and {"-h", "--help"} & set(words):
        return usual, words
    if not first or first.startswith("-"):
        raise SettingError(f"name a recipe first, such as `skilltokens run {usual}`: see `skilltokens list recipes`")
    return first, words[1:]


def _check_typed(name: str, settings: Any, words: Sequence[str]) -> None:
    """Raises SettingError where a run to be repeated decides what only its user may, and that was not typed."""
    typed = {word.partition("=")[0] for word in words if word.startswith("--")}
    needed = {f"--{option}".replace("_", "-"): value for option, value in to_be_typed(settings).items()}
    missing = {option: value for option, value in needed.items() if option not in typed}
    if missing:
        options = shell(*(word for option, value in missing.items() for word in (option, value)))
        raise SettingError(
            f"{name} names code or folders of this machine, which no file may decide: if you trust it, say so "
            f"yourself: {options:.500}"
        )


def _parsed(recipe: Recipe, learner: str, default: Any, words: Sequence[str], prog: str) -> tuple[Any, list[list[str]]]:
    kind = options_type(recipe.experiment)
    # tyro reads the type argument at run time: it decides which --method.* options there are.
    return parse_known(kind[recipe.experiment.settings_type(learner)], words, prog, default)


def _learners_of(words: Sequence[str], experiment: Experiment[Any]) -> tuple[str, ...]:
    """The learners that are named, before the parser for their settings can be made."""
    names: list[str] = []
    taking = False
    for word in words:
        option, equals, value = word.partition("=")
        if word.startswith("-"):
            taking = option in METHOD_WORDS
            names += [value] if taking and equals else []
        elif taking:
            names.append(word)
    check_learners(names, experiment)
    return tuple(names)


def _unknown_learner(name: str, experiment: Experiment[Any]) -> SettingError:
    home = home_of(name)
    if home is None:
        return SettingError(f"method {name!r} is unknown: {nearest(name, list(experiment.learners()))}")
    recipes = [recipe.name for recipe in RECIPES.values() if recipe.experiment is home]
    how = "from reward" if home.name == "reward" else "from demonstrations"
    return SettingError(f"{name!r} learns {how}: use it with {' or '.join(recipes)}")


def _refuse_strangers(parsed: Sequence[tuple[str, Any, list[list[str]]]], prog: str) -> None:
    """Refuses an option that no learner has; one that some have is theirs."""
    known = [option for _, options, _ in parsed for option in known_options(options)]
    strangers = [{group[0] for group in unknown} for _, _, unknown in parsed]
    for stranger in sorted(set.intersection(*strangers)):
        raise unknown_option(stranger, [*dict.fromkeys(known)], prog)
