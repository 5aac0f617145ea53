"""The recipes: functions from a learner's name to a complete configuration. The command line overrides single fields.

Other packages add theirs by the entry point group `skilltokens.recipes` (name -> such a function), and anybody's
function is a recipe by its place, module:function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.behaviour.settings import AdaptSettings, MotionSettings, PpoSettings
from skilltokens.experiments.experiment import EXPERIMENTS, Experiment, experiment_of
from skilltokens.experiments.settings import RewardSettings, RunSettings
from skilltokens.methods import method_settings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.plugins import object_at
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.suites import sequence
from skilltokens.types import SettingError, SkilltokensError, nearest

GROUP = "skilltokens.recipes"


def demo(method: str) -> RunSettings[Any]:
    """Four Meta-World skills in a few minutes: what forgetting looks like, and what it looks like without."""
    return _metaworld(
        method,
        ("hammer", "push-wall", "faucet-close", "window-close"),
        TrainSettings(iterations=400, first_iterations=600),
        EvaluateSettings(points=3, videos=True),
    )


def metaworld_cw10(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, one after another from scratch (protocol A), state observations."""
    return _metaworld(method, sequence("metaworld-cw10")[1], TrainSettings(), EvaluateSettings())


def metaworld_cw20(method: str) -> RunSettings[Any]:
    """Continual World's ten tasks, twice over: does a second pass cost anything?"""
    return _metaworld(method, sequence("metaworld-cw20")[1], TrainSettings(), EvaluateSettings())


def libero_spatial(method: str) -> RunSettings[Any]:
    """LIBERO-Spatial's ten tasks (protocol A), state observations: one bowl and plate in ten arrangements."""
    return _libero(method, "libero-spatial")


def libero_object(method: str) -> RunSettings[Any]:
    """LIBERO-Object's ten tasks (protocol A), state observations: ten things into a basket."""
    return _libero(method, "libero-object")


