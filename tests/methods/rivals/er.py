"""ER, experience replay: behind each new batch, as many windows of what was seen before."""

from dataclasses import dataclass

import numpy as np
import torch

from skilltokens.configuration import Count
from skilltokens.methods.base import Lesson
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.rule import Now, Rule
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.sequential.method import Sequential


@dataclass(frozen=True)
class ERSettings(SequentialSettings):
    """Fine-tune everything, and replay windows from a reservoir of all that was seen."""

    windows: Count = 1000
    """Windows in the reservoir."""


class Replay(Rule):
    """Old windows behind the new ones, with the same weight."""

    def __init__(self, memory: Examples) -> None:
        self.memory = memory

    def examples(self, new: Examples, now: Now) -> Examples:
        return new.joined(self.memory.sample(len(new), now.generator))


class ER(Sequential):
    """Keeps a fair sample of the windows of all episodes: each has a random key, and those of the largest keys stay."""

    def rule(self, lesson: Lesson) -> Rule:
        return Replay(Examples.of(self.kept)) if self.kept else Rule()

    def finish(self, lesson: Lesson) -> None:
        source, generator = Source(lesson, self.train), np.random.default_rng([self.seed, lesson.index])
        before = self.kept["keys"].cpu().numpy() if self.kept else np.empty(0)
        keys = np.concatenate([before, generator.random(len(source))])
        stay = np.sort(np.argsort(keys)[-self.settings.windows :])
        old, new = stay[stay < len(before)], stay[stay >= len(before)] - len(before)
        memory = source.at(new, generator)
        if self.kept:
            memory = Examples.of(self.kept).rows(old).joined(memory)
        self.kept = {**memory.tensors(), "keys": torch.from_numpy(keys[stay])}

    def remembered(self) -> int:
        return sum(tensor.nbytes for tensor in self.kept.values())
