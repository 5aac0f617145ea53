"""study(): one way to learn, one seed, several tasks, each on the same frozen library; written to run.json.

The library is one that the user has, or a behaviour model that is made once for all runs: expert motion, distilled
(`behaviour_library`). Then every task is learned by adapt(); on a behaviour model it is measured under other physics as
well, and compared with the experts' motion. Killed at any moment, the same call goes on from the last point of the
learning curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from skilltokens.behaviour.adapt import adapt
from skilltokens.behaviour.agents import Agent, Shaken
from skilltokens.behaviour.closeness import closeness, speeds, visited
from skilltokens.behaviour.environments import of_suite
from skilltokens.behaviour.learners import learner_of
from skilltokens.behaviour.model import distil
from skilltokens.behaviour.motion import motion
from skilltokens.behaviour.token import steered
from skilltokens.behaviour.tracking import tracking
from skilltokens.configuration import check_settings, flat, plain
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments import record
from skilltokens.experiments.settings import RewardSettings
from skilltokens.files import REWARD_SCHEMA, read_json, write_json
from skilltokens.simulation.rollout import evaluate, record_video
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.bodies import body_of, body_suite
from skilltokens.suites.bodies.tasks import tasks_of
from skilltokens.suites.limits import check_episodes
from skilltokens.types import Actor, Array, LibraryError, Progress, Report, RunError, Suite, Task, part_of, silent

LIBRARY = "model"
FREE = ("motion.folder", "motion.ppo.workers", "ppo.workers")
"""Settings that change no number."""


def behaviour_library(settings: RewardSettings, report: Report = silent) -> tuple[SkillLibrary, DemonstrationStore]:
    """The behaviour model of a body, made where it is missing: FOLDER/BODY/model; and the motion it was distilled from.

    Raises:
        RunError: there is one that was made with other settings.
    """
    store = motion(body_of(settings.body), settings.motion, report)
    folder = Path(settings.motion.folder).expanduser() / settings.body / LIBRARY
    recipe = {
        "motion": dict(store.settings),
        "policy": plain(settings.policy),
        "train": plain(settings.train),
        "encoder": settings.encoder,
    }
    if not (folder / "library.json").exists():
        distil(
            folder, store, policy=settings.policy, train=settings.train, encoder=settings.encoder,
            notes={"made_with": recipe}, report=report,
        )  # fmt: skip
    library = SkillLibrary.open(folder)
    if library.notes[0].get("made_with") != recipe:
        raise RunError(
            f"{folder} holds a behaviour model of other settings: move it away, or choose a folder with --motion.folder"
        )
    if "tracking" not in library.notes[0]:
        report(Progress("tracking", 0, 1, settings.body))
        some = range(0, store.episodes, store.episodes // 20 or 1)
        library.notes[0]["tracking"] = tracking(library.base, library.told(0), body_of(settings.body), store, some)
        library.write_card()
    return library, store


@dataclass(frozen=True)
class Ground:
    """What the tasks of a study are learned on."""

    library: SkillLibrary
    store: DemonstrationStore | None
    """The experts' motion, where the policy is a behaviour model."""

    @property
    def fingerprints(self) -> list[str]:
        """Of every skill: equal ones act bit for bit alike."""
        return [self.library.policy(number).fingerprint() for number in range(len(self.library.skills))]


def ground_of(settings: RewardSettings, report: Report = silent) -> Ground:
    """The library that a study steers, made where it is a behaviour model that is missing.

    Raises:
        LibraryError: the library that is named is damaged, not there, or of another robot than the suite.
        RunError: there is a behaviour model that was made with other settings.
    """
    if settings.library:
        if not Path(settings.library).exists():
            raise LibraryError(
                f"there is no library at {settings.library}: name one with --library, or make that of Continual "
                "World's ten tasks by `skilltokens run metaworld-cw10 --method t2s`"
            )
        library, suite = SkillLibrary.open(settings.library), load_suite(settings.suite)
        library.check_features({n: f for n, f in suite.features.items() if n in library.features}, settings.suite)
        return Ground(library, None)
    return Ground(*behaviour_library(settings, report))


def study(
    settings: RewardSettings, folder: Path, report: Report = silent, recipe: str = "", command: str = ""
) -> dict[str, Any]:
    """Runs, or goes on with, one run, and returns what run.json holds at its end.

    Raises:
        RunError: the folder belongs to another configuration, or is damaged.
        SkilltokensError: whatever else its user can mend.
    """
    check_settings(settings)
    suite = _suite(settings)
    tasks = _tasks(settings, suite)
    check_episodes(suite, settings.adapt.split, settings.adapt.episodes, settings.adapt.horizon)
    run = open_study(folder, settings, recipe)
    if run["finished"]:
        return run
    if command:
        run["command"] = command
    ground = ground_of(settings, report)
    _note_ground(run, ground)
    write_json(folder / "run.json", run, RunError)
    for number, task in enumerate(tasks):
        if number >= len(run["results"]):
            run["results"].append(_one(settings, folder, ground, task, part_of(report, number, len(tasks), "train")))
            write_json(folder / "run.json", run, RunError)
    run["model"]["fingerprints_after"] = ground.fingerprints
    run["finished"] = record.now()
    write_json(folder / "run.json", run, RunError)
    return run


