"""The options of `skilltokens run`: one dataclass for each kind of experiment, whose docstring is its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import tyro

from skilltokens.experiments.experiment import Experiment, experiment_of

Settings = TypeVar("Settings")

if TYPE_CHECKING:
    MethodName = LearnerName = str
else:
    MethodName = tyro.extras.literal_type_from_choices(list(experiment_of("lifelong").learners()))
    LearnerName = tyro.extras.literal_type_from_choices(list(experiment_of("reward").learners()))


@dataclass(frozen=True)
class LifelongOptions(Generic[Settings]):
    """Learns a recipe's tasks one after another, by each method and seed, evaluates on the way, writes the report.

    A recipe is a complete configuration; every option below overrides one of its settings, for all methods that have
    it. Demonstrations are made once and shared. Each run is a process of its own; the numbers do not depend on how many
    go at once. Stop it with Ctrl-C, or lose the machine: the same command resumes where it stopped. In place of a
    recipe stands a run.json to repeat, or a recipe of your own as module:function.

    examples:
      skilltokens run demo --methods t2s sequential
      skilltokens run metaworld-cw10 --methods t2s sequential lora --seeds 0 1 2
      skilltokens run demo --tasks push window-close --train.iterations 300 --out runs/two-tasks
      skilltokens run demo --protocol B --first 2                      # the first two tasks together
      skilltokens run demo --protocol A+ --base runs/demo/t2s-seed0/library --tasks push
      skilltokens run metaworld-cw10 --order power-law --lessons 40    # tasks come back, and are taught again
      skilltokens run results/cw10/t2s-seed0/run.json                  # repeat a run, and say where it differs
      skilltokens run metaworld-cw10 --help                            # that recipe's own values
    """

    methods: Annotated[tuple[MethodName, ...], tyro.conf.arg(aliases=["--method"])]
    """Methods to compare, on the same demonstrations, initial states and seeds."""
    settings: Annotated[Settings, tyro.conf.arg(name="")]
    seeds: tuple[int, ...] = ()
    """Seeds to run, each with every method; empty: the one of --seed."""
    jobs: int = 0
    """Runs at the same time; 0: one for each core."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""


@dataclass(frozen=True)
class RewardOptions(Generic[Settings]):
    """Learns tasks from reward, each on the same frozen policy, by several learners; writes the report.

    The policy is a behaviour model, made once of experts' motion and kept in --motion.folder, or a skill of --library.
    Each run is a process of its own. Stop it with Ctrl-C, or lose the machine: the same command resumes where it
    stopped. In place of a recipe stands a run.json to repeat, or a recipe of your own as module:function.

    examples:
      skilltokens run task-tokens-halfcheetah
      skilltokens run task-tokens-walker2d --methods token mlp finetune --seeds 0 1 2
      skilltokens run task-tokens --methods token --tasks reach --ppo.tokens 4 --out runs/four-tokens
    """

    settings: Annotated[Settings, tyro.conf.arg(name="")]
    methods: Annotated[tuple[LearnerName, ...], tyro.conf.arg(aliases=["--method"])] = ()
    """Learners to compare; empty: those of the recipe."""
    seeds: tuple[int, ...] = ()
    """Seeds to run, each with every learner that has chance in it; empty: the one of --seed."""
    jobs: int = 0
    """Runs at the same time; 0: one for each core."""
    out: Path | None = None
    """Folder for the runs and the report; empty: runs/RECIPE."""


OPTIONS: dict[str, Any] = {"lifelong": LifelongOptions, "reward": RewardOptions}
"""By the experiment's name."""


def options_type(experiment: Experiment[Any]) -> Any:
    """The options of an experiment's recipes, a dataclass to be given the type of the settings."""
    return OPTIONS[experiment.name]
