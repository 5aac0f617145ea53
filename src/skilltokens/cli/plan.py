"""The words after `skilltokens run` -> complete settings for each run, one for each learner, varied value and seed.

"Learner" stands for a method as well: what is compared, whatever the experiment.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.cli.options import known_options, with_new_options
from skilltokens.cli.planned import (
    Plan,
    PlannedRun,
    check_learners,
    check_typed,
    default_options,
    parsed,
    refuse_strangers,
    typed_options,
)
from skilltokens.cli.resuming import RESUME, plan_resumed
from skilltokens.cli.varying import combinations, label_of, own_folder, usual_settings, varied_in, words_for
from skilltokens.experiments.grid import Values, read_toml, seeds_of, settings_in
from skilltokens.experiments.recipes import RECIPES, Recipe, recipe_of, settings_from
from skilltokens.experiments.repeating import names_a_run, recipe_in
from skilltokens.types import SettingError, nearest

METHOD_WORDS = ("--methods", "--method")


@dataclass(frozen=True)
class _Learner:
    """One learner of the command line, with its options as they are before anything varies."""

    recipe: Recipe
    name: str
    default: Any
    usual: Mapping[str, Any]
    words: Sequence[str]
    """The words of the file of settings, then those that are typed, which come after."""
    options: Any
    unknown: list[list[str]]


def make_plan(words: Sequence[str]) -> Plan:
    """Reads the words after `skilltokens run`; with `--help` among them it prints the help and exits.

    Raises:
        SettingError: an unknown recipe, learner or option, or an impossible value.
        RunError: a run to repeat or to resume cannot be read.
    """
    if RESUME in typed_options(words):
        return plan_resumed(words)
    name, rest = _first_word(words)
    repeats = Path(name) if names_a_run(name) else None
    recipe = recipe_in(repeats) if repeats is not None else recipe_of(name)
    learners = _learners(recipe, rest, f"skilltokens run {name}")
    if repeats is not None:
        check_typed(name, settings_from(recipe, learners[0].name), rest)
    options = learners[0].options
    out = options.out or Path("runs") / recipe.name.replace(":", "-")
    varied = varied_in(options.vary, [learner.usual for learner in learners])
    typed = {name.removeprefix("--") for name in typed_options(learners[0].words)}
    for both in sorted(typed & set(varied)):
        raise SettingError(f"{both} is set and varies: leave one of the two out")
    command = shlex.join(["skilltokens", "run", *words])
    runs = [run for learner in learners for run in _runs(learner, out, varied, command)]
    return Plan(
        out,
        options.jobs,
        tuple(runs),
        repeats,
        options.tag,
        options.dry_run,
        cluster=options.place,
        profile=options.profile,
    )


def plan_of_demonstrated(recipe: str, options: Sequence[Sequence[str]], purpose: str, only: str) -> Plan:
    """The plan of a command that learns from demonstrations, as `make_plan` has it.

    Args:
        options: what stood behind the recipe: for each option its name and its values.
        purpose: ends the name of the folder, where no --out says another.
        only: what the command is for, where a recipe learns from reward.

    Raises:
        SettingError: as `make_plan`, or the recipe learns from reward.
    """
    named = any(option[0] == "--out" for option in options)
    out = [] if named else ["--out", f"runs/{recipe.replace(':', '-')}-{purpose}"]
    plan = make_plan([recipe, *(word for option in options for word in option), *out])
    if plan.experiment.name != "lifelong":
        raise SettingError(f"{recipe} learns from reward: {only}")
    return plan


def _first_word(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The recipe, or the run to repeat, and the words behind it."""
    first = words[0] if words else ""
    usual = next(iter(RECIPES))
    if first.startswith("-") and {"-h", "--help"} & set(words):
        return usual, words
    if not first or first.startswith("-"):
        raise SettingError(f"name a recipe first, such as `skilltokens run {usual}`: see `skilltokens list recipes`")
    if first.endswith(".toml"):
        raise SettingError(
            f"{first} is no recipe: a grid is run by `skilltokens grid {first}`, and settings for a recipe are read by "
            f"--config {first}"
        )
    return first, words[1:]


def _learners(recipe: Recipe, words: Sequence[str], prog: str) -> list[_Learner]:
    """Every learner that is named, or the recipe's, with the options that it has."""
    names = _values_of(words, METHOD_WORDS)
    check_learners(names, recipe.experiment)
    names = names or recipe.learners
    defaults = [default_options(recipe, name, names) for name in names]
    known = {option for default in defaults for option in known_options(default)}
    words = with_new_options(words, known)  # once, not again for each learner
    usuals = [usual_settings(default.settings) for default in defaults]
    filed = _filed(words, usuals)
    learners = []
    for name, default, usual in zip(names, defaults, usuals, strict=True):
        own_words = [*_words(filed, usual), *words]
        options, unknown = parsed(recipe, name, default, own_words, prog)
        learners.append(_Learner(recipe, name, default, usual, own_words, options, unknown))
    refuse_strangers([(learner.name, learner.options, learner.unknown) for learner in learners], prog)
    return learners


def _values_of(words: Sequence[str], options: Collection[str]) -> tuple[str, ...]:
    """What is typed for an option, before the parser for all of them can be made."""
    values: list[str] = []
    taking = False
    for word in words:
        option, equals, value = word.partition("=")
        if word.startswith("-"):
            taking = option in options
            values += [value] if taking and equals else []
        elif taking:
            values.append(word)
    return tuple(values)


def _filed(words: Sequence[str], usuals: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    """The settings of the file that --config names."""
    names = _values_of(words, ("--config",))
    if not names:
        return {}
    place, *others = names
    if others:
        raise SettingError(f"--config names {len(names)} files ({', '.join(names)}): name one")
    settings = settings_in(read_toml(Path(place)), place)
    known = dict.fromkeys(name for usual in usuals for name in usual)
    for name in settings:
        if name in ("recipe", "recipes", "method", "methods", "seeds"):
            raise SettingError(f"{place}: {name} is for a grid, which is run by `skilltokens grid {place}`")
        if name not in known:
            raise SettingError(f"{place}: no method has a setting {name!r}: {nearest(name, list(known))}")
    return settings


def _words(values: Mapping[str, Values], usual: Mapping[str, Any]) -> list[str]:
    """The words that give a learner those of the settings that it has."""
    return [word for name, value in values.items() if name in usual for word in words_for(name, value, usual[name])]


def _runs(learner: _Learner, out: Path, varied: Mapping[str, Sequence[Values]], command: str) -> Iterator[PlannedRun]:
    """A learner's runs: each combination of the values that vary, with each seed."""
    experiment, name, seeds = learner.recipe.experiment, learner.name, learner.options.seeds
    for combination in combinations({key: values for key, values in varied.items() if key in learner.usual}):
        settings = learner.options.settings
        if combination:
            folder = own_folder(usual_settings(settings), combination)
            words = [*learner.words, *_words({**combination, **folder}, learner.usual)]
            settings = parsed(learner.recipe, name, learner.default, words, f"skilltokens run {learner.recipe.name}")[0]
            settings = settings.settings
        label = "-".join(filter(None, (name, label_of(combination, list(varied)))))
        for seed in experiment.seeds(name, seeds_of(seeds, "--seeds") if seeds else (settings.seed,)):
            final = experiment.with_learner(settings, name, seed)
            folder_of_run = out / f"{label}-seed{seed}"
            yield PlannedRun(name, seed, final, folder_of_run, learner.recipe, command, dict(combination))
