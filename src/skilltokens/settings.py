"""Settings of the loops: training, rollouts, demonstrations; their field docstrings are the command's help.

Nothing here imports torch, so that `skilltokens run RECIPE --help` answers at once. Other settings live where they act:
model/settings.py, a method's folder, behaviour/settings.py, experiments/settings.py.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from skilltokens.configuration import (
    Count,
    CountFrom0,
    Infinite,
    NotNegative,
    Positive,
    Seed,
    ShareFrom0,
    check_settings,
)
from skilltokens.types import SettingError

STEP_LIMIT = 120.0
"""Seconds that a simulator may take for one step, where nobody says otherwise."""


@dataclass(frozen=True)
class TrainSettings:
    """The training loop: AdamW with a cosine rate."""

    iterations: Count = 800
    """Optimizer steps for each new task (multitask: for each of its tasks, spent jointly)."""
    first_iterations: Count = 1000
    """Optimizer steps for the first task, from scratch."""
    rate: Positive = 1e-3
    """Peak learning rate, where the method does not set its own."""
    warmup: CountFrom0 = 20
    """Steps of linear warm-up before the cosine."""
    batch: Count = 32
    """Windows in a batch."""
    window: Count = 20
    """Time steps in a training window; longer than the history, so that acting with a cache is exact."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay of the trained parameters; frozen ones are in no optimizer group."""
    clip: Annotated[float, Gt(0), Infinite] = 1.0
    """Largest norm of the gradient."""
    average: Annotated[float, Ge(0), Lt(1)] = 0.98
    """Decay of the running average of the trained parameters that is evaluated and kept; 0 keeps the last ones."""
    observation_noise: NotNegative = 0.0
    """Standard deviation of noise added to scaled observations while training."""
    shift: NotNegative = 0.0
    """All places in a window move aside together, at random by so much at most (metres, in most suites); 0: never."""
    places: tuple[str, ...] = ()
    """What shift moves: FEATURE:INDEX,INDEX with the index of each place's x; left out: what the suite says."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 autocasts the forward pass; worth it on a GPU only."""
    device: str = "cpu"
    """Where to train and act: cpu, cuda or cuda:1."""
    threads: Count = 1
    """Threads of torch while training; part of what a bit-exact repetition needs to keep."""
    kernel: Literal["torch", "numba"] = "torch"
    """What Pattention's element-wise part learns by; numba, of the extra fast, is faster and has other last bits."""
    features_gb: NotNegative = 20.0
    """Gigabytes on disk for what a frozen trunk makes of pictures, the last used; 0: made anew for each lesson."""
    log_every: Count = 50
    """Steps between two records of loss and gradient flow."""

    ADDED: ClassVar[tuple[str, ...]] = ("kernel", "features_gb", "shift", "places")
    """See `configuration.plain_as_before`: libraries say what their skills were learned with."""

    def quiet(self) -> TrainSettings:
        """The same with demonstrations as they are: for what judges by them and does not learn from them."""
        return replace(self, observation_noise=0.0, shift=0.0)

    def check(self, name: str = "train") -> None:
        """Raises SettingError where the device is not there, or the kernel cannot be used."""
        check_device(self.device)
        check_kernel(self, f"{name}.kernel")