def libero_goal(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's ten tasks (protocol A), state observations: ten goals on one scene."""
    return _libero(method, "libero-goal")


def libero_10(method: str) -> RunSettings[Any]:
    """LIBERO-10's long tasks (protocol A), state observations; those that a scripted expert can do."""
    return _libero(method, "libero-10", 520)


def libero_goal_images(method: str) -> RunSettings[Any]:
    """LIBERO-Goal's ten tasks (protocol A) from two cameras: hours on a CPU, or some of the --tasks in half an hour."""
    return RunSettings(
        method=method_settings(method)(),
        suite="libero-goal-images",
        policy=PolicySettings(history=4),
        # Full training costs as much as there are pictures in a batch.
        train=TrainSettings(iterations=600, first_iterations=600, batch=8, window=8),
        evaluate=EvaluateSettings(horizon=300, points=3, variants=("libero-goal-lan-images",)),
        demonstrations=DemonstrationSettings(),
    )


def _libero(method: str, suite: str, horizon: int = 300) -> RunSettings[Any]:
    """Episodes end after 300 steps (long tasks: 520), where LIBERO's own evaluation waits for 600."""
    chosen = method_settings(method)()
    if isinstance(chosen, T2SSettings):  # by success on validation states of LIBERO-Goal
        chosen = replace(chosen, own_rate=5e-3)
    return RunSettings(
        method=chosen,
        suite=suite,
        policy=PolicySettings(),
        # Noise on what is seen makes a policy steer by offsets, which stand out of it, and not by where things usually
        # are.
        train=TrainSettings(iterations=1500, first_iterations=1500, observation_noise=0.2),
        evaluate=EvaluateSettings(horizon=horizon, variants=(f"{suite}-lan",)),
        demonstrations=DemonstrationSettings(),
    )


def _metaworld(
    method: str, tasks: tuple[str, ...], train: TrainSettings, evaluate: EvaluateSettings
) -> RunSettings[Any]:
    return RunSettings(
        method=method_settings(method)(),
        suite="metaworld",
        tasks=tasks,
        policy=PolicySettings(),
        train=train,
        evaluate=evaluate,
        demonstrations=DemonstrationSettings(),
    )


def task_tokens(learner: str) -> RewardSettings:
    """Every task of HalfCheetah from reward, by a task token and its rivals: hours; --tasks, --seeds.

    Every task of a body by every way to learn; five times the steps for those that begin from nothing.

    All curves have a point every 10,000 steps, so that none is rounded up further than another.
    """
    steps, points = (600_000, 60) if learner_of(learner).scratch else (120_000, 12)
    adapt = AdaptSettings(steps=steps, points=points)
    settings = RewardSettings(learner=learner, adapt=adapt, ppo=_ppo(learner))
    # A policy that is left as it is still knows what a speed is when it is asked for one.
    return settings if learner_of(learner).policy == "frozen" else replace(settings, commands=())


def task_tokens_walker2d(learner: str) -> RewardSettings:
    """The same with Walker2d, which can fall.

    The same for a body that can fall, and soon does when it tries more; its experts take longer, look further ahead
    and try more.
    """
    settings = _falling(learner, "walker2d")
    ppo = settings.ppo if learner_of(learner).scratch else replace(settings.ppo, log_std=-1.7)
    expert = replace(settings.motion.ppo, rollout=128, batch=256, gamma=0.99, gae=0.95, log_std=-0.7)
    return replace(settings, ppo=ppo, motion=replace(settings.motion, steps=4_000_000, part=400_000, ppo=expert))


def task_tokens_ant(learner: str) -> RewardSettings:
    """The same with Ant, which turns; steering besides.

    The same for a body that turns, with twice the steps and as many points; its expert learns as PPO from scratch
    does, and its model of more motion, for longer.
    """
    settings = _falling(learner, "ant")
    return replace(
        settings,
        motion=replace(settings.motion, steps=3_200_000, part=200_000, motion_steps=320_000, ppo=_ppo("mlp")),
        train=replace(settings.train, first_iterations=8000),
        adapt=replace(settings.adapt, steps=2 * settings.adapt.steps),
    )


def _falling(learner: str, body: str) -> RewardSettings:
    """What is learned on the model of a body that can fall sees more of an episode before it changes."""
    settings = replace(task_tokens(learner), body=body)
    if learner_of(learner).scratch:
        return settings
    return replace(settings, ppo=replace(settings.ppo, rollout=128, stagger=False))


def task_tokens_halfcheetah(learner: str) -> RewardSettings:
    """One task from reward by a task token and by PPO from scratch, in ten minutes.

    The short form: one task by a task token and by PPO from scratch, in ten minutes with all that they need.
    """
    steps, points = (250_000, 25) if learner_of(learner).scratch else (80_000, 8)
    return RewardSettings(
        learner=learner,
        tasks=("reach",),
        motion=MotionSettings(
            steps=300_000, part=100_000, motion_steps=60_000, kinds=("runner",), folder="demos/short"
        ),
        train=TrainSettings(first_iterations=1000, batch=256, window=1),
        adapt=AdaptSettings(steps=steps, points=points, episodes=20),
        ppo=_ppo(learner),
        gravity=(),
        friction=(),
        noise=(),
        commands=(),
    )


def task_tokens_metaworld(learner: str) -> RewardSettings:
    """Tasks that a T2S library (metaworld-cw10) has never seen, from success alone, and PPO from scratch.

    Tasks that a T2S library of Continual World's ten skills has never seen, from success alone.
    """
    scratch = learner_of(learner).scratch
    steps, points = (400_000, 40) if scratch else (80_000, 8)
    return RewardSettings(
        learner=learner,
        library="runs/metaworld-cw10/t2s-seed0/library",
        suite="metaworld",
        tasks=("button-press", "coffee-button"),
        adapt=AdaptSettings(steps=steps, points=points, horizon=200, window=4),
        # where the skill never succeeds by itself, a loud first token is what finds the first successes
        ppo=_ppo(learner)
        if learner_of(learner).scratch
        else PpoSettings(rollout=64, epochs=5, normalize=False, presence=0.0),
    )


def _ppo(learner: str) -> PpoSettings:
    """What each way to learn does best with on bodies, by success on validation states.

    What begins from a frozen model that is told where to go tries less around it; without a command it has to find the
    way, and finds none with so little noise. Staggered first episodes make it learn reach sooner, and not lose it
    again; PPO from scratch does as well without.
    """
    if learner_of(learner).scratch:
        return PpoSettings(rollout=64, rate=3e-4, policy_rate=3e-4, gae=0.92, gradient=0.8)
    settings = PpoSettings(rollout=64, stagger=True, log_std=-1.7 if learner_of(learner).commanded else -1.2)
    rate = learner_of(learner).policy_rate
    return settings if rate is None else replace(settings, policy_rate=rate)


@dataclass(frozen=True)
class Recipe:
    """A configuration by name, for any of its experiment's learners."""

    name: str
    summary: str
    experiment: Experiment[Any]
    learners: tuple[str, ...]
    """Those that are run where none is named."""
    settings: Callable[[str], Any]
    """Learner -> its settings."""


_LIFELONG: dict[str, Callable[[str], RunSettings[Any]]] = {
    "demo": demo,
    "metaworld-cw10": metaworld_cw10,
    "metaworld-cw20": metaworld_cw20,
    "libero-spatial": libero_spatial,
    "libero-object": libero_object,
    "libero-goal": libero_goal,
    "libero-10": libero_10,
    "libero-goal-images": libero_goal_images,
}
_REWARD: dict[str, tuple[Callable[[str], RewardSettings], tuple[str, ...]]] = {
    "task-tokens": (task_tokens, tuple(LEARNERS)),
    "task-tokens-walker2d": (task_tokens_walker2d, tuple(LEARNERS)),
    "task-tokens-ant": (task_tokens_ant, tuple(LEARNERS)),
    "task-tokens-halfcheetah": (task_tokens_halfcheetah, ("token", "mlp")),
    "task-tokens-metaworld": (task_tokens_metaworld, ("token", "goal", "mlp")),
}


def _recipes() -> Iterator[Recipe]:
    lifelong, reward = (experiment_of(name) for name in ("lifelong", "reward"))
    for name, settings in _LIFELONG.items():
        yield Recipe(name, _summary(settings), lifelong, lifelong.usual, settings)
    for name, (settings, learners) in _REWARD.items():
        yield Recipe(name, _summary(settings), reward, learners, settings)


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
            return Recipe(name, _summary(function) or f"from {name}", experiment, experiment.usual, function)
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
