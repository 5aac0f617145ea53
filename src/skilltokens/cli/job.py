"""What a child process needs to know of its run, as a file: no word of the command line is read twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from skilltokens.configuration import plain, settings_of
from skilltokens.experiments.experiment import EXPERIMENTS, Experiment
from skilltokens.files import read_json, write_json
from skilltokens.types import RunError

SCHEMA = "skilltokens.job/1"


@dataclass(frozen=True)
class RunJob:
    """One run to be done."""

    experiment: Experiment[Any]
    settings: Any
    folder: Path
    recipe: str
    command: str
    tag: str = ""
    profile: Path | None = None
    """A folder for the run's profile; None: none is made."""

    def write(self, path: Path) -> None:
        """Raises RunError where it cannot be written."""
        content = _Content(
            schema=SCHEMA,
            experiment=self.experiment.name,
            learner=self.experiment.learner(self.settings),
            settings=plain(self.settings),
            folder=str(self.folder),
            recipe=self.recipe,
            command=self.command,
            tag=self.tag,
            profile="" if self.profile is None else str(self.profile),
        )
        write_json(path, msgspec.to_builtins(content), RunError)


class _Content(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    schema: str
    experiment: str
    learner: str
    settings: dict[str, Any]
    folder: str
    recipe: str
    command: str
    tag: str = ""
    profile: str = ""


def read_job(path: Path) -> RunJob:
    """The reverse of `RunJob.write`.

    Raises:
        RunError: the file is missing or damaged.
        SettingError: a setting or a method that this process does not have.
    """
    try:
        content = msgspec.convert(read_json(path, SCHEMA, RunError), _Content)
    except ValueError as problem:
        reason = str(problem).replace("`", "").replace("$.", "")
        raise RunError(f"{path} is truncated or altered ({reason}): run the same command again") from problem
    experiment = next((known for known in EXPERIMENTS if known.name == content.experiment), None)
    if experiment is None:
        raise RunError(f"{path} is altered (there is no experiment {content.experiment!r}): run the same command again")
    settings = settings_of(experiment.settings_type(content.learner), content.settings)
    profile = Path(content.profile) if content.profile else None
    return RunJob(experiment, settings, Path(content.folder), content.recipe, content.command, content.tag, profile)
