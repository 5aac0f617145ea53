"""The transfer matrix: every pair of tasks, resumed with the same numbers, and rules judged against it."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests import bases

from skilltokens.experiments.grid import read_grid
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.experiments.transfer.ceiling import write_ceiling
from skilltokens.experiments.transfer.judging import (
    best_starts,
    by_chance,
    gains,
    judged,
    measures,
    spearman,
    success,
    verdicts,
)
from skilltokens.experiments.transfer.measuring import SKILLS, measure
from skilltokens.experiments.transfer.record import RuleScores, TransferRecord, read_matrix
from skilltokens.files import sealed
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import Progress, RunError, SettingError

TASKS = ("reach-blue", "between", "avoid-red")
Settings = RunSettings[Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def settings(place: Path) -> Settings:
    two = bases.two("multitask")
    base = dataclasses.replace(
        two, demonstrations=dataclasses.replace(two.demonstrations, folder=str(place / "demos" / "{episodes}"))
    )
    learn(base, place / "base", recipe="tests.bases:two")
    return RunSettings(
        method=T2SSettings(),
        suite="tests.toy:Toy",
        tasks=TASKS,
        protocol="A+",
        base=str(place / "base" / "library"),
        train=TrainSettings(iterations=6, first_iterations=6, batch=8, window=6),
        evaluate=EvaluateSettings(episodes=2, group=2, at=(0.0, 0.2, 1.0)),
        demonstrations=DemonstrationSettings(episodes=2, folder=str(place / "demos" / "{episodes}")),
    )


@pytest.fixture(scope="module")
def whole(place: Path, settings: Settings) -> TransferRecord:
    return measure(settings, place / "whole", recipe="small", command="skilltokens transfer small", held_out=2)


def figures(record: TransferRecord) -> list[Any]:
    """All that must be the same when a matrix is made again."""
    cells = [timeless(cell) for cell in record.cells]
    return [cells, record.rules, record.base, record.demonstrations, record.held_out]


def timeless(cell: Any) -> tuple[Any, ...]:
    """A cell without its time."""
    return cell.start, cell.task, cell.progress, cell.successes, cell.outcomes, cell.episodes, cell.loss


def test_a_matrix_has_every_pair_the_base_and_what_every_rule_says(whole: TransferRecord, place: Path):
    assert read_matrix(place / "whole") == whole
    assert sorted((c.task, -1 if c.start is None else c.start) for c in whole.cells) == [
        (task, start) for task in range(3) for start in range(-1, 3)
    ]
    assert all(cell.progress == [0.0, 0.2, 1.0] and cell.episodes == 2 for cell in whole.cells)
    assert all(cell.loss is not None and math.isfinite(cell.loss) for cell in whole.cells)
    assert whole.split == "validation"
    assert whole.base is not None
    assert whole.base.skills == ["reach-red", *TASKS]  # a task that the base knows has the skill that was learned last
    assert (whole.demonstrations.episodes, whole.held_out.episodes) == ([2] * 3, [2] * 3)
    assert [rule.rule for rule in whole.rules] == ["instruction", "keys", "data", "data, by the new instruction"]
    words = np.array(whole.rules[0].scores)
    assert words == pytest.approx(words.T, abs=0.6)
    assert np.diag(words) == pytest.approx(np.ones(3), abs=1e-5)
    # a skill that has learned a task fits its demonstrations better than the base that it was learned from
    assert (np.diag(whole.rules[2].scores) < np.array(whole.rules[2].base)).all()
    assert len({str(timeless(cell)[2:]) for cell in whole.cells}) > 6  # the start makes a difference


def test_the_base_row_is_what_the_run_that_learned_the_skills_says(whole: TransferRecord, place: Path):
    content = json.loads((place / "whole" / SKILLS / "run.json").read_text())
    assert content["config"]["method"]["start"] == "base"
    for cell in whole.cells:
        if cell.start is None:
            same = [e for e in content["evaluations"] if e["after"] == e["task"] == cell.task]
            assert [e["successes"] for e in same] == cell.successes


def test_an_interrupted_matrix_goes_on_with_the_same_numbers(whole: TransferRecord, settings: Settings, place: Path):
    shutil.copytree(place / "whole" / SKILLS, place / "cut" / SKILLS)
    stops = iter(range(5))

    def stop(news: Progress) -> None:
        if news.stage == "transfer" and next(stops, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(settings, place / "cut", stop, recipe="small", held_out=2)
    begun = read_matrix(place / "cut")
    assert (len(begun.cells), begun.finished, begun.rules) == (5, "", [])
    assert verdicts(begun) == []
    shares = []
    again = measure(settings, place / "cut", lambda news: shares.append(news.figures.get("overall")), "small", "", 2)
    assert figures(again) == figures(whole)
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert 5 / 12 <= known[0] < known[-1] < 1
    assert measure(settings, place / "cut", recipe="small", held_out=2) == again


def test_a_matrix_of_other_settings_or_demonstrations_is_refused(
    whole: TransferRecord, settings: Settings, place: Path, tmp_path: Path
):
    folder = shutil.copytree(place / "whole", tmp_path / "other")
    other = dataclasses.replace(settings, train=dataclasses.replace(settings.train, iterations=7))
    with pytest.raises(RunError, match=r"train\.iterations was 6, is 7"):
        measure(other, folder, recipe="small", held_out=2)
    with pytest.raises(RunError, match="held_out was 2, is 1"):
        measure(settings, folder, recipe="small", held_out=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"method": SequentialSettings()},
            "that starts from an earlier skill: use t2s, lora, full_copy, not sequential",
        ),
        ({"protocol": "A", "base": ""}, "what a skill gives over a base: use protocol A"),
        ({"tasks": ("between",)}, "needs two tasks or more"),
        ({"order": "power-law", "lessons": 4}, "each once"),
        ({"demonstrations": DemonstrationSettings(episodes=2)}, "held-out demonstrations need a folder of their own"),
    ],
)
def test_what_allows_no_matrix_is_told_before_anything_is_made(
    changes: dict[str, Any], said: str, settings: Settings, tmp_path: Path
):
    with pytest.raises(SettingError, match=said):
        measure(dataclasses.replace(settings, **changes), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"cells": [{"task": 9, "progress": [1.0], "successes": [1], "outcomes": ["1"], "episodes": 1}]},
        {"cells": [{"task": 0, "progress": [1.0], "successes": [2], "outcomes": ["1"], "episodes": 1}]},
        {"cells": [{"task": 0, "progress": [0.5], "successes": [1], "outcomes": ["1"], "episodes": 1}]},
        {"cells": [{"task": 0, "progress": [1.0], "successes": [1], "outcomes": ["1"], "episodes": 1}] * 2},
        {"rules": [{"rule": "mine", "scores": [[1.0]]}]},
        {"cells": []},
        {"tasks": 3},
    ],
)
def test_a_matrix_that_cannot_be_is_refused(change: dict[str, Any], whole: TransferRecord, place: Path, tmp_path: Path):
    content = {k: v for k, v in json.loads((place / "whole" / "matrix.json").read_text()).items() if k != "digest"}
    path = tmp_path / "matrix.json"
    path.write_text(json.dumps(sealed(content | change)))
    with pytest.raises(RunError, match="truncated or altered"):
        read_matrix(path)
    path.write_text((place / "whole" / "matrix.json").read_text().replace('"split": "val', '"split": "wal'))
    with pytest.raises(RunError, match="altered"):
        read_matrix(tmp_path)


def test_lora_starts_from_the_skills_too(settings: Settings, place: Path, tmp_path: Path):
    chosen = dataclasses.replace(
        settings, method=LoraSettings(), tasks=TASKS[1:], evaluate=EvaluateSettings(episodes=1, group=1, points=1)
    )
    record = measure(chosen, tmp_path / "lora", recipe="small", held_out=0)
    assert len(record.cells) == 6
    assert measures([record]) == ["final"]
    assert all(cell.loss is None for cell in record.cells)


def test_the_ceiling_is_a_grid_that_starts_each_task_from_its_best_skill(
    whole: TransferRecord, settings: Settings, place: Path, tmp_path: Path
):
    named = msgspec.structs.replace(whole, recipe="metaworld-few")
    path = write_ceiling(tmp_path, place / "whole" / SKILLS / "library", named)
    (part,) = read_grid(str(path)).parts
    assert (part.recipes, part.methods, part.seeds) == (("metaworld-few",), ("t2s",), (0,))
    assert part.common["method.named"] == tuple(best_starts(whole))
    assert part.common["tasks"] == TASKS
    assert best_starts(whole)[0].startswith("reach-blue=")
    settings = dataclasses.replace(
        settings,
        base=str(place / "whole" / SKILLS / "library"),
        method=T2SSettings(neighbour="named", named=tuple(best_starts(whole))),
        evaluate=EvaluateSettings(episodes=1, group=1, points=1),
    )
    record = learn(settings, place / "ceiling", recipe="small")
    assert [f"{task}={start.skill}" for task, start in zip(TASKS, record.starts, strict=True)] == best_starts(whole)


# ---------------------------------------------------------------- judging


def rule(scores: Any, less: bool = False) -> RuleScores:
    return RuleScores(rule="mine", less_is_nearer=less, scores=np.asarray(scores).tolist())


def test_a_rule_that_knows_has_no_regret_and_one_that_is_wrong_has_most_of_it():
    gain = np.array([[9.0, 0.1, 0.3], [0.2, 9.0, 0.0], [0.5, 0.4, 9.0]])
    right, wrong = judged(rule(gain), gain), judged(rule(gain, less=True), gain)
    assert right.correlations == pytest.approx(np.ones(3))
    assert right.regrets == pytest.approx(np.zeros(3))
    assert right.chosen.tolist() == [2, 2, 0]
    assert wrong.correlations == pytest.approx(-np.ones(3))
    assert wrong.regrets == pytest.approx([0.3, 0.3, 0.3])
    chance = by_chance(gain)
    assert chance.gains == pytest.approx([0.35, 0.25, 0.15])
    assert chance.regrets == pytest.approx([0.15, 0.15, 0.15])


@given(arrays(np.float64, (5, 5), elements=st.integers(-20, 20).map(lambda n: n / 20)), st.integers(0, 2**32 - 1))
def test_regret_is_never_below_zero_and_own_skills_never_count(gain: np.ndarray, seed: int):
    scores = np.random.default_rng(seed).random((5, 5))
    verdict = judged(rule(scores), gain)
    assert (verdict.regrets >= 0).all()
    assert not (verdict.chosen == np.arange(5)).any()
    for other in (gain + np.eye(5), gain):
        again = judged(rule(scores + 9 * np.eye(5)), other)
        assert again.regrets == pytest.approx(verdict.regrets)
        assert again.correlations == pytest.approx(verdict.correlations, nan_ok=True)


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=12),
)
def test_the_rank_correlation_is_scipys(pairs: list[tuple[int, int]]):
    from scipy.stats import spearmanr

    one, other = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert math.isnan(spearman(one, other))
    else:
        assert spearman(one, other) == pytest.approx(np.asarray(spearmanr(one, other)[0]).item())
        assert spearman(one, other) == pytest.approx(spearman(np.exp(one), other))


def test_gains_are_success_less_that_from_the_base(whole: TransferRecord):
    pairs, base = success(whole)
    assert gains(whole) == pytest.approx(pairs - base)
    area, _ = success(whole, "area")
    cell = next(cell for cell in whole.cells if cell.start == 1 and cell.task == 2)
    rates = np.array(cell.successes) / 2
    assert area[1, 2] == pytest.approx(0.1 * rates[0] + 0.5 * rates[1] + 0.4 * rates[2])
    assert [verdict.rule for verdict in verdicts(whole)][-1] == "chance"