@dataclass(frozen=True)
class EvaluateSettings:
    """The rollout loop: how often, on which states and by how many processes."""

    episodes: Count = 20
    """Test episodes in a cell."""
    points: Count = 6
    """Points of the learning curve, evenly spaced from 0 to the end of training; 1 is the end alone."""
    at: tuple[ShareFrom0, ...] = ()
    """Points of the learning curve as shares of the training, such as 0 .1 .25 .5 1; empty: evenly spaced."""
    old: Literal["each", "end"] = "each"
    """When old tasks are tested again: after each lesson, or at the end alone, which is cheaper but measures no NBT."""
    split: Literal["validation", "test"] = "test"
    """Initial states to use: validation states choose settings, test states are reported."""
    horizon: CountFrom0 = 0
    """The most steps of an episode; 0: the suite's own limit."""
    variants: tuple[str, ...] = ()
    """Suites with the same tasks in other words or places, on which every task is evaluated once at the end."""
    group: Count = 10
    """Episodes that act in one batch; an exact repetition needs the same number."""
    ahead: Count = 1
    """Actions that are taken for each look at the observation, at most the policy's chunk; 1: a look at every step."""
    workers: CountFrom0 = 0
    """Simulator processes; 0 steps them in this process. Results do not depend on it."""
    step_limit: NotNegative = STEP_LIMIT
    """Seconds that a step may take in a worker, a reset five times as many, before it is tried anew; 0: no limit."""
    videos: bool = False
    """Record one short video of each skill at the end."""
    wordings: bool = True
    """Count how often held-out wordings choose the right skill."""

    @property
    def curve(self) -> tuple[float, ...]:
        """The shares of a lesson's training at which its learning curve has points, its end included."""
        if self.at:
            return self.at
        return (1.0,) if self.points == 1 else tuple(i / (self.points - 1) for i in range(self.points))

    def check(self, name: str = "evaluate") -> None:
        """Raises SettingError where the shares of a learning curve do not rise from 0 to 1."""
        rising = all(early < late for early, late in pairwise(self.at))
        if self.at and not (rising and self.at[-1] == 1 and self.at[0] == 0):
            shown = " ".join(f"{share:g}" for share in self.at)
            raise SettingError(
                f"{name}.at {shown} is impossible: give shares of the training that rise from 0 to 1, such as "
                "0 .1 .25 .5 1"
            )


BY_NUMBER = "demos/{episodes}"
"""A folder for demonstrations of which tasks have different numbers: one folder a number."""


@dataclass(frozen=True)
class DemonstrationSettings:
    """The demonstrations that all methods share."""

    episodes: Count = 50
    """Demonstrations a task."""
    noise: NotNegative = 0.1
    """Standard deviation of noise added to the expert's action while it demonstrates (recoveries)."""
    seed: Seed = 0
    """Seed of the demonstrations; the same for every method and every training seed."""
    folder: str = "demos"
    """Where stores are kept and looked for: FOLDER/SUITE/TASK; {episodes} in it stands for the number of a task."""

    @property
    def place(self) -> str:
        """The folder, with the number for {episodes}."""
        return self.folder.replace("{episodes}", str(self.episodes))


def check_device(name: str) -> None:
    """Raises SettingError unless torch can compute on the device: cpu, cuda, or cuda:1 and so on."""
    if name == "cpu":
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise SettingError(f"there is no device {name!r}: use cpu, cuda or cuda:1")
    import torch  # only where it is needed

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= count:
        raise SettingError(
            f"the device {name!r} is not there (torch {torch.__version__} sees {count} GPUs): use cpu, or fix the "
            "driver or torch's build"
        )


def check_kernel(train: TrainSettings, name: str) -> None:
    """Raises SettingError unless the kernel is installed, and computes such a training."""
    if train.kernel == "torch":
        return
    if train.device != "cpu" or train.precision != "float32":
        raise SettingError(
            f"{name} {train.kernel!r} is for float32 on the CPU, not for {train.precision} on {train.device}: use torch"
        )
    if importlib.util.find_spec("numba") is None:
        raise SettingError(
            f'{name} {train.kernel!r} needs numba, which is not installed: run `pip install "skilltokens[fast]"`, or '
            "use torch"
        )


def check_training(train: TrainSettings, history: int) -> None:
    """Checks the settings of a training by themselves and against the policy's history.

    Raises:
        SettingError: a number is out of its range, the device is not there, or windows are shorter than the history.
    """
    check_settings(train, "train")
    if train.window < history:
        raise SettingError(
            f"train.window {train.window} is shorter than policy.history {history}: a policy would act on more steps "
            "than it was trained on"
        )
