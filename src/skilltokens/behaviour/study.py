"""study(): one way to learn, one seed, all tasks of a body, each from the same frozen model; written to run.json.

The model is made once for all runs: expert motion, distilled (`behaviour_library`). Then every task is learned by
adapt(), measured under other physics as well, and compared with the experts' motion. Killed at any moment, the same
call goes on from the last point of the learning curve.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from skilltokens import record
from skilltokens.behaviour.adapt import adapt
from skilltokens.behaviour.agents import Agent
from skilltokens.behaviour.closeness import closeness, speeds, visited
from skilltokens.behaviour.learners import LEARNERS
from skilltokens.behaviour.model import distil
from skilltokens.behaviour.motion import motion
from skilltokens.behaviour.tracking import tracking
from skilltokens.demos import DemonstrationStore
from skilltokens.files import read_json, write_json
from skilltokens.rollout import evaluate, film
from skilltokens.settings import StudySettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import task_of
from skilltokens.suites.bodies import body_of, body_suite
from skilltokens.suites.reward import of_suite
from skilltokens.types import Progress, Report, RunError, Task, silent

SCHEMA = "skilltokens.reward/1"
LIBRARY = "model"
FREE = ("motion.folder", "ppo.workers")
"""Settings that change no number."""


def behaviour_library(settings: StudySettings, report: Report = silent) -> tuple[SkillLibrary, DemonstrationStore]:
    """The behaviour model of a body, made where it is missing: FOLDER/BODY/model; and the motion it was distilled from.

    Raises:
        RunError: there is one that was made with other settings.
    """
    store = motion(body_of(settings.body), settings.motion, report)
    folder = Path(settings.motion.folder).expanduser() / settings.body / LIBRARY
    recipe = json.loads(
        json.dumps(
            {
                "motion": store.digest,
                "policy": dataclasses.asdict(settings.policy),
                "train": dataclasses.asdict(settings.train),
                "encoder": settings.encoder,
            }
        )
    )
    if not (folder / "library.json").exists():
        made = distil(
            folder, store, policy=settings.policy, train=settings.train, encoder=settings.encoder, report=report
        )
        _note(made, recipe, store, settings, report)
    library = SkillLibrary.open(folder)
    if library.notes[0].get("made_with") != recipe:
        raise RunError(
            f"{folder} holds a behaviour model of other settings: move it away, or choose a folder with --motion.folder"
        )
    return library, store


def _note(
    library: SkillLibrary, recipe: dict[str, Any], store: DemonstrationStore, settings: StudySettings, report: Report
) -> None:
    """Writes down how the model was made and how well it follows goals."""
    report(Progress("tracking", 0, 1, settings.body))
    rows = tracking(
        library.base,
        library.told(0),
        body_of(settings.body),
        store,
        range(0, store.episodes, store.episodes // 20 or 1),
    )
    library.notes[0] |= {"made_with": recipe, "tracking": rows}
    library.write_card()


def study(
    settings: StudySettings, folder: Path, report: Report = silent, recipe: str = "", command: str = ""
) -> dict[str, Any]:
    """Runs, or goes on with, one run, and returns what run.json holds at its end.

    Raises:
        RunError: the folder belongs to another configuration, or is damaged.
        SkilltokensError: whatever else its user can mend.
    """
    tasks = _tasks(settings)
    run = open_study(folder, settings, recipe)
    if run["finished"]:
        return run
    if command:
        run["command"] = command
    library, store = behaviour_library(settings, report)
    run["model"] = {
        "parameters": sum(parameter.numel() for parameter in library.base.parameters()),
        "fingerprint": library.base.fingerprint(),
        "tracking": library.notes[0]["tracking"],
        "motion": {"episodes": store.episodes, "steps": store.steps, "digest": store.digest},
    }
    for number, task in enumerate(tasks):
        if number >= len(run["results"]):
            run["results"].append(_one(settings, folder, library, store, task, _overall(report, number, len(tasks))))
            write_json(folder / "run.json", run, RunError)
    run["model"]["fingerprint_after"] = library.base.fingerprint()
    run["finished"] = record.now()
    write_json(folder / "run.json", run, RunError)
    return run


def _one(
    settings: StudySettings,
    folder: Path,
    library: SkillLibrary,
    store: DemonstrationStore,
    task: Task,
    report: Report,
) -> dict[str, Any]:
    """Learns one task and measures it."""
    goal = LEARNERS[settings.learner].goal
    suite = body_suite(settings.body, prompt=goal, picture=settings.adapt.picture)
    agent, found = adapt(
        library.base,
        library.told(0),
        of_suite(suite, task),
        folder / f"{task.name}.safetensors",
        learner=settings.learner,
        settings=settings.adapt,
        ppo=settings.ppo,
        seed=settings.seed,
        report=report,
        board=folder / "tensorboard" / task.name,
    )
    found["closeness"] = closeness(visited(agent.actor(), suite, task, 10), store)
    found["changed"] = _changed(settings, agent, task, goal)
    found["prompted"] = _prompted(settings, agent, task)
    if settings.films:
        found["film"] = f"films/{task.name}.webp"
        film(agent.actor(), suite, task, settings.adapt.split, 0, folder / found["film"])
    return {"task": task.name, "instruction": task.instruction, **found}


def _changed(settings: StudySettings, agent: Agent, task: Task, goal: bool) -> list[dict[str, Any]]:
    """Successes under other gravity and friction."""
    cells = []
    wanted = [("gravity", factor) for factor in settings.gravity]
    wanted += [("friction", factor) for factor in settings.friction]
    for name, factor in wanted:
        suite = body_suite(settings.body, prompt=goal, picture=settings.adapt.picture, **{name: factor})
        outcomes = evaluate(agent.actor(), suite, task, settings.adapt.split, range(settings.adapt.episodes))
        good = sum(outcome.success for outcome in outcomes)
        cells.append({"what": name, "factor": factor, "successes": good, "episodes": len(outcomes)})
    return cells


def _prompted(settings: StudySettings, agent: Agent, task: Task) -> list[dict[str, Any]]:
    """Successes, and how fast it went, where a goal asks for a speed on the task's way beside what was learned."""
    cells = []
    for share in settings.prompts:
        suite = body_suite(settings.body, prompt=share, picture=settings.adapt.picture)
        indices = range(settings.adapt.episodes)
        outcomes = evaluate(agent.actor(), suite, task, settings.adapt.split, indices)
        speed = speeds(visited(agent.actor(), suite, task, min(10, settings.adapt.episodes)), body_of(settings.body))
        good = sum(outcome.success for outcome in outcomes)
        asked = share * body_of(settings.body).speeds[1]
        cells.append({"asked": asked, "speed": speed, "successes": good, "episodes": len(outcomes)})
    return cells


