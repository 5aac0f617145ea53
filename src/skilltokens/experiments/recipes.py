"""The recipes: functions from a learner's name to a complete configuration. The command line overrides single fields.

Other packages add theirs by the entry point group `skilltokens.recipes` (name -> such a function), and anybody's
function is a recipe by its place, module:function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skilltokens.experiments.lifelong_recipes import LEARNER, LIFELONG, TOGETHER, USUAL
from skilltokens.experiments.reward_recipes import REWARD
from skilltokens.plugins import entry_points, object_at
from skilltokens.types import SettingError, SkilltokensError, nearest

if TYPE_CHECKING:
    from skilltokens.experiments.experiment import Experiment

GROUP = "skilltokens.recipes"


@dataclass(frozen=True)
class Recipe:
    """A configuration by name, for any of its experiment's learners."""

    name: str
    summary: str
    kind: str
    """The name of its experiment."""
    learners: tuple[str, ...]
    """Those that are run where none is named."""
    settings: Callable[[str], Any]
    """Learner -> its settings."""

    @property
    def experiment(self) -> Experiment[Any]:
        """The experiment that its runs are of. It imports much, and names alone are known without it."""
        from skilltokens.experiments.experiment import experiment_of

        return experiment_of(self.kind)


def _recipes() -> Iterator[Recipe]:
    for name, settings in LIFELONG.items():
        usual = (LEARNER,) if name in TOGETHER else USUAL
        yield Recipe(name, _summary(settings), "lifelong", usual, settings)
    for name, (settings, learners) in REWARD.items():
        yield Recipe(name, _summary(settings), "reward", learners, settings)


def _summary(settings: Callable[..., Any]) -> str:
    """The first sentence of its docstring."""
    return " ".join((settings.__doc__ or "").split("\n\n")[0].split())


RECIPES = {recipe.name: recipe for recipe in _recipes()}
"""The recipes of this package."""


def recipe_names() -> dict[str, str]:
    """Every recipe with a line about it, those of other packages included."""
    others = {entry.name: f"from {entry.value}" for entry in entry_points(group=GROUP)}
    return {**{name: recipe.summary for name, recipe in RECIPES.items()}, **others}


def recipe_of(name: str) -> Recipe:
    """The recipe of that name, or at the place module:function.

    Raises:
        SettingError: there is none, or that of another package or module cannot be loaded.
    """
    if name in RECIPES:
        return RECIPES[name]
    for entry in entry_points(group=GROUP, name=name):
        return _foreign(name, entry.load)
    if ":" in name:
        return _foreign(name, lambda: object_at(name))
    known = nearest(name, list(recipe_names()))
    raise SettingError(f"recipe {name!r} is unknown: {known} (a recipe of your own is called module:function)")


def recipe(name: str, method: str) -> Any:
    """The configuration of a recipe for a method, or for a learner from reward.

    Raises:
        SettingError: either is unknown.
    """
    return settings_from(recipe_of(name), method)


def settings_from(recipe: Recipe, learner: str) -> Any:
    """A recipe's settings for one learner.

    Raises:
        SettingError: the recipe, which may be anybody's code, raises, or returns something else.
    """
    try:
        settings = recipe.settings(learner)
    except SkilltokensError:
        raise
    except Exception as problem:  # anybody's code may raise anything: its user gets one sentence
        reason = _reason(problem)
        raise SettingError(f"the recipe {recipe.name!r} failed for {learner!r} ({reason}): check its code") from problem
    if type(settings) is not recipe.experiment.settings:
        raise SettingError(_no_recipe(recipe.name, settings))
    return settings


def _foreign(name: str, load: Callable[[], Any]) -> Recipe:
    """A recipe of somebody else's code; what it returns for a usual learner tells its experiment."""
    from skilltokens.experiments.experiment import EXPERIMENTS

    problem: Exception | None = None
    returned: object = None
    try:
        function = load()
        if not callable(function):
            raise SettingError(_no_recipe(name, function))
    except SkilltokensError:
        raise
    except Exception as error:  # anybody's code may raise anything: its user gets one sentence
        raise SettingError(f"there is no recipe at {name!r} ({_reason(error)}): check the name") from error
    for experiment in EXPERIMENTS:
        try:
            returned = function(experiment.usual[0])
        except Exception as error:
            problem = problem or error
            continue
        if type(returned) is experiment.settings:
            return Recipe(name, _summary(function) or f"from {name}", experiment.name, experiment.usual, function)
    if returned is None and problem is not None:
        raise SettingError(f"the recipe {name!r} failed ({_reason(problem)}): check its code") from problem
    raise SettingError(_no_recipe(name, returned))


def _reason(problem: Exception) -> str:
    return str(problem) if isinstance(problem, SkilltokensError) else f"{type(problem).__name__}: {problem}"


def _no_recipe(name: str, value: object) -> str:
    return (
        f"{name!r} is no recipe: a function from a method's name to RunSettings (or to RewardSettings) is needed, "
        f"not {type(value).__name__}"
    )
