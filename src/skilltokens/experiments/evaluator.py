"""What a method can do, measured: cells, variants of the suite, wordings, videos."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from skilltokens.demos.store import DemonstrationStore
from skilltokens.escaping import file_name
from skilltokens.experiments.lessons import suites_own
from skilltokens.experiments.records import Cell, Variant, Wording
from skilltokens.language import LanguageEncoder
from skilltokens.methods.base import Choice, Method
from skilltokens.model.actor import PolicyActor
from skilltokens.model.ahead import Ahead
from skilltokens.model.traced import WORTH, TracedActor
from skilltokens.settings import EvaluateSettings
from skilltokens.simulation.driven import Driven, Passenger
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate, record_video
from skilltokens.suites import in_context, load_suite, task_of
from skilltokens.suites.context import Context
from skilltokens.types import ACTION, Actor, Array, Counts, Progress, Report, Suite, SuiteError, Task


class Evaluator:
    """Rolls out a method's policies, called by the tasks' instructions alone, and counts.

    Args:
        suite, tasks: what is evaluated; tasks in the order that the run teaches them, in the words that it gives them.
        context: what these words hold besides the suite's own; variants of the suite get it too.
        stores: their demonstrations, whose observations prove which actions are the same bits.
        encoder: makes the instructions' vectors.
        device: where policies act.
        pool: simulators of the suite.
        report: told of progress.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        suite: Suite,
        tasks: Sequence[Task],
        stores: Sequence[DemonstrationStore],
        encoder: LanguageEncoder,
        device: str,
        pool: Pool,
        report: Report,
        context: Context = "none",
    ) -> None:
        self.settings, self.suite, self.tasks, self.stores = settings, suite, tasks, stores
        self.context: Context = context
        self.simulated = suites_own(suite, tasks)
        self.encoder, self.device, self.pool, self.report = encoder, device, pool, report
        self.instructions = encoder([task.instruction for task in tasks])

    def cell(
        self,
        method: Method,
        task: int,
        after: int,
        progress: float,
        cells: Sequence[Cell],
        report: Report,
        *,
        roll_out: bool = True,
    ) -> Cell | None:
        """Evaluates one task by its instruction, or points to the cell in which the same bits already acted.

        Args:
            roll_out: False: None is returned where no such cell is known.
        """
        choice = method.choose(self.instructions[task])
        actor = None if choice.expert else self._actor(choice)
        cell = Cell(
            after=after,
            progress=progress,
            task=task,
            split=self.settings.split,
            selected_by="instruction",
            policy="" if actor is None else fingerprint(choice),
            actions="" if actor is None else action_digest(actor, self.stores[task], self.settings.group),
            skill=choice.skill,
            called=_called(choice),
            successes=0,
            episodes=0,
        )
        cell.same_as = self._same_bits(cells, cell)
        if cell.same_as is None and not roll_out:
            return None
        counts = (
            self._count(actor, self.suite, self.simulated[task], self.pool, report)
            if cell.same_as is None
            else cells[cell.same_as]
        )
        for name in ("successes", "episodes", "steps", "outcomes"):
            setattr(cell, name, getattr(counts, name))
        return cell

    def _same_bits(self, cells: Sequence[Cell], cell: Cell) -> int | None:
        """The first cell that was rolled out with the same policy, bit for bit, on the same task and states."""
        for number, other in enumerate(cells):
            same_task = self.tasks[other.task].name == self.tasks[cell.task].name
            if other.same_as is None and same_task and _key(other) == _key(cell):
                return number
        return None

    def wordings(self, method: Method) -> list[Wording]:
        """Which skill each wording calls, those never trained on included; none where one policy serves all."""
        entries: list[Wording] = []
        if not self.settings.wordings:
            return entries
        for number, task in enumerate(self.tasks):
            for held_out, texts in ((False, (task.instruction, *task.wordings)), (True, task.held_out)):
                for text, vector in zip(texts, self.encoder(texts), strict=True):
                    choice = method.choose(vector)
                    if not choice.name:
                        return []
                    entries.append(
                        Wording(
                            task=number,
                            wording=text,
                            held_out=held_out,
                            chosen=choice.skill,
                            called=_called(choice),
                            cosine=round(choice.cosine, 4),
                        )
                    )
        return entries

    def variants(self, method: Method, done: Sequence[Variant]) -> Iterator[Variant]:
        """Every task as the suites of `evaluate.variants` have it, called by the instruction that they give it.

        Args:
            done: those that need no more work.
        """
        known = {(variant.suite, variant.task) for variant in done}
        for name in self.settings.variants:
            suite = load_suite(name)
            with Pool(suite, self.settings.workers, self.report, self.settings.step_limit) as pool:
                for number in range(len(self.tasks)):
                    if (suite.name, number) not in known:
                        yield self._variant(method, suite, pool, number)

    def _variant(self, method: Method, suite: Suite, pool: Pool, number: int) -> Variant:
        task = task_of(suite, self.tasks[number].name)
        instruction = in_context(suite, task, self.context).instruction
        choice = method.choose(self.encoder([instruction])[0])
        report = labelled(self.report, f"{suite.name}/{task.name}", stage="variant")
        actor = None if choice.expert else self._actor(choice)
        counts = self._count(actor, suite, task, pool, report)
        return Variant(
            suite=suite.name,
            task=number,
            instruction=instruction,
            split=self.settings.split,
            skill=choice.skill,
            called=_called(choice),
            cosine=round(choice.cosine, 4) if choice.name else None,
            successes=counts.successes,
            episodes=counts.episodes,
            steps=counts.steps,
            outcomes=counts.outcomes,
        )

    def videos(self, method: Method, folder: Path) -> dict[str, str]:
        """The first episode of each task as the skill is at the end: task -> the file's path below `folder`."""
        videos: dict[str, str] = {}
        tasks = {task.name: number for number, task in enumerate(self.tasks)}
        for done, (name, number) in enumerate(tasks.items()):
            self.report(Progress("video", done, len(tasks), name))
            choice = method.choose(self.instructions[number])
            actor = Passenger(self.suite) if choice.expert else self._actor(choice)
            path = f"videos/{file_name(name)}.webp"
            try:
                record_video(
                    actor,
                    Driven(self.suite) if choice.expert else self.suite,
                    self.simulated[number],
                    self.settings.split,
                    0,
                    folder / path,
                    group=self.settings.group,
                    horizon=self.settings.horizon or None,
                    limit=self.settings.step_limit,
                    report=self.report,
                )
            except SuiteError as problem:  # a machine or suite that cannot draw keeps its figures all the same
                self.report(Progress("video", done, len(tasks), f"no video of {name}: {problem}"))
                continue
            videos[name] = path
        return videos

    def _actor(self, choice: Choice) -> Actor:
        if choice.other is not None:
            return choice.other.actor()
        actor = TracedActor(choice.policy, choice.embedding, self.device, after=WORTH)
        return Ahead(actor, self.settings.ahead)

    def _count(self, actor: Actor | None, suite: Suite, task: Task, pool: Pool, report: Report) -> Counts:
        """The outcomes of an actor; None: of the suite's scripted expert."""
        if actor is None:
            driven, settings = Driven(suite), self.settings
            with Pool(driven, settings.workers, self.report, settings.step_limit) as own:
                return self._counted(Passenger(suite), driven, task, own, report)
        return self._counted(actor, suite, task, pool, report)

    def _counted(self, actor: Actor, suite: Suite, task: Task, pool: Pool, report: Report) -> Counts:
        outcomes = evaluate(
            actor,
            suite,
            task,
            self.settings.split,
            range(self.settings.episodes),
            group=self.settings.group,
            pool=pool,
            horizon=self.settings.horizon or None,
            report=report,
        )
        return Counts.of(outcomes)


