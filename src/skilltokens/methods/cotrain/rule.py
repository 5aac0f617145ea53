"""The rule of co-training: old windows behind the new batch, under the new instruction, until the last share of steps.

The new task's batch is what it would be anyway. Old windows and new ones are one part of what is learned from, so that
each step of a window weighs the same. A method's own rule sees them as its lesson's batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from skilltokens.demos.store import DemonstrationStore
from skilltokens.methods.base import Lesson, Training, generator_of
from skilltokens.methods.cotrain import CotrainSettings
from skilltokens.methods.cotrain.likeness import MOST, Seen, best, described, log_odds, nearness, over_windows
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.rule import Around, Now, Rule, checked_examples
from skilltokens.settings import TrainSettings
from skilltokens.types import Scale


class Retrieved:
    """Old windows to be drawn from.

    Args:
        source: of all windows of the old demonstrations.
        numbers: those that are drawn from (n,).
        weights: how often each is, in proportion (n,).
    """

    def __init__(self, source: Source, numbers: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self.source, self.numbers = source, numbers
        self.weights = weights / weights.sum()
        self._ends = np.cumsum(self.weights)

    def sample(self, number: int, generator: np.random.Generator) -> Examples:
        """So many at random, with repetition."""
        drawn = np.searchsorted(self._ends, generator.random(number) * self._ends[-1], side="right")
        return self.source.at(self.numbers[np.minimum(drawn, len(self.numbers) - 1)], generator)


class Cotrain(Around):
    """Around a method's own rule, which learns from the new batch with old windows behind it.

    Args:
        number: old windows a step.
        batch: new windows a step.
        alone: the last share of the steps, which learn from the new batch alone.
    """

    def __init__(self, inner: Rule, windows: Retrieved, number: int, batch: int, alone: float) -> None:
        super().__init__(inner)
        self.windows, self.number, self.alone = windows, number, alone
        self.passes = inner.passes * (1 + number / batch * (1 - alone))

    def examples(self, new: Examples, now: Now) -> Examples:
        if now.step >= round(now.total * (1 - self.alone)):
            return super().examples(new, now)
        both = new.joined(self.windows.sample(self.number, now.generator))
        return checked_examples(self.inner, replace(both, parts=(len(both),)), now)


def cotraining(
    training: Training,
    lesson: Lesson,
    old: Sequence[DemonstrationStore],
    settings: CotrainSettings,
    train: TrainSettings,
    seen: Seen | None,
    action: Scale | None,
    seed: int,
) -> Training:
    """A lesson's training, with old windows in its steps. The same for the same arguments, bit for bit.

    Args:
        training: the method's own; its rule is the inner one then.
        lesson: of one task.
        old: earlier tasks' demonstrations, at least one store.
        seen: what is compared of observations; None with the score "any".
        action: constants of actions in the robot's own units.
        seed: of the run.
    """
    number = round(train.batch * settings.share / (1 - settings.share))
    if not number:
        return training
    source = Source(_as_new(lesson, old), train, training.ours)
    numbers, weights = _chosen(lesson, old, settings, train, seen, action, seed)
    windows = Retrieved(source, numbers, weights)
    training.rule = Cotrain(training.rule, windows, number, train.batch, settings.alone)
    return training


def _as_new(lesson: Lesson, old: Sequence[DemonstrationStore]) -> Lesson:
    """The old demonstrations as if they were the lesson's task's."""
    count = len(old)
    return replace(
        lesson,
        names=lesson.names * count,
        stores=tuple(old),
        wordings=lesson.wordings * count,
        embeddings=lesson.embeddings * count,
    )


def _chosen(
    lesson: Lesson,
    old: Sequence[DemonstrationStore],
    settings: CotrainSettings,
    train: TrainSettings,
    seen: Seen | None,
    action: Scale | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The numbers of the old windows that are drawn from, counted over all old stores, and their weights."""
    steps = sum(store.steps for store in old)
    if settings.score == "any" or seen is None:
        return np.arange(steps), np.ones(steps)
    new = described(lesson.stores[0], seen, settings.ahead, action)
    earlier = torch.cat([described(store, seen, settings.ahead, action) for store in old])
    if settings.score == "nearest":
        scores = nearness(new, earlier)
    else:
        scores = log_odds(new, earlier, generator_of(seed, lesson.index))
    starts = np.cumsum([0, *(store.steps for store in old)])
    offsets = [np.asarray(store.offsets)[:-1] + start for store, start in zip(old, starts, strict=False)]
    of_windows = over_windows(scores.numpy(), np.concatenate([*offsets, starts[-1:]]), train.window)
    numbers = best(of_windows, settings.retrieved)
    if settings.score == "nearest":
        return numbers, np.ones(len(numbers))
    return numbers, np.exp(np.maximum(of_windows[numbers] - of_windows.max(), -np.log(MOST)))
