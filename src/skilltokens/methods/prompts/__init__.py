"""A prompt pool (L2P): learned tokens in front of the frozen base's, picked by the instruction.

Its settings and registration; free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from skilltokens.configuration import Count, CountFrom0, NotNegative, Positive
from skilltokens.methods.registration import Registration
from skilltokens.types import SettingError


@dataclass(frozen=True)
class PromptsSettings:
    """L2P: a pool of prompts in front of the frozen base, picked by the instruction; all skills train it."""

    share: Positive = 0.08
    """Parameters trained for a new skill, as a share of the whole base policy: its prompts, their keys, its head and
    encoders."""
    pool: Count = 10
    """Prompts in the pool."""
    top: Count = 5
    """Prompts that a skill has in front: those whose keys are nearest to its instruction; at most the whole pool."""
    length: CountFrom0 = 0
    """Tokens of a prompt in each layer; 0: as many as the share leaves room for."""
    pull: NotNegative = 0.5
    """Weight of the cosine distance between the picked keys and the instruction, which pulls the keys to it."""
    diverse: bool = True
    """A new skill picks prompts that fewer skills were trained with; False: by the keys alone."""
    rate: Positive = 1e-2
    """Peak learning rate of prompts and keys."""
    own_rate: Positive = 5e-3
    """Peak learning rate of the skill's own head and encoders."""
    own_head: bool = True
    """A skill has its own action head, started as a copy."""
    own_encoders: bool = True
    """A skill has its own observation encoders, started as copies."""

    def check(self, name: str = "method") -> None:
        """Raises SettingError where more prompts are picked than there are."""
        if self.top > self.pool:
            raise SettingError(f"{name}.top {self.top} is more than the {self.pool} prompts of {name}.pool")


REGISTRATION = Registration(
    "prompts of one pool in front of the frozen base (L2P)",
    "skilltokens.methods.prompts.method:Prompts",
    PromptsSettings,
    trials=({"rate": 5e-3}, {"rate": 2e-2}, {"diverse": False}),
)
