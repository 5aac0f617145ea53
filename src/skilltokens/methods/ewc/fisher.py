"""The diagonal of the Fisher information of a policy on a task: how much each parameter matters to what it does.

    F_i = mean over the demonstrations' steps x of E[(d log p(y | x) / d theta_i)^2],  y drawn from the policy p(. | x)

The training loss is taken as -log p, so F is in the loss' own unit: half of F_i * (theta_i - theta*_i)^2 is by how much
the loss on the task grows, as far as a parabola along each parameter can tell. For the mixture head the loss is -log p.
For the regression head, whose loss is the mean squared error over A numbers, it is that of a Gaussian with the fixed
variance A / 2, and then F_i = 2 / A * mean over x of the sum over a of (d mu_a(x) / d theta_i)^2.

The actions y are drawn, not those of the demonstrations: these would make the *empirical* Fisher information, which
vanishes where the policy imitates well (arXiv 1905.12558). One window is differentiated at a time. Its steps share a
gradient, which changes no mean: the scores of different steps are independent with mean 0, so the square of their sum
has the sum of their squares as its mean. The square of a whole batch's mean gradient would be too small by the batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from skilltokens.methods.examples import Source
from skilltokens.model.heads import MixtureHead, RegressionHead
from skilltokens.model.policy import Policy


def fisher(policy: Policy, source: Source, samples: int, generator: np.random.Generator) -> Tensor:
    """The diagonal (P,), in the order of the policy's parameters.

    Args:
        source: of one task; so many of its windows are looked at, or all where there are fewer.
        generator: draws which, and the actions.
    """
    parameters = list(policy.parameters())
    total = torch.zeros(sum(parameter.numel() for parameter in parameters), device=policy.device)
    steps = torch.zeros((), device=policy.device)
    for number in generator.choice(len(source), size=(min(samples, len(source)), 1), replace=False):
        seen = source.at(number, generator).to(policy.device)
        x = policy(seen.observation, seen.words, seen.mask, None, seen.stride)
        losses = policy.head.loss(x, drawn(policy.head, x.detach(), generator)) * seen.mask
        gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True, materialize_grads=True)
        total += torch.cat([gradient.flatten() for gradient in gradients]).square()
        steps += seen.mask.sum()
    return total / steps


@torch.no_grad()
def drawn(head: RegressionHead | MixtureHead, x: Tensor, generator: np.random.Generator) -> Tensor:
    """Actions (..., A) drawn from what a head says of tokens (..., width), its loss being -log p."""

    def random(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(x.device)

    if isinstance(head, RegressionHead):
        mean = head(x)
        return mean + math.sqrt(mean.shape[-1] / 2) * random(generator.standard_normal(tuple(mean.shape)))
    weights, means, deviations = head.parts(x)
    mode = (weights + random(generator.gumbel(size=tuple(weights.shape)))).argmax(-1)[..., None, None]
    mode = mode.expand(*means.shape[:-2], 1, head.actions)
    mean, deviation = (part.gather(-2, mode).squeeze(-2) for part in (means, deviations))
    return mean + deviation.exp() * random(generator.standard_normal(tuple(mean.shape)))
