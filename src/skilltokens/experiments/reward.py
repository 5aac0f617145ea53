"""learn_from_reward(): one learner, one seed, several tasks, each on the same frozen library; written to run.json.

The library is one that the user has, or a behaviour model that is made once for all runs (steered.py). Then every task
is learned by adapt(); on a behaviour model it is measured under other physics as well, and compared with the experts'
motion. Killed at any moment, the same call resumes from the last point of the learning curve.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from skilltokens.behaviour.adapt import adapt
from skilltokens.behaviour.agents import Agent, Shaken
from skilltokens.behaviour.closeness import closeness, speeds, visited
from skilltokens.behaviour.environments import of_suite
from skilltokens.behaviour.learners import learner_of
from skilltokens.behaviour.token import steered
from skilltokens.configuration import check_settings, flat, plain
from skilltokens.escaping import file_name
from skilltokens.experiments import provenance
from skilltokens.experiments.opening import check_same
from skilltokens.experiments.reading import read_reward, write_record
from skilltokens.experiments.records import (
    Counted,
    Model,
    Motion,
    Returns,
    RewardRecord,
    RewardResult,
    TaskEntry,
    Tracking,
)
from skilltokens.experiments.rereading import reward_settings_in
from skilltokens.experiments.settings import FREE_FROM_REWARD, RewardSettings
from skilltokens.experiments.steered import Steered, steered_by
from skilltokens.experiments.working import working
from skilltokens.files import REWARD_SCHEMA, sweep
from skilltokens.simulation.rollout import evaluate, record_video
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.bodies import body_of, body_suite
from skilltokens.suites.bodies.tasks import tasks_of
from skilltokens.suites.limits import check_episodes
from skilltokens.types import ACTION, Actor, Array, Counts, Report, RunError, Suite, Task, part_of, silent


def learn_from_reward(
    settings: RewardSettings,
    folder: Path,
    report: Report = silent,
    recipe: str = "",
    command: str = "",
    tag: str = "",
) -> RewardRecord:
    """Runs, or resumes, one run, and returns what run.json holds at its end.

    Raises:
        RunError: the folder belongs to another configuration, is damaged, or another process works in it.
        SkilltokensError: whatever else its user can fix.
    """
    check_settings(settings)
    suite = suite_of(settings)
    tasks = _tasks(settings, suite)
    check_episodes(suite, settings.adapt.split, settings.adapt.episodes, settings.adapt.horizon)
    record = open_reward(folder, settings, recipe)
    if record.finished:
        sweep(Path(folder))  # the process that ended it may have been killed in the very last write
        return record
    with working(folder, report):
        record = open_reward(folder, settings, recipe)
        record.tag = tag or record.tag
        return record if record.finished else _learn(settings, folder, record, tasks, report, command)


def _learn(
    settings: RewardSettings,
    folder: Path,
    record: RewardRecord,
    tasks: Sequence[Task],
    report: Report,
    command: str,
) -> RewardRecord:
    """What is left of a run in a folder that nobody else writes in."""
    record.command = command or record.command
    torch.set_num_threads(settings.ppo.threads)
    target = steered_by(settings, report)
    _note_model(record, target)
    write_record(folder, record)
    for number, task in enumerate(tasks):
        if number >= len(record.results):
            news = part_of(report, number, len(tasks), "train")
            record.results.append(_Task(settings, folder, target, task).learn(news))
            write_record(folder, record)
    record.model.fingerprints_after = target.library.fingerprints()
    record.finished = provenance.now()
    write_record(folder, record)
    return record


def open_reward(folder: Path, settings: RewardSettings, recipe: str) -> RewardRecord:
    """The run in a folder, or a new one.

    Raises:
        RunError: run.json is damaged, or of another configuration.
    """
    path = Path(folder) / "run.json"
    if os.path.exists(path):
        record = read_reward(path)
        old = plain(reward_settings_in(record))
        check_same(Path(folder), flat(old), flat(plain(settings)), FREE_FROM_REWARD)
        return record
    return RewardRecord(
        schema=REWARD_SCHEMA,
        recipe=recipe,
        learner=settings.learner,
        suite=settings.suite if settings.library else settings.body,
        seed=settings.seed,
        tasks=[TaskEntry(task.name, task.instruction) for task in _tasks(settings, suite_of(settings))],
        model=Model(),
        results=[],
        config=plain(settings),
        machine=provenance.machine(),
        versions=provenance.versions("mujoco", "stable-baselines3"),
        commit=provenance.commit(),
        started=provenance.now(),
        finished=None,
    )


def _note_model(record: RewardRecord, target: Steered) -> None:
    """Writes down what is steered; a run that is resumed must find the same.

    Raises:
        RunError: it is another.
    """
    library, store = target.library, target.motion
    model = Model(
        parameters=library.parameters,
        fingerprints=library.fingerprints(),
    )
    if record.model.fingerprints not in ([], model.fingerprints):
        raise RunError(
            f"{library.folder} is not the library that this run began with (its skills are others): restore it, "
            "or choose a new folder with --out"
        )
    if store is not None:
        model.tracking = [Tracking(**row) for row in library.notes[0]["tracking"]]
        model.motion = Motion(store.episodes, store.steps, store.digest)
    record.model = model


def suite_of(settings: RewardSettings, **changes: Any) -> Suite:
    """The suite of a run's tasks; `changes` are a body's (suites/bodies)."""
    if settings.library:
        return load_suite(settings.suite)
    return body_suite(settings.body, picture=settings.adapt.picture, **changes)


def _tasks(settings: RewardSettings, suite: Suite) -> list[Task]:
    return [task_of(suite, name) for name in settings.tasks] or list(suite.tasks)


@dataclass(frozen=True)
class _Task:
    """One task of a run: learned, then measured."""

    settings: RewardSettings
    folder: Path
    target: Steered
    task: Task

    def learn(self, report: Report) -> RewardResult:
        settings, task, library = self.settings, self.task, self.target.library
        number = steered(library, settings.on, library.language(report)([task.instruction])[0])
        suite = self._suite()
        agent, curve = adapt(
            library.policy(number),
            library.instruction_vector(number),
            of_suite(suite, task, horizon=settings.adapt.horizon),
            self.folder / f"{task.name}.safetensors",
            learner=settings.learner,
            settings=settings.adapt,
            ppo=settings.ppo,
            seed=settings.seed,
            report=report,
            board=self.folder / "tensorboard" / task.name,
        )
        content: dict[str, Any] = asdict(curve) | {"reward": Returns(**curve.reward)}
        result = RewardResult(task=task.name, instruction=task.instruction, on=library.skills[number].name, **content)
        if self.target.motion is not None:
            result.closeness = closeness(self._visited(agent, suite), self.target.motion)
            result.changed = self._changed(agent)
            result.commanded = self._commanded(agent)
            result.noisy = [] if agent.learned() else self._noisy(agent)
        if settings.videos:
            result.video = f"videos/{file_name(task.name)}.webp"
            horizon = settings.adapt.horizon or None
            record_video(
                agent.actor(),
                suite,
                task,
                settings.adapt.split,
                0,
                self.folder / result.video,
                horizon=horizon,
                limit=settings.adapt.step_limit,
                report=report,
            )
        return result

    def _suite(self, **changes: Any) -> Suite:
        """The suite as the learner sees it: with the task's own command where it is given one."""
        return suite_of(self.settings, command=learner_of(self.settings.learner).commanded, **changes)

    def _changed(self, agent: Agent) -> list[Counted]:
        """Successes under other gravity and friction."""
        changes = [("gravity", factor) for factor in self.settings.gravity]
        changes += [("friction", factor) for factor in self.settings.friction]
        return [
            self._counted(agent.actor(), self._suite(**{what: factor}), what=what, factor=factor)
            for what, factor in changes
        ]

    def _commanded(self, agent: Agent) -> list[Counted]:
        """Successes, and how fast it went, where a command asks for a speed beside what was learned."""
        cells, body = [], body_of(self.settings.body)
        if tasks_of(body)[self.task.name].own_speed:
            return []
        for share in self.settings.commands:
            suite = suite_of(self.settings, command=share)
            speed = speeds(self._visited(agent, suite), body)
            cells.append(self._counted(agent.actor(), suite, asked=share * body.speeds[1], speed=speed))
        return cells

    def _noisy(self, agent: Agent) -> list[Counted]:
        """Successes under noise on the actions."""
        suite, actor = self._suite(), agent.actor()
        return [
            self._counted(Shaken(actor, noise, suite.scales.get(ACTION)), suite, log_std=noise)
            for noise in self.settings.noise
        ]

    def _counted(self, actor: Actor, suite: Suite, **under: Any) -> Counted:
        """How often it succeeds in a suite that was changed; `under` says how."""
        adapt = self.settings.adapt
        outcomes = evaluate(
            actor,
            suite,
            self.task,
            adapt.split,
            range(adapt.episodes),
            group=adapt.group,
            horizon=adapt.horizon or None,
        )
        counts = Counts.of(outcomes)
        return Counted(successes=counts.successes, episodes=counts.episodes, **under)

    def _visited(self, agent: Agent, suite: Suite) -> Array:
        """The body's states in ten episodes."""
        adapt = self.settings.adapt
        episodes = min(10, adapt.episodes)
        return visited(agent.actor(), suite, self.task, adapt.split, episodes, horizon=adapt.horizon or None)
