"""Results of other programs: what each format says becomes cells and conditions, what it lacks stays unsaid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skilltokens.experiments.foreign import read_foreign
from skilltokens.experiments.records import LifelongRecord
from skilltokens.report.runs import Run, run_of
from skilltokens.types import RunError

CSV = """\
# suite: metaworld
# protocol: A
# source: scripted
# demonstrations: 50
# a comment that says nothing
method,seed,task,after,progress,successes,episodes,outcomes
er,0,hammer,1,0.5,1,4,1000
er,0,hammer,1,,3,4,1110
er,0,push,2,,4,4,1111
er,0,hammer,2,,2,4,0110
er,1,hammer,1,,4,4,
er,1,push,2,,4,4,
er,1,hammer,2,,1,4,
"""


def _only(path: Path, **said: str) -> tuple[LifelongRecord, Run]:
    (record,) = read_foreign(path, said)
    return record, run_of(record, path)


def _written(path: Path, content: str | bytes | dict[str, Any]) -> Path:
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---------------------------------------------------------------- CSV


def test_a_csv_has_a_run_for_each_seed_with_its_matrix_curve_and_conditions(tmp_path: Path):
    first, second = read_foreign(_written(tmp_path / "er.csv", CSV), {})
    assert [(record.method, record.seed, record.suite, record.protocol) for record in (first, second)] == [
        ("er", 0, "metaworld", "A"),
        ("er", 1, "metaworld", "A"),
    ]
    run = run_of(first, tmp_path)
    assert run.tasks == ("hammer", "push")
    assert run.finished
    assert run.successes.tolist() == [[3, 0], [2, 4]]
    assert run.curves[0].successes.tolist() == [1, 3]
    figures = run.figures
    assert figures is not None
    assert (figures.final, figures.nbt) == (0.75, 0.25)
    assert first.demonstrations.episodes == [50, 50]
    assert [cell.outcomes for cell in first.cells if cell.progress == 1] == ["1110", "1111", "0110"]


def test_what_is_said_beside_a_file_goes_before_its_columns_and_these_before_its_comments(tmp_path: Path):
    text = "# method: comment\n# seed: 7\nmethod,task,successes,episodes\ncolumn,push,1,2\n"
    record, _ = _only(_written(tmp_path / "a.csv", text))
    assert (record.method, record.seed) == ("column", 7)
    record, _ = _only(tmp_path / "a.csv", method="beside", trained_parameters="12", iterations="100")
    assert (record.method, record.parameters.trained[-1]) == ("beside", 12)
    assert record.config["train"] == {"iterations": 100, "first_iterations": 100}


def test_tests_after_all_lessons_have_no_order_unless_tasks_are_named(tmp_path: Path):
    path = _written(tmp_path / "flat.csv", "task,rate,episodes\npush,0.5,20\nhammer,1,20\n")
    _, run = _only(path)
    assert run.joint
    assert not run.config.get("ordered")
    assert run.successes[-1].tolist() == [10, 20]
    _, named = _only(path, tasks="hammer+push")
    assert named.tasks == ("hammer", "push")
    assert named.config["ordered"]
    assert named.successes[-1].tolist() == [20, 10]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("task,rate\npush,0.5\n", "not the number of episodes"),
        ("task,rate,episodes\npush,0.33,20\n", "which 20 episodes cannot have"),
        ("task,rate,episodes\npush,1.5,20\n", "from 0 to 1"),
        ("task,successes,episodes\npush,21,20\n", "counts 21 successes of 20 episodes"),
        ("task,successes,episodes,outcomes\npush,2,3,100\n", "outcomes that are not those it counts"),
        ("task,successes,episodes,outcomes\npush,2,3,1x0\n", "1 or 0"),
        ("task,successes,episodes\npush,2.5,3\n", "whole number"),
        ("task,succeses,episodes\npush,2,3\n", "did you mean 'successes'"),
        ("task,successes,episodes\npush,2\n", "2 cells in line 2"),
        ("task,successes,episodes\n", "no test"),
        ("", "needs a first line"),
        ("task,episodes\npush,3\n", "needs a first line"),
        ("task,successes,episodes\npush,2,3\npush,2,3\n", "repeats a cell"),
        ("task,after,successes,episodes\npush,0,2,3\n", "lessons count from 1"),
        ("task,after,successes,episodes\npush,3,2,3\n", "one lesson a task"),
        ("task,successes,episodes,split\npush,2,3,train\n", "split='train'"),
        ("task,successes,episodes,seed\npush,2,3,-1\n", "too small"),
        ("task,successes,episodes,horizon\npush,2,3,5\nhammer,2,3,6\n", "several values of horizon"),
        ("# tasks: push+hammer\ntask,successes,episodes\npull,2,3\n", "tests 'pull' in line 3"),
        (b"\xff\xfe\x00task", "no text"),
    ],
)
def test_a_csv_that_says_what_cannot_be_is_refused_in_one_sentence(text: str | bytes, problem: str, tmp_path: Path):
    path = _written(tmp_path / "bad.csv", text)
    with pytest.raises(RunError) as refused:
        read_foreign(path, {})
    assert problem in str(refused.value)
    assert str(path) in str(refused.value)


# ---------------------------------------------------------------- LeRobot

PER_TASK = {
    "per_task": [
        {"task_group": "libero_goal", "task_id": 1, "metrics": {"successes": [True, False, True], "sum_rewards": [1]}},
        {"task_group": "libero_goal", "task_id": 0, "metrics": {"successes": [True, True, True]}},
    ],
    "per_group": {"libero_goal": {"pc_success": 83.3, "n_episodes": 6}},
    "overall": {"pc_success": 83.3, "n_episodes": 6},
}


def test_lerobots_episodes_are_read_task_by_task_under_our_names(tmp_path: Path):
    folder = tmp_path / "smolvla"
    folder.mkdir()
    record, run = _only(_written(folder / "eval_info.json", PER_TASK))
    assert (record.method, record.suite) == ("smolvla", "libero-goal")
    assert run.tasks == ("open_the_middle_drawer_of_the_cabinet", "put_the_bowl_on_the_stove")
    assert run.successes[-1].tolist() == [3, 2]
    assert [cell.outcomes for cell in record.cells] == ["111", "101"]
    assert record.protocol == ""


def test_lerobots_other_forms_are_read_where_they_count(tmp_path: Path):
    episodes = [{"episode_ix": 0, "success": True, "seed": 1}, {"episode_ix": 1, "success": False, "seed": 2}]
    path = tmp_path / "eval_info.json"
    _, run = _only(_written(path, {"per_episode": episodes, "aggregated": {"pc_success": 50.0}}), tasks="push")
    assert (run.tasks, run.successes.tolist()) == (("push",), [[1]])
    _, run = _only(_written(path, {"per_group": {"push": {"pc_success": 25.0, "n_episodes": 8}}}))
    assert (run.tasks, run.successes.tolist(), run.episodes.tolist()) == (("push",), [[2]], [[8]])
    _written(path, {"aggregated": {"pc_success": 25.0}})
    with pytest.raises(RunError, match="without which chance cannot be told"):
        read_foreign(path, {})
    _, run = _only(path, episodes="8")
    assert run.successes.tolist() == [[2]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1, 2", "not JSON"),
        ({"results": 1}, "neither a run.json nor LeRobot's"),
        ({"per_task": [{"metrics": {"successes": [True, None]}}]}, "neither succeeded nor failed"),
        ({"per_task": [{"metrics": {"pc_success": float("nan"), "n_episodes": 3}}]}, "no success rate"),
        ({"per_task": [{"metrics": {"pc_success": 50.0, "n_episodes": 3}}]}, "which 3 episodes cannot have"),
        ({"per_task": ["x"]}, "no success rate"),
        ({"aggregated": {}}, "no success rate"),
    ],
)
def test_what_is_not_lerobots_or_does_not_count_is_refused(content: str | dict[str, Any], problem: str, tmp_path: Path):
    with pytest.raises(RunError, match=problem):
        read_foreign(_written(tmp_path / "eval_info.json", content), {})


# ---------------------------------------------------------------- LIBERO

MATRIX = np.array([[0.75, 0.0], [0.25, 1.0]])


def _libero(folder: Path, matrix: Any = MATRIX, config: dict[str, Any] | None = None) -> Path:
    """As LIBERO's lifelong/main.py saves a run."""
    folder.mkdir(exist_ok=True)
    torch.save(
        {"S_conf_mat": matrix, "S_fwd": np.array([0.5, 0.5]), "k0_p0": [[] for _ in range(4)]}, folder / "result.pt"
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "result.pt"


CONFIG = {
    "seed": 100,
    "benchmark_name": "LIBERO_GOAL",
    "lifelong": {"algo": "ER"},
    "eval": {"n_eval": 4, "max_steps": 600},
    "train": {"batch_size": 32},
    "data": {"seq_len": 10, "task_order_index": 0},
}
NAMES = "bowl+wine"


def test_liberos_matrix_becomes_counts_with_what_its_config_says(tmp_path: Path):
    record, run = _only(_libero(tmp_path / "run", config=CONFIG), tasks=NAMES)
    assert (record.method, record.seed, record.suite) == ("ER", 100, "libero-goal")
    assert run.successes.tolist() == [[3, 0], [1, 4]]
    assert run.episodes.tolist() == [[4, 0], [4, 4]]
    assert run.config["evaluate.horizon"] == 600
    figures = run.figures
    assert figures is not None
    assert (figures.final, figures.nbt, figures.fwt) == (0.625, 0.5, None)


def test_liberos_curves_are_read_from_the_logs_beside(tmp_path: Path):
    path = _libero(tmp_path / "run", config=CONFIG)
    for task, rates in enumerate(([0.0, 0.5, 1.0], [0.25, 0.75, 0.5])):
        torch.save({"success": np.array(rates), "loss": np.zeros(3)}, path.parent / f"task{task}_auc.log")
    _, run = _only(path, tasks=NAMES)
    assert [run.curves[k].successes.tolist() for k in (0, 1)] == [[0, 2, 3], [1, 3, 4]], "the last is what is kept"


def test_the_matrix_alone_is_read_where_the_episodes_are_said(tmp_path: Path):
    np.save(tmp_path / "er.npy", MATRIX)
    np.savez(tmp_path / "er.npz", S_conf_mat=MATRIX, S_fwd=np.zeros(2))
    for name in ("er.npy", "er.npz"):
        record, run = _only(tmp_path / name, episodes="4", tasks=NAMES, seed="3")
        assert (record.method, record.seed, run.successes.tolist()) == ("er", 3, [[3, 0], [1, 4]])
        with pytest.raises(RunError, match="not the number of episodes"):
            read_foreign(tmp_path / name, {"tasks": NAMES})


def test_liberos_multitask_is_joint_and_an_unfinished_matrix_is_refused(tmp_path: Path):
    _, run = _only(_libero(tmp_path / "joint", np.array([[0.0, 0.0], [0.25, 1.0]]), CONFIG), tasks=NAMES)
    assert run.joint
    with pytest.raises(RunError, match="nothing but 0 in its last row"):
        _only(_libero(tmp_path / "half", np.array([[0.5, 0.0], [0.0, 0.0]]), CONFIG), tasks=NAMES)


def test_tasks_come_from_the_suite_in_its_own_order_alone(tmp_path: Path):
    ten = np.tril(np.full((10, 10), 0.5))
    _, run = _only(_libero(tmp_path / "own", ten, CONFIG))
    assert run.tasks[:2] == ("open_the_middle_drawer_of_the_cabinet", "put_the_bowl_on_the_stove")
    other = {**CONFIG, "data": {"task_order_index": 3}}
    with pytest.raises(RunError, match="10 tasks without names: say them"):
        _only(_libero(tmp_path / "other", ten, other))
    with pytest.raises(RunError, match="2 tasks without names, and 10 are said"):
        _only(_libero(tmp_path / "few", MATRIX, CONFIG))


class _Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "run")


