"""learn(): the only lifelong loop. For each lesson: learn it, evaluate it on the way and all tasks taught at the end.

A run folder holds run.json (the result, written after every lesson), state-<n>.safetensors (what the method needs
to resume after n lessons) and progress.safetensors (the lesson at work: its training at the last stop, and its cells).
run.json is the commit: whatever moment the process dies at, the same command resumes from what it says and ends with
the same numbers. One process at a time works in a folder.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from skilltokens.attached.base import OtherBase
from skilltokens.demos import DemonstrationStore, check_readings
from skilltokens.demos.kinds import unseen
from skilltokens.demos.windows import check_chunk
from skilltokens.distributed import current, follows, processes, whole_batch
from skilltokens.experiments import checkpoint, provenance
from skilltokens.experiments.base import Base, base_record, open_base, other_record, with_base
from skilltokens.experiments.checkpoint import Work
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.cotraining import Cotraining
from skilltokens.experiments.demonstrated import make_stores, stores_of
from skilltokens.experiments.evaluator import Evaluator, labelled
from skilltokens.experiments.leaving import leave_library
from skilltokens.experiments.lessons import groups_of, lessons_of, suites_own, tasks_of
from skilltokens.experiments.namesakes import tell_namesakes
from skilltokens.experiments.opening import (
    note_cotrained,
    note_demonstrations,
    note_lesson,
    note_resumed,
    open_run,
)
from skilltokens.experiments.pretraining import pretraining_of
from skilltokens.experiments.reading import write_record
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.experiments.settings import RunSettings
from skilltokens.experiments.working import working
from skilltokens.files import sweep
from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.locking import locked
from skilltokens.methods import load_method, method_of
from skilltokens.methods.attached.method import AttachedMethod
from skilltokens.methods.attached.training import tell_unused
from skilltokens.methods.base import Lesson, Method, Training, generator_of
from skilltokens.methods.shift import moved_in
from skilltokens.model.policy import Policy, Shape
from skilltokens.simulation.demonstrate import PATIENCE
from skilltokens.simulation.memory import STAGE
from skilltokens.simulation.pool import Pool
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skills
from skilltokens.suites import load_suite
from skilltokens.tensors import State, check_like, on_cpu
from skilltokens.train import Point, fit
from skilltokens.types import NOTE, Progress, Report, RuleError, RunError, SettingError, Suite, Task, silent


def learn(
    settings: RunSettings[Any],
    folder: Path,
    report: Report = silent,
    recipe: str = "",
    command: str = "",
    tag: str = "",
) -> LifelongRecord:
    """Runs, or resumes, one run, and returns what run.json holds at its end.

    Args:
        settings: the whole configuration.
        folder: the run folder; made if missing.
        report: told of progress.
        recipe, command, tag: what to write into run.json of where the run comes from, and a word of the user's.

    Raises:
        RunError: the folder belongs to another configuration, is damaged, or another process works in it.
        SettingError: a setting is impossible; nothing has been written then.
        LibraryError: the library to begin from (protocol A+) is damaged, or of another robot.
        SkilltokensError: whatever else its user can fix.
    """
    folder, settings = Path(folder), with_base(settings)
    suite = load_suite(settings.suite)
    tasks = tasks_of(settings, suite)
    team = current()
    if team is not None and not team.leads:
        team.meet()  # from here on run.json says where the run stands
        record = open_run(folder, settings, recipe, suite, tasks)
        return _learn(settings, folder, record, suite, tasks, open_base(settings, suite), silent, "")
    record = open_run(folder, settings, recipe, suite, tasks)
    if record.finished:
        sweep(folder)  # the process that ended it may have been killed in the very last write
        return record
    check_run(settings, suite)
    make_base(settings, report)
    library = open_base(settings, suite)
    with working(folder, report):
        record = open_run(folder, settings, recipe, suite, tasks)
        record.tag = tag or record.tag
        return record if record.finished else _learn(settings, folder, record, suite, tasks, library, report, command)


def make_base(settings: RunSettings[Any], report: Report = silent) -> None:
    """Makes the library that a run begins from by the recipe of `pretrain`, where it is not there; resumes what began.

    One process at a time makes it; others wait, and take what is there then.

    Raises:
        SkilltokensError: as `learn` does.
    """
    ahead = pretraining_of(settings)
    if ahead is None or ahead.done:
        return

    def about(news: Progress) -> None:
        report(dataclasses.replace(news, note=f"base {ahead.recipe}: {news.note}", lesson=None))

    with locked(ahead.folder.parent, RunError, wait=PATIENCE, report=report):
        suite = load_suite(ahead.settings.suite)
        make_stores(ahead.settings, suite, suites_own(suite, tasks_of(ahead.settings, suite)), about)
        learn(ahead.settings, ahead.folder, about, ahead.recipe)


def _learn(
    settings: RunSettings[Any],
    folder: Path,
    record: LifelongRecord,
    suite: Suite,
    tasks: Sequence[Task],
    library: Base | None,
    report: Report,
    command: str,
) -> LifelongRecord:
    """What is left of a run in a folder that nobody else writes in."""
    torch.set_num_threads(settings.train.threads)
    record.command = command or record.command
    stores = stores_of(settings, suite, suites_own(suite, tasks), report)
    for store in stores:
        store.verify()  # altered numbers would be learned without a word
    note_demonstrations(record, stores)
    encoder = load_encoder(settings.encoder, report=report)
    record.encoder = encoder.name
    method = method_before(settings, suite, encoder, library)
    if method.alone and processes() > 1:
        raise whole_batch(record.method)
    _check_seen(stores, method.seen, report)
    if isinstance(method, AttachedMethod):
        tell_unused(settings.train, report)
    check_chunk(stores, method.chunk)
    groups = groups_of(len(tasks), settings.first, method.joint)
    lessons = lessons_of(tasks, stores, encoder, groups, method.chunk, moved_in(settings.train, suite))
    tell_namesakes(tasks, encoder, suite, report)
    method.check(len(lessons))
    method.check_lessons(lessons)
    method.check_memory(lessons)
    names = library.names if isinstance(library, SkillLibrary) else ()
    cotraining = Cotraining(settings, suite, method, lessons, names, report)
    note_cotrained(record, cotraining.digests)
    record.first = len(groups[0])
    _note_base(record, library, method, settings.base)
    with Pool(suite, settings.evaluate.workers, report, settings.evaluate.step_limit) as pool:
        device = settings.train.device
        evaluator = Evaluator(settings.evaluate, suite, tasks, stores, encoder, device, pool, report, settings.context)
        return _Run(settings, folder, record, method, lessons, evaluator, library, cotraining, report).finish()


def method_before(
    settings: RunSettings[Any],
    suite: Suite,
    encoder: LanguageEncoder,
    library: Base | None,
    skills: Skills | None = None,
) -> Method:
    """The method before its first lesson: with a fresh policy, or with what a library holds.

    Args:
        skills: those of the library's that it begins with; None: all of them.
    """
    kind = load_method(method_of(settings.method))
    if isinstance(library, OtherBase):
        beside: Any = kind
        return beside(library, suite.features, settings.method, settings.train, settings.seed)
    if settings.policy.maps not in kind.maps:
        raise SettingError(
            f"method {method_of(settings.method)} grows policies of {' or '.join(kind.maps)} maps, "
            f"not {settings.policy.maps}: set policy.maps"
        )
    if library is None:
        shape = Shape.of(suite.features, suite.scales, encoder.dim)
        base = Policy(shape, settings.policy, generator_of(settings.seed, 0)).to(settings.train.device)
        return kind(base, settings.method, settings.train, settings.seed)
    base = Policy(library.base.shape, library.base.settings, generator_of(settings.seed, 0)).to(settings.train.device)
    method = kind(base, settings.method, settings.train, settings.seed)
    method.adopt(library.base, library.skills if skills is None else skills)
    return method


def _check_seen(stores: Sequence[DemonstrationStore], seen: Collection[str], report: Report) -> None:
    """What of the demonstrations the policy does not look at is said.

    Raises:
        DemonstrationError: what it looks at is not what it takes it for.
    """
    for store in stores:
        check_readings(store, seen)
    note = unseen(stores[0].features, seen, "the library was made without it")
    if note is not None:
        report(Progress(NOTE, 0, 1, note))


def _note_base(record: LifelongRecord, library: Base | None, method: Method, folder: str) -> None:
    """Writes down what the run begins from; a run that is resumed must find the same.

    Raises:
        RunError: it is another.
    """
    base, what = None, "library that this run began from (its skills"
    if isinstance(method, AttachedMethod):
        base, what = other_record(method.other, method.attached), "policy that this run began from (its numbers"
    elif isinstance(library, SkillLibrary):
        base = base_record(library)
    if (record.lessons or record.base is not None) and record.base != base:
        raise RunError(f"{folder} is not the {what} are others): restore it, or choose a new folder with --out")
    record.base = base


@dataclass
class _Run:
    """One run at work: lessons one after another, each committed, whatever moment the process dies at.

    Where processes share it, the first one does all that, and the others follow its trainings.
    """

    settings: RunSettings[Any]
    folder: Path
    record: LifelongRecord
    method: Method
    lessons: Sequence[Lesson]
    evaluator: Evaluator
    library: Base | None
    cotraining: Cotraining
    report: Report

    def finish(self) -> LifelongRecord:
        """All lessons that are left, then what is done once."""
        record, done = self.record, self.record.lessons
        if done:
            self._restore(done)
        if follows():
            return self._follow(done)
        new = self._claim()
        team = current()
        if team is not None:
            team.meet()
        for lesson in self.lessons[done:]:
            try:
                self._teach(lesson)
            except (RuleError, SettingError):
                if new:
                    checkpoint.discard_untrained(self.folder, checkpoint.Tie.of(record, 0))
                raise
        checkpoint.forget(self.folder, len(self.lessons))  # if the run died between the last commit and this
        record.selection = self.evaluator.wordings(self.method)
        for variant in self.evaluator.variants(self.method, record.variants):
            record.variants.append(variant)
            write_record(self.folder, record)
        leave_library(self.folder / "library", self.method, self.lessons, record, self.library)
        if self.settings.evaluate.videos:
            record.videos = self.evaluator.videos(self.method, self.folder)
        record.finished = provenance.now()
        write_record(self.folder, record)
        return record

    def _follow(self, done: int) -> LifelongRecord:
        """The trainings that are left, for a process that another one leads: it keeps nothing."""
        for lesson in self.lessons[done:]:
            training = self.cotraining.beside(self.method.begin(lesson), lesson)
            start = Work(self.folder, lesson.index, self.record).start if lesson.index == done else None
            for _ in self._fit(training, lesson, start, silent):
                pass
            self.method.finish(lesson)
        return self.record

    def _claim(self) -> bool:
        """From here on the folder belongs to this configuration, at work under this code; whether it was new.

        Raises:
            RunError: another number of processes began the run.
        """
        if not os.path.exists(self.folder / "run.json"):
            checkpoint.clear(self.folder)  # of a run whose run.json was taken away
            self.record.processes = processes()
            write_record(self.folder, self.record)
            return True
        if self.record.processes != processes():
            raise RunError(
                f"{self.folder} was begun by a number of processes ({self.record.processes}) whose last bits are not "
                f"those of {processes()}: resume it with as many (torchrun), or choose a new folder with --out"
            )
        changed = note_resumed(self.record, self.evaluator.suite, self.settings.train.kernel)
        if changed:
            note = f"resumes under other code than it began with, as its run.json says: {changed}"
            self.report(Progress(STAGE, 0, 1, note))  # this stage is shown once, and never left out
            write_record(self.folder, self.record)
        return False

    def _restore(self, done: int) -> None:
        """The method as it was after so many lessons."""
        state = checkpoint.load_state(self.folder, done, self.record.state, self.report)
        try:
            self.method.restore(state, self.lessons[:done])
            check_like(state, on_cpu(self.method.state()), "what was restored of it")
        except (LookupError, ValueError, RuntimeError, TypeError, AttributeError, RunError) as problem:
            raise RunError(
                f"{self.folder}/state-{done}.safetensors is not of this run ({str(problem).splitlines()[0]}): restore "
                "it, or start the run again in a new folder"
            ) from problem

    def _teach(self, lesson: Lesson) -> None:
        """Trains one lesson with stops on the way, evaluates every task taught so far, and commits."""
        record, training = self.record, self.cotraining.beside(self.method.begin(lesson), lesson)
        report = labelled(self.report, self._label(lesson), lesson=lesson.index)
        work, point = Work(self.folder, lesson.index, record, self.report), None
        taught = lesson.first + len(lesson.names)
        for point in self._fit(training, lesson, work.start, report):
            work.spent("train")
            if point.progress in self._curve(lesson) and point.progress < 1.0:
                self._evaluate(lesson.first, taught - 1, point.progress, report)
                work.spent("evaluate")
            work.keep(point.state())
        if point is None:
            raise RunError(
                f"{self.folder}/progress.safetensors is altered (its training stopped nowhere): move it away, and the "
                "lesson starts again"
            )
        self.method.finish(lesson)
        for task in range(max((cell.task + 1 for cell in work.cells if cell.progress == 1.0), default=0), taught):
            cell = self._evaluate(task, taught - 1, 1.0, report, self._tested(task, lesson))
            work.spent("evaluate")
            if cell is not None and cell.same_as is None:  # the others cost nothing
                work.keep()
        done = lesson.index + 1
        kept = self.cotraining.nbytes(done)
        note_lesson(record, self.method, training, point.record, work, kept)
        record.state = checkpoint.save_state(self.folder, done, self.method.state())
        write_record(self.folder, record)
        checkpoint.forget(self.folder, done)

    def _fit(self, training: Training, lesson: Lesson, start: State | None, report: Report) -> Iterator[Point]:
        steps, seed = iterations_of(self.settings, self.method, lesson), self.settings.seed * 1_000_003 + lesson.index
        return fit(training, self.settings.train, steps, self._stops(lesson), seed, start=start, report=report)

    def _evaluate(self, task: int, after: int, progress: float, report: Report, roll_out: bool = True) -> Cell | None:
        cells = self.record.cells
        cell = self.evaluator.cell(self.method, task, after, progress, cells, report, roll_out=roll_out)
        if cell is not None:
            cells.append(cell)
        return cell

    def _tested(self, task: int, lesson: Lesson) -> bool:
        """Whether a task is rolled out after a lesson, if its bits are not known."""
        last = lesson.index == len(self.lessons) - 1
        return last or task >= lesson.first or self.settings.evaluate.old == "each"

    def _label(self, lesson: Lesson) -> str:
        count = len(lesson.names)
        what = "all tasks" if self.method.joint else lesson.names[0] if count == 1 else f"{count} tasks together"
        return f"{what} ({lesson.index + 1}/{len(self.lessons)})"

    def _curve(self, lesson: Lesson) -> list[float]:
        """The points of the learning curve, its end included; several tasks together have no curve of one task."""
        return [1.0] if self.method.joint or len(lesson.names) > 1 else list(self.settings.evaluate.curve)

    def _stops(self, lesson: Lesson) -> list[float]:
        """Where training is kept: at the points of its curve, or where it has none on the way after every tenth."""
        curve = self._curve(lesson)
        if len(curve) > 1:
            return curve
        parts = min(10, iterations_of(self.settings, self.method, lesson))
        return [(i + 1) / parts for i in range(parts)]


def iterations_of(settings: RunSettings[Any], method: Method, lesson: Lesson) -> int:
    """Optimizer steps of a lesson: of its first task as the base asks, and as many as for a new task for each other."""
    train = settings.train
    first = train.first_iterations if method.begins_fresh(lesson) else train.iterations
    return first + train.iterations * (len(lesson.names) - 1)
