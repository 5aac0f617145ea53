"""Sequential fine-tuning: one policy, all of its parameters, task after task. What forgetting looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from skilltokens.methods.base import Lesson, Method, Training, under
from skilltokens.methods.rule import Rule
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings

KEPT = "kept."


class Sequential(Method):
    """Each lesson continues where the last one ended and trains everything. Subclasses add a rule."""

    def __init__(self, base: Policy, settings: Any, train: TrainSettings, seed: int) -> None:
        super().__init__(base, settings, train, seed)
        self.kept: dict[str, Tensor] = {}
        """What a subclass keeps beside the policy; part of the state."""

    def rule(self, lesson: Lesson) -> Rule:
        """What happens within each step of a lesson."""
        return Rule()

    def begin(self, lesson: Lesson) -> Training:
        rate = self.train.rate if self.begins_fresh(lesson) else self.settings.rate
        return Training(self.base, [{"params": list(self.base.parameters()), "lr": rate}], [lesson], self.rule(lesson))

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **{f"{KEPT}{name}": value for name, value in self.kept.items()}}

    def restore(self, state: Mapping[str, Tensor], lessons: Sequence[Lesson]) -> None:
        super().restore({name: value for name, value in state.items() if not name.startswith(KEPT)}, lessons)
        self.kept = {name: value.to(self.base.device) for name, value in under(KEPT, state).items()}
