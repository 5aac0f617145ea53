"""A library beside a policy of LeRobot's as a LeRobot policy: lerobot-eval chooses its skills by their sentences, and
lerobot-train teaches it one more (`teaching`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import PreTrainedPolicy
from torch import Tensor, nn

from lerobot_policy_skilltokens.acting import Acts, copy_library, folder_of
from lerobot_policy_skilltokens.configuration_skilltokens_attached import SkilltokensAttachedConfig
from lerobot_policy_skilltokens.teaching import Lesson, lesson_of
from skilltokens.attached.acting import AttachedActor
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.statistics import scaled
from skilltokens.methods.attached.training import loss_in
from skilltokens.types import AttachError, SettingError

TEACH = "to teach a skill say its name (--policy.skill=NAME) and the library (--policy.path=LIBRARY)"


class SkilltokensAttachedPolicy(Acts[AttachedLibrary], PreTrainedPolicy):
    """A library beside a policy of LeRobot's; its folder is the checkpoint: `from_pretrained` opens it.

    lerobot-train's data set makes it teach `config.skill`: the base and all other skills stay as they are, and what is
    saved is the library with that skill added. Of its parameters those that are trained are the skill's own.
    """

    config_class = SkilltokensAttachedConfig  # pyright: ignore[reportAssignmentType]
    name = "skilltokens_attached"  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        config: SkilltokensAttachedConfig,
        library: AttachedLibrary | None = None,
        lesson: Lesson | None = None,
        **_: Any,
    ) -> None:
        super().__init__(config)
        if library is None:
            raise SettingError("such a policy is a library beside another one: say --policy.path=LIBRARY")
        self.config: SkilltokensAttachedConfig = config
        self.library, self.features = library, library.features
        self.lesson, self.attached = lesson, library.attached
        self.base: nn.Module = self.attached.policy
        self.beside = nn.ModuleList([] if lesson is None else lesson.skill.beside.values())
        if config.n_action_steps:
            self._ahead(config.n_action_steps)
        if lesson is not None:
            self.attached.use(lesson.skill)  # so that parameters() has its own copies too
        self.reset()

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        dataset_stats: Mapping[str, Mapping[str, Any]] | None = None,
        dataset_meta: Any = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        token: str | bool | None = None,
        **_: Any,
    ) -> Self:
        """The library of a folder, or of a repository on the Hub.

        Args:
            dataset_stats, dataset_meta: of lerobot-train: a skill is to be taught.

        Raises:
            SkilltokensError: there is no library, it or its base is damaged or not there, or the skill cannot be taught
                on these data.
            SystemExit: the skill has no name.
        """
        download = {"cache_dir": cache_dir, "local_files_only": local_files_only, "force_download": force_download}
        folder, own = folder_of(
            pretrained_name_or_path, config, SkilltokensAttachedConfig, revision, token=token, **download
        )
        library = AttachedLibrary.open(folder, base=own.base or None, encoder=own.encoder)
        library.attached.policy.to(str(own.device))
        lesson = None
        if dataset_meta is not None:
            if not own.skill:
                raise SystemExit(TEACH)
            lesson = lesson_of(library, own, dataset_meta, dataset_stats or dataset_meta.stats)
        return cls(own, library, lesson).to(str(own.device)).eval()

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """Copies the library's folder, with the skill that is taught.

        config.json is the library's own: what this skill was told (its name, its sentences) is not for the next one.
        """
        if self.lesson is None:
            copy_library(self.library.folder, save_directory)
        else:
            self.attached.check_called()
            self.lesson.add_to(self.library.copied(save_directory))

    # ---------------------------------------------------------------- acting

    def actor_of(self, skill: str) -> AttachedActor:
        return self.library.actor_of(skill)

    def reset(self) -> None:
        """New episodes begin with the next observation."""
        self.start_acting()

    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next action (B, A) of every row, in the units of its skill's demonstrations; raises as `acted`.

        Each skill that acts in the batch costs a pass of the whole batch, when its actions are used up.
        """
        return self._acted(batch, 1)[:, 0]

    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next actions (B, n, A) of every row, as many as are executed for one observation; raises as `acted`.

        A base that looks back is asked at every step: n is 1.
        """
        config: Any = self.attached.root.config
        actor = self.library.actor_of(self.library.names[0])
        return self._acted(batch, min(int(config.n_action_steps), actor.longest))

    def _acted(self, batch: dict[str, Any], n: int) -> Tensor:
        if self.lesson is not None and self.attached.policy.training:
            self.eval()
        return self.acted(batch, n, self.attached.device)

    def _ahead(self, n: int) -> None:
        """Executes so many actions for one observation. Raises SettingError where the base predicts fewer."""
        most = len(self.config.action_deltas)
        config: Any = self.attached.root.config
        if n > most:
            raise SettingError(f"n_action_steps {n} is impossible: the base predicts {most} actions at a time")
        config.n_action_steps = n

    # ---------------------------------------------------------------- teaching

    def train(self, mode: bool = True) -> Self:
        """The base's batch norms keep their running statistics, which all skills share."""
        if not mode or not hasattr(self, "attached"):
            return super().train(mode)
        self.training = True
        self.attached.train()
        return self

    def get_optim_params(self) -> list[dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The numbers of the skill that is taught, with their rates. The base is in no group."""
        return self._taught().skill.groups(self.config.rate, self.config.own_rate)

    def forward(self, batch: dict[str, Any], **options: Any) -> tuple[Tensor, dict[str, Any] | None]:
        """The loss of the base with the skill that is taught, and what else its own forward pass says.

        Raises:
            AttachError: the base gives no loss, or none that the skill changes.
        """
        skill = self._taught().skill
        if self.attached.active is not skill:
            self.attached.use(skill)
        seen = scaled(batch, skill.statistics)
        prepare = self.library.prepare
        output: Any = self.base(seen if prepare is None else prepare(seen), **options)
        parts = list(output) if isinstance(output, tuple | list) else [output]
        figures = parts[1] if len(parts) > 1 else None
        if not torch.is_grad_enabled() or options:  # measured, or a loss for each example
            return parts[0], figures
        return loss_in(output, type(self.attached.root).__name__), figures

    def _taught(self) -> Lesson:
        if self.lesson is None:
            raise AttachError(f"no skill is taught here: {TEACH}")
        return self.lesson
