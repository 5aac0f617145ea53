"""Runs side by side: seeds grouped, intervals that say what they are over, fair comparisons only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.report.configs import differences, machine, shown
from skilltokens.report.definitions import DEFINITIONS
from skilltokens.report.naming import unnamed
from skilltokens.report.page import render
from skilltokens.report.results import texts_of
from skilltokens.report.runs import read_run
from skilltokens.report.summary import chosen, compare, defined, strangers, variants, versus
from skilltokens.types import RunError

Build = Callable[..., Path]
BY_KEY = {definition.key: definition for definition in DEFINITIONS}


def _runs(build: Build, folder: Path, *kinds: tuple[str, int], **settings: Any):
    return [read_run(build(folder / f"{method}-{seed}", method, seed, **settings)) for method, seed in kinds]


def test_seeds_of_a_method_are_one_group_in_a_fixed_order_of_methods(build: Build, tmp_path: Path):
    runs = _runs(build, tmp_path, ("multitask", 0), ("sequential", 1), ("t2s", 1), ("t2s", 0), ("sequential", 0))
    (comparison,) = compare(runs)
    assert [group.label for group in comparison.groups] == ["t2s", "sequential", "multitask"]
    assert [run.seed for run in comparison.groups[0].runs] == [0, 1]


def test_the_order_of_runs_does_not_change_the_comparison(build: Build, tmp_path: Path):
    runs = _runs(build, tmp_path, ("t2s", 0), ("sequential", 0), ("t2s", 1), ("lora", 0))
    labels = [[g.label for c in compare(order) for g in c.groups] for order in (runs, runs[::-1])]
    assert labels[0] == labels[1]


def test_two_configurations_of_a_method_are_told_apart_by_what_differs(build: Build, tmp_path: Path):
    def narrow(content: dict[str, Any]) -> None:
        content["config"]["method"]["mu"] = 0.04

    runs = [read_run(build(tmp_path / "a")), read_run(build(tmp_path / "b", change=narrow))]
    (comparison,) = compare(runs)
    assert [group.label for group in comparison.groups] == ["t2s (mu=0.08)", "t2s (mu=0.04)"]


def test_many_configurations_of_a_method_have_different_names_that_say_what_is_unusual(build: Build, tmp_path: Path):
    def varied(**settings: object) -> Callable[[dict[str, Any]], None]:
        return lambda content: content["config"]["method"].update(settings)

    usual: dict[str, object] = {"mu": 0.08, "bend": 0, "fork": 0, "rate": 0.01, "pull": 0}
    unusual = [{}, {}, {"bend": 1}, {"bend": 1, "rate": 0.005}, {"fork": 1}, {"pull": 0.5}, {"rate": 1.23456789}]
    unusual += [{"rate": 1.23456788}]  # shown alike
    changes = [
        varied(**{**usual, "mu": 0.04}) if not n else varied(**{**usual, **one}) for n, one in enumerate(unusual)
    ]
    runs = [read_run(build(tmp_path / str(n), change=change)) for n, change in enumerate(changes)]
    labels = [group.label for group in compare(runs)[0].groups]
    assert sorted(labels[:6]) == sorted(
        ["t2s (mu=0.04)", "t2s", "t2s (bend=1)", "t2s (rate=0.005, bend=1)", "t2s (fork=1)", "t2s (pull=0.5)"]
    )
    assert labels[6:] == ["t2s (rate=1.23457) no. 1", "t2s (rate=1.23457) no. 2"]
    assert unnamed(runs) == {"t2s": "pull=0, rate=0.01, mu=0.08, fork=0 and bend=0"}


def test_a_setting_of_the_training_is_named_by_its_last_word_where_no_setting_of_the_method_has_it(
    build: Build, tmp_path: Path
):
    def moved(content: dict[str, Any]) -> None:
        content["config"]["train"] |= {"shift": 0.05, "rate": 0.5}
        content["config"]["method"] |= {"rate": 0.01}

    def still(content: dict[str, Any]) -> None:
        content["config"]["train"] |= {"shift": 0.0, "rate": 0.25}
        content["config"]["method"] |= {"rate": 0.01}

    runs = [read_run(build(tmp_path / change.__name__, change=change)) for change in (moved, still)]
    labels = [group.label for group in compare(runs)[0].groups]
    assert labels == ["t2s (train.rate=0.5, shift=0.05)", "t2s (train.rate=0.25, shift=0)"]


def test_workers_and_threads_do_not_split_a_group(build: Build, tmp_path: Path):
    def elsewhere(content: dict[str, Any]) -> None:
        content["config"]["evaluate"] |= {"workers": 8, "step_limit": 5.0}
        content["config"]["train"]["threads"] = 4

    runs = [read_run(build(tmp_path / "a", seed=0)), read_run(build(tmp_path / "b", seed=1, change=elsewhere))]
    assert [len(group.runs) for group in compare(runs)[0].groups] == [2]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["demonstrations"].update(digest="other"),
        lambda content: content["demonstrations"].update(source="human"),
        lambda content: content.update(suite="libero_goal"),
        lambda content: content.update(protocol="B"),
        lambda content: content["tasks"].reverse(),
        lambda content: [entry.update(split="validation") for entry in content["evaluations"]],
    ],
)
def test_what_does_not_compare_never_shares_a_table(build: Build, tmp_path: Path, change: Callable[..., None]):
    runs = [read_run(build(tmp_path / "a")), read_run(build(tmp_path / "b", "lora", change=change))]
    assert [len(comparison.groups) for comparison in compare(runs)] == [1, 1]


def test_the_same_seed_twice_is_refused_rather_than_counted_as_two(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / name)) for name in "ab"]
    with pytest.raises(RunError, match="same method, configuration and seed"):
        compare(runs)


def test_several_seeds_get_a_t_interval_and_one_seed_only_wilson_on_final_success(build: Build, tmp_path: Path):
    three = compare(_runs(build, tmp_path, ("lora", 0), ("lora", 1), ("lora", 2)))[0].groups[0]
    one = compare(_runs(build, tmp_path / "one", ("lora", 0)))[0].groups[0]
    final = three.figure(BY_KEY["final"])
    assert final.basis == "seeds"
    assert final.interval is not None
    half = 4.303 * np.std(final.seeds, ddof=1) / np.sqrt(3)
    assert final.value is not None
    assert final.interval.low == pytest.approx(final.value - half, abs=1e-3)
    assert final.interval.high == pytest.approx(min(final.value + half, 1.0), abs=1e-3)
    assert final.value == pytest.approx(np.mean(final.seeds))
    alone = one.figure(BY_KEY["final"])
    assert alone.basis == "episodes"
    assert alone.interval is not None
    assert alone.value is not None
    assert alone.interval.low < alone.value < alone.interval.high
    assert one.figure(BY_KEY["fwt"]).interval is None


def test_multitask_has_dashes_where_nothing_is_defined(build: Build, tmp_path: Path):
    group = compare(_runs(build, tmp_path, ("multitask", 0), ("multitask", 1)))[0].groups[0]
    undefined = {key for key, definition in BY_KEY.items() if group.figure(definition).value is None}
    assert undefined == {"fwt", "learned", "nbt", "lost", "forgotten", "auc", "held", "trained"}


def test_cells_pool_seeds_and_are_same_bits_only_where_all_seeds_are(build: Build, tmp_path: Path):
    def doubt(content: dict[str, Any]) -> None:
        next(e for e in content["evaluations"] if e["after"] == 1 and e["task"] == 0).pop("same_as")

    runs = [read_run(build(tmp_path / "a", seed=0)), read_run(build(tmp_path / "b", seed=1, change=doubt))]
    good, tried, same = compare(runs)[0].groups[0].cells
    assert tried[1, 0] == 40
    assert good[1, 0] == sum(run.successes[1, 0] for run in runs)
    assert not same[1, 0]
    assert same[2, 0]
    assert not same[0, 1]


def test_versus_pairs_the_seeds_that_both_have(build: Build, tmp_path: Path):
    runs = _runs(build, tmp_path, ("t2s", 0), ("t2s", 1), ("t2s", 2), ("sequential", 1), ("sequential", 2))
    ours, theirs = compare(runs)[0].groups
    pair = versus(ours, theirs)
    assert pair is not None
    assert pair.seeds == (1, 2)
    assert pair.final.difference > 0.5
    assert pair.final.wins + pair.final.ties + pair.final.losses == 20
    assert pair.fwt is not None


def test_versus_needs_a_common_seed_and_equally_many_lessons(build: Build, tmp_path: Path):
    ours, theirs = compare(_runs(build, tmp_path, ("t2s", 0), ("sequential", 1)))[0].groups
    assert versus(ours, theirs) is None
    unfinished = [read_run(build(tmp_path / "x")), read_run(build(tmp_path / "y", "lora", learned=4))]
    ours, theirs = compare(unfinished)[0].groups
    assert versus(ours, theirs) is None


def test_differences_leave_out_settings_that_one_method_alone_has(build: Build, tmp_path: Path):
    runs = _runs(build, tmp_path, ("t2s", 0), ("sequential", 3))
    assert differences(runs) == {"method.rate": [T2SSettings().rate, SequentialSettings().rate]}


def test_choices_are_counted_apart_for_held_out_wordings(build: Build, tmp_path: Path):
    group = compare(_runs(build, tmp_path, ("t2s", 0)))[0].groups[0]
    assert chosen(group, held_out=True) == (9, 10)
    assert chosen(group, held_out=False) == (20, 20)


def test_cells_acted_by_another_skill_are_counted(build: Build, tmp_path: Path):
    def astray(content: dict[str, Any]) -> None:
        for entry in content["evaluations"]:
            entry["skill"] = entry["task"]
        last = content["evaluations"][-1]
        last["skill"] = (last["task"] + 1) % 10

    group = compare([read_run(build(tmp_path, change=astray))])[0].groups[0]
    assert strangers(group) == (1, 55)


def test_settings_and_machines_are_written_as_people_do(build: Build, tmp_path: Path):
    written = [shown(value) for value in (True, 0.001, None, (1, 2), ())]
    assert written == ["yes", "0.001", "\N{EN DASH}", "1, 2", "none"]

    def described(content: dict[str, Any]) -> None:
        content["timing"]["machine"] = {"system": "Linux", "processor": "Example", "cores": 2}

    assert machine(read_run(build(tmp_path, change=described))) == "Linux, Example, 2 cores"


def varied(content: dict[str, Any]) -> None:
    """Two tasks of one variant: the first was called by its own skill, the second by the first's."""
    same = {"suite": "other-words", "split": "test", "skill": 0, "episodes": 20}
    content["variants"] = [
        {**same, "task": 0, "successes": 18, "instruction": "a"},
        {**same, "task": 1, "successes": 1, "instruction": "b"},
    ]


