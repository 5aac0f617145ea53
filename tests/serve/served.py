"""A small library whose skills are called by real sentences, made in a moment; and observations for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tests.skills.making import SMALL, features, grown, said
from tests.toy import Toy

from skilltokens.methods.base import generator_of
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.types import ACTION, Array

PUSH, CLOSE = "push the puck to the goal", "close the window"
"""The instructions of the two skills, `push` and `close`."""


def make_served(folder: Path, settings: PolicySettings = SMALL) -> SkillLibrary:
    """A library of two skills of random numbers, with MiniLM's vectors."""
    toy = Toy()
    base = Policy(Shape.of(toy.features, toy.scales, 384), settings, generator_of(0, 0)).requires_grad_(False)
    library = SkillLibrary.create(folder, base, Skill("push", (PUSH,), said([PUSH])), features(), "minilm")
    numbers = grown(base, "close")
    library.add(Skill("close", (CLOSE,), said([CLOSE]), numbers.tensors, numbers.content.active))
    return library


def readings(steps: int, seed: int = 0) -> Iterator[dict[str, Array]]:
    """Observations of one robot, each feature (*shape)."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield {
            name: rng.uniform(-0.5, 0.5, feature.shape).astype(feature.dtype)
            for name, feature in Toy().features.items()
            if name != ACTION
        }


def acted(library: SkillLibrary, skill: str, observations: list[dict[str, Array]]) -> Array:
    """What a local actor does, (steps, A)."""
    actor = library.actor_of(skill)
    memory = actor.start(1)
    return np.concatenate([actor.act({n: x[None] for n, x in seen.items()}, memory) for seen in observations])


if __name__ == "__main__":
    make_served(Path(sys.argv[1]))
