"""A method as another package would bring it: settings, a class and a rule that uses every hook, and nothing of ours
changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skilltokens.configuration import NotNegative
from skilltokens.methods import Registration
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential


@dataclass(frozen=True)
class PluggedSettings(SequentialSettings):
    """Fine-tune all but the head, on windows in a random order, a little away from nought."""

    weight: NotNegative = 1e-3
    """Of the push away from nought."""


class Plugged(Sequential):
    """Keeps how many lessons it learned."""

    def rule(self, lesson: Lesson) -> Rule:
        return Everything(self)

    def finish(self, lesson: Lesson) -> None:
        self.kept = {"lessons": self.kept.get("lessons", torch.zeros(())) + 1}


class Everything(Rule):
    """Uses every hook, and keeps what it drew."""

    def __init__(self, method: Sequential) -> None:
        self.policy, self.weight = method.base, method.settings.weight
        self.head = [parameter.detach().clone() for parameter in method.base.head.parameters()]
        self.kept["drawn"] = torch.zeros(())

    def examples(self, new: Examples, now: Now) -> Examples:
        return new.rows(now.generator.permutation(len(new)))

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        return loss - self.weight * sum(parameter.square().mean() for parameter in self.policy.layers.parameters())

    def gradients(self, now: Now) -> None:
        for parameter in self.policy.instruction.parameters():
            if parameter.grad is not None:
                parameter.grad *= 1 + float(self.kept["drawn"])

    def figures(self) -> dict[str, dict[str, float]]:
        return {"all": {"drawn": float(self.kept["drawn"])}}

    def stepped(self, now: Now) -> None:
        self.kept["drawn"] = torch.tensor(now.generator.random())
        for parameter, value in zip(self.policy.head.parameters(), self.head, strict=True):
            parameter.copy_(value)


def registration() -> Registration:
    """What the entry point names."""
    return Registration("fine-tunes all but the head", "tests.methods.plugged:Plugged", PluggedSettings)
