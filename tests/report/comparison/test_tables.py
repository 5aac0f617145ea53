"""Comparisons: what must be equal, what pairs, what is said of who is ahead, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skilltokens import significance
from skilltokens.report.comparison.entries import read_entries
from skilltokens.report.comparison.model import Comparisons, Pair, Table
from skilltokens.report.comparison.pairs import pair_of, verdict
from skilltokens.report.comparison.sentences import verdict as sentence
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.conditions import CONDITIONS
from skilltokens.report.runs import Run, read_run
from skilltokens.types import RunError

Build = Callable[..., Path]
Change = Callable[[dict[str, Any]], object]


def _compared(*runs: Run, assume_equal: bool = False) -> Table:
    (table,) = compare_runs(runs, assume_equal).tables
    return table


def _outcomes(spread: Callable[[dict[str, Any]], str]) -> Change:
    """Gives every cell outcomes, and counts them."""

    def change(content: dict[str, Any]) -> None:
        for cell in content["evaluations"]:
            source = cell if "same_as" not in cell else content["evaluations"][cell["same_as"]]
            cell["outcomes"] = source.get("outcomes") or spread(cell)
            cell["successes"], cell["episodes"] = cell["outcomes"].count("1"), len(cell["outcomes"])

    return change


def _set(*path: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def _episodes(content: dict[str, Any]) -> None:
    for cell in content["evaluations"]:
        cell["episodes"] = 25


def _split(content: dict[str, Any]) -> None:
    for cell in content["evaluations"]:
        cell["split"] = "validation"


def _chooser(content: dict[str, Any]) -> None:
    for cell in content["evaluations"]:
        cell["selected_by"] = "task_id"


def _renamed(content: dict[str, Any]) -> None:
    content["tasks"][0]["name"] = "drill"


def _order(content: dict[str, Any]) -> None:
    content["tasks"] = content["tasks"][::-1]


UNEQUAL: list[tuple[str, Change, str, str]] = [
    ("suite", _set("suite", value="metaworld-easy"), "metaworld", "metaworld-easy"),
    ("tasks", _renamed, "hammer", "drill"),
    ("order of the tasks", _order, "hammer, push-wall", "peg-unplug-side, window-close"),
    ("protocol", _set("protocol", value="B"), "A", "B, 1 tasks together at first"),
    ("base library", _set("base", value={"skills": ["a"], "parameters": 1, "fingerprints": ["ab"]}), "none", "ab"),
    ("observations", _set("observations", value="images"), "state", "images"),
    ("demonstrations", _set("demonstrations", "episodes", value=[5] * 10), "30 scripted a task", "5 scripted a task"),
    ("demonstrations", _set("demonstrations", "source", value="human"), "30 scripted", "30 human"),
    ("digests of the demonstrations", _set("demonstrations", "digest", value="ab" * 32), "5f5f5f5f", "abababab"),
    ("budget", _set("config", "train", "iterations", value=9), "iterations a lesson", "9 iterations a lesson"),
    ("budget", _set("config", "train", "batch", value=9), "batches of", "batches of 9 windows"),
    ("split of the initial states", _split, "test", "validation"),
    ("episodes a test", _episodes, "20", "25"),
    ("what chooses the skill", _chooser, "instruction", "task id"),
    ("horizon", _set("config", "evaluate", "horizon", value=77), "500 steps", "77 steps"),
    ("actions taken for each look", _set("config", "evaluate", "ahead", value=4), "1", "4"),
]


def test_every_condition_is_tried():
    assert {name for name, *_ in UNEQUAL} == {condition.name for condition in CONDITIONS}


@pytest.mark.parametrize(("name", "change", "one", "other"), UNEQUAL, ids=[f"{n}-{o}" for n, _, _, o in UNEQUAL])
def test_unequal_runs_never_share_a_table(
    name: str, change: Change, one: str, other: str, build: Build, tmp_path: Path
):
    ours = read_run(build(tmp_path / "ours", "t2s"))
    theirs = read_run(build(tmp_path / "theirs", "lora", change=change))
    with pytest.raises(RunError) as refused:
        compare_runs([ours, theirs])
    said = str(refused.value)
    assert said.startswith("nothing here can be compared: ")
    assert str(ours.path) in said
    assert str(theirs.path) in said
    words = said.partition(f": {name} ")[2].partition(";")[0].split(" against ")
    assert one in words[0]
    assert other in words[1]
    with pytest.raises(RunError, match="not of equal conditions"):
        compare_runs([ours, theirs], assume_equal=True)
    rival = read_run(build(tmp_path / "rival", "sequential"))
    comparisons = compare_runs([ours, theirs, rival])
    assert [[c.group.method for c in table.contenders] for table in comparisons.tables] == [
        ["t2s", "sequential"],
        ["lora"],
    ]
    assert name in comparisons.apart[0]


def test_what_follows_from_another_difference_is_not_said_again(build: Build, tmp_path: Path):
    other = _set("demonstrations", value={"source": "human", "episodes": [50] * 10, "digest": "ab" * 32})
    runs = [read_run(build(tmp_path / "a")), read_run(build(tmp_path / "b", "lora", change=other))]
    with pytest.raises(RunError) as refused:
        compare_runs(runs)
    assert "digests" not in str(refused.value)


def test_methods_that_spend_the_same_settings_in_another_way_stay_comparable(build: Build, tmp_path: Path):
    table = _compared(*(read_run(build(tmp_path / m, m)) for m in ("multitask", "single_task", "t2s", "sequential")))
    assert [c.group.method for c in table.contenders] == ["t2s", "sequential", "single_task", "multitask"]
    assert len(table.pairs) == 6
    assert table.conditions["protocol"] == "A"


# ---------------------------------------------------------------- pairs


def _pair(build: Build, folder: Path, first: Change | None, second: Change | None, seeds: int = 1) -> Pair:
    runs = [
        read_run(build(folder / f"{method}-{seed}", method, seed, change=change))
        for method, change in (("t2s", first), ("single_task", second))
        for seed in range(seeds)
    ]
    (pair,) = _compared(*runs).pairs
    return pair


def test_episodes_pair_by_their_initial_states_where_both_have_them(build: Build, tmp_path: Path):
    mine, other = _outcomes(lambda cell: "1" * 15 + "00001"), _outcomes(lambda cell: "0" * 3 + "1" * 12 + "00000")
    pair = _pair(build, tmp_path, mine, other)
    assert pair.paired
    assert pair.discordant == (40, 0)
    assert pair.p == pytest.approx(2 / 2**40)
    assert pair.tasks[0].p == pytest.approx(2 / 2**4)
    assert pair.tasks[0].corrected == pytest.approx(1.0)
    assert pair.smallest == significance.smallest_paired(significance.Discordant(40, 0, 200))
    assert pair.difference == pytest.approx(0.2)
    assert (pair.final.wins, pair.final.ties, pair.final.losses) == (10, 0, 0)
    assert verdict(pair) == "ahead"


def test_the_order_of_the_episodes_matters_to_a_pair_and_counts_alone_do_not(build: Build, tmp_path: Path):
    same = _outcomes(lambda cell: "1" * 10 + "0" * 10)
    turned = _outcomes(lambda cell: "0" * 10 + "1" * 10)
    assert _pair(build, tmp_path / "a", same, same).discordant == (0, 0)
    assert _pair(build, tmp_path / "b", same, turned).discordant == (100, 100)


def test_counts_are_compared_where_one_has_no_outcomes(build: Build, tmp_path: Path):
    pair = _pair(build, tmp_path, _outcomes(lambda cell: "1" * 18 + "00"), None)
    assert not pair.paired
    assert pair.discordant is None
    assert pair.p == significance.unpaired_test(pair.successes, pair.episodes)
    assert pair.episodes == (200, 200)
    assert pair.successes[0] == 180


def test_a_pair_turned_around_says_the_same_of_the_other(build: Build, tmp_path: Path):
    pair = _pair(build, tmp_path, None, _outcomes(lambda cell: "1" * 11 + "0" * 9), seeds=3)
    turned = pair_of(pair.b, pair.a)
    assert isinstance(turned, Pair)
    assert turned.difference == pytest.approx(-pair.difference)
    assert turned.p == pair.p
    assert (turned.final.wins, turned.final.losses) == (pair.final.losses, pair.final.wins)
    assert turned.final.interval is not None
    assert pair.final.interval is not None
    assert turned.final.interval.low == pytest.approx(-pair.final.interval.high)
    judged = dataclasses.replace(turned, corrected=pair.corrected)
    assert {pair.verdict, verdict(judged)} == {"ahead", "behind"}


def test_a_rival_that_wins_is_shown_winning(build: Build, tmp_path: Path):
    pair = _pair(build, tmp_path, _outcomes(lambda cell: "0" * 19 + "1"), _outcomes(lambda cell: "1" * 19 + "0"), 2)
    assert pair.verdict == "behind"
    assert sentence(pair) == "single_task leads t2s by 0.900 [0.900 to 0.900] over 2 seeds, p < 0.001"


def test_what_the_seeds_leave_open_is_said_of_these_policies_alone(build: Build, tmp_path: Path):
    """One seed is far ahead and the other is not: the episodes say more than another training may."""

    def uneven(content: dict[str, Any]) -> None:
        good = "1" * 20 if content["seed"] == 0 else "1" * 10 + "0" * 10
        _outcomes(lambda cell: good)(content)

    pair = _pair(build, tmp_path, uneven, _outcomes(lambda cell: "0" * 10 + "1" * 10), 2)
    assert pair.verdict == "these policies ahead"
    assert "these policies of t2s do better than those of single_task" in sentence(pair)


def test_equal_methods_are_not_called_equal_but_untold(build: Build, tmp_path: Path):
    pair = _pair(build, tmp_path, _outcomes(lambda cell: "1" * 18 + "00"), _outcomes(lambda cell: "1" * 18 + "00"))
    assert pair.verdict == "open"
    assert "can't be told apart: 0 [0 to 0] with one seed, p = 1.00; a difference of 0.0" in sentence(pair)
    assert "would show in 200 episodes each" in sentence(pair)


def test_p_is_corrected_over_all_pairs_of_a_table(build: Build, tmp_path: Path):
    table = _compared(*(read_run(build(tmp_path / m, m)) for m in ("t2s", "lora", "sequential", "single_task")))
    assert [pair.corrected for pair in table.pairs] == significance.holm([pair.p for pair in table.pairs])
    assert any(pair.corrected > pair.p for pair in table.pairs)


def test_an_unfinished_run_is_compared_after_the_last_lesson_that_both_have(build: Build, tmp_path: Path):
    table = _compared(
        read_run(build(tmp_path / "t2s", "t2s")),
        read_run(build(tmp_path / "lora", "lora", learned=4)),
        read_run(build(tmp_path / "joint", "multitask")),
    )
    pair = next(pair for pair in table.pairs if pair.b.group.method == "lora")
    assert (pair.lessons, len(pair.tasks), pair.episodes) == (4, 4, (80, 80))
    assert "lora is unfinished: 4 of 10 lessons" in table.remarks
    assert (
        "lora and multitask have no lesson in common after which both were tested on all tasks so far" in table.remarks
    )


def test_seeds_that_only_one_has_do_not_pair(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / f"{m}{s}", m, s)) for m, s in (("t2s", 0), ("t2s", 1), ("lora", 1))]
    (pair,) = _compared(*runs).pairs
    assert pair.seeds == (1,)
    table = _compared(runs[0], runs[2])
    assert not table.pairs
    assert "have no seed in common" in table.remarks[0]


def test_a_run_twice_is_refused_and_one_without_a_test_left_out(build: Build, tmp_path: Path):
    one, copy = (read_run(build(tmp_path / name)) for name in ("a", "b"))
    with pytest.raises(RunError, match="are the same method, configuration and seed"):
        compare_runs([one, copy])
    untested = read_run(build(tmp_path / "c", "lora", learned=0))
    with pytest.raises(RunError, match="has no lesson yet that was tested"):
        compare_runs([untested])
    comparisons = compare_runs([one, untested])
    assert [contender.label for contender in comparisons.tables[0].contenders] == ["t2s"]
    assert comparisons.left_out == (f"{untested.path} has no lesson yet that was tested",)
    with pytest.raises(RunError, match="no run was named"):
        compare_runs([])


def test_costs_are_what_the_runs_wrote_down(build: Build, tmp_path: Path):
    def replayed(content: dict[str, Any]) -> None:
        content["config"]["train"] |= {"iterations": 100, "first_iterations": 300}
        content |= {"remembered": list(range(0, 1000, 100)), "passes": [1.0] + [2.0] * 9}

    (contender,) = _compared(read_run(build(tmp_path / "er", "sequential", change=replayed))).contenders
    costs = contender.costs
    assert (costs.iterations, costs.passes, costs.remembered_bytes) == (1200, 300 + 2 * 900, 900)
    assert (costs.base, costs.trained, costs.stored, costs.stored_bytes) == (152_904, 152_904, 152_904, 4 * 152_904)
    assert costs.demonstrations == 30
    (joint,) = _compared(read_run(build(tmp_path / "joint", "multitask"))).contenders
    assert joint.costs.trained is None
    assert joint.costs.iterations == 1000 + 9 * 800, "one lesson as long as all of a method's with lessons"


# ---------------------------------------------------------------- what is not said

TASKS = ("push", "hammer", "window-close", "push-wall", "faucet-close")
MORE = ("push-back", "stick-pull", "shelf-place", "handle-press-side", "peg-unplug-side")
CSV = "method,seed,task,successes,episodes\n" + "".join(
    f"er,0,{task},{good},20\n" for good, task in enumerate((*TASKS, *MORE))
)


def test_what_a_file_does_not_say_is_equal_to_nothing_unless_that_is_asked_for(build: Build, tmp_path: Path):
    build(tmp_path / "t2s")
    (tmp_path / "er.csv").write_text(CSV)
    words = [str(tmp_path / "t2s"), f"{tmp_path}/er.csv:suite=metaworld,observations=state"]
    runs = read_entries(words)
    with pytest.raises(RunError) as refused:
        compare_runs(runs)
    assert f"{tmp_path / 'er.csv'} does not say order of the tasks, protocol, " in str(refused.value)
    for name in ("budget", "horizon", "split of the initial states"):
        assert name in str(refused.value)
    assert "--assume-equal" in str(refused.value)
    assert "observations" not in str(refused.value)
    table = _compared(*runs, assume_equal=True)
    (sentence_of_er,) = table.assumed
    assert sentence_of_er.startswith("er does not say order of the tasks, protocol, ")
    assert table.conditions["protocol"] == "A"
    (pair,) = table.pairs
    assert not pair.paired
    goods = {task.task: task.successes[1] for task in pair.tasks}
    assert (goods["push"], goods["hammer"], goods["peg-unplug-side"]) == (0, 1, 9), "tasks are matched by name"


def test_assuming_makes_no_two_said_conditions_equal_through_a_silent_third(build: Build, tmp_path: Path):
    build(tmp_path / "t2s")
    build(tmp_path / "lora", "lora", change=_set("config", "evaluate", "horizon", value=77))
    (tmp_path / "er.csv").write_text(CSV)
    words = [f"{tmp_path}/er.csv:suite=metaworld", str(tmp_path / "t2s"), str(tmp_path / "lora")]
    comparisons = compare_runs(read_entries(words), assume_equal=True)
    methods = [[contender.group.method for contender in table.contenders] for table in comparisons.tables]
    assert methods == [["t2s", "er"], ["lora"]]
    assert "horizon 500 steps against 77 steps" in comparisons.apart[0]


def test_each_of_a_table_is_held_against_all_others_and_not_the_first_alone(tmp_path: Path):
    """The second and the third differ, and the first says nothing of what they differ in."""
    said = {"er": "horizon=500,ahead=1,split=test", "ewc": "protocol=A", "l2": "protocol=B,first=2"}
    for name in said:
        (tmp_path / f"{name}.csv").write_text("task,successes,episodes\npush,1,2\npull,1,2\n")
    runs = read_entries([f"{tmp_path / name}.csv:{words}" for name, words in said.items()])
    comparisons = compare_runs(runs, assume_equal=True)
    methods = [[contender.group.method for contender in table.contenders] for table in comparisons.tables]
    assert methods == [["er", "ewc"], ["l2"]]
    assert "protocol A against B" in comparisons.apart[0]


def test_outcomes_of_states_that_are_only_assumed_to_be_ours_do_not_pair(build: Build, tmp_path: Path):
    build(tmp_path / "t2s", change=_outcomes(lambda cell: "1" * 20))
    lines = [line.split(",") for line in CSV.splitlines()[1:]]
    text = "method,seed,task,outcomes\n" + "".join(f"{m},{s},{t},{'10' * 10}\n" for m, s, t, *_ in lines)
    (tmp_path / "er.csv").write_text(text)

    def pair(said: str) -> Pair:
        words = [str(tmp_path / "t2s"), f"{tmp_path}/er.csv:suite=metaworld{said}"]
        (only,) = _compared(*read_entries(words), assume_equal=True).pairs
        return only

    assert not pair("").paired
    assert pair(",split=test").discordant == (100, 0)


def test_another_programs_run_json_without_settings_says_no_budget(build: Build, tmp_path: Path):
    bare = read_run(build(tmp_path / "bare", "lora", change=_set("config", value={})))
    silent = {condition.name for condition in CONDITIONS if condition.of(bare) is None}
    assert silent == {"budget", "horizon", "actions taken for each look"}


# ---------------------------------------------------------------- what may be named


def test_folders_files_and_published_names_are_found_once(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("t2s-seed0", "lora-seed0", ".hidden"):
        build(tmp_path / "results" / "cw10" / name, name.partition("-")[0].replace(".hidden", "t2s"))
    (tmp_path / "results" / "cw10" / "eval").mkdir()
    tasks = [{"task_group": "x", "task_id": 0, "metrics": {"successes": [True]}}]
    (tmp_path / "results" / "cw10" / "eval" / "eval_info.json").write_text(json.dumps({"per_task": tasks}))
    monkeypatch.chdir(tmp_path)
    assert [run.method for run in read_entries(["cw10"])] == ["t2s", "lora", "eval"]
    assert len(read_entries(["cw10", "results/cw10/t2s-seed0/run.json", "results"])) == 3
    with pytest.raises(RunError, match="did you mean 'cw10'"):
        read_entries(["cw1"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no run"):
        read_entries(["empty"])
    with pytest.raises(RunError, match="only method=NAME, for a run, can be said behind it"):
        read_entries(["results/cw10/t2s-seed0/run.json:seed=4"])


def test_two_states_of_one_method_are_compared_under_names_of_their_own(build: Build, tmp_path: Path):
    for name in ("new", "old"):
        build(tmp_path / name)
    words = [f"{tmp_path / name}:method={name}" for name in ("new", "old")]
    (pair,) = _compared(*read_entries(words)).pairs
    assert (pair.a.label, pair.b.label, pair.difference) == ("new", "old", 0)
    with pytest.raises(RunError, match="is named twice"):
        read_entries([words[0], f"{tmp_path / 'new'}:method=old"])


def test_a_run_from_reward_is_refused(tmp_path: Path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": "skilltokens.reward/1"}))
    with pytest.raises(RunError, match="learning from reward"):
        read_entries([str(tmp_path)])


def test_comparisons_hold_every_run_once(build: Build, tmp_path: Path):
    runs = [
        read_run(build(tmp_path / f"{i}", m, s, change=_set("config", "train", "batch", value=b)))
        for i, (m, s, b) in enumerate([("t2s", 0, 4), ("lora", 0, 4), ("t2s", 0, 8), ("lora", 0, 8), ("lora", 1, 8)])
    ]
    comparisons: Comparisons = compare_runs(runs)
    paths = [run.path for table in comparisons.tables for c in table.contenders for run in c.group.runs]
    assert sorted(paths) == sorted(run.path for run in runs)
    assert len(comparisons.tables) == 2


def test_areas_are_compared_only_where_lessons_were_tested_at_the_same_points(build: Build, tmp_path: Path):
    def fewer(content: dict[str, Any]) -> None:
        for cell in content["evaluations"]:
            cell["progress"] = {0.2: 0.3}.get(cell["progress"], cell["progress"])

    ours, same = read_run(build(tmp_path / "ours", "t2s")), read_run(build(tmp_path / "same", "lora"))
    (pair,) = _compared(ours, same).pairs
    assert pair.fwt is not None
    other = read_run(build(tmp_path / "other", "lora", change=fewer))
    table = _compared(ours, other)
    assert table.pairs[0].fwt is None
    assert table.pairs[0].final.difference == pair.final.difference
    assert any(remark.startswith("FWT is not compared") and "0.3" in remark for remark in table.remarks)
