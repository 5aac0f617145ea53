"""learn(): the only lifelong loop. For each lesson: learn it, evaluate it on the way and all seen tasks at the end.

A run folder holds run.json (the result, written after every lesson), state-<n>.safetensors (what the method needs
to go on after n lessons) and progress.safetensors (the lesson at work: its training at the last stop, and its cells).
run.json is the commit: whatever moment the process dies at, the same command goes on from what it says and ends with
the same numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skilltokens.demos.store import DemonstrationStore
from skilltokens.experiments import checkpoint, record
from skilltokens.experiments.checkpoint import Work
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.settings import RunSettings
from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.methods import load_method, method_of
from skilltokens.methods.base import Choice, Lesson, Method, SkillMethod, generator
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.memory import STAGE
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate, record_video
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite, task_of
from skilltokens.train import fit
from skilltokens.types import Array, Progress, Report, RunError, SettingError, Suite, SuiteError, Task, silent


def learn(
    settings: RunSettings[Any], folder: Path, report: Report = silent, recipe: str = "", command: str = ""
) -> dict[str, Any]:
    """Runs, or goes on with, one run, and returns what run.json holds at its end.

    Args:
        settings: the whole configuration.
        folder: the run folder; made if missing.
        report: told of progress.
        recipe, command: what to write into run.json of where the run comes from.

    Raises:
        RunError: the folder belongs to another configuration, or is damaged.
        SettingError: a setting is impossible; nothing has been written then.
        SkilltokensError: whatever else its user can mend.
    """
    suite = load_suite(settings.suite)
    names = settings.tasks or tuple(task.name for task in suite.tasks)
    tasks = [task_of(suite, name) for name in names]
    run = record.open_run(folder, settings, recipe, tasks)
    if run["finished"]:
        return run
    check_run(settings, suite)
    torch.set_num_threads(settings.train.threads)
    if command:
        run["command"] = command
    stores = demonstrations(suite, tasks, settings.demonstrations, report)
    for store in stores:
        store.verify()  # altered numbers would be learned without a word
    record.note_demonstrations(run, stores)
    with Pool(suite, settings.evaluate.workers, report) as pool:
        return _Run(settings, folder, run, suite, tasks, stores, pool, report).finish()


class _Run:
    """One run at work."""

    def __init__(
        self,
        settings: RunSettings[Any],
        folder: Path,
        run: dict[str, Any],
        suite: Suite,
        tasks: Sequence[Task],
        stores: Sequence[DemonstrationStore],
        pool: Pool,
        report: Report,
    ) -> None:
        self.settings, self.folder, self.run, self.suite, self.pool = settings, folder, run, suite, pool
        self.tasks, self.report = tasks, report
        encoder = load_encoder(settings.encoder)
        run["encoder"] = encoder.name
        self.encoder = encoder
        self.stores = stores
        self.goals = encoder([task.instruction for task in tasks])
        self.method = self._method(stores, encoder)
        self.lessons = lessons_of(tasks, stores, encoder, self.method.joint)
        self.method.check(len(self.lessons))

    def _method(self, stores: Sequence[DemonstrationStore], encoder: LanguageEncoder) -> Method:
        kind = load_method(method_of(self.settings.method))
        if self.settings.policy.maps not in kind.maps:
            raise SettingError(
                f"method {method_of(self.settings.method)} grows policies of {' or '.join(kind.maps)} maps, "
                f"not {self.settings.policy.maps}: set policy.maps"
            )
        shape = Shape.of(stores[0].features, self.suite.scales, encoder.dim)
        base = Policy(shape, self.settings.policy, generator(self.settings.seed, 0)).to(self.settings.train.device)
        return kind(base, self.settings.method, self.settings.train, self.settings.seed)

    def finish(self) -> dict[str, Any]:
        """All lessons that are left, then what is done once."""
        done = len(self.run["parameters"]["trained"])
        if done:
            self._restore(done)
        self._claim()
        for lesson in self.lessons[done:]:
            self._lesson(lesson)
        checkpoint.forget(self.folder, len(self.lessons))  # if the run died between the last commit and this
        self.run["selection"] = self._selection()
        self._variants()
        self._library()
        if self.settings.evaluate.films:
            self.run["films"] = self._films()
        self.run["finished"] = record.now()
        record.write(self.folder, self.run)
        return self.run

    def _claim(self) -> None:
        """From here on the folder belongs to this configuration, at work under this code."""
        if not (self.folder / "run.json").exists():
            checkpoint.clear(self.folder)  # of a run whose run.json was taken away
            record.write(self.folder, self.run)
            return
        changed = record.note_resumed(self.run, self.suite)
        if changed:
            said = f"goes on under other code than it began with, as its run.json says: {changed}"
            self.report(Progress(STAGE, 0, 1, said))  # this stage is shown once, and never left out
            record.write(self.folder, self.run)

    def _restore(self, done: int) -> None:
        """The method as it was after so many lessons."""
        state = checkpoint.load_state(self.folder, done)
        try:
            self.method.restore(state, self.lessons[:done])
        except (KeyError, ValueError, RuntimeError, IndexError) as problem:
            raise RunError(
                f"{self.folder}/state-{done}.safetensors is not of this run ({str(problem).splitlines()[0]}): restore "
                "it, or start the run again in a new folder"
            ) from problem

    # ---------------------------------------------------------------- one lesson

    def _lesson(self, lesson: Lesson) -> None:
        """Trains one lesson with stops on the way, evaluates every task seen, and commits."""
        run, training = self.run, self.method.begin(lesson)
        label = "all tasks" if self.method.joint else lesson.names[0]
        told = self._told(f"{label} ({lesson.index + 1}/{len(self.lessons)})")
        work, point = Work(self.folder, lesson.index, run["evaluations"]), None
        for point in fit(
            training,
            self.settings.train,
            self._iterations(lesson),
            self._stops(lesson),
            self.settings.seed * 1_000_003 + lesson.index,
            start=work.start,
            report=told,
        ):
            work.spent("train")
            if point.progress in self._curve() and point.progress < 1.0:
                self._cell(lesson.index, lesson.index, point.progress, told)
                work.spent("evaluate")
            work.keep(point.state())
        assert point is not None
        self.method.finish(lesson)
        seen = range(len(self.tasks)) if self.method.joint else range(lesson.index + 1)
        for task in seen[sum(cell["progress"] == 1.0 for cell in work.cells) :]:
            self._cell(seen[-1], task, 1.0, told)
            work.spent("evaluate")
            if "same_as" not in run["evaluations"][-1]:  # the others cost nothing
                work.keep()
        seconds = work.seconds
        record.note_lesson(run, self.method, training, point.record, seconds["train"], seconds["evaluate"])
        done = lesson.index + 1
        checkpoint.save_state(self.folder, done, self.method.state())
        record.write(self.folder, run)
        checkpoint.forget(self.folder, done)

    def _iterations(self, lesson: Lesson) -> int:
        train = self.settings.train
        if self.method.joint:
            return train.first_iterations + train.iterations * (len(self.tasks) - 1)
        return train.iterations if lesson.index else train.first_iterations

    def _curve(self) -> list[float]:
        """The points of the learning curve, its end included; a joint lesson has no curve of one task."""
        points = 1 if self.method.joint else self.settings.evaluate.points
        return [1.0] if points == 1 else [i / (points - 1) for i in range(points)]

    def _stops(self, lesson: Lesson) -> list[float]:
        """Where training is kept: at the points of its curve, or where it has none on the way after every tenth."""
        if len(self._curve()) > 1:
            return self._curve()
        parts = min(10, self._iterations(lesson))
        return [(i + 1) / parts for i in range(parts)]

    def _told(self, label: str, stage: str = "") -> Report:
        return lambda news: self.report(dataclasses.replace(news, stage=stage or news.stage, note=label))

    # ---------------------------------------------------------------- evaluation

    def _cell(self, after: int, task: int, progress: float, told: Report) -> None:
        """Evaluates one task by its instruction, or points to the cell in which the same bits already acted."""
        choice, wanted = self.method.choose(self.goals[task]), self.settings.evaluate
        actor = PolicyActor(choice.policy, choice.embedding, self.settings.train.device)
        entry: dict[str, Any] = {
            "after": after,
            "progress": progress,
            "task": task,
            "split": wanted.split,
            "selected_by": "instruction",
            "policy": fingerprint(choice),
            "actions": probe(actor, self.stores[task], wanted.group),
        }
        if choice.skill is not None:
            entry["skill"] = choice.skill
        twin = record.same_bits(self.run["evaluations"], entry)
        if twin is not None:
            entry |= {name: self.run["evaluations"][twin][name] for name in ("successes", "episodes", "steps")}
            entry["same_as"] = twin
        else:
            outcomes = evaluate(
                actor, self.suite, self.tasks[task], wanted.split, range(wanted.episodes),
                group=wanted.group, pool=self.pool, horizon=wanted.horizon or None, report=told,
            )  # fmt: skip
            entry["successes"] = sum(outcome.success for outcome in outcomes)
            entry["episodes"] = len(outcomes)
            entry["steps"] = sum(outcome.steps for outcome in outcomes)
        self.run["evaluations"].append(entry)

    def _selection(self) -> list[dict[str, Any]]:
        """Which skill each wording calls, those never trained on included."""
        if not isinstance(self.method, SkillMethod) or not self.settings.evaluate.wordings:
            return []
        found = []
        for index, task in enumerate(self.tasks):
            for held_out, wordings in ((False, (task.instruction, *task.wordings)), (True, task.held_out)):
                for wording, embedding in zip(wordings, self.encoder(wordings), strict=True):
                    choice = self.method.choose(embedding)
                    found.append(
                        {"task": index, "wording": wording, "held_out": held_out, "chosen": choice.skill,
                         "cosine": round(choice.cosine, 4)}
                    )  # fmt: skip
        return found

    def _variants(self) -> None:
        """Every task as the suites of `evaluate.variants` have it, called by the instruction that they give it."""
        wanted, done = self.settings.evaluate, self.run.setdefault("variants", [])
        for name in wanted.variants:
            suite = load_suite(name)
            seen = {(cell["suite"], cell["task"]) for cell in done}
            left = [index for index in range(len(self.tasks)) if (suite.name, index) not in seen]
            with Pool(suite, wanted.workers, self.report) as pool:
                for index in left:
                    done.append(self._variant(suite, pool, index))
                    record.write(self.folder, self.run)

    def _variant(self, suite: Suite, pool: Pool, index: int) -> dict[str, Any]:
        """One task of a variant: which skill its words called, and how often the task was done."""
        task, wanted = task_of(suite, self.tasks[index].name), self.settings.evaluate
        choice = self.method.choose(self.encoder([task.instruction])[0])
        outcomes = evaluate(
            PolicyActor(choice.policy, choice.embedding, self.settings.train.device),
            suite, task, wanted.split, range(wanted.episodes),
            group=wanted.group, pool=pool, horizon=wanted.horizon or None,
            report=self._told(f"{suite.name}/{task.name}", "variant"),
        )  # fmt: skip
        found = {"suite": suite.name, "task": index, "instruction": task.instruction, "split": wanted.split}
        if choice.skill is not None:
            found |= {"skill": choice.skill, "cosine": round(choice.cosine, 4)}
        return found | {
            "successes": sum(outcome.success for outcome in outcomes),
            "episodes": len(outcomes),
            "steps": sum(outcome.steps for outcome in outcomes),
        }

    def _library(self) -> None:
        """Writes what T2S has learned as a skill library, to use and to grow without any suite."""
        if not isinstance(self.method, T2S):
            return
        folder = self.folder / "library"
        shutil.rmtree(folder, ignore_errors=True)  # half of one, if the run died here
        last = {cell["task"]: cell for cell in self.run["evaluations"]}
        made: SkillLibrary | None = None
        for index, skill in enumerate(self.method.skills):
            if any(skill.name == other.name for other in self.method.skills[:index]):
                skill = dataclasses.replace(skill, name=f"{skill.name}.{index}")  # a task that was taught again
            notes = {k: last[index][k] for k in ("successes", "episodes", "split")}
            notes |= {"suite": self.suite.name, "demonstrations": self.stores[index].digest}
            if made is None:
                encoder = self.encoder.name
                made = SkillLibrary.create(folder, self.method.base, skill, self.stores[0].features, encoder, notes)
            else:
                made.add(skill, notes)

    def _films(self) -> dict[str, str]:
        """The first episode of each task, as the skill is at the end."""
        films: dict[str, str] = {}
        for index, task in enumerate(self.tasks):
            self.report(Progress("film", index, len(self.tasks), task.name))
            choice, wanted = self.method.choose(self.goals[index]), self.settings.evaluate
            actor = PolicyActor(choice.policy, choice.embedding, self.settings.train.device)
            path = f"films/{task.name}.webp"
            try:
                record_video(
                    actor, self.suite, task, wanted.split, 0, self.folder / path,
                    group=wanted.group, horizon=wanted.horizon or None,
                )  # fmt: skip
            except SuiteError as problem:  # a machine or suite that cannot draw keeps its figures all the same
                self.report(Progress("film", index, len(self.tasks), f"no film of {task.name}: {problem}"))
                continue
            films[task.name] = path
        return films


def lessons_of(
    tasks: Sequence[Task], stores: Sequence[DemonstrationStore], encoder: LanguageEncoder, joint: bool
) -> list[Lesson]:
    """One lesson a task, or one with all of them. Held-out wordings are left out."""
    words = [(task.instruction, *task.wordings) for task in tasks]
    vectors = [encoder(each) for each in words]
    groups = [range(len(tasks))] if joint else [[i] for i in range(len(tasks))]
    return [
        Lesson(
            index,
            tuple(tasks[i].name for i in group),
            tuple(stores[i] for i in group),
            tuple(words[i] for i in group),
            tuple(vectors[i] for i in group),
        )
        for index, group in enumerate(groups)
    ]


def fingerprint(choice: Choice) -> str:
    """SHA-256 of everything that actions are computed from: the policy and the instruction given to it."""
    found = hashlib.sha256(choice.policy.fingerprint().encode())
    found.update(np.ascontiguousarray(choice.embedding, np.float32).tobytes())
    return found.hexdigest()


def probe(actor: PolicyActor, store: DemonstrationStore, batch: int, steps: int = 20) -> str:
    """SHA-256 of the actions on the first steps of a store's first demonstrations: equal only if every bit is equal."""
    memory, found = actor.start(batch), hashlib.sha256()
    starts = np.asarray(store.offsets)[np.arange(batch) % store.episodes]
    for step in range(steps):
        rows = np.minimum(starts + step, store.steps - 1)
        seen: dict[str, Array] = {name: np.asarray(store[name][rows]) for name in actor.policy.shape.scales}
        found.update(actor.act(seen, memory).tobytes())
    return found.hexdigest()
