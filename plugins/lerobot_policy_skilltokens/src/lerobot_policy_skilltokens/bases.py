"""LeRobot's checkpoints as bases of skill libraries: the entry point `lerobot` of `skilltokens.bases`.

    config.json, model.safetensors           the policy, made by LeRobot's own class; nothing is unpickled
    policy_preprocessor.json                 what happens to a batch before it: run as it is, but that states and
                                             actions are scaled by each skill's own statistics, as the base wants
    policy_postprocessor.json                the reverse of actions: nothing else may stand there

Pictures and words are treated as the base's own training did. What stands in a checkpoint's files imports no code: the
steps are those that LeRobot or an installed plug-in registered.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.policies.factory import get_policy_class
from lerobot.processor import (
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.utils.import_utils import register_third_party_plugins
from torch import Tensor, nn

from skilltokens.attached.loading import Base
from skilltokens.attached.statistics import CENTER, UNIT, WHOLE, Spread
from skilltokens.skills.lerobot import CONFIG, POSTPROCESSOR, PREPROCESSOR
from skilltokens.types import Feature, LibraryError

MODEL = "model.safetensors"
MIGRATE = "lerobot.processor.migrate_policy_normalization"
LIBRARIES = ("skilltokens", "skilltokens_attached")
SPREADS: dict[NormalizationMode, Spread] = {
    NormalizationMode.MEAN_STD: None,
    NormalizationMode.MIN_MAX: WHOLE,
    NormalizationMode.QUANTILES: (0.01, 0.99),
    NormalizationMode.QUANTILE10: (0.1, 0.9),
}
"""LeRobot's ways to scale a feature -> how its unit is measured."""
ENDS = {WHOLE: ("min", "max"), (0.01, 0.99): ("q01", "q99"), (0.1, 0.9): ("q10", "q90")}
"""What LeRobot's statistics call the ends of each range."""
BEFORE = (
    "rename_observations_processor",
    "to_batch_processor",
    "device_processor",
    "normalizer_processor",
    "tokenizer_processor",
    "smolvla_new_line_processor",
    "pi0_new_line_processor",
    "pi05_prepare_state_tokenizer_processor_step",
    "pi0_fast_prepare_state_tokenizer_processor_step",
    "relative_actions_processor",
)
"""Steps of a preprocessor that leave actions alone, but for their scale."""
BEHIND = ("unnormalizer_processor", "device_processor", "absolute_actions_processor")
SCALES = (NormalizerProcessorStep, UnnormalizerProcessorStep)
SCALED = (FeatureType.STATE, FeatureType.ENV, FeatureType.ACTION)
"""Kinds of features whose statistics are each skill's own."""


class Checkpoints:
    """Makes policies of LeRobot's checkpoints; a `Load` of `skilltokens.attached.loading`."""

    def knows(self, place: Path) -> bool:
        """Whether a folder is a checkpoint of LeRobot."""
        return bool(_type_of(place))

    def __call__(self, place: Path) -> Base:
        """The policy of a checkpoint's folder.

        Raises:
            LibraryError: it is none, a file is missing, or its processors do what a skill could not share.
        """
        _check(place)
        _check_steps(place, PREPROCESSOR, BEFORE)
        _check_steps(place, POSTPROCESSOR, BEHIND)
        policy = _policy(place)
        prepare = Prepared(policy, _pipeline(place, PREPROCESSOR))
        behind = _pipeline(place, POSTPROCESSOR).steps
        scales = [step for step in (*prepare.pipeline.steps, *behind) if isinstance(step, SCALES)]
        spreads, statistics = _scaling(scales, prepare.named)
        prepare.leave_scale()
        config: Any = policy.config
        features = {
            prepare.named(name): feature_of(one)
            for name, one in {**config.input_features, **config.output_features}.items()
            if one.type in (*SCALED, FeatureType.VISUAL) and "empty_camera" not in name
        }
        return Base(policy, prepare, statistics, spreads, features, some=hasattr(config, "empty_cameras"))


checkpoints = Checkpoints()


class Prepared:
    """LeRobot's own preprocessor, without the scale of states and actions, on the device where the policy is."""

    def __init__(self, policy: nn.Module, pipeline: PolicyProcessorPipeline) -> None:
        self.policy, self.pipeline = policy, pipeline
        self.scale = next((s for s in pipeline.steps if isinstance(s, NormalizerProcessorStep)), None)
        maps = [s.rename_map for s in pipeline.steps if isinstance(s, RenameObservationsProcessorStep)]
        self._names = {new: old for renamed in maps for old, new in renamed.items()}

    def named(self, name: str) -> str:
        """What the data calls a feature of the policy."""
        return self._names.get(name, name)

    def leave_scale(self) -> None:
        """From now on states and actions come scaled, by the statistics of a skill."""
        if self.scale is not None:
            self.scale.norm_map = {kind: mode for kind, mode in self.scale.norm_map.items() if kind not in SCALED}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        device = next(self.policy.parameters()).device
        for number, step in enumerate(self.pipeline.steps):
            if isinstance(step, DeviceProcessorStep) and step.tensor_device.type != device.type:
                self.pipeline.steps[number] = DeviceProcessorStep(str(device), step.float_dtype)
        return self.pipeline(batch)


def feature_of(feature: PolicyFeature) -> Feature:
    """A feature of LeRobot's as a store has it: of pictures the colours come last."""
    if feature.type is FeatureType.VISUAL:
        colours, height, width = feature.shape
        return Feature((height, width, colours), "uint8")
    return Feature(tuple(feature.shape))


