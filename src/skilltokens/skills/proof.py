"""Proof that a skill still acts bit for bit as it did: its actions on fixed observations, kept when it was learned.

The observations are drawn from the raw stream of PCG64, which NumPy promises never to change, around the centers of the
library's scales; nothing but their digest has to be kept. Bits may differ between processors and versions of torch, so
the proof says where it was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from skilltokens.demos.kinds import PICTURES
from skilltokens.machine import processor
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.skills.skill import Proof
from skilltokens.types import GOAL, Array, Feature

STEPS = 12
"""Steps of the proof: more than a usual history, so that the oldest step has left it."""
PICTURE = (32, 32, 3)
"""The size of a picture that only a task token sees."""


def observations(policy: Policy, features: Mapping[str, Feature]) -> list[dict[str, Array]]:
    """The fixed observations of a policy's proof: for each step name -> (1, *shape)."""
    source = np.random.PCG64(0)
    steps: list[dict[str, Array]] = []
    for _ in range(STEPS):
        step: dict[str, Array] = {}
        for name in sorted(policy.seen):
            shape = _shape(name, policy, features)
            raw = source.random_raw(int(np.prod(shape)))
            if policy.seen[name] in PICTURES:
                picture = (raw >> np.uint64(56)).astype(np.uint8).reshape(1, *shape)
                step[name] = picture if policy.seen[name] == "image" else picture / np.float32(255)
                continue
            values = (raw >> np.uint64(11)) * 2.0**-53 * 4 - 2  # -2 to 2 units
            scale = policy.shape.scales.get(name)
            values = values.reshape(shape)
            if scale is not None:
                values = np.asarray(scale.center) + values * np.asarray(scale.unit)
            if name.startswith(GOAL):
                values[..., 0] = 1.0  # the goal is given
            step[name] = values.astype(np.float32)[None]
        steps.append(step)
    return steps


def _shape(name: str, policy: Policy, features: Mapping[str, Feature]) -> tuple[int, ...]:
    """The shape of a feature; of one that only a task token reads, the library may not know it."""
    if name in features:
        return features[name].shape
    token = policy.task_token
    assert token is not None
    return PICTURE if name in token.pictures else (token.features[name],)


def prove(policy: Policy, key: Array, features: Mapping[str, Feature]) -> Proof:
    """Acts on the fixed observations, on the CPU with one thread. All that is predicted at a step counts.

    Args:
        policy: the assembled policy of a skill.
        key: the unit sentence vector that it is given (language,).
        features: those of its library.
    """
    seen = observations(policy, features)
    with one_thread():
        actor = PolicyActor(policy, key)
        actor.senses = actor.senses.without_flags()  # an observation's numbers are of chance
        memory = actor.start(1)
        actions = np.concatenate([actor.predict(step, memory).reshape(1, -1) for step in seen])
    return Proof(torch.from_numpy(np.ascontiguousarray(actions, np.float32)), digest_of(seen), machine())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes in one thread: sums are rounded in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def digest_of(steps: Sequence[Mapping[str, Array]]) -> str:
    """SHA-256 over the observations of all steps: names, dtypes, shapes and bytes."""
    sha256 = hashlib.sha256()
    for step in steps:
        for name, array in step.items():
            sha256.update(f"{name} {array.dtype} {array.shape}\n".encode())
            sha256.update(array.tobytes())
    return sha256.hexdigest()


def machine() -> dict[str, str]:
    """Where actions are computed: what their last bits may depend on."""
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
    }


class Comparison(NamedTuple):
    """A proof made again."""

    same: bool
    """Every bit is the same."""
    difference: float
    """The largest difference of an action."""
    elsewhere: str
    """Where the proof was made, if that was on another machine or with another torch; else empty."""


def compare(old: Proof, new: Proof) -> Comparison:
    """How the actions of a proof that is made now differ from those that were kept."""
    there, here = dict(old.machine), dict(new.machine)
    elsewhere = "" if there == here else ", ".join(f"{name} {value}" for name, value in sorted(there.items()))
    if old.actions.shape != new.actions.shape or old.observations != new.observations:
        return Comparison(False, float("inf"), elsewhere)
    same = bool(torch.equal(old.actions.view(torch.int32), new.actions.view(torch.int32)))
    return Comparison(same, float((old.actions - new.actions).abs().max()), elsewhere)
