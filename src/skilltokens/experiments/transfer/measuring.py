"""measure(): the cells of a transfer matrix, one after another, each written down when it is done.

FOLDER/skills is an ordinary run: every task learned from the base alone. Its library holds the skills that each cell
starts from, and its own cells are what a skill gives without a neighbour. FOLDER/matrix.json is written after every
cell; whatever moment the process dies at, the same call goes on with the next cell, and ends with the same numbers.
A cell learns with the seed, and from the batches, of its task's lesson in that run, so that start alone differs.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skilltokens.configuration import flat, plain
from skilltokens.demos.store import DemonstrationStore
from skilltokens.experiments import provenance
from skilltokens.experiments.base import base_record, with_base
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.demonstrated import stores_of
from skilltokens.experiments.evaluator import Evaluator
from skilltokens.experiments.lessons import groups_of, lessons_of, suites_own, tasks_of
from skilltokens.experiments.lifelong import iterations_of, learn, method_before
from skilltokens.experiments.opening import OTHERS, check_same
from skilltokens.experiments.records import Demonstrations, LifelongRecord, Resumed, TaskEntry
from skilltokens.experiments.settings import FREE, RunSettings
from skilltokens.experiments.transfer.record import (
    FILE,
    RuleScores,
    TransferCell,
    TransferRecord,
    read_matrix,
    write_matrix,
)
from skilltokens.experiments.transfer.settings import check_tasks, from_base, from_skill
from skilltokens.experiments.working import working
from skilltokens.language import load_encoder
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples
from skilltokens.methods.neighbours import Candidate, cloning_losses, cosines, held_out, mean_loss
from skilltokens.methods.shift import moved_in
from skilltokens.methods.skilled import SkillMethod
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.simulation.pool import Pool
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skills
from skilltokens.suites import load_suite
from skilltokens.train import fit
from skilltokens.types import Progress, Report, RunError, SettingError, Suite, Task, silent

STAGE = "transfer"
SKILLS = "skills"
"""The folder of the run that learns every task from the base."""


def measure(
    settings: RunSettings[Any],
    folder: Path,
    report: Report = silent,
    recipe: str = "",
    command: str = "",
    held_out: int = 10,
) -> TransferRecord:
    """Makes, or goes on with, the matrix in a folder, and returns what matrix.json holds at its end.

    Args:
        settings: a run of protocol A+; where a skill starts, and how cells are evaluated, the matrix decides.
        held_out: demonstrations of each task, behind those that are learned from, that a learned skill's cloning loss
            is measured on; 0: none.

    Raises:
        RunError: the folder holds another matrix, or a damaged one.
        SettingError: a setting is impossible; nothing has been written then.
        SkilltokensError: whatever else its user can fix.
    """
    folder = Path(folder)
    check_possible(settings, held_out)
    alone = from_base(settings)
    base_run = learn(alone, folder / SKILLS, _about_skills(report), recipe, command)
    settings = dataclasses.replace(with_base(alone), method=settings.method)
    with working(folder, report):
        record = _opened(folder, settings, base_run, recipe, held_out)
        if record.finished:
            return record
        record.command = command or record.command
        with _Bench.at(settings, folder, base_run, held_out, report) as bench:
            bench.note(record)
            return bench.fill(folder, record)


def check_possible(settings: RunSettings[Any], held_out: int) -> None:
    """Raises SettingError where the settings allow no matrix; nothing is made."""
    alone = with_base(from_base(settings))
    suite = load_suite(alone.suite)
    check_tasks(alone, suite)
    check_run(alone, suite)
    more = dataclasses.replace(alone.demonstrations, episodes=alone.demonstrations.episodes + held_out)
    if held_out and more.place == alone.demonstrations.place:
        raise SettingError(
            "held-out demonstrations need a folder of their own: put {episodes} into --demonstrations.folder, such as "
            "demos/{episodes}, or use --held-out 0"
        )


def _about_skills(report: Report) -> Report:
    def tell(news: Progress) -> None:
        report(dataclasses.replace(news, note=f"skills from the base: {news.note}", lesson=None))

    return tell


def _opened(
    folder: Path, settings: RunSettings[Any], base_run: LifelongRecord, recipe: str, held_out: int
) -> TransferRecord:
    """The matrix in a folder, or a new one.

    Raises:
        RunError: matrix.json is damaged, or of another configuration.
    """
    config = {**plain(settings), "held_out": held_out}
    if os.path.exists(folder / FILE):
        record = read_matrix(folder)
        old, new = ({"method": m, **flat(c)} for m, c in ((record.method, record.config), (base_run.method, config)))
        check_same(folder, old, new, FREE)
        commit, versions = provenance.commit(), base_run.versions | provenance.computing(settings.train.kernel)
        if not record.finished and (record.resumed[-1].commit if record.resumed else record.commit) != commit:
            record.resumed.append(Resumed(at=provenance.now(), commit=commit, versions=versions))
        return record
    return TransferRecord(
        recipe=recipe,
        method=base_run.method,
        suite=settings.suite,
        split=settings.evaluate.split,
        seed=settings.seed,
        encoder=base_run.encoder or "",
        tasks=[TaskEntry(task.name, task.instruction) for task in base_run.tasks],
        config=config,
        versions=base_run.versions | provenance.computing(settings.train.kernel),
        commit=provenance.commit(),
        machine=provenance.machine(),
        started=provenance.now(),
    )


@dataclass
class _Bench:
    """What all cells share."""

    settings: RunSettings[Any]
    suite: Suite
    library: SkillLibrary
    lessons: Sequence[Lesson]
    behind: Sequence[DemonstrationStore]
    """For each task a store with held-out demonstrations behind those that are learned from; empty: none are."""
    evaluator: Evaluator
    pool: Pool
    base_run: LifelongRecord
    report: Report

    @classmethod
    def at(
        cls, settings: RunSettings[Any], folder: Path, base_run: LifelongRecord, held_out: int, report: Report
    ) -> _Bench:
        """Everything opened; close it by leaving its `with`."""
        torch.set_num_threads(settings.train.threads)
        suite = load_suite(settings.suite)
        tasks: Sequence[Task] = tasks_of(settings, suite)
        own = suites_own(suite, tasks)
        stores = stores_of(settings, suite, own, report)
        behind = _stores_behind(settings, suite, own, stores, held_out, report) if held_out else []
        for store in (*stores, *behind):
            store.verify()
        encoder = load_encoder(settings.encoder, report=report)
        library = SkillLibrary.open(folder / SKILLS / "library", settings.encoder)
        moved = moved_in(settings.train, suite)
        lessons = lessons_of(tasks, stores, encoder, groups_of(len(tasks)), library.base.settings.chunk, moved)
        pool = Pool(suite, settings.evaluate.workers, report, settings.evaluate.step_limit)
        device = settings.train.device
        evaluator = Evaluator(settings.evaluate, suite, tasks, stores, encoder, device, pool, report, settings.context)
        return cls(settings, suite, library, lessons, behind, evaluator, pool, base_run, report)

    def __enter__(self) -> _Bench:
        self.pool.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self.pool.__exit__(*problem)

    def note(self, record: TransferRecord) -> None:
        """Writes down what is learned from; a matrix that is gone on with must find the same.

        Raises:
            RunError: the demonstrations, or the skills, are others.
        """
        stores = [lesson.stores[0] for lesson in self.lessons]
        learned = Demonstrations(stores[0].source, [s.episodes for s in stores], [s.digest for s in stores])
        counts = [more.episodes - less.episodes for more, less in zip(self.behind, stores, strict=False)]
        behind = Demonstrations(stores[0].source if counts else "", counts, [store.digest for store in self.behind])
        if record.base is not None and (record.demonstrations, record.held_out) != (learned, behind):
            raise RunError(OTHERS)
        base = base_record(self.library)
        if record.base is not None and record.base != base:
            raise RunError("the skills are others than those this matrix began with: choose a new folder with --out")
        record.demonstrations, record.held_out, record.base = learned, behind, base

    def fill(self, folder: Path, record: TransferRecord) -> TransferRecord:
        """All cells that are left, column by column, each written down."""
        count, done = len(self.lessons), {(cell.start, cell.task) for cell in record.cells}
        for task in range(count):
            for number, start in enumerate([None, *range(count)]):
                if (start, task) in done:
                    continue
                report = self._labelled(record, task, start)
                report(Progress(STAGE, task * (count + 1) + number, count * (count + 1)))
                began = time.monotonic()
                cell = self._from_base(task) if start is None else self._from_skill(task, start, report)
                cell.seconds = round(time.monotonic() - began, 1)
                record.cells.append(cell)
                write_matrix(folder, record)
        record.rules = self._rules()
        record.finished = provenance.now()
        write_matrix(folder, record)
        return record

    def _labelled(self, record: TransferRecord, task: int, start: int | None) -> Report:
        """News of a cell: which it is, and what share of all cells is done."""
        names, done, cells = [e.name for e in record.tasks], len(record.cells), len(record.tasks) + 1
        note = f"{names[task]} from {'the base' if start is None else names[start]}"
        total, part = len(record.tasks) * cells, 0.0

        def tell(news: Progress) -> None:
            nonlocal part
            if news.stage == "train":
                part = max(part, 0.9 * news.done / max(news.total, 1))  # the rest is the last test
            figures = {**news.figures, "overall": (done + part) / total}
            self.report(dataclasses.replace(news, note=f"{note} ({done + 1}/{total})", figures=figures))

        return tell

    def _skill(self, task: int) -> int:
        """The number of a task's skill in the library, which has the newest of a name alone."""
        return self.library.names.index(self.lessons[task].names[0])

    def _before(self, start: int) -> Skills:
        """The base library's skills, and the one that is started from behind them: no other task's is to be seen."""
        learned, skills = {lesson.names[0] for lesson in self.lessons}, self.library.skills
        kept = [skill for skill in skills if skill.name not in learned]
        return Skills([*kept, skills[self._skill(start)]], skills.find)

    def _method(self, chosen: Any, skills: Skills | None = None) -> SkillMethod:
        """The method before it learns anything, on the library or on some of its skills."""
        settings = dataclasses.replace(self.settings, method=chosen)
        method = method_before(settings, self.suite, self.evaluator.encoder, self.library, skills)
        assert isinstance(method, SkillMethod)
        return method

    def _from_base(self, task: int) -> TransferCell:
        """What the run that learned from the base alone says."""
        cells = [cell for cell in self.base_run.cells if cell.after == cell.task == task]
        method = self._method(self.settings.method)
        return TransferCell(
            task=task,
            progress=[cell.progress for cell in cells],
            successes=[cell.successes for cell in cells],
            outcomes=[cell.outcomes for cell in cells],
            episodes=cells[-1].episodes,
            loss=self._loss(task, method, self._skill(task)),
        )

    def _from_skill(self, task: int, start: int, report: Report) -> TransferCell:
        """A task learned from a skill."""
        skills = self._before(start)
        method = self._method(from_skill(self.settings, len(skills) - 1), skills)
        lesson = dataclasses.replace(self.lessons[task], first=0)  # the first after the library's
        training = method.begin(lesson)
        cell = TransferCell(start=start, task=task, progress=[], successes=[], outcomes=[], episodes=0)
        curve = list(self.settings.evaluate.curve)
        steps, seed = iterations_of(self.settings, method, lesson), self.settings.seed * 1_000_003 + lesson.index
        for point in fit(training, self.settings.train, steps, curve, seed, report=report):
            if point.progress < 1:
                self._test(cell, method, point.progress, report)
        method.finish(lesson)
        self._test(cell, method, 1.0, report)
        cell.loss = self._loss(task, method, len(method.entries) - 1)
        return cell

    def _test(self, cell: TransferCell, method: SkillMethod, progress: float, report: Report) -> None:
        tested = self.evaluator.cell(method, cell.task, cell.task, progress, (), report)
        assert tested is not None
        cell.progress.append(progress)
        cell.successes.append(tested.successes)
        cell.outcomes.append(tested.outcomes)
        cell.episodes = tested.episodes

    def _loss(self, task: int, method: SkillMethod, number: int) -> float | None:
        """The cloning loss of a learned skill on held-out demonstrations of its task."""
        if not self.behind:
            return None
        entry, groups = method.entries[number], self._held_out(task, method)
        return round(mean_loss(entry.policy, entry.instruction, groups, self.settings.train), 6)

    def _held_out(self, task: int, method: SkillMethod) -> list[Examples]:
        lesson = self.lessons[task]
        more = dataclasses.replace(lesson, stores=(self.behind[task],))
        return held_out(more, self.settings.train, method.base, lesson.stores[0].episodes)

    def _rules(self) -> list[RuleScores]:
        """What every rule says of every pair, by the new demonstrations and the words alone."""
        method = self._method(self.settings.method)
        numbers = [self._skill(task) for task in range(len(self.lessons))]
        entries = [method.entries[number] for number in numbers]
        policies = [method.start_policy(number) or method.base for number in numbers]
        instruction, keys, own, new = [], [], [], []
        for lesson in self.lessons:
            words = lesson.embeddings[0][0]
            instruction.append(cosines(words, [entry.embeddings for entry in entries]))
            keys.append(np.array([float(entry.instruction @ words) for entry in entries]))
            pairs = list(zip(entries, policies, strict=True))
            base = Candidate("", None, method.base, words)
            by_own = [Candidate(e.name, None, policy, e.instruction) for e, policy in pairs]
            by_new = [Candidate(e.name, None, policy, words) for e, policy in pairs]
            own.append(cloning_losses([*by_own, base], lesson, self.settings.train))
            new.append(cloning_losses([*by_new, base], lesson, self.settings.train))
        return [
            RuleScores(rule="instruction", scores=_columns(instruction)),
            RuleScores(rule="keys", scores=_columns(keys)),
            _by_data("data", own),
            _by_data("data, by the new instruction", new),
        ]