def _scaling(
    steps: Sequence[NormalizerProcessorStep | UnnormalizerProcessorStep], named: Callable[[str], str]
) -> tuple[dict[str, Spread], dict[str, Tensor]]:
    """How states and actions are scaled, and the base's own centers and units: of actions those by which they are
    scaled back, which come last."""
    spreads: dict[str, Spread] = {}
    statistics: dict[str, Tensor] = {}
    for step in steps:
        for name, feature in step.features.items():
            mode = step.norm_map.get(feature.type, NormalizationMode.IDENTITY)
            if feature.type not in SCALED or mode is NormalizationMode.IDENTITY:
                continue
            spread = spreads[named(name)] = SPREADS[mode]
            if stats := (step.stats or {}).get(name):
                eps = 0.0 if feature.type is FeatureType.ACTION else step.eps
                statistics |= {named(name) + part: value for part, value in base_scale(stats, spread, eps).items()}
    return spreads, statistics


def base_scale(stats: Mapping[str, Any], spread: Spread, eps: float) -> dict[str, Tensor]:
    """Center and unit by which LeRobot scales a feature for the base; `eps` as it adds it to deviations.

    An entry that never moved in the base's data is -1 there, as LeRobot has it, and moves by its own unit elsewhere.

    Raises:
        LibraryError: the checkpoint's statistics lack what its normalization needs.
    """
    lacking = [name for name in needed(spread) if name not in stats]
    if lacking:
        raise LibraryError(f"the checkpoint's statistics have no {lacking[0]}, which its normalization needs")
    first, second = (torch.as_tensor(np.asarray(stats[name]), dtype=torch.float32) for name in needed(spread))
    if spread is None:
        return {CENTER: first, UNIT: second + eps}
    still = second == first
    return {
        CENTER: torch.where(still, first + 1, (first + second) / 2),
        UNIT: torch.where(still, torch.ones_like(first), (second - first) / 2),
    }


def needed(spread: Spread) -> tuple[str, str]:
    """The two statistics of LeRobot's that a unit is made of."""
    return ("mean", "std") if spread is None else ENDS[spread]


# ---------------------------------------------------------------- reading a checkpoint


def _type_of(place: Path) -> str:
    """What config.json calls the policy; empty where there is none."""
    try:
        kind = json.loads((place / CONFIG).read_text()).get("type")
    except (OSError, ValueError, AttributeError):
        return ""
    return kind if isinstance(kind, str) else ""


def _check(place: Path) -> None:
    """Raises LibraryError where a place is no whole checkpoint."""
    for name in (CONFIG, MODEL, PREPROCESSOR, POSTPROCESSOR):
        if not (place / name).is_file():
            old = f"; LeRobot's {MIGRATE} makes newer ones of checkpoints without processors"
            why = old if name in (PREPROCESSOR, POSTPROCESSOR) else ""
            raise LibraryError(f"{place} has no {name}: name a folder that lerobot-train wrote{why}")
    kind = _type_of(place)
    if not kind:
        raise LibraryError(f"{place / CONFIG} says no type of policy: name a folder that lerobot-train wrote")
    if kind in LIBRARIES:
        raise LibraryError(f"{place} is a skill library, and no policy to stand beside: add skills to it itself")


def _check_steps(place: Path, name: str, known: tuple[str, ...]) -> None:
    """Raises LibraryError where a pipeline has a step that a skill could not share, or that names code by its path."""
    try:
        content = json.loads((place / name).read_text())["steps"]
        steps = [(step.get("registry_name"), step.get("config", {})) for step in content]
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise LibraryError(f"{place / name} is no pipeline of LeRobot: save the policy again") from problem
    for step, config in steps:
        if step not in known:
            what = f"{step!r:.100}" if step else "a class by its path"
            raise LibraryError(
                f"{place / name} has the step {what}, and it is not known whether skills may share it: known are "
                f"{', '.join(known)}"
            )
        if step in ("relative_actions_processor", "absolute_actions_processor") and config.get("enabled"):
            raise LibraryError(
                f"{place / name} makes actions relative to the state, which skills do not: train the base on absolute "
                "actions (--policy.use_relative_actions=false)"
            )


def _policy(place: Path) -> nn.Module:
    """LeRobot's policy with the numbers of a checkpoint, on the CPU. No weights are downloaded, to be overwritten."""
    register_third_party_plugins()
    config: Any = PreTrainedConfig.from_pretrained(place, cli_overrides=["--device=cpu"])
    if config.use_peft:
        raise LibraryError(f"{place} is an adapter of PEFT: merge it into its base and save that")
    for name, value in (("pretrained_backbone_weights", None), ("load_vlm_weights", False), ("compile_model", False)):
        if hasattr(config, name):
            setattr(config, name, value)
    with contextlib.redirect_stdout(sys.stderr):  # it prints
        policy: Any = get_policy_class(config.type).from_pretrained(place, config=config, strict=True)
    if hasattr(config, "use_vae"):
        config.use_vae = False  # it looks at the actions, which nobody can when the skill acts
    return policy


def _pipeline(place: Path, name: str) -> PolicyProcessorPipeline:
    from lerobot.processor.converters import (
        batch_to_transition,
        policy_action_to_transition,
        transition_to_batch,
        transition_to_policy_action,
    )

    ways: dict[str, Any] = (
        {"to_transition": batch_to_transition, "to_output": transition_to_batch}
        if name == PREPROCESSOR
        else {"to_transition": policy_action_to_transition, "to_output": transition_to_policy_action}
    )
    return PolicyProcessorPipeline.from_pretrained(place, config_filename=name, **ways)
