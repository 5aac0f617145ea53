"""The learners: the ways to learn a task from reward that are compared, and how they differ. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skilltokens.types import SettingError, nearest


@dataclass(frozen=True)
class Learner:
    """What a learner does with the policy; everything else follows from these."""

    summary: str
    policy: Literal["frozen", "tuned", "lora", "fresh", "none"]
    """The policy stays frozen, is trained as a whole or by adapters, begins from fresh weights, or an MLP acts."""
    token: bool = True
    """A task token is trained."""
    commanded: bool = False
    """The policy gets each task's own command as well."""
    policy_rate: float | None = None
    """Learning rate of the model itself, or of its adapters; chosen by success on validation states."""

    @property
    def scratch(self) -> bool:
        """It begins from nothing, and so gets more steps."""
        return self.policy in ("fresh", "none")

    @property
    def untrained(self) -> bool:
        """Nothing is trained, so there is no chance in it: every seed would be the same run."""
        return self.policy == "frozen" and not self.token


LEARNERS = {
    "token": Learner("a task token: a small encoder steers the frozen policy", "frozen"),
    "token-goal": Learner("a task token beside a command, such as a velocity", "frozen", commanded=True),
    "goal": Learner("a command alone on the frozen policy; nothing trained", "frozen", token=False, commanded=True),
    "finetune": Learner("encoder and policy are trained", "tuned", policy_rate=5e-5),
    "finetune-goal": Learner("the same beside a command", "tuned", commanded=True, policy_rate=5e-5),
    "lora": Learner("encoder and low-rank adapters on the frozen policy are trained", "lora", policy_rate=1e-3),
    "transformer": Learner("PPO from scratch with the policy's architecture", "fresh"),
    "mlp": Learner("PPO from scratch with an MLP", "none", token=False),
}
"""In the order that tables and legends show them."""


def learner_of(name: str) -> Learner:
    """The learner of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in LEARNERS:
        raise SettingError(f"learner {name!r} is unknown: {nearest(name, list(LEARNERS))}")
    return LEARNERS[name]
