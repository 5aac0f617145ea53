"""The configuration of a skill library as a LeRobot policy: what config.json beside library.json says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from lerobot.configs import NormalizationMode, PreTrainedConfig

GROW = (
    "lerobot-train does not train a skill library: run `skilltokens demos import DATASET STORE` and `skilltokens learn "
    "LIBRARY STORE`, which adds one skill and keeps every bit of the others"
)


@PreTrainedConfig.register_subclass("skilltokens")
@dataclass
class SkilltokensConfig(PreTrainedConfig):
    """A skill library as a policy. All else about it is in the library itself."""

    n_action_steps: int = 1
    """Actions that are executed for one observation. With more than 1, those between are not looked at."""
    threshold: float | None = None
    """Confidence from 0 to 1 below which an instruction calls no skill; 0: one always is called; None: the library's
    default."""
    encoder: str | None = None
    """The sentence encoder that the library was made with, where that is a folder: a file's word is not trusted."""
    push_to_hub: bool = False
    """Nothing to push: `skilltokens hub push` does that."""
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("STATE", "ENV", "VISUAL", "ACTION"), NormalizationMode.IDENTITY)
    )
    """The library scales by its own constants."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_action_steps < 1:
            raise ValueError(f"n_action_steps {self.n_action_steps} is impossible: use 1 or more")

    def validate_features(self) -> None:
        """Features are checked when the policy acts, against the library's own."""

    def get_optimizer_preset(self) -> NoReturn:
        """Ends lerobot-train, which asks for this before it reads any data, with one sentence and without a traceback.

        Raises:
            SystemExit: always.
        """
        raise SystemExit(GROW)

    def get_scheduler_preset(self) -> None:
        """None: nothing is trained."""

    @property
    def observation_delta_indices(self) -> None:
        """None: the policy's memory keeps what it needs of earlier steps."""

    @property
    def action_delta_indices(self) -> list[int]:
        """The actions of a chunk, counted from the observation's step."""
        return list(range(self.n_action_steps))

    @property
    def reward_delta_indices(self) -> None:
        """None: rewards are not used."""
