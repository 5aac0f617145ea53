"""A run of three tasks that is cut in its second lesson: what a method's rule must survive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiments.lifelong.runs import TASKS, figures

from skilltokens.experiments import checkpoint
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.settings import RunSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import Progress


def run_of(method: Any, demos: str | Path, **changes: Any) -> RunSettings[Any]:
    """A run of the toy suite in seconds, with everything that moves a parameter: noise, decay, an average."""
    settings: RunSettings[Any] = RunSettings(
        method=method,
        suite="tests.toy:Toy",
        tasks=TASKS,
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(
            iterations=12,
            first_iterations=12,
            batch=8,
            window=6,
            log_every=1,
            observation_noise=0.01,
            weight_decay=0.01,
        ),
        evaluate=EvaluateSettings(episodes=2, group=2, points=3, horizon=8),
        demonstrations=DemonstrationSettings(episodes=4, folder=str(demos)),
    )
    return dataclasses.replace(settings, **changes)


def check_interrupted(settings: RunSettings[Any], place: Path, step: int = 6) -> None:
    """Asserts that a run cut behind the stop at `step` of its second lesson ends with the same bits as a whole one."""
    whole, cut = place / "whole", place / "cut"
    learn(settings, whole)

    def stop(news: Progress) -> None:
        if news.lesson == 1 and news.stage == "train" and news.done == step + 2:
            raise ConnectionError("the news can't be told")

    with pytest.raises(ConnectionError):
        learn(settings, cut, stop)
    before = checkpoint.load_progress(cut, checkpoint.Tie.of(read_lifelong(cut), 1))
    assert before is not None
    assert before.start[1]["step"] == step
    steps: list[int] = []
    learn(settings, cut, lambda news: steps.append(news.done) if news.stage == "train" else None)
    assert steps[0] == step
    assert figures(cut) == figures(whole)
    last = len(read_lifelong(whole).tasks)
    states = [checkpoint.load_state(folder, last, read_lifelong(folder).state) for folder in (whole, cut)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
