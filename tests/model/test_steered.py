"""A steered policy computes what the plain form does, and gradients go to the task token alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.steered import Steered
from skilltokens.model.task_token import TaskToken
from skilltokens.types import GOAL, STATE, Scale

WIDTHS = {STATE: 5, f"{GOAL}pose": 4}
BATCH, LANGUAGE = 6, 8


def steerable(settings: PolicySettings, tokens: int = 1) -> Policy:
    generator = torch.Generator().manual_seed(0)
    scales = {name: Scale((0.1,) * width, (2.0,) * width) for name, width in WIDTHS.items()}
    policy = Policy(Shape(scales, 3, LANGUAGE, {f"{GOAL}pose": "goal"}), settings, generator).requires_grad_(False)
    for layer in policy.stack:  # else it is zero, and would hide a wrong distance
        layer.distance.normal_(generator=generator)
        layer.prefix.normal_(generator=generator)
    token = TaskToken({STATE: WIDTHS[STATE]}, settings.width, tokens, (16,), generator, presence=-1.0)
    return policy.with_task_token(token)


def gradients(policy: Policy, output: Tensor) -> list[Tensor]:
    assert policy.task_token is not None
    return list(torch.autograd.grad(output.sin().sum(), list(policy.task_token.parameters())))


@pytest.mark.parametrize("goal", [False, True])
@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize(("maps", "step"), [("linear", "separate"), ("pattention", "joint")])
def test_it_is_the_plain_form(maps, step, tokens: int, length: int, goal: bool):
    settings = PolicySettings(width=16, layers=3, heads=2, history=3, maps=maps, step=step)
    policy, generator = steerable(settings, tokens), torch.Generator().manual_seed(1)
    seen = {n: torch.randn(BATCH, length, w, generator=generator) for n, w in WIDTHS.items() if goal or n == STATE}
    if goal:
        seen[f"{GOAL}pose"][::2] = 0.0  # not given
    embedding = torch.randn(LANGUAGE, generator=generator)
    mask = torch.ones(BATCH, length, dtype=torch.bool)
    mask[1, : length - 1] = False
    steered = Steered(policy, embedding)
    for padding in (mask, None):
        plain = policy(seen, embedding.expand(BATCH, -1), padding)[:, -1]
        for _ in range(2):  # what is kept for the next batch as well
            output = steered(seen, padding)
            torch.testing.assert_close(output, plain, rtol=1e-5, atol=2e-6)
            for one, other in zip(gradients(policy, output), gradients(policy, plain), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
            plain = policy(seen, embedding.expand(BATCH, -1), padding)[:, -1]


def test_it_is_for_policies_that_stay_frozen():
    policy = steerable(PolicySettings(width=16, layers=1, heads=2))
    assert Steered.fits(policy)
    policy.head.requires_grad_(True)
    assert not Steered.fits(policy)
    assert not Steered.fits(Policy(policy.shape, policy.settings))
