"""A learner (learners.py) -> what PPO trains: its actor on the frozen policy or without one, and a critic.

All learners see the same observations.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Dict as DictSpace

from skilltokens.behaviour.agents import Agent, MlpAgent, PolicyAgent
from skilltokens.behaviour.environments import AXES, STEPS
from skilltokens.behaviour.learners import learner_of
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.demos.kinds import PICTURES
from skilltokens.methods.base import generator_of
from skilltokens.model.lowrank import LowRank, leaves, matrices
from skilltokens.model.policy import Policy
from skilltokens.model.task_token import TaskToken
from skilltokens.model.trunks.naming import NONE
from skilltokens.types import ENVIRONMENT_STATE, GOAL, STATE, Array, SettingError

RANK = 4
"""Of the adapters of `lora`."""


@dataclass(frozen=True)
class Sight:
    """What the encoder of a task token is shown."""

    body: bool = True
    """The body's own state."""
    picture: bool = False
    """The environment's pictures instead of the task's numbers."""
    trunk: str = NONE
    """The frozen trunk that it sees them through."""


def make_agent(
    name: str,
    policy: Policy,
    embedding: Array,
    space: DictSpace,
    settings: PpoSettings,
    seed: int,
    sight: Sight = Sight(),
) -> Agent:
    """A fresh agent of a learner on a policy, which itself is never changed.

    Args:
        policy: the frozen policy.
        embedding: the instruction's unit vector, which it gets (language,).
        space: of the environment's observations, maybe stacked.
        sight: what the encoder is shown; the critic sees the task's numbers in any case.

    Raises:
        SettingError: an unknown learner, or an environment that does not show what the policy needs.
        TrunkError: the frozen trunk that the encoder sees through is not there.
    """
    learner, generator = learner_of(name), generator_of(seed, 1)
    widths = vectors(space)
    if learner.policy == "none":
        return MlpAgent(widths, policy.shape.actions, settings, generator, policy.shape.action)
    check_fits(policy, space)
    actor = _prepared(learner.policy, policy, seed)
    if learner.token:
        hidden = ({STATE} if not sight.body else set()) | ({ENVIRONMENT_STATE} if sight.picture else set())
        shown = {feature: width for feature, width in widths.items() if feature not in hidden}
        seen = pictures(space, sight.trunk) if sight.picture else ()
        width = policy.settings.width
        sizes = settings.tokens, settings.hidden, generator, seen, settings.presence, sight.trunk
        token = TaskToken(shown, width, *sizes)
        actor = actor.with_task_token(token)
    return PolicyAgent(actor, embedding, widths, settings, generator)


def vectors(space: DictSpace) -> dict[str, int]:
    """What encoders and critics read of an environment: its vectors and sets but for goals, in the order of names."""
    depth = 1 if STEPS in space.spaces else 0
    widths = {}
    for name, box in sorted(space.spaces.items()):
        shape: tuple[int, ...] = box.shape or ()
        if name != STEPS and not name.startswith(GOAL) and len(shape) - depth in (1, 2):
            widths[name] = math.prod(shape[depth:])
    return widths


def pictures(space: DictSpace, trunk: str = NONE) -> tuple[str, ...]:
    """The pictures of an environment, or what a trunk made of them.

    Raises:
        SettingError: it has none.
    """
    depth = 1 if STEPS in space.spaces else 0
    names = tuple(
        name
        for name, box in sorted(space.spaces.items())
        if box.dtype == np.uint8 or (trunk != NONE and len(box.shape or ()) - depth == len(AXES))
    )
    if not names:
        raise SettingError("the environment shows no picture (height, width, 3): use one that does, or its numbers")
    return names


def check_fits(policy: Policy, space: DictSpace) -> None:
    """Raises SettingError unless the environment shows what the policy looks at."""
    for name, scale in policy.shape.scales.items():
        if name not in space.spaces:
            if name.startswith(GOAL):
                continue
            raise SettingError(f"the environment does not observe {name!r}, which the policy looks at")
        box = space.spaces[name]
        if policy.trunk is not None and (box.shape or (0,))[-1] == policy.trunk.channels:
            continue  # what its own trunk made of the picture
        if policy.shape.kinds.get(name) in PICTURES and (policy.shape.kinds[name] == "image") != (
            box.dtype == np.uint8
        ):
            needed = "uint8" if policy.shape.kinds[name] == "image" else "floats in 0 to 1"
            raise SettingError(f"the environment's {name!r} is {box.dtype} where the policy knows pictures in {needed}")
        width = (box.shape or (0,))[-1]
        if width != len(scale.center):
            raise SettingError(
                f"the environment's {name!r} has {width} numbers where the policy knows {len(scale.center)}: it is a "
                "model of another body"
            )


def _prepared(kind: str, policy: Policy, seed: int) -> Policy:
    """A policy to put a task token on: frozen, a copy to be trained, with adapters, or fresh.

    None shares its numbers with `policy`, which stays where it is when this one goes to a GPU.
    """
    if kind == "fresh":
        return Policy(policy.shape, policy.settings, generator_of(seed, 2))
    copied = copy.deepcopy(policy.fused())
    if kind == "tuned":
        return copied.requires_grad_()
    frozen = copied.requires_grad_(False)
    if kind == "frozen":
        return frozen
    generator = generator_of(seed, 2)
    return frozen.derive(
        {path: LowRank.fresh(leaf, [RANK] * len(matrices(leaf)), generator) for path, leaf in leaves(frozen)}
    )
