"""Acting ahead: one look, then several of the actions that it predicts, and the next look after the last of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from skilltokens.model.actor import Memory, PolicyActor
from skilltokens.types import Array, Observation


@dataclass
class Plan:
    """The memory of a batch of episodes in lock-step, and the actions that are still to be taken, the next one last."""

    memory: Memory
    waiting: list[Array] = field(default_factory=list)


class Ahead:
    """A policy that looks at every n-th step and takes n actions for each look; implements `types.Actor`.

    What is observed between two looks is not read. With n = 1 it acts bit for bit as the actor alone.

    Args:
        actor: whose policy predicts at least n actions (`policy.chunk`).
        n: actions a look.

    Raises:
        SettingError: the policy cannot act so far ahead.
    """

    def __init__(self, actor: PolicyActor, n: int) -> None:
        actor.check_chunk(n)
        self.actor, self.n, self.policy = actor, n, actor.policy

    def start(self, batch: int) -> Plan:
        """The memory of `batch` new episodes; their first step is looked at."""
        return Plan(self.actor.start(batch))

    def act(self, observation: Observation, memory: Plan) -> Array:
        """The next actions (batch, A)."""
        if not memory.waiting:
            chunk = self.actor.chunk(observation, memory.memory, self.n)
            memory.waiting = [chunk[:, step] for step in reversed(range(self.n))]
        return memory.waiting.pop()
