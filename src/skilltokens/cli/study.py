"""`skilltokens run` for recipes that compare ways to learn from reward: the model once, then one process a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from skilltokens.behaviour.learners import LEARNERS, learner_of
from skilltokens.cli.options import parse
from skilltokens.cli.plan import Plan, PlannedRun
from skilltokens.configuration import check_settings
from skilltokens.experiments.recipes import STUDIES
from skilltokens.experiments.settings import RewardSettings
from skilltokens.types import SettingError

if TYPE_CHECKING:
    Learner = str
else:
    Learner = tyro.extras.literal_type_from_choices(list(LEARNERS))


@dataclass(frozen=True)
class StudyOptions:
    """Learns tasks from reward, each on the same frozen policy, by several ways; writes the report.

    The policy is a behaviour model, made once of experts' motion and kept in --motion.folder, or a skill of --library.
    Each run is a process of its own. Stop it with Ctrl-C, or lose the machine: the same command goes on where it
    stopped.

    examples:
      skilltokens run task-tokens-halfcheetah
      skilltokens run task-tokens-walker2d --methods token mlp finetune --seeds 0 1 2
      skilltokens run task-tokens --methods token --tasks reach --ppo.tokens 4 --out runs/four-tokens
    """

    settings: Annotated[RewardSettings, tyro.conf.arg(name="")]
    methods: Annotated[tuple[Learner, ...], tyro.conf.arg(aliases=["--method"])] = ()
    """Ways to learn; empty: those of the recipe."""
    seeds: tuple[int, ...] = ()
    """Seeds to run, each with every way to learn that has chance in it; empty: the one of --seed."""
    jobs: int = 0
    """Runs at the same time; 0: one for each core."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""


def make_study_plan(words: Sequence[str]) -> Plan[RewardSettings]:
    """Reads the words after `skilltokens run`, the recipe first; with `--help` it prints the help and exits.

    Raises:
        SettingError: an unknown option, or an impossible value.
    """
    name = words[0]
    study = STUDIES[name]
    options = parse(StudyOptions, words[1:], f"skilltokens run {name}", StudyOptions(study.settings("token")))
    runs: list[PlannedRun[RewardSettings]] = []
    if options.settings.learner != "token":
        raise SettingError("--learner is what each run is told: name ways to learn with --methods")
    for learner in options.methods or study.learners:
        own = _told(words[1:], study.settings(learner))
        seeds = options.seeds or (options.settings.seed,)
        for seed in seeds[:1] if learner_of(learner).untrained else seeds:
            run = PlannedRun(learner, seed, dataclasses.replace(own, learner=learner, seed=seed))
            check_settings(run.settings)
            runs.append(run)
    return Plan(name, options.out or Path("runs") / name, options.jobs, tuple(runs))


def _told(words: Sequence[str], settings: RewardSettings) -> RewardSettings:
    """A learner's own settings, with what the words override."""
    return parse(StudyOptions, words, "skilltokens run", StudyOptions(settings)).settings


def check_installed() -> None:
    """Raises SettingError where what learning from reward needs is not installed."""
    for name in ("stable_baselines3", "mujoco"):
        if find_spec(name) is None:
            raise SettingError(f'learning from reward needs {name}: run `pip install "skilltokens[reward]"`')


def main(words: Sequence[str]) -> int:
    check_installed()
    plan = make_study_plan(words)
    from skilltokens.cli.execute import carry_out, conclude
    from skilltokens.cli.progress import Single
    from skilltokens.experiments.reward import ground_of, open_study
    from skilltokens.report.reward import print_table
    from skilltokens.report.reward_page import write_report

    left = [run for run in plan.runs if not open_study(plan.folder(run), run.settings, plan.recipe)["finished"]]
    if left:
        with Single("what is steered") as report:
            ground_of(left[0].settings, report)
    failures = carry_out(plan, left, words, lambda settings: settings.ppo.threads)
    return conclude(plan, failures, print_table, write_report)
