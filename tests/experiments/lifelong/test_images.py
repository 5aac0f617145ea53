"""A whole run on pictures: trained end to end at first, then skills on a frozen trunk, and nothing forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.skills.library import SkillLibrary


def settings_for(method: str, folder: Path) -> RunSettings[Any]:
    return RunSettings(
        method=method_settings(method)(),
        suite="tests.pictured:Pictured",
        tasks=("reach-red", "reach-blue"),
        policy=PolicySettings(width=64, layers=1, history=4),
        train=TrainSettings(iterations=6, first_iterations=6, batch=4, window=6),
        evaluate=EvaluateSettings(episodes=2, group=2, points=2),
        demonstrations=DemonstrationSettings(episodes=3, folder=str(folder)),
    )


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of demonstrations, which the first run makes."""
    return tmp_path_factory.mktemp("demos")


@pytest.mark.parametrize("method", ["t2s", "lora", "sequential", "multitask", "single_task"])
def test_every_method_runs_on_pictures(method: str, demos: Path, tmp_path: Path):
    run = learn(settings_for(method, demos), tmp_path / "run")
    assert run.observations == "images"
    assert run.finished
    cells = {(cell.after, cell.task, cell.progress): cell for cell in run.cells}
    if method in ("t2s", "lora"):
        assert cells[1, 0, 1.0].actions == cells[0, 0, 1.0].actions
        assert run.parameters.base is not None
        assert run.parameters.trained[1] <= 0.08 * run.parameters.base
    if method == "sequential":
        assert cells[1, 0, 1.0].actions != cells[0, 0, 1.0].actions
    if method == "t2s":
        library = SkillLibrary.open(tmp_path / "run" / "library")
        assert library.base.shape.kinds == {"observation.images.top": "image"}