def test_no_code_of_a_file_is_ever_run(tmp_path: Path):
    mark = tmp_path / "mark"
    torch.save({"S_conf_mat": MATRIX, "x": _Evil(mark)}, tmp_path / "result.pt")
    np.save(tmp_path / "evil.npy", np.array([_Evil(mark)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "evil.npz", S_conf_mat=np.array([_Evil(mark)], dtype=object))
    for name in ("result.pt", "evil.npy", "evil.npz"):
        with pytest.raises(RunError, match=r"runs? (its )?code|running its code"):
            read_foreign(tmp_path / name, {"episodes": "4", "tasks": NAMES})
    assert not mark.exists()


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        (np.zeros(3), "is needed"),
        (np.zeros((2, 3)), "is needed"),
        (np.zeros((0, 0)), "is needed"),
        (np.array([[np.nan, 0], [0, 1]]), "no numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "holds no S_conf_mat"),
        (np.array([[1.5, 0], [0, 1]]), "which 4 episodes cannot have"),
        (np.array([[0.3, 0], [0, 1]]), "which 4 episodes cannot have"),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(matrix: np.ndarray, problem: str, tmp_path: Path):
    np.save(tmp_path / "er.npy", matrix)
    with pytest.raises(RunError, match=problem):
        read_foreign(tmp_path / "er.npy", {"episodes": "4", "tasks": NAMES})


# ---------------------------------------------------------------- all formats


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"sede": "1"}, "did you mean 'seed'"),
        ({"seed": "one"}, "seed='one', which cannot be"),
        ({"protocol": "C"}, "protocol='C'"),
        ({"iterations": "0"}, "too small"),
    ],
)
def test_what_nothing_can_say_is_refused(said: dict[str, str], problem: str, tmp_path: Path):
    with pytest.raises(RunError, match=problem):
        read_foreign(_written(tmp_path / "er.csv", CSV), said)


def test_an_unknown_format_names_the_known_ones(tmp_path: Path):
    with pytest.raises(RunError, match=r"of no known format: give a run\.json"):
        read_foreign(_written(tmp_path / "er.xlsx", "x"), {})
