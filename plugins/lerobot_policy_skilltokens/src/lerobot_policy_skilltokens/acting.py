"""How a library acts as a policy of LeRobot: the instruction of each row of a batch calls the skill that acts there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from huggingface_hub import snapshot_download
from lerobot.configs import PreTrainedConfig
from torch import Tensor

from lerobot_policy_skilltokens.readings import observation_of
from skilltokens.skills.managing import ManagedList
from skilltokens.skills.together import AheadActor, Together
from skilltokens.types import ACTION, Array, Feature, NoSkillError, SettingError

Library = TypeVar("Library", bound=ManagedList)


class Acts(Generic[Library]):
    """What libraries of both kinds do as policies.

    Each row of a batch has its own instruction, skill and memory (`skilltokens.skills.together`). `reset` begins new
    episodes; a row whose instruction changes begins anew by itself.
    """

    library: Library
    features: Mapping[str, Feature]
    """What the skills observe, and the action."""
    config: Any
    """Its `threshold` is the confidence below which an instruction calls no skill."""

    def actor_of(self, skill: str) -> AheadActor:
        """The actor of a skill."""
        raise NotImplementedError

    def start_acting(self) -> None:
        """To be called once the library is there."""
        self.together = Together(self._call, self.actor_of)

    def acted(self, batch: Mapping[str, Any], n: int, device: torch.device) -> Tensor:
        """The next n actions (B, n, A) of every row.

        Raises:
            NoSkillError: an instruction calls no skill.
            ObservationError: an observation is missing, or is not what the skill observes.
            SettingError: the instruction is missing, or n is more than the policy predicts.
        """
        sentences = self.said(batch)
        observation = observation_of(batch, self.features)
        self.together.ask(sentences)
        actions: Array = self.together.act(observation, n)
        return torch.from_numpy(actions).to(device)

    def said(self, batch: Mapping[str, Any]) -> list[str]:
        """The instruction of every row."""
        task = batch.get("task")
        if not task:
            raise SettingError("the batch says no 'task': give the instruction that calls a skill")
        if isinstance(task, str):
            rows = next((len(values) for name, values in batch.items() if name in self.features and name != ACTION), 1)
            return [task] * rows
        return [str(sentence) for sentence in task]

    def _call(self, sentence: str) -> str:
        """The skill that an instruction calls."""
        ranking = self.library.select(sentence, self.config.threshold)
        if ranking.chosen is None:
            raise NoSkillError(ranking.sentence())
        return self.library.names[ranking.chosen]


def folder_of(
    name: str | Path,
    config: PreTrainedConfig | None,
    kind: type[PreTrainedConfig],
    revision: str | None,
    **download: Any,
) -> tuple[Path, Any]:
    """The folder of a library, which may be a repository on the Hub, and its configuration.

    Raises:
        SettingError: the configuration is another policy's.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = Path(snapshot_download(str(name), revision=revision, **download))
    own: Any = config or PreTrainedConfig.from_pretrained(folder)
    if not isinstance(own, kind):
        raise SettingError(f"{folder} has the configuration of a policy of type {own.type!r}, not of a library")
    return folder, own


def copy_library(source: Path, target: Path) -> None:
    """Copies a library's folder; onto itself nothing happens."""
    if target.resolve() != source.resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)
