"""Tables and the page of learning from reward, of runs whose curves are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skilltokens.experiments.records import Counted
from skilltokens.report.reward import commanded, headline, markdown, needed, noisy, physics
from skilltokens.report.reward_page import render
from skilltokens.report.reward_pairs import paired
from skilltokens.report.reward_runs import RewardRun, check_alike, read_reward_run, rows_of
from skilltokens.report.text import DASH
from skilltokens.types import RunError


def made_up(tmp_path: Path, name: str, successes: list[list[int]], **changes: Any) -> list[Path]:
    """Runs of one learner whose curves are these, of ten episodes a point, one run a seed."""
    paths = []
    for seed, curve in enumerate(successes):
        result = {
            "task": "reach", "instruction": "go", "steps": [1000 * i for i in range(len(curve))], "successes": curve,
            "lengths": [5.0] * len(curve), "episodes": 10, "trained": 7, "seconds": 60.0, "changed": [],
            "closeness": {"neighbour": 1.5, "discriminator": 0.75},
        }  # fmt: skip
        run = {
            "schema": "skilltokens.reward/1", "learner": name, "suite": "halfcheetah", "seed": seed,
            "tasks": [{"name": "reach", "instruction": "go"}], "model": {}, "results": [result], "versions": {},
            "started": "2026-01-01T00:00:00+00:00", "finished": None,
            "config": {
                "ppo": {"tokens": 1, "presence": -3.0, "hidden": [128, 128]},
                "adapt": {"body": True, "split": "test", "episodes": 10},
            },
            **changes,
        }  # fmt: skip
        path = tmp_path / f"{name}-seed{seed}" / "run.json"
        path.parent.mkdir()
        path.write_text(json.dumps(run))
        paths.append(path)
    return paths


def test_steps_to_success_are_the_median_and_a_seed_that_never_gets_there_is_the_worst(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 3, 8, 9], [0, 8, 9, 9], [0, 2, 3, 7]])]
    (row,) = rows_of(runs, "reach")
    assert row.needed == [2000, 1000, None]
    assert needed(row) == "2,000 (1 of 3 never)"
    assert row.final == (25, 30)
    check_alike(runs)
    (two,) = rows_of(runs[:2], "reach")
    assert needed(two) == "1,500"


def test_success_that_is_lost_at_the_next_point_is_not_reached(tmp_path: Path):
    curves = [[0, 9, 3, 9, 9], [0, 9, 2, 2, 2], [0, 0, 0, 0, 8]]
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", curves)]
    (row,) = rows_of(runs, "reach")
    assert row.needed == [3000, None, 4000]


def test_what_was_measured_beside_is_pooled_over_the_seeds(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9], [0, 8]])]
    for run, (moved, good) in zip(runs, ((1.0, 3), (2.0, 8)), strict=True):
        (result,) = run.record.results
        result.commanded = [Counted(asked=1.1, speed=moved, successes=good, episodes=10)]
        result.changed = [Counted(what="gravity", factor=1.5, successes=good, episodes=10)]
        result.noisy = [Counted(log_std=-1.2, successes=good - 1, episodes=10)]
    rows = rows_of(runs, "reach")
    assert commanded(rows)[1] == [["token", "1.1", "1.5", "0.55"]]
    assert physics(rows)[1] == [["token", "0.85", "0.55"]]
    assert noisy(rows) == (["success under noise of log_std", "none", "-1.2"], [["token", "0.85", "0.45"]])


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "walker2d"},
        {"model": {"fingerprints": ["ab"]}},
        {
            "config": {
                "ppo": {"tokens": 1, "presence": -3.0, "hidden": [128, 128]},
                "adapt": {"body": True, "split": "validation", "episodes": 10},
            }
        },
    ],
)
def test_runs_of_different_experiments_are_not_put_into_one_table(tmp_path: Path, changes: dict[str, Any]):
    paths = made_up(tmp_path, "token", [[0, 9]]) + made_up(tmp_path, "mlp", [[0, 1]], **changes)
    with pytest.raises(RunError, match="of different experiments"):
        markdown([read_reward_run(path) for path in paths])


def test_seeds_on_different_grids_are_not_put_into_one_row(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9, 9], [0, 9]])]
    with pytest.raises(RunError, match="points after other numbers of steps"):
        markdown(runs)


def test_learners_come_in_their_own_order(tmp_path: Path):
    paths = made_up(tmp_path, "mlp", [[0, 1]]) + made_up(tmp_path, "token", [[0, 9]])
    assert [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")] == ["token", "mlp"]


def test_variants_of_a_learner_come_by_their_number(tmp_path: Path):
    paths = []
    for tokens in (16, 4, 1):
        (tmp_path / str(tokens)).mkdir()
        config = {
            "ppo": {"tokens": tokens, "presence": -3.0, "hidden": [128, 128]},
            "adapt": {"body": True, "split": "test", "episodes": 10},
        }
        paths += made_up(tmp_path / str(tokens), "token", [[0, 9]], config=config)
    labels = [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")]
    assert labels == ["token", "token (4 tokens)", "token (16 tokens)"]


def test_the_headline_has_every_way_to_learn_and_every_task(tmp_path: Path):
    tasks = {
        "tasks": [{"name": "reach", "instruction": "go"}, {"name": "jump", "instruction": "leap"}],
        "finished": None,
    }
    paths = made_up(tmp_path, "mlp", [[0, 1, 9]], **tasks) + made_up(tmp_path, "token", [[0, 9], [0, 8]], **tasks)
    head, rows = headline([read_reward_run(path) for path in paths])
    assert head == ["steps to 80%", "seeds", "steps trained", "trained parameters", "reach", "jump"]
    assert rows == [["token", "2", "1,000", "7", "1,000", DASH], ["mlp", "1", "2,000", "7", "2,000", DASH]]
    assert "Steps to 80%, task by task" not in render([read_reward_run(path) for path in paths])  # one task has figures


def test_a_row_says_what_its_settings_are_where_they_are_not_the_usual_ones(tmp_path: Path):
    """Runs of before there was a presence began with loud tokens."""
    adapt = {"body": False, "split": "test", "episodes": 10}
    config = {"config": {"ppo": {"tokens": 4, "hidden": [64]}, "adapt": adapt}}
    paths = made_up(tmp_path, "token", [[0, 9]], **config) + made_up(tmp_path, "mlp", [[0, 1]], **config)
    labels = [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")]
    assert labels == [
        "token (4 tokens, presence 0, without body state, hidden 64)",
        "mlp (4 tokens, without body state, hidden 64)",
    ]


def test_a_page_of_several_tasks_shows_all_curves_at_a_glance_each_learner_in_one_colour(tmp_path: Path):
    paths = made_up(tmp_path, "mlp", [[0, 2, 3], [0, 4, 9]]) + made_up(tmp_path, "token", [[0, 9, 9]])
    for path in paths:
        run = json.loads(path.read_text())
        run["tasks"].append({"name": "jump", "instruction": "leap"})
        run["results"].append({**run["results"][0], "task": "jump"})
        if run["learner"] == "token":  # its first task is not there
            run["results"] = run["results"][1:]
        path.write_text(json.dumps(run))
    page = render([read_reward_run(path) for path in paths])
    glance = page[page.index('id="all"') : page.index('<section id="reach"')]
    assert glance.count("<svg") == 2 + 2  # a picture a task, a sample of line a learner
    assert glance.count('class="band"') == 2
    tones = dict(re.findall(r'<li class="(m\d)"[^>]*><svg.*?</svg>(\w+)</li>', glance))
    assert sorted(tones.values()) == ["mlp", "token"]
    for row in re.findall(r'<tr class="(m\d)"><th scope="row">(\w+)<', page):
        assert tones[row[0]] == row[1]


def several(tmp_path: Path, *learners: tuple[str, list[int], list[int]]) -> list[RewardRun]:
    """Runs of two tasks, one seed a learner, with these curves of ten episodes a point."""
    runs = []
    for name, reach, jump in learners:
        (path,) = made_up(tmp_path, name, [reach])
        run = json.loads(path.read_text())
        run["tasks"].append({"name": "jump", "instruction": "leap"})
        run["results"].append({**run["results"][0], "task": "jump", "successes": jump})
        path.write_text(json.dumps(run))
        runs.append(read_reward_run(path))
    return runs


def test_the_page_begins_with_who_holds_success_on_how_many_tasks(tmp_path: Path):
    runs = several(
        tmp_path,
        ("token", [0, 9, 9], [0, 9, 9]),
        ("mlp", [0, 0, 9], [0, 0, 9]),
        ("finetune", [0, 0, 0, 9], [0, 0, 1, 1]),
    )
    page = render(runs)
    first = page[: page.index('<section id="all">')]
    assert "with <b>token</b> and <b>mlp</b> on both tasks; <b>finetune</b> on one of two." in first
    assert "<b>token</b> needs the fewest environment steps, 1,000 a task, and <b>mlp</b> the most, 2,000" in first
    assert first.count('<i class="on"') == 5
    assert first.count('title="jump, steps needed: never"') == 1


def test_where_nobody_holds_success_the_page_says_so(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 1, 2]])]
    assert "No learner held success on 80\N{NO-BREAK SPACE}% of the test episodes." in render(runs)


def test_each_cell_says_its_column_for_screens_that_stack_it(tmp_path: Path):
    page = render([read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9, 9]])])
    assert '<td data-name="steps to 80%">1,000</td>' in page


def test_learners_are_paired_by_seed_and_task(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9], [0, 9]])]
    runs += [read_reward_run(path) for path in made_up(tmp_path, "mlp", [[0, 5], [0, 7], [0, 1]])]
    ((label, seeds, pair),) = paired(runs, "mlp")
    assert (label, seeds, pair.over, pair.wins) == ("token", 2, "seeds", 2)
    assert pair.difference == pytest.approx(0.3)
