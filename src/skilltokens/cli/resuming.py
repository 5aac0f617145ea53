"""`skilltokens run --resume FOLDER`: runs go on from their own run.json, without the words that began them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from skilltokens.cli.options import known_options, with_new_options
from skilltokens.cli.planned import (
    Plan,
    PlannedRun,
    check_typed,
    default_options,
    parsed,
    refuse_strangers,
    typed_options,
)
from skilltokens.escaping import shell
from skilltokens.experiments.grid import KEPT
from skilltokens.experiments.reading import read_record
from skilltokens.experiments.recipes import settings_from
from skilltokens.experiments.repeating import recipe_in
from skilltokens.types import RunError, SettingError, natural

RESUME = "--resume"
ELSEWHERE = ("--methods", "--method", "--seeds", "--out", "--vary", "--config")
"""Options that say which runs there are, which is said by the folder."""


def plan_resumed(words: Sequence[str]) -> Plan:
    """The runs in a folder that its user names behind --resume, or the run in it, with their own settings.

    Raises:
        SettingError: an option that a resumed run cannot take, or a folder of a grid.
        RunError: there is no run, or it is damaged.
    """
    folder, rest = _folder(words)
    folders = _runs_in(folder)
    prog = f"skilltokens run {RESUME} {folder}"
    for option in ELSEWHERE:
        if option in typed_options(rest):
            raise SettingError(f"{prog} goes on with the runs as they are: leave out {option}")
    runs, looks = [], []
    for place in folders:
        record, recipe = read_record(place), recipe_in(place)
        (learner,) = recipe.learners
        check_typed(str(place), settings_from(recipe, learner), rest)
        default = default_options(recipe, learner)
        options, unknown = parsed(recipe, learner, default, with_new_options(rest, known_options(default)), prog)
        looks.append((learner, options, unknown))
        settings = recipe.experiment.with_learner(options.settings, learner, record.seed)
        command = record.command if isinstance(record.command, str) else shell(*record.command)
        recipe = dataclasses.replace(recipe, name=record.recipe or "")
        runs.append(PlannedRun(learner, record.seed, settings, place, recipe, command))
    refuse_strangers(looks, prog)
    if len({run.recipe.experiment.name for run in runs}) > 1:
        raise RunError(f"{folder} holds runs of two kinds of experiment: resume them one by one")
    first = looks[0][1]
    alone = folders == [folder]
    out = folder.parent if alone else folder
    beside = tuple(path.parent for path in out.glob("*/run.json")) if alone else ()
    return Plan(out, first.jobs, tuple(runs), None, first.tag, first.dry_run, beside, first.place, first.profile)


def _folder(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder behind --resume, and the words behind it."""
    first, equals, value = words[0].partition("=")
    rest = list(words[1:])
    if first == RESUME and not equals and rest and not rest[0].startswith("-"):
        value = rest.pop(0)
    if first != RESUME or not value:
        raise SettingError(f"write `skilltokens run {RESUME} FOLDER`, without a recipe: its run.json says the rest")
    return Path(value), rest


def _runs_in(folder: Path) -> list[Path]:
    """The folder, or those in it, that have a run.json."""
    if os.path.isfile(folder / "run.json"):
        return [folder]
    if os.path.isfile(folder / KEPT):
        raise SettingError(f"{folder} is of a grid: `skilltokens grid {shell(str(folder))}` goes on with it")
    runs = sorted((path.parent for path in folder.glob("*/run.json")), key=lambda path: natural(path.name))
    if not runs:
        raise RunError(f"{folder} holds no run.json: name a run's folder, or a folder of run folders")
    return runs
