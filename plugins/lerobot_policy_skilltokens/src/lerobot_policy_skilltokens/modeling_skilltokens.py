"""A skill library as a LeRobot policy: the instruction of each row of a batch calls the skill that acts there."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import PreTrainedPolicy
from torch import Tensor

from lerobot_policy_skilltokens.acting import Acts, copy_library, folder_of
from lerobot_policy_skilltokens.configuration_skilltokens import GROW, SkilltokensConfig
from skilltokens.model.actor import PolicyActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import SettingError


class SkilltokensPolicy(Acts[SkillLibrary], PreTrainedPolicy):
    """A library that acts. Its folder is the checkpoint: `from_pretrained` opens it.

    Where actions for several steps were planned, all rows begin anew as soon as one's instruction changes.
    """

    config_class = SkilltokensConfig  # pyright: ignore[reportAssignmentType]
    name = "skilltokens"  # pyright: ignore[reportAssignmentType]

    def __init__(self, config: SkilltokensConfig, library: SkillLibrary | None = None, **_: Any) -> None:
        super().__init__(config)
        if library is None:
            raise SettingError(
                "a skilltokens policy is a skill library: say --policy.path=LIBRARY, its folder or Hub id"
            )
        self.config: SkilltokensConfig = config
        self.library, self.features = library, library.features
        # LeRobot asks a policy's first parameter for its device.
        self.anchor = torch.nn.Parameter(torch.zeros(0), requires_grad=False)
        self.reset()

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        token: str | bool | None = None,
        **_: Any,
    ) -> Self:
        """The library of a folder, or of a repository on the Hub.

        Raises:
            LibraryError: there is none, or it is damaged.
            SettingError: the configuration is another policy's.
        """
        download = {"cache_dir": cache_dir, "local_files_only": local_files_only, "force_download": force_download}
        folder, own = folder_of(pretrained_name_or_path, config, SkilltokensConfig, revision, token=token, **download)
        return cls(own, SkillLibrary.open(folder, encoder=own.encoder)).to(str(own.device)).eval()

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """Copies the library's folder, and the configuration beside it."""
        copy_library(self.library.folder, save_directory)
        self.config._save_pretrained(save_directory)

    # ---------------------------------------------------------------- acting

    def actor_of(self, skill: str) -> PolicyActor:
        return self.library.actor_of(skill, str(self.anchor.device))

    def reset(self) -> None:
        """New episodes begin with the next observation."""
        self.start_acting()
        self._ahead: deque[Tensor] = deque()

    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next action (B, A) of every row, in the units of the library's demonstrations; raises as `acted`."""
        if self._ahead and self.said(batch) != self.together.sentences:
            self.reset()  # what was planned is no more what is asked for
        if not self._ahead:
            self._ahead.extend(self.predict_action_chunk(batch).unbind(1))
        return self._ahead.popleft()

    @torch.inference_mode()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next `n_action_steps` actions (B, n, A) of every row; raises as `acted`."""
        return self.acted(batch, self.config.n_action_steps, self.anchor.device)

    # ---------------------------------------------------------------- training, which is done elsewhere

    def get_optim_params(self) -> NoReturn:
        raise SystemExit(GROW)

    def forward(self, batch: dict[str, Tensor]) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotImplementedError(GROW)
