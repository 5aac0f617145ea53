"""A skill in training and where it started: the pull towards it, the blend with it, and a start that is learned itself.

    pull        loss + pull / 2 * |own - start|^2, over all of the skill's own numbers (L2-SP, arXiv 1802.01483)
    blend       kept = start + blend * (learned - start) (WiSE-FT, arXiv 2109.01903; of robots RETAIN, 2512.08333)
    start_step  start of the next skill = start + start_step * (kept - start) (Reptile, arXiv 1803.02999)

The start is known from the moment that a lesson begins, so an interrupted training finds the same one again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Around, Now, Rule
from skilltokens.methods.start import StartSettings
from skilltokens.model.policy import Policy

if TYPE_CHECKING:
    from skilltokens.methods.base import Training


class Pulled(Around):
    """Adds weight / 2 * the squared distance of some parameters to where they are now to the other rule's loss."""

    of_parameters = True

    def __init__(self, inner: Rule, weight: float, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        super().__init__(inner)
        self.weight = weight
        self._pairs = [(parameter, parameter.detach().clone()) for parameter in parameters.values()]

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        away = torch.stack([(parameter - start).square().sum() for parameter, start in self._pairs]).sum()
        return super().loss(loss, learned, now) + 0.5 * self.weight * away


class Held:
    """A skill while it is in training.

    Args:
        training: as the method begins it; given the rule that pulls, where the settings say so.
        settings: the method's own; those that are no StartSettings hold nothing.
        learned: the start that earlier skills have left, by the parameters' names; a skill's own numbers of these names
            and shapes take its values. Empty: the skill starts as the method has it.
    """

    def __init__(self, training: Training, settings: Any, learned: Mapping[str, Tensor]) -> None:
        self.settings = settings if isinstance(settings, StartSettings) else StartSettings()
        self.policy = training.ours
        trained = {id(parameter) for parameter in training.parameters()}
        self._names = [name for name, p in training.ours.named_parameters() if id(p) in trained]
        own = self._own(training.ours)
        with torch.no_grad():
            for name, value in learned.items():
                if name in own and own[name].shape == value.shape:
                    own[name].copy_(value)
        self.before = {name: parameter.detach().clone() for name, parameter in own.items()}
        if self.settings.pull and own:
            training.rule = Pulled(training.rule, self.settings.pull, own)

    def shown(self) -> Policy:
        """The policy that would be kept if the training ended now."""
        if self.settings.blend == 1:
            return self.policy
        policy = copy.deepcopy(self.policy).requires_grad_(False)
        self._blend(policy)
        return policy

    def keep(self) -> None:
        """Training is over: the policy has what is kept."""
        if self.settings.blend != 1:
            self._blend(self.policy)

    def start_after(self, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The start that the next skill begins with, after the one that this skill began with; call it after `keep`."""
        own, step = self._own(self.policy), self.settings.start_step
        return {**learned, **{name: start.lerp(own[name].detach(), step) for name, start in self.before.items()}}

    def _own(self, policy: Policy) -> dict[str, torch.nn.Parameter]:
        """The skill's own parameters in its policy, or in a copy of that."""
        parameters = dict(policy.named_parameters())
        return {name: parameters[name] for name in self._names}

    @torch.no_grad()
    def _blend(self, policy: Policy) -> None:
        for name, parameter in self._own(policy).items():
            parameter.copy_(self.before[name].lerp(parameter, self.settings.blend))
