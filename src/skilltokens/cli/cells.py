"""A grid -> complete settings for each of its cells, by the same recipes and options as `skilltokens run`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.cli.planned import Plan, PlannedRun, check_learners, options_of
from skilltokens.cli.varying import Combination, combinations, label_of, own_folder, usual_settings, words_for
from skilltokens.configuration import flat, plain
from skilltokens.escaping import shell
from skilltokens.experiments.grid import Grid, Part, Values
from skilltokens.experiments.recipes import Recipe, recipe_of, settings_from
from skilltokens.experiments.settings import RunSettings
from skilltokens.types import SettingError, nearest

INSTEAD = {"seed": "seeds", "learner": "methods"}
"""Settings that a grid says by a key of its own."""


@dataclass(frozen=True)
class _Method:
    """A learner in a recipe, with the settings that it has there."""

    recipe: Recipe
    learner: str
    usual: Mapping[str, Any]


def plan_grid(grid: Grid, jobs: int = 0, only: Sequence[str] = (), tag: str = "", dry: bool = False) -> Plan:
    """The runs of a grid, in the order they are done: each cell with its first seed, then each with its second, ...

    Args:
        jobs: how many run at once.
        only: methods, or names of cells with or without their seed: no others are done.
        tag: a word that each run.json keeps.
        dry: only to be shown.

    Raises:
        SettingError: an unknown recipe, method or setting, an impossible value, or two cells of one folder.
    """
    several = len({name for part in grid.parts for name in part.recipes}) > 1
    methods = {id(part): list(_methods(part)) for part in grid.parts}
    everywhere = [method for part in grid.parts for method in methods[id(part)]]
    _check_one_experiment(grid, everywhere)
    varied = dict.fromkeys(name for part in grid.parts for name in part.vary)
    planned: list[tuple[int, PlannedRun]] = []
    for part in grid.parts:
        _refuse_unknown(part.common, everywhere, grid.place)
        _refuse_unknown({**part.settings, **part.vary}, methods[id(part)], part.place)
        for method in methods[id(part)]:
            planned += _cells(grid, part, method, several, list(varied))
    runs = [run for _, run in sorted(planned, key=lambda entry: entry[0])]  # stable: else in the order written
    runs = _without_excluded(grid, runs)
    _check_folders(grid, runs)
    _check_demonstrations(grid, runs)
    beside = tuple(run.folder for run in runs)
    return Plan(grid.out, jobs, _only(runs, only, grid), tag=tag, dry=dry, beside=beside)


def _methods(part: Part) -> Iterator[_Method]:
    for name in part.recipes:
        try:
            recipe = recipe_of(name)
            check_learners(part.methods, recipe.experiment)
        except SettingError as problem:
            raise SettingError(f"{part.place}: {problem}") from problem
        for learner in part.methods or recipe.learners:
            yield _Method(recipe, learner, usual_settings(settings_from(recipe, learner)))


def _check_one_experiment(grid: Grid, methods: Sequence[_Method]) -> None:
    first = methods[0].recipe
    for method in methods:
        if method.recipe.experiment is not first.experiment:
            raise SettingError(
                f"{grid.place}: {first.name} and {method.recipe.name} are of two kinds of experiment, whose results "
                "stand in no one table: make a grid of each"
            )


def _refuse_unknown(names: Mapping[str, Any], methods: Sequence[_Method], place: str) -> None:
    """Refuses a setting that no method has; one that some have is theirs."""
    known = dict.fromkeys(name for method in methods for name in method.usual if name not in INSTEAD)
    for name in names:
        if name in INSTEAD:
            raise SettingError(f"{place}: {name} is no setting of a grid: write {INSTEAD[name]} = [...]")
        if name not in known:
            raise SettingError(f"{place}: none of its methods has a setting {name!r}: {nearest(name, list(known))}")


def _cells(
    grid: Grid, part: Part, method: _Method, several: bool, varied: Sequence[str]
) -> Iterator[tuple[int, PlannedRun]]:
    """The cells of one method in one part, each with the place of its seed among the seeds."""
    own = {name: values for name, values in part.vary.items() if name in method.usual}
    experiment, recipe = method.recipe.experiment, method.recipe
    for combination in combinations(own):
        settings, words = _settings(part, method, combination)
        words_in_name = [recipe.name.replace(":", "-")] if several else []
        words_in_name += [method.learner, part.label, label_of(combination, varied)]
        label = "-".join(word for word in words_in_name if word)
        for place, seed in enumerate(experiment.seeds(method.learner, part.seeds or (settings.seed,))):
            command = shell("skilltokens", "run", recipe.name, "--method", method.learner, f"--seed={seed}", *words)
            final = experiment.with_learner(settings, method.learner, seed)
            folder = grid.out / f"{label}-seed{seed}"
            yield place, PlannedRun(method.learner, seed, final, folder, recipe, command, dict(combination))


def _settings(part: Part, method: _Method, combination: Combination) -> tuple[Any, list[str]]:
    """The settings of one combination, and the words that say what is not the recipe's."""
    values: dict[str, Values] = {**part.common, **part.settings, **combination}
    values |= own_folder({**method.usual, **part.common, **part.settings}, combination)
    words: list[str] = []
    try:
        for name, value in values.items():
            if name in method.usual:
                words += words_for(name, value, method.usual[name])
        options = options_of(method.recipe, method.learner, words, f"skilltokens run {method.recipe.name}")
    except SettingError as problem:
        raise SettingError(f"{part.place}, {method.learner}: {problem}") from problem
    return options.settings, words


