"""The run that makes the base of protocol A+ by a recipe: its tasks learned together, once, for all runs.

It lies in bases/RECIPE; the library that it leaves is the base. Free of torch.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.escaping import file_name
from skilltokens.experiments.lifelong_recipes import LEARNER, LIFELONG
from skilltokens.experiments.settings import RunSettings
from skilltokens.plugins import object_at
from skilltokens.skills.head import HEAD
from skilltokens.types import SettingError, SkilltokensError, nearest

BASES = Path("bases")
"""Where bases are kept."""


@dataclass(frozen=True)
class Pretraining:
    """The run that makes a base."""

    recipe: str
    settings: RunSettings[Any]
    folder: Path

    @property
    def library(self) -> Path:
        """What the run leaves."""
        return self.folder / "library"

    @property
    def done(self) -> bool:
        """Whether the library is there."""
        return os.path.exists(self.library / HEAD)


def pretraining_of(settings: RunSettings[Any]) -> Pretraining | None:
    """The run that makes the base of these settings; None where they name a library, or need none.

    Raises:
        SettingError: there is no such recipe, or none that makes a base.
    """
    if settings.protocol != "A+" or not settings.pretrain:
        return None
    folder = BASES / file_name(settings.pretrain.replace(":", "-"))
    ahead = Pretraining(settings.pretrain, settings, folder)
    if settings.base not in ("", str(ahead.library)):
        return None
    recipe = _recipe(settings.pretrain)
    if recipe.protocol == "A+":
        raise SettingError(f"recipe {settings.pretrain!r} makes no base: it needs one itself, for it is of protocol A+")
    # What may differ between machines comes from the run, all else from the recipe: one base is the same for all.
    evaluate = dataclasses.replace(
        recipe.evaluate, workers=settings.evaluate.workers, step_limit=settings.evaluate.step_limit
    )
    demonstrations = dataclasses.replace(recipe.demonstrations, folder=settings.demonstrations.folder)
    return dataclasses.replace(
        ahead, settings=dataclasses.replace(recipe, evaluate=evaluate, demonstrations=demonstrations)
    )


def _recipe(name: str) -> RunSettings[Any]:
    """The settings of a recipe of this package, or at the place module:function, for the method that makes a base."""
    if name not in LIFELONG and ":" not in name:
        raise SettingError(f"there is no recipe {name!r} to make a base by: {nearest(name, list(LIFELONG))}")
    try:
        settings = (LIFELONG[name] if name in LIFELONG else object_at(name))(LEARNER)
    except SkilltokensError:
        raise
    except Exception as problem:  # anybody's code may raise anything: its user gets one sentence
        raise SettingError(
            f"the recipe {name!r} makes no base ({type(problem).__name__}: {problem}): check its name and code"
        ) from problem
    if type(settings) is not RunSettings:
        raise SettingError(f"the recipe {name!r} makes no base: it returns {type(settings).__name__}, not RunSettings")
    return settings
