"""A skill as arrays for NumPy: the policy's numbers, what the memory begins with, and a plan of the step."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from skilltokens.demos.kinds import PICTURES
from skilltokens.model.actor import PolicyActor
from skilltokens.model.encoders import SetEncoder
from skilltokens.model.heads import MixtureHead
from skilltokens.model.pattention import Pattention
from skilltokens.model.step import Step
from skilltokens.types import LIMIT, Array, SettingError


def plan_of(actor: PolicyActor) -> dict[str, Any]:
    """How the step is put together: `runner._Numpy` follows it.

    Raises:
        SettingError: the policy looks at pictures, or may be given goals.
    """
    policy = actor.policy
    pictures = [name for name, kind in policy.seen.items() if kind in PICTURES]
    if pictures:
        raise SettingError(
            f"the skill looks at pictures ({', '.join(pictures)}), which NumPy alone is too slow for: export it to onnx"
        )
    step, token = Step(policy), policy.task_token
    return {
        "heads": policy.settings.heads,
        "layers": len(policy.stack),
        "history": policy.settings.history,
        "tokens": step.tokens,
        "joint": policy.settings.step == "joint",
        "kinds": {name: policy.shape.kinds.get(name, "vector") for name in policy.shape.scales},
        "task_token": [] if token is None else list(token.features),
        "tau": {path: module.tau for path, module in policy.maps().items() if isinstance(module, Pattention)},
        "modes": policy.head.modes if isinstance(policy.head, MixtureHead) else 0,
        "actions": policy.shape.actions,
        "chunk": policy.settings.chunk,
        "set_heads": SetEncoder.HEADS,
        "limit": LIMIT,
    }


@torch.no_grad()
def arrays_of(actor: PolicyActor) -> dict[str, Array]:
    """All numbers of the step, by their names in torch; `start.*` is the memory at an episode's start."""
    policy, memory = actor.policy, actor.start(1)
    arrays = {name: tensor.numpy() for name, tensor in policy.state_dict().items()}
    step = Step(policy)
    for i in range(len(policy.stack)):
        arrays[f"bias.{i}"] = getattr(step, f"bias{i}").numpy()
        arrays[f"start.keys.{i}"] = memory.keys[i][0].numpy()
        arrays[f"start.values.{i}"] = memory.values[i][0].numpy()
    for path, encoder in policy.encoders.items():
        if isinstance(encoder, SetEncoder):
            asked = encoder.query(memory.instruction).reshape(encoder.HEADS, encoder.KEY)
            arrays[f"encoders.{path}.asked"] = asked.numpy()
    return {name: array for name, array in arrays.items() if not name.startswith("instruction.")}


def packed(arrays: dict[str, Array], card: str) -> bytes:
    """The `.npz` file."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, card=np.frombuffer(card.encode(), np.uint8), **arrays)
    return content.getvalue()