def _without_excluded(grid: Grid, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    left = list(runs)
    for combination in grid.exclude:
        known = ["recipe", "method", "seeds", *dict.fromkeys(n for run in runs for n in usual_settings(run.settings))]
        for name in combination:
            if name not in known:
                raise SettingError(f"{grid.place}, exclude: there is no {name!r}: {nearest(name, known)}")
        excluded = [run for run in left if _matches(run, combination)]
        if not excluded:
            what = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in combination.items())
            raise SettingError(f"{grid.place}, exclude: there is no cell with {what}: check it")
        left = [run for run in left if run not in excluded]
    if not left:
        raise SettingError(f"{grid.place}: every cell is excluded: leave some")
    return left


def _matches(run: PlannedRun, combination: Mapping[str, tuple[Values, ...]]) -> bool:
    settings = {**usual_settings(run.settings), "recipe": run.recipe.name, "method": run.learner, "seeds": run.seed}
    return all(
        any(settings.get(name) == (list(value) if isinstance(value, tuple) else value) for value in values)
        for name, values in combination.items()
    )


def _check_folders(grid: Grid, runs: Sequence[PlannedRun]) -> None:
    """Refuses two cells that would be kept in one folder."""
    known: dict[Path, PlannedRun] = {}
    for run in runs:
        other = known.setdefault(run.folder, run)
        if other is not run:
            alike = flat(plain(other.settings)) == flat(plain(run.settings))
            how = "are the same run: say it once" if alike else 'differ in settings: give their part a label = "..."'
            raise SettingError(f"{grid.place}: two cells would have the folder {run.folder} and {how}")


def _check_demonstrations(grid: Grid, runs: Sequence[PlannedRun]) -> None:
    """Refuses cells that would keep different demonstrations of a task in one folder."""
    known: list[PlannedRun] = []
    for run in runs:
        settings = run.settings
        if not isinstance(settings, RunSettings):
            return
        for other in known:
            if _collide(settings, other.settings):
                raise SettingError(
                    f"{grid.place}: {other.name} and {run.name} would keep different demonstrations in one folder, "
                    f"{settings.demonstrations.folder}: give one of them its own by the setting demonstrations.folder"
                )
        if not any(_home(settings) == _home(other.settings) for other in known):
            known.append(run)


def _home(settings: RunSettings[Any]) -> tuple[Any, ...]:
    return settings.suite, settings.demonstrations, settings.later, settings.tasks


def _collide(one: RunSettings[Any], other: RunSettings[Any]) -> bool:
    if one.suite != other.suite or (one.tasks and other.tasks and not set(one.tasks) & set(other.tasks)):
        return False
    pairs = itertools.product((one.demonstrations, one.later), (other.demonstrations, other.later))
    return any(mine.place == theirs.place and mine != theirs for mine, theirs in pairs)


def _only(runs: Sequence[PlannedRun], only: Sequence[str], grid: Grid) -> tuple[PlannedRun, ...]:
    """The runs that are asked for."""
    names = [{run.learner, run.name, run.name.rpartition("-seed")[0]} for run in runs]
    for word in only:
        if not any(word in known for known in names):
            known = list(dict.fromkeys(run.learner for run in runs))
            raise SettingError(f"--only {word}: {grid.place} has no such method or cell: {nearest(word, known)}")
    return tuple(run for run, known in zip(runs, names, strict=True) if not only or known & set(only))