def _by_data(rule: str, losses: Sequence[Sequence[float]]) -> RuleScores:
    return RuleScores(
        rule=rule,
        less_is_nearer=True,
        scores=_columns([column[:-1] for column in losses]),
        base=[round(column[-1], 6) for column in losses],
    )


def _columns(columns: Sequence[Sequence[float] | np.ndarray]) -> list[list[float]]:
    """(tasks, tasks) from its columns."""
    return [[round(float(value), 6) for value in row] for row in np.array(columns).T]


def _stores_behind(
    settings: RunSettings[Any],
    suite: Suite,
    tasks: Sequence[Task],
    stores: Sequence[DemonstrationStore],
    held_out: int,
    report: Report,
) -> list[DemonstrationStore]:
    """Stores that have `held_out` demonstrations more than those that are learned from.

    Raises:
        SettingError: the suite brings its own demonstrations, and no more of them.
    """
    more = dataclasses.replace(settings.later, episodes=settings.later.episodes + held_out)
    behind = demonstrations(suite, tasks, more, report, None, settings.evaluate.step_limit)
    for less, store in zip(stores, behind, strict=True):
        if store.episodes <= less.episodes:
            raise SettingError(
                f"{less.task.name} has no demonstrations beside the {less.episodes} that are learned from: use "
                "--held-out 0"
            )
    return behind
