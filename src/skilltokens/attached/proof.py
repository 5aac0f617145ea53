"""Proof that a skill beside a foreign policy acts bit for bit as it did: its actions on fixed observations.

The observations come from the raw stream of PCG64, as those of every library's proof (`skills.proof`): around the
centers of the skill's statistics, where it has some.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from skilltokens.attached.acting import AttachedActor
from skilltokens.attached.statistics import CENTER, UNIT
from skilltokens.skills.proof import STEPS, digest_of, machine, one_thread
from skilltokens.skills.skill import Proof
from skilltokens.types import ACTION, Array, Feature


def observations(actor: AttachedActor, features: Mapping[str, Feature]) -> list[dict[str, Array]]:
    """The fixed observations: for each step name -> (1, *shape)."""
    source = np.random.PCG64(0)
    steps: list[dict[str, Array]] = []
    for _ in range(STEPS):
        step: dict[str, Array] = {}
        for name in sorted(features.keys() - {ACTION}):
            feature = features[name]
            raw = source.random_raw(int(np.prod(feature.shape))).reshape(1, *feature.shape)
            if feature.dtype == "uint8":
                step[name] = (raw >> np.uint64(56)).astype(np.uint8)
                continue
            values = (raw >> np.uint64(11)) * 2.0**-53 * 4 - 2  # -2 to 2 units
            if name + CENTER in actor.statistics:
                center, unit = (actor.statistics[name + part].cpu().numpy() for part in (CENTER, UNIT))
                values = center + values * unit
            step[name] = values.astype(np.float32)
        steps.append(step)
    return steps


def prove(actor: AttachedActor, features: Mapping[str, Feature]) -> Proof:
    """Acts on the fixed observations with one thread, where the policy is; what was active is so again afterwards.

    Args:
        features: those of the actor's library.
    """
    seen = observations(actor, features)
    policy, before = actor.attached.policy, actor.attached.active
    training = policy.training
    policy.eval()
    try:
        with one_thread():
            memory = actor.start(1)
            actions = np.concatenate([actor.act(step, memory).reshape(1, -1) for step in seen])
    finally:
        actor.attached.use(before)
        if training:
            actor.attached.train()
    place = {} if actor.attached.device.type == "cpu" else {"device": str(actor.attached.device)}
    return Proof(torch.from_numpy(np.ascontiguousarray(actions, np.float32)), digest_of(seen), {**machine(), **place})
