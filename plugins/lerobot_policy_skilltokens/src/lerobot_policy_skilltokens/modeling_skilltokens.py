"""A skill library as a LeRobot policy: the instruction of each row of a batch calls the skill that acts there."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import torch
from huggingface_hub import snapshot_download
from lerobot.configs import PreTrainedConfig
from lerobot.policies import PreTrainedPolicy
from torch import Tensor

from lerobot_policy_skilltokens.configuration_skilltokens import GROW, SkilltokensConfig
from lerobot_policy_skilltokens.readings import observation_of
from skilltokens.model.actor import PolicyActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ACTION, Array, NoSkillError, SettingError


@dataclass
class Party:
    """The rows of a batch that one skill acts for, and that began together."""

    skill: str
    rows: list[int]
    actor: PolicyActor
    memory: Any


class SkilltokensPolicy(PreTrainedPolicy):
    """A library that acts. Its folder is the checkpoint: `from_pretrained` opens it.

    Each row of a batch has its own instruction, skill and memory. An actor always acts on a batch of the full size and
    its own rows are taken from that: a row's bits may depend on the batch's size and on the row's place in it, and so
    never on what the other rows are asked to do. `reset` begins new episodes; a row whose instruction changes begins
    anew by itself, or all rows together where actions for several steps were planned.
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
        self.library = library
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
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    str(pretrained_name_or_path),
                    revision=revision,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                    force_download=force_download,
                    token=token,
                )
            )
        config = config or PreTrainedConfig.from_pretrained(folder)
        if not isinstance(config, SkilltokensConfig):
            raise SettingError(f"{folder} has the configuration of a policy of type {config.type!r}, not of a library")
        return cls(config, SkillLibrary.open(folder, encoder=config.encoder)).to(str(config.device)).eval()

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """Copies the library's folder, and the configuration beside it."""
        if save_directory.resolve() != self.library.folder.resolve():
            shutil.copytree(self.library.folder, save_directory, dirs_exist_ok=True)
        self.config._save_pretrained(save_directory)

    # ---------------------------------------------------------------- acting

    def reset(self) -> None:
        """New episodes begin with the next observation."""
        self._parties: list[Party] = []
        self._sentences: list[str] = []
        self._ahead: deque[Tensor] = deque()

    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next action (B, A) of every row, in the units of the library's demonstrations.

        Raises:
            NoSkillError: an instruction calls no skill.
            ObservationError: an observation is missing, or is not what the skill observes.
            SettingError: the instruction is missing, or `n_action_steps` is more than the library predicts.
        """
        if self._ahead and self._said(batch) != self._sentences:
            self.reset()  # what was planned is no more what is asked for
        if not self._ahead:
            self._ahead.extend(self.predict_action_chunk(batch).unbind(1))
        return self._ahead.popleft()

    @torch.inference_mode()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next `n_action_steps` actions (B, n, A) of every row; raises what `select_action` raises."""
        observation = observation_of(batch, self.library.features)
        self._gather(self._said(batch))
        size, width = len(self._sentences), self.library.features[ACTION].shape[0]
        others = [f"{len(values)} of {name!r}" for name, values in observation.items() if len(values) != size]
        if others:
            raise SettingError(f"the batch has {size} instructions and {others[0]}: give one for each row")
        actions = np.zeros((size, self.config.n_action_steps, width), np.float32)
        for party in self._parties:
            actions[party.rows] = self._chunk(party, observation)[party.rows]
        return torch.from_numpy(actions).to(self.anchor.device)

    def _chunk(self, party: Party, observation: Mapping[str, Array]) -> Array:
        steps = self.config.n_action_steps
        if steps == 1:
            return party.actor.act(observation, party.memory)[:, None]
        return party.actor.chunk(observation, party.memory, steps)

    def _said(self, batch: Mapping[str, Any]) -> list[str]:
        """The instruction of every row."""
        task = batch.get("task")
        if not task:
            raise SettingError("the batch says no 'task': give the instruction that calls a skill")
        if isinstance(task, str):
            rows = next((len(values) for name, values in batch.items() if name in self.library.features), 1)
            return [task] * rows
        return [str(sentence) for sentence in task]

    def _gather(self, sentences: list[str]) -> None:
        """Brings rows and skills together; rows that are new, or whose instruction changed, begin anew together."""
        if len(sentences) != len(self._sentences):
            self._parties, self._sentences = [], [""] * len(sentences)
        changed = [row for row, sentence in enumerate(sentences) if sentence != self._sentences[row]]
        if not changed:
            return
        called = {sentence: self._call(sentence) for sentence in dict.fromkeys(sentences[row] for row in changed)}
        for party in self._parties:
            party.rows = [row for row in party.rows if row not in changed]
        self._parties = [party for party in self._parties if party.rows]
        for skill in dict.fromkeys(called.values()):
            actor = self.library.actor_of(skill, str(self.anchor.device))
            rows = [row for row in changed if called[sentences[row]] == skill]
            self._parties.append(Party(skill, rows, actor, actor.start(len(sentences))))
        self._sentences = sentences

    def _call(self, sentence: str) -> str:
        """The skill that an instruction calls."""
        ranking = self.library.select(sentence, self.config.threshold)
        if ranking.chosen is None:
            raise NoSkillError(ranking.sentence())
        return self.library.names[ranking.chosen]

    # ---------------------------------------------------------------- training, which is done elsewhere

    def get_optim_params(self) -> NoReturn:
        raise SystemExit(GROW)

    def forward(self, batch: dict[str, Tensor]) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotImplementedError(GROW)
