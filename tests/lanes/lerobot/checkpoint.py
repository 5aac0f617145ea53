"""A library's folder as LeRobot's checkpoint, and small libraries to be evaluated by it."""

from __future__ import annotations

import json
from pathlib import Path

from skilltokens.skills.library import SkillLibrary


def write_checkpoint(folder: Path) -> Path:
    """Writes the files beside library.json by which LeRobot knows a checkpoint."""
    features = SkillLibrary.open(folder).features
    said = {name: {"type": _type(name, f.shape), "shape": list(f.shape)} for name, f in features.items()}
    action = {"action": said.pop("action")}
    config = {"type": "skilltokens", "device": "cpu", "input_features": said, "output_features": action}
    device = {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}}
    before = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        device,
    ]
    contents = {
        "config": config,
        "policy_preprocessor": {"name": "policy_preprocessor", "steps": before},
        "policy_postprocessor": {"name": "policy_postprocessor", "steps": [device]},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def _type(name: str, shape: tuple[int, ...]) -> str:
    if name == "action":
        return "ACTION"
    return "VISUAL" if len(shape) == 3 else "ENV" if name.endswith("environment_state") else "STATE"
