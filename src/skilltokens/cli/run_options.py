"""The options of `skilltokens run`: one dataclass for each kind of experiment, whose docstring is its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import tyro

from skilltokens.cli.place import PlaceOptions
from skilltokens.cli.profile.options import ProfileOptions
from skilltokens.experiments.experiment import Experiment, experiment_of

Settings = TypeVar("Settings")

if TYPE_CHECKING:
    MethodName = LearnerName = str
else:
    MethodName = tyro.extras.literal_type_from_choices(list(experiment_of("lifelong").learners()))
    LearnerName = tyro.extras.literal_type_from_choices(list(experiment_of("reward").learners()))


@dataclass(frozen=True, kw_only=True)
class CommonOptions(PlaceOptions, ProfileOptions):
    """What every `skilltokens run` may say of its runs."""

    seeds: tuple[str, ...] = ()
    """Seeds, each run with every method: 0 1 2, or 0-4, or both; empty: the one of --seed."""
    vary: tuple[str, ...] = ()
    """Settings that take each of several values, in runs of their own: train.rate=1e-3,2e-3 method.share=0.1,0.2."""
    config: Path | None = None
    """A TOML file of settings, named as the options below without their dashes; what is typed comes first."""
    jobs: int = 0
    """How many runs at once; 0: one for each core, or what a cluster has room for."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""
    tag: str = ""
    """A word that each run.json keeps, for `skilltokens list runs --tag`."""
    dry_run: bool = False
    """Only say what would run, where, and about how long it would take."""


@dataclass(frozen=True)
class LifelongOptions(CommonOptions, Generic[Settings]):
    """Learns a recipe's tasks one after another with each method and seed, evaluates them, and writes a report.

    A recipe is a complete configuration; each option below overrides one of its settings, for all methods that have the
    setting. A run is one method with one seed, in a process of its own; how many run at once changes no result. The
    demonstrations are made once, for all runs. After Ctrl-C or a crash, the same command resumes where it stopped.
    Instead of a recipe, name a run.json to repeat that run, or a recipe of your own as module:function.

    examples:
      skilltokens run demo --methods t2s sequential
      skilltokens run metaworld-cw10 --methods t2s sequential lora --seeds 0-2
      skilltokens run demo --vary train.rate=1e-3,2e-3 --dry-run       # what would run, and about how long
      skilltokens run --resume runs/demo                               # goes on with what is unfinished there
      skilltokens run demo --tasks push window-close --train.iterations 300 --out runs/two-tasks
      skilltokens run demo --protocol B --first 2                      # the first two tasks together
      skilltokens run demo --protocol A+ --base runs/demo/t2s-seed0/library --tasks push
      skilltokens run metaworld-cw10 --order power-law --lessons 40    # tasks come again, a few of them often
      skilltokens run results/metaworld-cw10/t2s-rows-seed0/run.json   # repeat a run, and say where it differs
      skilltokens run metaworld-cw10 --help                            # that recipe's own values
    """

    methods: Annotated[tuple[MethodName, ...], tyro.conf.arg(aliases=["--method"], metavar="NAME ...")]
    """Methods to compare, on the same demonstrations, initial states and seeds: see `skilltokens list methods`."""
    settings: Annotated[Settings, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class RewardOptions(CommonOptions, Generic[Settings]):
    """Learns a recipe's tasks from reward, each from the same policy, with several learners, and writes a report.

    The policy is a behaviour model, distilled from experts' motion and kept in --motion.folder, or a skill of the
    library that you name with --library. A learner is a way to learn a task with it, such as a task token while the
    policy stays frozen: see `skilltokens list learners`. A run is one learner with one seed, in a process of its own.
    After Ctrl-C or a crash, the same command resumes where it stopped. Instead of a recipe, name a run.json to repeat
    that run, or a recipe of your own as module:function.

    examples:
      skilltokens run task-tokens-halfcheetah
      skilltokens run task-tokens-walker2d --methods token mlp finetune --seeds 0 1 2
      skilltokens run task-tokens --methods token --tasks reach --ppo.tokens 4 --out runs/four-tokens
    """

    settings: Annotated[Settings, tyro.conf.arg(name="")]
    methods: Annotated[tuple[LearnerName, ...], tyro.conf.arg(aliases=["--method"], metavar="NAME ...")] = ()
    """Learners to compare: see `skilltokens list learners`; left out: those of the recipe."""


OPTIONS: dict[str, Any] = {"lifelong": LifelongOptions, "reward": RewardOptions}
"""By the experiment's name."""


def options_type(experiment: Experiment[Any]) -> Any:
    """The options of an experiment's recipes, a dataclass to be given the type of the settings."""
    return OPTIONS[experiment.name]
