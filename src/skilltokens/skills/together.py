"""Several skills in one batch: every episode has an instruction, a skill and a memory of its own.

An actor always acts on the whole batch, and the actions of its own episodes are taken: the bits of an episode's actions
may depend on the batch's size and on its place there, and so never on what the others are asked to do. A batch costs a
pass for each skill in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from skilltokens.types import Actor, Array, Observation, SettingError


class AheadActor(Actor, Protocol):
    """An actor that can also act for several steps after one look."""

    def chunk(self, observation: Observation, memory: Any, n: int) -> Array:
        """The actions (batch, n, A) of this step and the next ones; `memory` moves on by n steps."""
        ...


@dataclass
class Party:
    """The episodes of a batch that one skill acts for, and that began together."""

    skill: str
    rows: list[int]
    actor: AheadActor
    memory: Any


class Together:
    """Acts for a batch whose episodes are called by instructions of their own.

    Args:
        call: the name of the skill that an instruction calls.
        actor: the actor of a skill.
    """

    def __init__(self, call: Callable[[str], str], actor: Callable[[str], AheadActor]) -> None:
        self._call, self._actor = call, actor
        self.reset()

    def reset(self) -> None:
        """New episodes begin with the next instructions."""
        self.parties: list[Party] = []
        self.sentences: list[str] = []

    def ask(self, sentences: Sequence[str]) -> None:
        """Says what every episode is to do now; one whose instruction is another one begins anew, the others go on.

        Raises:
            what `call` and `actor` raise; then nothing has changed.
        """
        parties, known = (self.parties, self.sentences) if len(sentences) == len(self.sentences) else ([], [])
        changed = [row for row, text in enumerate(sentences) if not known or text != known[row]]
        if not changed:
            return
        called = {text: self._call(text) for text in dict.fromkeys(sentences[row] for row in changed)}
        begun = []
        for skill in dict.fromkeys(called.values()):
            actor = self._actor(skill)
            rows = [row for row in changed if called[sentences[row]] == skill]
            begun.append(Party(skill, rows, actor, actor.start(len(sentences))))
        for party in parties:
            party.rows = [row for row in party.rows if row not in changed]
        self.parties = [*(party for party in parties if party.rows), *begun]
        self.sentences = list(sentences)

    def act(self, observation: Observation, n: int = 1) -> Array:
        """The next n actions (B, n, A) of every episode, for observations (B, *shape).

        Raises:
            SettingError: there are not as many observations as instructions, or n is more than a policy predicts.
            ObservationError: an observation is missing, or is not what a skill observes.
        """
        size = len(self.sentences)
        for name, values in observation.items():
            if len(values) != size:
                raise SettingError(
                    f"the batch has {size} instructions and {len(values)} of {name!r}: give one for each episode"
                )
        actions: Array | None = None
        for party in self.parties:
            if n == 1:
                acted = party.actor.act(observation, party.memory)[:, None]
            else:
                acted = party.actor.chunk(observation, party.memory, n)
            actions = np.zeros_like(acted) if actions is None else actions
            actions[party.rows] = acted[party.rows]
        if actions is None:
            raise SettingError("no episode has an instruction yet: ask for something first")
        return actions