def _tasks(settings: StudySettings) -> list[Task]:
    suite = body_suite(settings.body)
    return [task_of(suite, name) for name in settings.tasks] or list(suite.tasks)


def open_study(folder: Path, settings: StudySettings, recipe: str) -> dict[str, Any]:
    """The run in a folder, or a new one.

    Raises:
        RunError: run.json is damaged, or of another configuration.
    """
    path = Path(folder) / "run.json"
    config = json.loads(json.dumps(dataclasses.asdict(settings)))
    if path.exists():
        run = read_json(path, SCHEMA, RunError)
        if not isinstance(run.get("results"), list) or "config" not in run:
            raise RunError(f"{path} is altered (it has no results): restore it, or start again in a new folder")
        other = [name for name in _flat(config) if _flat(run["config"]).get(name) != _flat(config)[name]]
        if other:
            raise RunError(
                f"{folder} holds a run of another configuration ({', '.join(other[:3])}): give these settings to go on "
                "with it, or choose a new folder with --out"
            )
        return run
    torch.set_num_threads(settings.ppo.threads)
    return {
        "schema": SCHEMA,
        "recipe": recipe,
        "learner": settings.learner,
        "suite": settings.body,
        "seed": settings.seed,
        "tasks": [{"name": task.name, "instruction": task.instruction} for task in _tasks(settings)],
        "model": {},
        "results": [],
        "config": config,
        "machine": record.machine(),
        "versions": record.versions("mujoco", "stable-baselines3"),
        "commit": record.commit(),
        "started": record.now(),
        "finished": None,
    }


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return {name: value for name, value in flat.items() if name not in FREE}


def _overall(report: Report, number: int, tasks: int) -> Report:
    """News of one task as news of all."""

    def tell(news: Progress) -> None:
        share = news.done / max(news.total, 1) if news.stage == "train" else 0.0
        report(dataclasses.replace(news, figures={**news.figures, "overall": (number + share) / tasks}))

    return tell
