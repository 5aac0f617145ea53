"""The whole of it on the real simulator: demonstrations, two skills, rollouts, run.json, report."""

from __future__ import annotations

from pathlib import Path

import pytest

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report.runs import read_run
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings


@pytest.mark.slow
def test_two_metaworld_skills_from_beginning_to_end(tmp_path: Path):
    settings = RunSettings(
        method=T2SSettings(),
        suite="metaworld",
        tasks=("faucet-close", "window-close"),
        policy=PolicySettings(width=64, layers=2),
        train=TrainSettings(iterations=60, first_iterations=150, batch=16),
        evaluate=EvaluateSettings(episodes=4, group=4, points=2),
        demonstrations=DemonstrationSettings(episodes=8, folder=str(tmp_path / "demos")),
    )
    record = learn(settings, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.finished
    assert run.learned == 2
    assert record.demonstrations.episodes == [8, 8]
    cells = {(cell.after, cell.task, cell.progress): cell for cell in record.cells}
    assert set(cells) == {(0, 0, 0.0), (0, 0, 1.0), (1, 1, 0.0), (1, 0, 1.0), (1, 1, 1.0)}
    assert cells[0, 0, 0.0].successes == 0
    assert cells[0, 0, 1.0].successes >= 1  # 150 steps on 8 demonstrations are enough for something
    assert cells[1, 0, 1.0].actions == cells[0, 0, 1.0].actions
    assert cells[1, 0, 1.0].same_as is not None
    assert cells[1, 1, 1.0].skill == 1
    assert record.learning[1].loss[-1] < record.learning[1].loss[0]
    assert record.parameters.base is not None
    assert 0 < record.parameters.trained[1] <= 0.08 * record.parameters.base
    assert record.versions["metaworld"]
    assert {wording.chosen == wording.task for wording in record.selection if not wording.held_out} == {True}