def test_variants_count_successes_and_right_choices_over_tasks_and_seeds(build: Build, tmp_path: Path):
    runs = [read_run(build(tmp_path / str(seed), "t2s", seed, tasks=2, change=varied)) for seed in range(2)]
    (variant,) = variants(compare(runs)[0].groups[0])
    assert (variant.suite, variant.successes, variant.episodes) == ("other-words", 38, 80)
    assert (variant.right, variant.calls) == (2, 4)


def test_a_variant_with_more_successes_than_episodes_is_refused(build: Build, tmp_path: Path):
    def wrong(content: dict[str, Any]) -> None:
        varied(content)
        content["variants"][1]["successes"] = 21

    with pytest.raises(RunError, match=r"variants\[1\] counts 21 successes of 20"):
        read_run(build(tmp_path, "t2s", tasks=2, change=wrong))


def test_variants_are_shown_in_results_and_on_the_page(build: Build, tmp_path: Path):
    build(tmp_path / "results" / "words" / "t2s", "t2s", tasks=2, change=varied)
    page = texts_of(tmp_path / "results")[tmp_path / "results" / "words" / "README.md"]
    assert "| t2s | other-words | 1 of 2 | 0.475" in page
    page = render([read_run(tmp_path / "results" / "words" / "t2s" / "run.json")])
    assert "other-words" in page


