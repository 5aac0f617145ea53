"""The two kinds of experiment behind one protocol: what `skilltokens run` does does not depend on which one it is.

    lifelong   a method learns task after task from demonstrations, and is evaluated on all of them on the way
    reward     a learner learns each task on the same frozen policy, from a reward

A recipe names its experiment; a third kind is one class and one line of EXPERIMENTS. Nothing here imports torch before
an experiment runs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.configuration import check_settings
from skilltokens.experiments.base import open_base, with_base
from skilltokens.experiments.changes import lifelong_changes, reward_changes
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.costs import Cost, costs_of
from skilltokens.experiments.lessons import suites_own, tasks_of
from skilltokens.experiments.lifelong_recipes import USUAL
from skilltokens.experiments.pretraining import pretraining_of
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.experiments.rereading import lifelong_settings_in, reward_settings_in
from skilltokens.experiments.settings import FREE, FREE_FROM_REWARD, RewardSettings, RunSettings
from skilltokens.experiments.working import check_alone
from skilltokens.methods import method_of, method_settings, methods
from skilltokens.settings import EvaluateSettings
from skilltokens.types import Report, SettingError

Settings = TypeVar("Settings", RunSettings[Any], RewardSettings)


class Experiment(Protocol[Settings]):
    """One kind of experiment. "Learner" stands for a method as well: what is compared."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> type[Settings]: ...

    @property
    def record(self) -> type[Any]:
        """What run.json holds (records.py)."""
        ...

    @property
    def usual(self) -> tuple[str, ...]:
        """Learners that are run where neither the command nor the recipe names any."""
        ...

    def learners(self) -> dict[str, str]:
        """All that can be compared, with a line about each."""
        ...

    def settings_type(self, learner: str) -> Any:
        """The dataclass of a learner's settings, with its argument where it is generic."""
        ...

    def with_learner(self, settings: Settings, learner: str, seed: int) -> Settings:
        """The same settings for one learner and seed."""
        ...

    def learner(self, settings: Settings) -> str:
        """Whose settings these are."""
        ...

    def settings_in(self, record: Any) -> Settings:
        """The settings that a run was made with, out of its record.

        Raises:
            SettingError: a setting, or a method, that this version does not have.
        """
        ...

    def changes(self, before: Any, after: Any) -> Iterator[str]:
        """Where the figures of a repeated run differ from those of the run that it repeats, a line each."""
        ...

    def seeds(self, learner: str, seeds: Sequence[int]) -> Sequence[int]:
        """Those that make different runs."""
        ...

    def finished(self, folder: Path, settings: Settings, recipe: str) -> bool:
        """Whether the run in a folder is done; where it is not, whether it is possible is checked.

        Raises:
            SettingError: the settings are impossible, or something is not installed.
            RunError: the folder holds another run, or a damaged one.
        """
        ...

    def shared(self, settings: Settings) -> Settings:
        """The same settings without what `prepare` does not look at: equal for runs that share what it makes."""
        ...

    def prepare(self, settings: Settings, report: Report) -> None:
        """Makes what runs share: demonstrations and the library to begin from, or the policy to be steered."""
        ...

    def run(self, settings: Settings, folder: Path, report: Report, recipe: str, command: str, tag: str = "") -> object:
        """Runs, or resumes, one run."""
        ...

    def free(self) -> Sequence[str]:
        """Settings that change no number of a run."""
        ...

    def costs(self, settings: Settings) -> list[Cost]:
        """What the lessons of a run cost, to estimate its time; none where its news say how far it is."""
        ...

    def threads(self, settings: Settings) -> int:
        """Threads of a run's torch."""
        ...

    def memory(self, settings: Settings) -> int:
        """Bytes that a run is known to take; 0: unknown."""
        ...

    def fitting(self, settings: Settings, at_once: int, report: Report) -> int:
        """How many of so many runs at a time there is memory for."""
        ...


