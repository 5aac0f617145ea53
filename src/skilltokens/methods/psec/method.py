"""PSEC: Parametric Skill Expansion and Composition (arXiv 2502.05932; its code is ltlhuuu/PSEC).

1. *Expansion.* Every skill is a low-rank adapter on the frozen base, as in LoRA: W + B A (section 4.1).
2. *Composition.* A new skill also uses earlier skills' adapters, which stay frozen, in parameter space, with weights
   that a small network makes of the state s (section 4.2):

       W(s) = W + B A + sum_i alpha_i(s) B_i A_i

3. *Penalty.* hold * (mean alpha - 1 / m)^2 keeps the mean weight of the m adapters where the sum of them is 1. The
   authors' code has it (`alpha_loss` of psec_composition.py), with a scale of adapters that ours do not have.

Ours, not the paper's: the weights are 0 at the start, so a new skill begins as the base; each layer has a state network
of its own, which reads the layer's normalised token (model/composed.py); the new adapter's own weight is 1; at most
`most` earlier adapters are used, the nearest by instruction, so a skill's cost does not grow with their number.
Adapter, state networks, head and encoders are together at most `share` of the base.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.base import Lesson, generator_of
from skilltokens.methods.examples import Examples
from skilltokens.methods.grown import Grown, GrownMethod, own_copies, ranks_of
from skilltokens.methods.psec import PsecSettings
from skilltokens.methods.rule import Now, Rule
from skilltokens.model.composed import StateNetwork, adapter_of, composed
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import ADAPTERS, Rows, Skill
from skilltokens.types import Array


class Psec(GrownMethod):
    """A frozen base, and for each further skill an adapter and state networks that weigh earlier skills' adapters."""

    alone = True
    settings: PsecSettings
    form = "lora"  # and "composed" where earlier adapters are used

    def check(self, lessons: int) -> None:
        if lessons > 1 or self.adopted:
            own = own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)[1]
            self._ranks(own)

    def grow(self, lesson: Lesson) -> Grown:
        replaced, own = own_copies(self.base, head=self.settings.own_head, encoders=self.settings.own_encoders)
        generator, ranks = generator_of(self.seed, lesson.index), iter(self._ranks(own))
        lows = {
            path: LowRank.fresh(leaf, [next(ranks) for _ in matrices(leaf)], generator)
            for path, leaf in leaves(self.base)
        }
        numbers = self.used(lesson.embeddings[0][0], self.first_entry(lesson))
        states = [self._state(len(numbers), generator) for _ in self.base.stack] if numbers else []
        replaced |= (
            composed(self.base, lows, [self._adapter(number) for number in numbers], states) if numbers else lows
        )
        adapters = [parameter for low in lows.values() for parameter in low.own()]
        adapters += [parameter for state in states for parameter in state.parameters()]
        groups = [{"params": adapters, "lr": self.settings.rate}, {"params": own, "lr": self.settings.own_rate}]
        rule = HoldMean(states, self.settings.hold) if numbers and self.settings.hold else Rule()
        return Grown(self.base.derive(replaced), groups, rule)

    def finish(self, lesson: Lesson) -> None:
        super().finish(lesson)
        for state in _states(self.entries[self.first_entry(lesson)].policy):
            state.noted = None

    def used(self, embedding: Array, before: int) -> list[int]:
        """The entries, of the first `before` ones, whose adapters a new skill uses, in the order learned."""
        numbers = [n for n in range(before) if self._has_adapter(n)]
        cosines = [float((self.entries[n].embeddings @ embedding).max()) for n in numbers]
        nearest = np.argsort(-np.array(cosines), kind="stable")[: self.settings.most]
        return sorted(numbers[place] for place in nearest)

    def _has_adapter(self, number: int) -> bool:
        if number < len(self.adopted_skills):
            return self.adopted_skills[number].form in ("lora", "composed")
        return self.entries[number].policy is not self.base

    def _adapter(self, number: int) -> dict[str, Tensor]:
        """The own adapter of an earlier skill."""
        if number < len(self.adopted_skills):
            return adapter_of(self.adopted_skills[number].tensors)
        return adapter_of(self.own(self.entries[number].policy))

    def _state(self, earlier: int, generator: torch.Generator) -> StateNetwork:
        return StateNetwork(self.base.settings.width, self.settings.hidden, earlier, generator).to(self.base.device)

    def _ranks(self, own: Sequence[torch.nn.Parameter]) -> list[int]:
        """The ranks that are left by the head, the encoders and state networks for as many skills as may be used."""
        most, width = self.settings.most, self.base.settings.width
        states = len(self.base.stack) * StateNetwork.size(width, self.settings.hidden, most) if most else 0
        return ranks_of(self.base, self.room(self.settings.share, own) - states, self.settings.share)

    def library(self, lessons: Sequence[Lesson]) -> tuple[Policy, list[Skill]]:
        identities = [skill.identity for skill in self.adopted_skills]
        skills: list[Skill] = []
        for entry in self.entries[len(self.adopted_skills) :]:
            tensors, number = dict(self.own(entry.policy)), len(identities)
            numbers = self.used(entry.embeddings[0], number) if tensors else []
            active = {ADAPTERS: Rows.of([(identities[n], np.zeros(1)) for n in numbers])} if numbers else {}
            form = "composed" if numbers else "lora" if tensors else "rows"
            skills.append(Skill(entry.name, entry.wordings, entry.embeddings, tensors, active, form=form))
            identities.append(skills[-1].identity)
        return self.base, skills


class HoldMean(Rule):
    """The penalty on the mean weight of the earlier adapters, layer by layer."""

    def __init__(self, states: Sequence[StateNetwork], hold: float) -> None:
        self.states, self.hold = states, hold
        for state in states:
            state.noted = []

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        misses = []
        for state in self.states:
            noted, state.noted = state.noted or [], []
            misses += [(weights.mean() - 1 / weights.shape[-1]).square() for weights in noted]
        return loss + self.hold * torch.stack(misses).mean()


def _states(policy: Policy) -> list[StateNetwork]:
    return [module for module in policy.modules() if isinstance(module, StateNetwork)]