def _twins(content: dict[str, Any]) -> None:
    """Each cell says its own skill, but task 0 after lessons 2 and 3 calls the skill of task 2, and fails."""
    for entry in content["evaluations"]:
        entry["skill"] = entry["task"]
        entry.pop("same_as", None)
        if entry["task"] == 0 and entry["after"] >= 2:
            entry |= {"skill": 2, "successes": 0}


def test_miscalled_is_told_from_forgotten_where_there_is_any(build: Build, tmp_path: Path):
    plain = read_run(build(tmp_path / "plain", tasks=4))
    twins = read_run(build(tmp_path / "twins", "lora", tasks=4, change=_twins))
    assert plain.figures is not None
    assert twins.figures is not None
    assert (plain.figures.nbt, plain.figures.forgotten, plain.miscalled_share) == (0, 0, 0)
    learned = twins.successes[0, 0] / twins.episodes[0, 0]
    assert twins.figures.nbt == pytest.approx(learned * 2 / 3 / 3)  # two of task 0's three later cells, three tasks
    assert twins.figures.forgotten == 0
    assert twins.miscalled_share == 2 / 10
    keys = {"forgotten", "miscalled"}
    assert not keys & {d.key for d in defined(compare([plain])[0].groups)}
    together = compare([plain, twins])[0]
    assert keys <= {d.key for d in defined(together.groups)}
    assert [g.figure(BY_KEY["miscalled"]).value for g in together.groups] == [0, 0.2]
    assert strangers(together.groups[1]) == (2, 10)


