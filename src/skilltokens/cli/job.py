"""What a child process needs to know of its run, as a file: no word of the command line is read twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.configuration import plain, settings_of
from skilltokens.experiments.experiment import Experiment, experiment_of
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

    def write(self, path: Path) -> None:
        """Raises RunError where it cannot be written."""
        content = {
            "schema": SCHEMA,
            "experiment": self.experiment.name,
            "learner": self.experiment.learner(self.settings),
            "settings": plain(self.settings),
            "folder": str(self.folder),
            "recipe": self.recipe,
            "command": self.command,
        }
        write_json(path, content, RunError)


def read_job(path: Path) -> RunJob:
    """The reverse of `RunJob.write`.

    Raises:
        RunError: the file is missing or damaged.
        SettingError: a setting or a method that this process does not have.
    """
    content = read_json(path, SCHEMA, RunError)
    experiment = experiment_of(content["experiment"])
    settings = settings_of(experiment.settings_type(content["learner"]), content["settings"])
    return RunJob(experiment, settings, Path(content["folder"]), content["recipe"], content["command"])
