"""The configuration of a library beside another policy as a LeRobot policy: config.json beside library.json, and what
lerobot-train is told of a new skill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig
from lerobot.optim.schedulers import CosineDecayWithWarmupSchedulerConfig

from skilltokens.attached.settings import AttachedSettings

LONGEST = 1_000_000
"""LeRobot shortens a schedule to the steps of a training: so its parts count, and not its length."""
DEFAULT = AttachedSettings()


@PreTrainedConfig.register_subclass("skilltokens_attached")
@dataclass
class SkilltokensAttachedConfig(PreTrainedConfig):
    """Skills beside a policy of LeRobot's. All else about it is in the library itself."""

    skill: str = ""
    """lerobot-train: the name of the skill that is taught. One that is there gets a further version."""
    wordings: list[str] = field(default_factory=list)
    """lerobot-train: the sentences that call it; empty: the data set's, if it shows one task."""
    kind: Literal["rows", "lora"] = "rows"
    """lerobot-train: what stands beside the policy's maps."""
    rows: int = 0
    """lerobot-train: rows beside each map; 0: 16, or as many as fit under the library's share."""
    start: str = ""
    """lerobot-train: the skill whose numbers the new one begins with; empty: none."""
    take_over: bool = False
    """lerobot-train: the skill may answer sentences that call others today."""
    seed: int = 0
    """lerobot-train: of the skill's first numbers."""
    rate: float = DEFAULT.rate
    """Peak learning rate of rows and adapters."""
    own_rate: float = DEFAULT.own_rate
    """Peak learning rate of the skill's own copies."""
    n_action_steps: int = 0
    """Actions that are executed for one observation; 0: as many as the base's configuration says."""
    base: str = ""
    """Where the base is now, if it was moved."""
    threshold: float | None = None
    """Confidence from 0 to 1 below which an instruction calls no skill; 0: one always is called; None: the library's
    default."""
    encoder: str | None = None
    """The sentence encoder that the library was made with, where that is a folder: a file's word is not trusted."""
    observation_deltas: list[int] | None = None
    """The steps that the base looks at, counted from the present one."""
    action_deltas: list[int] = field(default_factory=lambda: [0])
    """Those whose actions it predicts."""
    drop_n_last_frames: int = 0
    """Last steps of an episode from which no batch begins."""
    push_to_hub: bool = False
    """Nothing to push: `skilltokens hub push` does that."""
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("STATE", "ENV", "VISUAL", "ACTION"), NormalizationMode.IDENTITY)
    )
    """The library scales by each skill's own statistics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_action_steps < 0:
            raise ValueError(f"n_action_steps {self.n_action_steps} is impossible: use 1 or more, or 0 for the base's")

    def validate_features(self) -> None:
        """Features are checked against the library's own."""

    def get_optimizer_preset(self) -> AdamWConfig:
        """Nothing decays: an own copy would be drawn towards 0, and not towards the base's numbers."""
        return AdamWConfig(lr=self.rate, weight_decay=0.0, grad_clip_norm=1.0)

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=LONGEST // 20, num_decay_steps=LONGEST, peak_lr=self.rate, decay_lr=self.rate / 100
        )

    @property
    def observation_delta_indices(self) -> list[int] | None:
        return self.observation_deltas

    @property
    def action_delta_indices(self) -> list[int]:
        return self.action_deltas

    @property
    def reward_delta_indices(self) -> None:
        """None: rewards are not used."""
