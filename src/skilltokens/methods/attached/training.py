"""How a skill beside a policy of another make is taught by `fit`: the policy's own loss, and the skill's numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import Tensor

from skilltokens.attached.batches import StoreBatches
from skilltokens.attached.beside import Attached
from skilltokens.attached.drawing import drawn_from
from skilltokens.attached.skill import AttachedSkill
from skilltokens.methods.base import Training
from skilltokens.methods.examples import precision
from skilltokens.methods.rule import Now, Rule
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import NOTE, AttachError, Progress, Report

UNUSED = "train.observation_noise and train.shift do nothing here: what another policy sees stays as it is"


def tell_unused(train: TrainSettings, report: Report) -> None:
    """Says which settings of the training change nothing of a policy of another make, where they are set."""
    if train != train.quiet():
        report(Progress(NOTE, 0, 1, UNUSED))


@contextlib.contextmanager
def taught(attached: Attached, skill: AttachedSkill) -> Iterator[None]:
    """Within it a skill is active and the policy in its training mode; behind it the policy acts without one."""
    attached.use(skill)
    attached.train()
    try:
        yield
    finally:
        attached.policy.eval()
        attached.use(None)


def training_of(
    attached: Attached,
    skill: AttachedSkill,
    batches: StoreBatches,
    groups: list[dict[str, Any]],
    train: TrainSettings,
    whole: bool = False,
) -> Training:
    """What `fit` needs to teach a skill: its own numbers, and the policy's loss on batches.

    Whatever acted since the last step, the skill is active in each and the policy in its training mode.

    Args:
        groups: the skill's numbers with their rates (`AttachedSkill.groups`).
        whole: the skill is a copy of all of the policy: what its loss does not depend on stays as it is, instead of
            being refused.
    """

    def loss(now: Now) -> Tensor:
        if attached.active is not skill:
            attached.use(skill)
        if not attached.policy.training:
            attached.train()
        batch = batches.draw(now.batches)
        drawn = int(now.batches.integers(2**62))  # what the policy draws repeats, also after an interruption
        with drawn_from(drawn, [attached.device]), precision(train):
            return loss_in(attached.policy(batch), type(attached.root).__name__)

    policy = cast(Policy, attached)  # with a loss of its own, fit asks of it only what Attached has as well
    return Training(policy, groups, rule=Rule() if whole else _Reached(skill), loss=loss)


def loss_in(output: Any, policy: str) -> Tensor:
    """The loss in what a policy's forward pass returns: a scalar, the first of a tuple, or "loss" in a dictionary.

    Raises:
        AttachError: there is none, or it has no gradient.
    """
    value = output[0] if isinstance(output, tuple | list) and output else output
    value = value.get("loss") if isinstance(value, Mapping) else value
    if not isinstance(value, Tensor) or value.ndim:
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise AttachError(
            f"the forward pass of {policy} gives {what} where a loss is needed: return loss or (loss, ...)"
        )
    if not value.requires_grad:
        raise AttachError(
            f"the loss of {policy} has no gradient for the skill: does its forward pass detach or freeze?"
        )
    return value


class _Reached(Rule):
    """Looks once whether the loss depends on all that is trained: else a part of the skill would never learn."""

    def __init__(self, skill: AttachedSkill) -> None:
        self.skill = skill

    def gradients(self, now: Now) -> None:
        if now.step:
            return
        missing = [name for name, parameter in self.skill.trained().items() if parameter.grad is None]
        if missing:
            name = missing[0].partition(".")[2]
            raise AttachError(
                f"the loss does not depend on {name} (and {len(missing) - 1} more): leave what is never used out of "
                "the library's targets and own copies"
            )