def _note_ground(run: dict[str, Any], ground: Ground) -> None:
    """Writes down what is steered; a run that goes on must find the same.

    Raises:
        RunError: it is another.
    """
    library, store = ground.library, ground.store
    found = {
        "parameters": sum(parameter.numel() for parameter in library.base.parameters()),
        "fingerprints": ground.fingerprints,
    }
    if run["model"].get("fingerprints", found["fingerprints"]) != found["fingerprints"]:
        raise RunError(
            f"{library.folder} is not the library that this run began with (its skills are others): restore it, "
            "or choose a new folder with --out"
        )
    if store is not None:
        found["tracking"] = library.notes[0]["tracking"]
        found["motion"] = {"episodes": store.episodes, "steps": store.steps, "digest": store.digest}
    run["model"] = found


def _one(settings: RewardSettings, folder: Path, ground: Ground, task: Task, report: Report) -> dict[str, Any]:
    """Learns one task and measures it."""
    goal = learner_of(settings.learner).commanded
    suite = _suite(settings, prompt=goal)
    library = ground.library
    number = steered(library, settings.on, library.language()([task.instruction])[0])
    agent, found = adapt(
        library.policy(number),
        library.told(number),
        of_suite(suite, task, horizon=settings.adapt.horizon),
        folder / f"{task.name}.safetensors",
        learner=settings.learner,
        settings=settings.adapt,
        ppo=settings.ppo,
        seed=settings.seed,
        report=report,
        board=folder / "tensorboard" / task.name,
    )
    found["on"] = library.skills[number].name
    if ground.store is not None:
        found["closeness"] = closeness(_visited(settings, agent, suite, task), ground.store)
        found["changed"] = _changed(settings, agent, task, goal)
        found["prompted"] = _prompted(settings, agent, task)
        found["shaken"] = [] if agent.learned() else _shaken(settings, agent, task, goal)
    if settings.films:
        found["film"] = f"films/{task.name}.webp"
        horizon = settings.adapt.horizon or None
        record_video(agent.actor(), suite, task, settings.adapt.split, 0, folder / found["film"], horizon=horizon)
    return {"task": task.name, "instruction": task.instruction, **found}


def _suite(settings: RewardSettings, **changes: Any) -> Suite:
    """The suite of the tasks; `changes` are a body's (suites/bodies)."""
    if settings.library:
        return load_suite(settings.suite)
    return body_suite(settings.body, picture=settings.adapt.picture, **changes)


def _changed(settings: RewardSettings, agent: Agent, task: Task, goal: bool) -> list[dict[str, Any]]:
    """Successes under other gravity and friction."""
    wanted = [("gravity", factor) for factor in settings.gravity]
    wanted += [("friction", factor) for factor in settings.friction]
    return [
        {
            "what": name,
            "factor": factor,
            **_counted(settings, agent.actor(), _suite(settings, prompt=goal, **{name: factor}), task),
        }
        for name, factor in wanted
    ]


def _prompted(settings: RewardSettings, agent: Agent, task: Task) -> list[dict[str, Any]]:
    """Successes, and how fast it went, where a goal asks for a speed on the task's way beside what was learned."""
    cells, body = [], body_of(settings.body)
    if tasks_of(body)[task.name].own_speed:
        return []
    for share in settings.prompts:
        suite = _suite(settings, prompt=share)
        speed = speeds(_visited(settings, agent, suite, task), body)
        counts = _counted(settings, agent.actor(), suite, task)
        cells.append({"asked": share * body.speeds[1], "speed": speed, **counts})
    return cells


def _shaken(settings: RewardSettings, agent: Agent, task: Task, goal: bool) -> list[dict[str, Any]]:
    """Successes under noise on the actions."""
    suite, actor = _suite(settings, prompt=goal), agent.actor()
    return [
        {"log_std": log_std, **_counted(settings, Shaken(actor, log_std), suite, task)} for log_std in settings.noise
    ]


def _counted(settings: RewardSettings, actor: Actor, suite: Suite, task: Task) -> dict[str, int]:
    """How often it succeeds in a suite that was changed."""
    adapt = settings.adapt
    outcomes = evaluate(
        actor, suite, task, adapt.split, range(adapt.episodes), group=adapt.group, horizon=adapt.horizon or None
    )
    return {"successes": sum(outcome.success for outcome in outcomes), "episodes": len(outcomes)}


def _visited(settings: RewardSettings, agent: Agent, suite: Suite, task: Task) -> Array:
    """The body's states in ten episodes."""
    adapt = settings.adapt
    return visited(agent.actor(), suite, task, adapt.split, min(10, adapt.episodes), horizon=adapt.horizon or None)


def _tasks(settings: RewardSettings, suite: Suite) -> list[Task]:
    return [task_of(suite, name) for name in settings.tasks] or list(suite.tasks)


def open_study(folder: Path, settings: RewardSettings, recipe: str) -> dict[str, Any]:
    """The run in a folder, or a new one.

    Raises:
        RunError: run.json is damaged, or of another configuration.
    """
    path = Path(folder) / "run.json"
    config = plain(settings)
    if path.exists():
        run = read_json(path, REWARD_SCHEMA, RunError)
        if not isinstance(run.get("results"), list) or "config" not in run:
            raise RunError(f"{path} is altered (it has no results): restore it, or start again in a new folder")
        record.check_same(folder, flat(run["config"]), flat(config), FREE)
        return run
    torch.set_num_threads(settings.ppo.threads)
    return {
        "schema": REWARD_SCHEMA,
        "recipe": recipe,
        "learner": settings.learner,
        "suite": settings.suite if settings.library else settings.body,
        "seed": settings.seed,
        "tasks": [{"name": task.name, "instruction": task.instruction} for task in _tasks(settings, _suite(settings))],
        "model": {},
        "results": [],
        "config": config,
        "machine": record.machine(),
        "versions": record.versions("mujoco", "stable-baselines3"),
        "commit": record.commit(),
        "started": record.now(),
        "finished": None,
    }