def test_a_skill_of_the_base_library_is_another_and_a_second_skill_of_a_task_is_its_own(build: Build, tmp_path: Path):
    def change(content: dict[str, Any]) -> None:
        content["tasks"][2] = content["tasks"][0]
        for entry in content["evaluations"]:
            if entry["task"] == 0:
                entry.pop("same_as", None)
                entry |= {"skill": 2} if entry["after"] == 2 else {"called": "a skill of the base"}

    run = read_run(build(tmp_path / "run", tasks=3, change=change))
    assert run.miscalled.tolist() == [[True, False, False], [True, False, False], [False, False, False]]


def test_tables_and_pages_show_the_two_figures_only_where_a_cell_was_miscalled(build: Build, tmp_path: Path):
    heads = ("Forgotten", "Miscalled")
    runs = [build(tmp_path / "results" / "x" / "lora-0", "lora", tasks=4, change=_twins)]
    page = texts_of(tmp_path / "results")[tmp_path / "results" / "x" / "README.md"]
    front = texts_of(tmp_path / "results")[tmp_path / "RESULTS.md"]
    html = render([read_run(runs[0])])
    for text in (page, front, html):
        assert all(head in text for head in heads)
    assert "| 20.0 % |" in page
    assert "miscalled: another task&#39;s skill acted" in html
    assert "0 forgotten, the rest miscalled" in html
    build(tmp_path / "results" / "x" / "lora-0", "lora", tasks=4)
    texts = [*texts_of(tmp_path / "results").values(), render([read_run(runs[0])])]
    assert not [text for text in texts if "Miscalled" in text or ", miscalled" in text or "<em>miscalled" in text]
