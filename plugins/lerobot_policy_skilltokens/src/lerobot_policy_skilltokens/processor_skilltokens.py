"""What LeRobot does before and behind the policy: it moves tensors and scales nothing."""

from __future__ import annotations

from typing import Any

from lerobot.processor import make_default_pre_post_processors

from lerobot_policy_skilltokens.configuration_skilltokens import SkilltokensConfig


def make_skilltokens_pre_post_processors(
    config: SkilltokensConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> tuple[Any, Any]:
    """The default pipelines; the configuration's normalization is the identity, so statistics do nothing."""
    return make_default_pre_post_processors(config, dataset_stats)
