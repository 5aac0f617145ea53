"""A published run as a recipe: its settings are read out of run.json, and what comes out is compared with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from skilltokens.configuration import differences, flat, plain
from skilltokens.experiments.changes import surroundings
from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import altered, read_record, run_file
from skilltokens.experiments.recipes import Recipe
from skilltokens.language.models import PACKAGED, is_hub_name
from skilltokens.suites.registry import GYM
from skilltokens.types import RunError, SettingError


def names_a_run(word: str) -> bool:
    """Whether a word on the command line is meant as a run and not as a recipe: a run.json, or a folder with one."""
    return word.endswith(".json") or os.path.isfile(Path(word) / "run.json")


def recipe_in(path: Path) -> Recipe:
    """The recipe that repeats a run: one learner, the settings that it was made with.

    Raises:
        RunError: the file is missing or damaged, or of a version whose settings cannot be read.
    """
    record = read_record(path)
    experiment = experiment_in(record)
    try:
        settings = experiment.settings_in(record)
    except SettingError as problem:
        raise altered(run_file(path), str(problem)) from problem
    learner = experiment.learner(settings)

    def repeated(name: str) -> object:
        if name != learner:
            raise SettingError(f"{path} is a run of {learner!r}: it can be repeated by that alone, not by {name!r}")
        return settings

    return Recipe(f"repeat-{learner}", f"repeats {path}", experiment.name, (learner,), repeated)


def to_be_typed(settings: Any) -> dict[str, str]:
    """What a run.json may not decide, since anybody may have written it: option -> the value that it has there.

    A suite or a recipe in a module, or a Gymnasium id with a module, would load code; arguments of an environment could
    name files; a sentence encoder's folder would be read from, and a folder for demonstrations that leads away from
    here would be written to.
    """
    values = {option: str(value) for option, value in flat(plain(settings)).items() if isinstance(value, str)}
    variants = getattr(getattr(settings, "evaluate", None), "variants", ())
    suites = [("suite", values.get("suite", "")), *(("evaluate.variants", name) for name in variants)]
    risky = {option: name for option, name in suites if re.search("[:?]", name.removeprefix(GYM))}
    encoder = values.get("encoder", PACKAGED)
    if encoder != PACKAGED and not is_hub_name(encoder):
        risky["encoder"] = encoder
    if ":" in values.get("pretrain", ""):
        risky["pretrain"] = values["pretrain"]
    for option in ("demonstrations.folder", "motion.folder"):
        folder = Path(values.get(option, "."))
        if folder.is_absolute() or ".." in folder.parts or str(folder).startswith("~"):
            risky[option] = str(folder)
    return risky


def changes(old: Path, new: Path) -> list[str]:
    """Where a repeated run differs from the one that it repeats, a line each; none where every figure is the same.

    Raises:
        RunError: one of them cannot be read, or they are of two kinds.
    """
    before, after = read_record(old), read_record(new)
    experiment = experiment_in(before)
    if experiment is not experiment_in(after):
        raise RunError(f"{old} and {new} are of two kinds of experiment: compare one with its own repetition")
    lines = list(experiment.changes(before, after))
    if not lines:
        return []
    here = differences(surroundings(before), surroundings(after))
    return [*lines, f"made under other conditions: {here}" if here else "made under the same versions"]
