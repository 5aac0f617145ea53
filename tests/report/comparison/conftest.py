"""A comparison of many methods, made from run.json files with known rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.runs import read_run

Build = Callable[..., Path]
LEVELS = {
    "t2s": 19,
    "lora": 20,
    "psec": 18,
    "packnet": 19,
    "ewc": 6,
    "l2": 5,
    "er": 15,
    "sequential": 4,
    "multitask": 20,
}
"""Successes of 20 episodes on every task, give or take one by seed and task."""


def level(method: str) -> Callable[[dict[str, Any]], None]:
    """Makes a run one of `method`, with its successes in every cell but the points before the last."""

    def change(content: dict[str, Any]) -> None:
        content["method"] = method
        for entry in content["evaluations"]:
            entry.pop("same_as", None)
            if entry["progress"] == 1.0:
                shift = (content["seed"] + entry["task"]) % 2
                entry["successes"] = max(0, LEVELS[method] - shift)
        if method == "er":
            lessons = len(content["parameters"]["trained"])
            content["remembered"] = [2_000_000 * (lesson + 1) for lesson in range(lessons)]
            content["passes"] = [2.0] * lessons

    return change


def put(build: Build, folder: Path, method: str, seed: int, tasks: int = 6, **settings: Any) -> Path:
    """Writes a run of `method` below `folder`."""
    like = "multitask" if method == "multitask" else "t2s" if LEVELS[method] > 15 else "sequential"
    path = folder / f"{method}-seed{seed}"
    return build(path, like, seed, tasks=tasks, change=settings.pop("change", None) or level(method), **settings)


@pytest.fixture(scope="session")
def many(build_once: Build, tmp_path_factory: pytest.TempPathFactory) -> Comparisons:
    """Nine methods, two seeds of each but one of PSEC, six tasks."""
    folder = tmp_path_factory.mktemp("many")
    kinds = [(method, seed) for method in LEVELS for seed in ((0,) if method == "psec" else (0, 1))]
    return compare_runs([read_run(put(build_once, folder, method, seed)) for method, seed in kinds])
