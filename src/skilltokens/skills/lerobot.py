"""What LeRobot reads of a library's folder, so that the folder is one of its checkpoints: three small JSON files.

    config.json                 the policy's type, what it observes and does (PreTrainedConfig)
    policy_preprocessor.json    what happens to observations on their way to the policy
    policy_postprocessor.json   the same of actions on their way back

They are what LeRobot 0.6.1 writes itself for a policy that normalizes nothing: a library has its own constants. They
say nothing that the head does not, so they bear no seal and are made anew of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skilltokens.demos.kinds import kind_of
from skilltokens.skills.head import Head, Source
from skilltokens.types import ACTION, ENVIRONMENT_STATE, Feature

CONFIG, PREPROCESSOR, POSTPROCESSOR = "config.json", "policy_preprocessor.json", "policy_postprocessor.json"
CHECKPOINT = (CONFIG, PREPROCESSOR, POSTPROCESSOR)
POLICY = "skilltokens"
"""The type of policy that the plug-in lerobot_policy_skilltokens registers."""
ATTACHED_POLICY = "skilltokens_attached"
"""The same of libraries beside a policy of LeRobot's."""
LOADER = "lerobot"
"""The entry point of `skilltokens.bases` that makes policies of LeRobot's checkpoints."""
DEVICE = "cpu"
"""Where so small a policy acts fastest; `--policy.device=cuda` says otherwise."""
_KEPT = dict.fromkeys(("ACTION", "ENV", "STATE", "VISUAL"), "IDENTITY")
"""LeRobot's normalization of each type of feature: none."""


def checkpoint(head: Head) -> dict[str, bytes]:
    """The three files: name -> content; none of a library beside a policy that LeRobot does not load."""
    attached = isinstance(head.source, Source)
    if isinstance(head.source, Source) and (head.source.loader != LOADER or ACTION not in head.features):
        return {}
    observed, action = _features(head)
    steps = (
        _step("rename_observations_processor", rename_map={}),
        _step("to_batch_processor"),
        _step("device_processor", device=DEVICE, float_dtype=None),
        _step("normalizer_processor", eps=1e-8, features={**observed, **action}, norm_map=_KEPT),
    )
    back = (
        _step("unnormalizer_processor", eps=1e-8, features=action, norm_map=_KEPT),
        _step("device_processor", device="cpu", float_dtype=None),
    )
    contents = (
        {
            "type": ATTACHED_POLICY if attached else POLICY,
            "n_obs_steps": 1,
            "input_features": observed,
            "output_features": action,
            "device": DEVICE,
            "push_to_hub": False,
            **(_steps(head) if attached else {}),
        },
        {"name": PREPROCESSOR.removesuffix(".json"), "steps": steps},
        {"name": POSTPROCESSOR.removesuffix(".json"), "steps": back},
    )
    return {
        name: (json.dumps(content, indent=2) + "\n").encode()
        for name, content in zip(CHECKPOINT, contents, strict=True)
    }


def _step(name: str, **config: Any) -> dict[str, Any]:
    return {"registry_name": name, "config": config}


def _steps(head: Head) -> dict[str, Any]:
    """Which steps the base of an attached library looks at and predicts: lerobot-train makes batches by these."""
    where = head.policy["settings"]
    looks_at = where.get("looks_at")
    return {
        "observation_deltas": None if looks_at is None else list(looks_at),
        "action_deltas": list(where.get("predicts", ())),
        "drop_n_last_frames": where.get("drops", 0),
    }


def _features(head: Head) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the policy observes, and its action, in LeRobot's words: a type, and a shape with colours first."""
    shape: Mapping[str, Any] = head.policy["shape"]
    names = shape["scales"] if "scales" in shape else head.features.keys() - {ACTION}
    observed = {}
    for name in sorted(names):
        sizes = list(head.features[name]["shape"])
        kind = shape.get("kinds", {}).get(name) or kind_of(name, Feature(tuple(sizes), head.features[name]["dtype"]))
        if kind == "image":
            observed[name] = {"type": "VISUAL", "shape": [sizes[2], *sizes[:2]]}
        else:
            observed[name] = {"type": "ENV" if name == ENVIRONMENT_STATE else "STATE", "shape": sizes}
    return observed, {ACTION: {"type": "ACTION", "shape": list(head.features[ACTION]["shape"])}}
