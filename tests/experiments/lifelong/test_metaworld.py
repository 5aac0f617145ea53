"""The whole of it on the real simulator: demonstrations, two skills, rollouts, run.json, films."""

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
    content = learn(settings, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.finished
    assert run.learned == 2
    assert content["demonstrations"]["episodes"] == [8, 8]
    cells = {(e["after"], e["task"], e["progress"]): e for e in content["evaluations"]}
    assert set(cells) == {(0, 0, 0.0), (0, 0, 1.0), (1, 1, 0.0), (1, 0, 1.0), (1, 1, 1.0)}
    assert cells[0, 0, 0.0]["successes"] == 0
    assert cells[0, 0, 1.0]["successes"] >= 1  # 150 steps on 8 demonstrations are enough for something
    assert cells[1, 0, 1.0]["actions"] == cells[0, 0, 1.0]["actions"]
    assert "same_as" in cells[1, 0, 1.0]
    assert cells[1, 1, 1.0]["skill"] == 1
    assert content["learning"][1]["loss"][-1] < content["learning"][1]["loss"][0]
    assert 0 < content["parameters"]["trained"][1] <= 0.08 * content["parameters"]["base"]
    assert content["versions"]["metaworld"]
    assert {entry["chosen"] == entry["task"] for entry in content["selection"] if not entry["held_out"]} == {True}
