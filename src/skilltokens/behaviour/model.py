"""The behaviour model: a policy that follows goals, any of them masked, distilled from expert motion.

It is an ordinary `Policy` without history: its tokens are the body's state and one for each goal (poses and
velocities some steps ahead, a command), the state's own token becomes the action. While it is distilled, goals are
left out at random, as in MaskedMimic (arXiv 2409.14393), so that any of them can be given alone, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skilltokens.demos import DemonstrationStore
from skilltokens.language import load_encoder
from skilltokens.methods.base import Lesson, Training, generator_of
from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now, Rule
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.train import fit
from skilltokens.types import ACTION, GOAL, Report, Scale, silent

FLOOR = 0.01
"""Least unit of an entry, as a share of the largest one in its feature: a joint moves little beside a way of metres."""


class MaskGoals(Rule):
    """Leaves goals out of a batch: all in a tenth of it, all but one in two, else each or not.

    Draws from the batches' generator, as it did when the published models were distilled: they can be made again.
    """

    def examples(self, new: Examples, now: Now) -> Examples:
        names = [name for name in new.observation if name.startswith(GOAL)]
        generator, batch = now.batches, len(new)
        keep = generator.random((batch, len(names))) < 0.5
        kind, one = generator.random(batch), generator.integers(len(names), size=batch)
        keep[kind < 0.3] = False
        single = (kind >= 0.1) & (kind < 0.3)
        keep[np.flatnonzero(single), one[single]] = True
        kept = torch.from_numpy(keep).to(new.words.device)[:, :, None, None]
        masked = {name: new.observation[name] * kept[:, column] for column, name in enumerate(names)}
        return replace(new, observation={**new.observation, **masked})


def distil(
    folder: Path | str,
    store: DemonstrationStore,
    *,
    policy: PolicySettings,
    train: TrainSettings,
    encoder: str = "minilm",
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
    report: Report = silent,
) -> SkillLibrary:
    """Trains a behaviour model on motion and makes a skill library of it, with the model as its base and first skill.

    Args:
        notes: to be kept with the skill.

    Raises:
        DemonstrationError: the store was altered.
        LibraryError: the folder holds a library already, or cannot be written.
    """
    torch.set_num_threads(train.threads)
    store.verify()
    language = load_encoder(encoder, report=report)
    words = (store.task.instruction,)
    shape = Shape.of(store.features, _scales(store), language.dim)
    model = Policy(shape, policy, generator_of(seed, 0)).to(train.device)
    lesson = Lesson(0, (store.task.name,), (store,), (words,), (language(words),), 0, policy.chunk)
    groups = [{"params": list(model.parameters()), "lr": train.rate}]
    training = Training(model, groups, [lesson], rule=MaskGoals())
    for _ in fit(training, train, train.first_iterations, [1.0], seed, report=report):
        pass
    model.requires_grad_(False)
    skill = Skill(store.suite, words, language(words))
    origin = {"demonstrations": {"source": store.source, "episodes": store.episodes, "digest": store.digest}}
    return SkillLibrary.create(
        folder, model.cpu(), skill, dict(store.features), language.name, {**origin, **(notes or {})}
    )


def _scales(store: DemonstrationStore) -> dict[str, Scale]:
    """Mean and deviation of every vector; of a goal over the steps where it is given."""
    scales = {}
    for name, feature in store.features.items():
        if name == ACTION:
            continue
        rows = np.asarray(store[name], np.float64)
        if name.startswith(GOAL):
            rows = rows[rows[:, 0] > 0.5]
        unit = np.maximum(rows.std(0), FLOOR * float(rows.std(0).max()))
        center, unit = rows.mean(0), np.where(unit > 0, unit, 1.0)
        scales[name] = Scale(tuple(center.tolist()), tuple(unit.tolist()))
        assert len(center) == feature.shape[0]
    return scales