def labelled(report: Report, note: str, *, lesson: int | None = None, stage: str = "") -> Report:
    """A report that says what its news are about."""
    return lambda news: report(dataclasses.replace(news, stage=stage or news.stage, note=note, lesson=lesson))


def fingerprint(choice: Choice) -> str:
    """SHA-256 of everything that actions are computed from: the policy and the instruction given to it."""
    if choice.other is not None:
        return choice.other.fingerprint()
    digest = hashlib.sha256(choice.policy.fingerprint().encode())
    digest.update(np.ascontiguousarray(choice.embedding, np.float32).tobytes())
    return digest.hexdigest()


def action_digest(actor: Actor, store: DemonstrationStore, batch: int, steps: int = 20) -> str:
    """SHA-256 of the actions on the first steps of a store's first demonstrations: equal only if every bit is equal."""
    actor = Ahead(actor, 1) if isinstance(actor, PolicyActor) else actor
    seen = actor.policy.shape.scales if isinstance(actor, Ahead) else store.features.keys() - {ACTION}
    memory, digest = actor.start(batch), hashlib.sha256()
    starts = np.asarray(store.offsets)[np.arange(batch) % store.episodes]
    for step in range(steps):
        rows = np.minimum(starts + step, store.steps - 1)
        observation: dict[str, Array] = {name: np.asarray(store[name][rows]) for name in seen}
        digest.update(actor.act(observation, memory).tobytes())
    return digest.hexdigest()


def _called(choice: Choice) -> str:
    """The name of the skill that was called, where it is none of the run's own."""
    return choice.name if choice.skill is None else ""


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.split, cell.policy, cell.actions