@dataclass(frozen=True)
class Lifelong:
    """A method learns task after task from demonstrations."""

    name: str = "lifelong"
    settings: type[RunSettings[Any]] = RunSettings
    record: type[LifelongRecord] = LifelongRecord
    usual: tuple[str, ...] = USUAL

    def learners(self) -> dict[str, str]:
        return {name: entry.summary for name, entry in methods().items()}

    def settings_type(self, learner: str) -> Any:
        kind: Any = RunSettings
        return kind[method_settings(learner)]

    def with_learner(self, settings: RunSettings[Any], learner: str, seed: int) -> RunSettings[Any]:
        return dataclasses.replace(settings, seed=seed)

    def learner(self, settings: RunSettings[Any]) -> str:
        return method_of(settings.method)

    def settings_in(self, record: LifelongRecord) -> RunSettings[Any]:
        return lifelong_settings_in(record)

    def changes(self, before: LifelongRecord, after: LifelongRecord) -> Iterator[str]:
        return lifelong_changes(before, after)

    def seeds(self, learner: str, seeds: Sequence[int]) -> Sequence[int]:
        return seeds

    def finished(self, folder: Path, settings: RunSettings[Any], recipe: str) -> bool:
        from skilltokens.suites import load_suite

        settings, suite = with_base(settings), load_suite(settings.suite)
        tasks = tasks_of(settings, suite)
        check_alone(folder)
        if os.path.exists(folder / "run.json"):
            from skilltokens.experiments.opening import open_run  # torch: only where there is a run to compare with

            if open_run(folder, settings, recipe, suite, tasks).finished:
                return True
        check_run(settings, suite)
        open_base(settings, suite)
        ahead = pretraining_of(settings)
        if ahead is not None and not ahead.done:
            check_run(ahead.settings, load_suite(ahead.settings.suite))
        return False

    def shared(self, settings: RunSettings[Any]) -> RunSettings[Any]:
        kept = (
            *("suite", "tasks", "first", "order", "order_seed", "lessons", "exponent", "demonstrations"),
            *("later_demonstrations", "protocol", "base", "pretrain"),
        )
        limit = EvaluateSettings(step_limit=settings.evaluate.step_limit)
        return RunSettings(method=None, evaluate=limit, **{name: getattr(settings, name) for name in kept})

    def prepare(self, settings: RunSettings[Any], report: Report) -> None:
        from skilltokens.experiments.demonstrated import make_stores
        from skilltokens.suites import load_suite

        if pretraining_of(settings) is not None:
            from skilltokens.experiments.lifelong import make_base  # torch: only where there is a base to make

            make_base(settings, report)
        suite = load_suite(settings.suite)
        make_stores(settings, suite, suites_own(suite, tasks_of(settings, suite)), report)

    def run(
        self, settings: RunSettings[Any], folder: Path, report: Report, recipe: str, command: str, tag: str = ""
    ) -> object:
        from skilltokens.experiments.lifelong import learn

        return learn(settings, folder, report, recipe, command, tag)

    def free(self) -> Sequence[str]:
        return FREE

    def costs(self, settings: RunSettings[Any]) -> list[Cost]:
        return costs_of(settings)

    def threads(self, settings: RunSettings[Any]) -> int:
        return settings.train.threads

    def memory(self, settings: RunSettings[Any]) -> int:
        from skilltokens.suites import load_suite

        return getattr(load_suite(settings.suite), "memory", 0)

    def fitting(self, settings: RunSettings[Any], at_once: int, report: Report) -> int:
        from skilltokens.simulation.memory import fitting
        from skilltokens.suites import load_suite

        # Each run has a simulator in its process; workers of its own are counted when they start.
        return fitting(at_once, load_suite(settings.suite), report)


@dataclass(frozen=True)
class FromReward:
    """A learner learns each task on the same frozen policy, from a reward."""

    name: str = "reward"
    settings: type[RewardSettings] = RewardSettings
    record: type[RewardRecord] = RewardRecord
    usual: tuple[str, ...] = ("token", "mlp")

    def learners(self) -> dict[str, str]:
        return {name: learner.summary for name, learner in LEARNERS.items()}

    def settings_type(self, learner: str) -> Any:
        return RewardSettings

    def with_learner(self, settings: RewardSettings, learner: str, seed: int) -> RewardSettings:
        if settings.learner not in (RewardSettings().learner, learner):
            raise SettingError("--learner is what each run is told: name learners with --methods")
        return dataclasses.replace(settings, learner=learner, seed=seed)

    def learner(self, settings: RewardSettings) -> str:
        return settings.learner

    def settings_in(self, record: RewardRecord) -> RewardSettings:
        return reward_settings_in(record)

    def changes(self, before: RewardRecord, after: RewardRecord) -> Iterator[str]:
        return reward_changes(before, after)

    def seeds(self, learner: str, seeds: Sequence[int]) -> Sequence[int]:
        return seeds[:1] if learner_of(learner).untrained else seeds

    def finished(self, folder: Path, settings: RewardSettings, recipe: str) -> bool:
        check_settings(settings)
        check_installed()
        check_alone(folder)
        from skilltokens.experiments.reward import open_reward

        return bool(open_reward(folder, settings, recipe).finished)

    def shared(self, settings: RewardSettings) -> RewardSettings:
        kept = ("body", "library", "suite", "encoder", "motion", "policy", "train")
        return RewardSettings(**{name: getattr(settings, name) for name in kept})

    def prepare(self, settings: RewardSettings, report: Report) -> None:
        from skilltokens.experiments.steered import steered_by

        steered_by(settings, report)

    def run(
        self, settings: RewardSettings, folder: Path, report: Report, recipe: str, command: str, tag: str = ""
    ) -> object:
        from skilltokens.experiments.reward import learn_from_reward

        return learn_from_reward(settings, folder, report, recipe, command, tag)

    def free(self) -> Sequence[str]:
        return FREE_FROM_REWARD

    def costs(self, settings: RewardSettings) -> list[Cost]:
        return []

    def threads(self, settings: RewardSettings) -> int:
        return settings.ppo.threads

    def memory(self, settings: RewardSettings) -> int:
        return 0

    def fitting(self, settings: RewardSettings, at_once: int, report: Report) -> int:
        return at_once


EXPERIMENTS: tuple[Experiment[Any], ...] = (Lifelong(), FromReward())


def experiment_of(name: str) -> Experiment[Any]:
    """The experiment of that name."""
    return next(experiment for experiment in EXPERIMENTS if experiment.name == name)


def experiment_in(record: object) -> Experiment[Any]:
    """The experiment whose record this is."""
    return next(experiment for experiment in EXPERIMENTS if isinstance(record, experiment.record))


def home_of(learner: str) -> Experiment[Any] | None:
    """The experiment that compares a learner of this name; None where there is none."""
    return next((experiment for experiment in EXPERIMENTS if learner in experiment.learners()), None)


def check_installed() -> None:
    """Raises SettingError where what learning from reward needs is not installed."""
    for name in ("stable_baselines3", "mujoco"):
        if find_spec(name) is None:
            raise SettingError(f'learning from reward needs {name}: run `pip install "skilltokens[reward]"`')
