"""One step of acting as a pure function: what is observed and the memory go in, the actions and the memory come out.

`actor.PolicyActor` computes the same step by step in Python. This form can be traced, and run without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skilltokens.model.policy import Policy
from skilltokens.model.tpst import norm
from skilltokens.types import SettingError


class Step(nn.Module):
    """One step of a policy whose memory has room for its whole history.

    Attributes:
        names: the features that it reads, in the order of its first arguments.
        tokens: tokens of one time step.

    Args:
        policy: a policy that acts (`Policy.fused`).

    Raises:
        SettingError: goals may be left out of an observation, and such a step has no fixed form.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        goals = [name for name, kind in policy.seen.items() if kind == "goal"]
        if goals:
            raise SettingError(f"a policy that may be given goals ({', '.join(goals)}) has no step of a fixed form")
        self.policy, self.names = policy, tuple(policy.seen)
        self.tokens = policy.per_step
        history = policy.settings.history
        own = [] if policy.task_token is None else [float(value) for value in policy.task_token.presence]
        weights = torch.tensor([0.0, *[*own, *[0.0] * (self.tokens - len(own))] * history])
        for i, bias in enumerate(biases(policy, self.tokens)):
            self.register_buffer(f"bias{i}", bias + weights if own else bias, persistent=False)

    @property
    def length(self) -> int:
        """Tokens in memory: the instruction's and those of the history."""
        return 1 + self.policy.settings.history * self.tokens

    def mask(self, seen: Sequence[bool]) -> Tensor:
        """What is added to attention (length,): minus infinity for those of the last `history` steps that were not
        seen, before the episode began or while acting ahead. This step is the last of `seen`."""
        left_out = [False, *(not step for step in seen for _ in range(self.tokens))]
        return torch.zeros(self.length).masked_fill_(torch.tensor(left_out), float("-inf"))

    def forward(self, instruction: Tensor, mask: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """The actions (B, policy.chunk, A) of this step and the next ones, then the keys and values of all layers, each
        (B, heads, length, width / heads).

        Args:
            instruction: its token (B, 1, width).
            mask: see `mask`.
            others: the features in the order of `names`, each (B, *shape); then the keys of all layers and the values
                of all layers as the step before left them.
        """
        count, layers = len(self.names), self.policy.stack
        observation: Mapping[str, Tensor] = {
            name: value[:, None] for name, value in zip(self.names, others[:count], strict=True)
        }
        before: Sequence[Tensor] = others[count:]
        x = self.policy.tokens(observation, instruction)[:, 0]
        keys, values = [], []
        for i, layer in enumerate(layers):
            h = norm(x)
            new_keys, new_values = layer.keys(h)
            keys.append(slide(before[i], new_keys))
            values.append(slide(before[len(layers) + i], new_values))
            if i == len(layers) - 1:  # only the last token becomes the action
                x, h = x[:, -1:], h[:, -1:]
            x = layer.attend(x, h, keys[-1], values[-1], getattr(self, f"bias{i}") + mask)
        return (self.policy.chunks(norm(x[:, 0])), *keys, *values)


def biases(policy: Policy, tokens: int) -> list[Tensor]:
    """For each layer the attention bias (heads, 1, 1 + history * tokens) of a full memory."""
    back = range(policy.settings.history - 1, -1, -1)
    return [
        torch.cat([layer.prefix, layer.distance[:, back].repeat_interleave(tokens, 1)], 1)[:, None].detach().clone()
        for layer in policy.stack
    ]


def slide(cache: Tensor, new: Tensor) -> Tensor:
    """Drops the oldest steps, which stand behind the instruction, and appends as many new ones (B, heads, n, d)."""
    return torch.cat([cache[:, :, :1], cache[:, :, 1 + new.shape[2] :], new], 2)
