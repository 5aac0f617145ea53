"""What is to be run: a plan, its runs, and the parser that gives each its settings, wherever the plan comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skilltokens.cli.options import known_options, parse_known, unknown_option
from skilltokens.cli.run_options import options_type
from skilltokens.escaping import shell
from skilltokens.experiments.experiment import Experiment, home_of
from skilltokens.experiments.grid import Values
from skilltokens.experiments.recipes import RECIPES, Recipe, settings_from
from skilltokens.experiments.repeating import to_be_typed
from skilltokens.types import SettingError, nearest


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
    tag: str = ""
    """A word that each run.json keeps."""
    dry: bool = False
    """Nothing is run: what would be is shown."""
    beside: tuple[Path, ...] = ()
    """Folders of other runs, which the table and the report show as well where they are there."""
    cluster: str = ""
    """The address of the Ray cluster that the runs are carried to; empty: they are processes here."""
    profile: Path | None = None
    """A folder for a profile of each run, and of what they share; None: none is made."""

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


def default_options(recipe: Recipe, learner: str, learners: Sequence[str] = ()) -> Any:
    """The options of a recipe where nothing is typed, with the settings of one learner."""
    kind = options_type(recipe.experiment)
    return kind(methods=tuple(learners) or (learner,), settings=settings_from(recipe, learner))


def parsed(recipe: Recipe, learner: str, default: Any, words: Sequence[str], prog: str) -> tuple[Any, list[list[str]]]:
    """A recipe's options for one learner with what the words say otherwise, and the options that it does not have.

    Raises:
        SettingError: an impossible value.
    """
    kind = options_type(recipe.experiment)
    # tyro reads the type argument at run time: it decides which --method.* options there are.
    return parse_known(kind[recipe.experiment.settings_type(learner)], words, prog, default)


def options_of(recipe: Recipe, learner: str, words: Sequence[str], prog: str) -> Any:
    """A recipe's options for one learner, with what the words say otherwise.

    Raises:
        SettingError: an impossible value.
    """
    options, _ = parsed(recipe, learner, default_options(recipe, learner), words, prog)
    return options


def check_learners(names: Sequence[str], experiment: Experiment[Any]) -> None:
    """Raises SettingError for a name that is none of an experiment's learners."""
    for name in names:
        if name not in experiment.learners():
            raise _unknown_learner(name, experiment)


def _unknown_learner(name: str, experiment: Experiment[Any]) -> SettingError:
    home = home_of(name)
    if home is None:
        return SettingError(f"method {name!r} is unknown: {nearest(name, list(experiment.learners()))}")
    recipes = [recipe.name for recipe in RECIPES.values() if recipe.experiment is home]
    how = "from reward" if home.name == "reward" else "from demonstrations"
    return SettingError(f"{name!r} learns {how}: use it with {' or '.join(recipes)}")


def refuse_strangers(all_options: Sequence[tuple[str, Any, list[list[str]]]], prog: str) -> None:
    """Refuses an option that no learner has; one that some have is theirs.

    Args:
        all_options: for each learner its name, and what `parsed` gave.
    """
    known = [option for _, options, _ in all_options for option in known_options(options)]
    strangers = [{group[0] for group in unknown} for _, _, unknown in all_options]
    for stranger in sorted(set.intersection(*strangers)):
        raise unknown_option(stranger, [*dict.fromkeys(known)], prog)


def typed_options(words: Sequence[str]) -> set[str]:
    """The options among the words, without their values, by their names with hyphens."""
    return {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}


def check_typed(name: str, settings: Any, words: Sequence[str]) -> None:
    """Raises SettingError where a run to be repeated decides what only its user may, and that was not typed."""
    typed = typed_options(words)
    needed = {f"--{option}".replace("_", "-"): value for option, value in to_be_typed(settings).items()}
    missing = {option: value for option, value in needed.items() if option not in typed}
    if missing:
        options = shell(*(word for option, value in missing.items() for word in (option, value)))
        raise SettingError(
            f"{name} names code or folders of this machine, which no file may decide: if you trust it, say so "
            f"yourself: {options:.500}"
        )
