"""`skilltokens run` for recipes that compare ways to learn from reward: the model once, then one process a run."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from skilltokens.cli.options import parse
from skilltokens.recipes import STUDIES, learner_names
from skilltokens.settings import StudySettings
from skilltokens.types import RunError, SettingError

if TYPE_CHECKING:
    Learner = str
else:
    Learner = tyro.extras.literal_type_from_choices(learner_names())


@dataclass(frozen=True)
class StudyOptions:
    """Learns tasks from reward, each on the same frozen policy, by several ways; writes the report.

    The policy is a behaviour model, made once of experts' motion and kept in --motion.folder, or a skill of --library.
    Each run is a process of its
    own. Stop it with Ctrl-C, or lose the machine: the same command goes on where it stopped.

    examples:
      skilltokens run task-tokens-halfcheetah
      skilltokens run task-tokens --body walker2d --methods token mlp finetune --seeds 0 1 2
      skilltokens run task-tokens --methods token --tasks reach --ppo.tokens 4 --out runs/four-tokens
    """

    settings: Annotated[StudySettings, tyro.conf.arg(name="")]
    methods: Annotated[tuple[Learner, ...], tyro.conf.arg(aliases=["--method"])] = ()
    """Ways to learn; empty: those of the recipe."""
    seeds: tuple[int, ...] = ()
    """Seeds to run, each with every way to learn; empty: the one of --seed."""
    jobs: int = 0
    """Runs at the same time; 0: one for each core."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""


@dataclass(frozen=True)
class PlannedStudy:
    """One run of the plan."""

    settings: StudySettings

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.settings.learner}-seed{self.settings.seed}"


@dataclass(frozen=True)
class StudyPlan:
    """All that one command line asks for."""

    recipe: str
    out: Path
    jobs: int
    runs: tuple[PlannedStudy, ...]

    def folder(self, run: PlannedStudy) -> Path:
        return self.out / run.name


def make_study_plan(words: Sequence[str]) -> StudyPlan:
    """Reads the words after `skilltokens run`, the recipe first; with `--help` it prints the help and exits.

    Raises:
        SettingError: an unknown option, or an impossible value.
    """
    name = words[0]
    study = STUDIES[name]
    options = parse(StudyOptions, words[1:], f"skilltokens run {name}", StudyOptions(study.settings("token")))
    if options.jobs < 0:
        raise SettingError(f"--jobs {options.jobs} is impossible: use 1 or more, or 0 for one run a core")
    runs: list[PlannedStudy] = []
    for learner in options.methods or study.learners:
        own = _told(words[1:], study.settings(learner))
        seeds = options.seeds or (options.settings.seed,)
        runs += [PlannedStudy(dataclasses.replace(own, learner=learner, seed=seed)) for seed in seeds]
    if len({run.name for run in runs}) < len(runs):
        raise SettingError("a way to learn or a seed is named twice: name each once")
    return StudyPlan(name, options.out or Path("runs") / name, options.jobs, tuple(runs))


def _told(words: Sequence[str], settings: StudySettings) -> StudySettings:
    """A learner's own settings, with what the words override."""
    return parse(StudyOptions, words, "skilltokens run", StudyOptions(settings)).settings


def check_installed() -> None:
    """Raises SettingError where what learning from reward needs is not installed."""
    for name in ("stable_baselines3", "mujoco", "scipy"):
        if find_spec(name) is None:
            raise SettingError(f'learning from reward needs {name}: run `pip install "skilltokens[reward]"`')


def main(words: Sequence[str]) -> int:
    check_installed()
    plan = make_study_plan(words)
    try:
        return _run(plan, words)
    except KeyboardInterrupt:
        print("\nskilltokens: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _run(plan: StudyPlan, words: Sequence[str]) -> int:
    from skilltokens.behaviour.study import ground_of, open_study
    from skilltokens.cli.batch import Job, run_jobs
    from skilltokens.cli.progress import Single, watching
    from skilltokens.report.reward import print_table
    from skilltokens.report.reward_page import write_report

    left = [run for run in plan.runs if not open_study(plan.folder(run), run.settings, plan.recipe)["finished"]]
    failures: list[str] = []
    if left:
        with Single("what is steered") as report:
            ground_of(left[0].settings, report)
        worker = (sys.executable, "-m", "skilltokens.cli.worker")
        jobs = [
            Job(run.name, (*worker, run.name, *words), plan.out / f"{run.name}.log", run.settings.ppo.threads)
            for run in left
        ]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with watching([job.name for job in jobs]) as view:
            endings = run_jobs(jobs, min(plan.jobs or cores, len(jobs)), view)
        failures = [failure for failure in endings.values() if failure is not None]
    done = [plan.folder(run) / "run.json" for run in plan.runs if (plan.folder(run) / "run.json").exists()]
    if done:
        print_table(done)
        print(f"report: {write_report(done, plan.out / 'report.html').resolve()}")
    if failures:
        raise RunError("; ".join(failures))
    return 0
