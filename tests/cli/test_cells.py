"""A grid becomes complete settings for each cell, the same that `skilltokens run` makes of the recorded command."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from skilltokens.cli.cells import plan_grid
from skilltokens.cli.plan import Plan, make_plan
from skilltokens.experiments.grid import grid_of
from skilltokens.experiments.recipes import recipe
from skilltokens.types import SettingError

NAMES = {"recipe": "demo", "methods": ["t2s", "sequential"], "seeds": "0-1"}


def planned(content: dict[str, Any], only: tuple[str, ...] = ()) -> Plan:
    return plan_grid(grid_of(content, "night.toml", "night"), only=only)


def names(plan: Plan) -> list[str]:
    return [run.name for run in plan.runs]


def test_the_first_seed_of_every_cell_comes_first():
    plan = planned({**NAMES, "part": [{}, {"methods": "lora", "seeds": [5]}, {"methods": "multitask", "seeds": "0-2"}]})
    assert names(plan) == [
        "t2s-seed0",
        "sequential-seed0",
        "lora-seed5",
        "multitask-seed0",
        "t2s-seed1",
        "sequential-seed1",
        "multitask-seed1",
        "multitask-seed2",
    ]
    assert str(plan.runs[0].folder) == "runs/night/t2s-seed0"


def test_a_grid_without_methods_and_seeds_is_the_recipe():
    (run,) = planned({"recipe": "metaworld-cw10"}).runs
    assert run.settings == recipe("metaworld-cw10", "t2s")


@pytest.mark.parametrize(
    "settings",
    [
        {"evaluate": {"videos": False, "wordings": True, "variants": ["a", "b"]}},
        {"evaluate.points": 2, "train": {"first_iterations": 7, "rate": 1e-3, "average": 0.5}},
        {"tasks": ["push", "hammer"], "order": "shuffled", "order-seed": 3, "method.share": 0.25},
        {"tasks": "push", "demonstrations": {"folder": "--odd", "episodes": 3}},
        {"tasks": [], "train": {"rate": 5, "device": "cpu"}},
    ],
)
def test_a_cell_is_the_run_whose_command_it_keeps(settings: dict[str, Any]):
    runs = planned({**NAMES, "settings": settings}).runs
    assert all(run.settings != recipe("demo", run.learner) for run in runs)
    for run in runs:
        words = shlex.split(run.command)
        assert words[:3] == ["skilltokens", "run", "demo"]
        (same,) = make_plan(words[2:]).runs
        assert same.settings == run.settings
        assert (same.learner, same.seed) == (run.learner, run.seed)


def test_values_vary_for_the_methods_that_have_the_setting():
    plan = planned({**NAMES, "seeds": 3, "vary": {"method.share": [0.1, 0.25], "train": {"rate": [1e-3, 0.5]}}})
    assert names(plan) == [
        "t2s-share0.1-rate0.001-seed3",
        "t2s-share0.1-rate0.5-seed3",
        "t2s-share0.25-rate0.001-seed3",
        "t2s-share0.25-rate0.5-seed3",
        "sequential-rate0.001-seed3",
        "sequential-rate0.5-seed3",
    ]
    assert [run.settings.train.rate for run in plan.runs] == [0.001, 0.5] * 3
    assert plan.runs[2].varied == {"method.share": 0.25, "train.rate": 0.001}


def test_names_of_folders_are_told_apart():
    vary = {"train.rate": [0.1], "method.rate": [0.2], "tasks": [["push"], ["push", "hammer"], []]}
    plan = planned({"recipe": ["demo", "metaworld-cw10"], "method": "sequential", "vary": vary})
    assert names(plan)[:3] == [
        "demo-sequential-train-rate0.1-method-rate0.2-taskspush-seed0",
        "demo-sequential-train-rate0.1-method-rate0.2-taskspush+hammer-seed0",
        "demo-sequential-train-rate0.1-method-rate0.2-tasks-none-seed0",
    ]
    assert names(plan)[5].startswith("metaworld-cw10-sequential")


def test_demonstrations_that_vary_get_folders_of_their_own():
    plan = planned({"recipe": "demo", "vary": {"demonstrations.episodes": [1, 50], "demonstrations.noise": [0.1, 0.2]}})
    folders = [run.settings.demonstrations.folder for run in plan.runs]
    assert folders == ["demos-episodes1", "demos-episodes1-noise0.2", "demos", "demos-noise0.2"]
    numbered = {"recipe": "demo", "settings": {"demonstrations.folder": "demos/{episodes}"}}
    plan = planned({**numbered, "vary": {"demonstrations.episodes": [1, 5], "demonstrations.noise": [0.1, 0.2]}})
    folders = [run.settings.demonstrations.folder for run in plan.runs]
    assert folders == ["demos/{episodes}", "demos/{episodes}-noise0.2"] * 2
    own = {"demonstrations.episodes": [1, 50], "demonstrations.folder": ["a", "b"]}
    excluded = [{"demonstrations.episodes": 1, "demonstrations.folder": "b"}]
    excluded += [{"demonstrations.episodes": 50, "demonstrations.folder": "a"}]
    plan = planned({"recipe": "demo", "vary": own, "exclude": excluded})
    assert [run.settings.demonstrations.folder for run in plan.runs] == ["a", "b"]


def test_combinations_are_left_out():
    vary = {"train.rate": [0.1, 0.2], "evaluate.points": [1, 2]}
    exclude = [{"methods": ["sequential"], "train.rate": [0.1, 0.2], "seed": [1]}, {"evaluate": {"points": 2}}]
    plan = planned({**NAMES, "vary": vary, "exclude": exclude})
    assert names(plan) == [
        "t2s-rate0.1-points1-seed0",
        "t2s-rate0.2-points1-seed0",
        "sequential-rate0.1-points1-seed0",
        "sequential-rate0.2-points1-seed0",
        "t2s-rate0.1-points1-seed1",
        "t2s-rate0.2-points1-seed1",
    ]


def test_some_alone_may_be_asked_for():
    content = {**NAMES, "vary": {"train.rate": [0.1, 0.2]}}
    assert names(planned(content, ("sequential-rate0.2",))) == ["sequential-rate0.2-seed0", "sequential-rate0.2-seed1"]
    assert names(planned(content, ("sequential-rate0.2-seed1", "t2s"))) == [
        *("t2s-rate0.1-seed0", "t2s-rate0.2-seed0", "t2s-rate0.1-seed1", "t2s-rate0.2-seed1"),
        "sequential-rate0.2-seed1",
    ]


def test_what_is_learned_from_reward_is_a_grid_too():
    plan = planned({"recipe": "task-tokens", "methods": ["token", "goal"], "seeds": "0-1", "settings": {"noise": []}})
    assert names(plan) == ["token-seed0", "goal-seed0", "token-seed1"], "what trains nothing is run once"
    assert plan.runs[0].settings.learner == "token"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"recipe": "dmeo"}, "night.toml: recipe 'dmeo' is unknown: did you mean 'demo'?"),
        ({"recipe": "demo", "methods": ["t3s"]}, "night.toml: method 't3s' is unknown: did you mean 't2s'?"),
        ({"recipe": "demo", "methods": ["token"]}, "'token' learns from reward"),
        ({"recipe": ["demo", "task-tokens"]}, "demo and task-tokens are of two kinds of experiment"),
        (
            {**NAMES, "settings": {"train.itrations": 3}},
            "night.toml: none of its methods has a setting 'train.itrations': did you mean 'train.iterations'?",
        ),
        ({**NAMES, "method": "x", "settings": {}}, "says method twice"),
        (
            {**NAMES, "part": [{"methods": "sequential", "settings": {"method.share": 0.1}}, {"methods": "t2s"}]},
            "night.toml, part 1: none of its methods has a setting 'method.share'",
        ),
        ({**NAMES, "vary": {"method.shra": [0.1]}}, "did you mean 'method.share'?"),
        ({**NAMES, "settings": {"seed": 3}}, "seed is no setting of a grid: write seeds = [...]"),
        ({**NAMES, "settings": {"jobs": 3}}, "none of its methods has a setting 'jobs'"),
        ({**NAMES, "settings": {"train.rate": "fast"}}, "night.toml, t2s: "),
        (
            {**NAMES, "settings": {"train.rate": [1, 2]}},
            "train.rate takes one value: to have runs with",
        ),
        ({**NAMES, "settings": {"train.rate": True}}, "train.rate 'True' is impossible: it is no switch"),
        ({**NAMES, "settings": {"evaluate.videos": "yes"}}, "evaluate.videos 'yes' is impossible: it is true or false"),
        ({**NAMES, "part": [{}, {"methods": ["t2s"]}]}, "the folder runs/night/t2s-seed0 and are the same run"),
        (
            {**NAMES, "part": [{}, {"settings": {"train.rate": 0.5}}]},
            'the folder runs/night/t2s-seed0 and differ in settings: give their part a label = "..."',
        ),
        (
            {**NAMES, "part": [{}, {"label": "few", "settings": {"demonstrations.episodes": 5}}]},
            "t2s-seed0 and t2s-few-seed0 would keep different demonstrations in one folder, demos",
        ),
        ({**NAMES, "exclude": [{"method": "lora"}]}, "exclude: there is no cell with method lora"),
        ({**NAMES, "exclude": [{"metod": "lora"}]}, "exclude: there is no 'metod': did you mean 'method'?"),
        ({**NAMES, "exclude": [{"seeds": "0-1"}]}, "every cell is excluded"),
    ],
)
def test_mistakes_are_named(content: dict[str, Any], said: str):
    with pytest.raises(SettingError) as mistake:
        planned(content)
    assert said in str(mistake.value)
    assert "night.toml" in str(mistake.value)


def test_a_name_that_is_not_there_is_not_passed_over():
    with pytest.raises(SettingError, match=r"--only t3s: night.toml has no such method or cell: did you mean 't2s'\?"):
        planned(NAMES, ("t3s",))


def test_a_folder_that_says_the_number_of_demonstrations_is_right_for_all_numbers():
    few = {"recipe": "metaworld-few", "methods": ["lora"], "vary": {"demonstrations.episodes": [1, 5]}}
    assert [run.settings.demonstrations.place for run in planned(few).runs] == ["demos/1", "demos/5"]
    parts = [{"methods": ["lora"], "settings": {"demonstrations.episodes": 1}}, {"methods": ["t2s"]}]
    assert len(planned({"recipe": "metaworld-few", "part": parts}).runs) == 2
    later = [{"methods": ["lora"], "settings": {"later-demonstrations": n}, "label": f"later{n}"} for n in (5, 10)]
    assert len(planned({"recipe": "metaworld-cw10-b", "part": later}).runs) == 2
    with pytest.raises(SettingError, match="different demonstrations in one folder"):
        planned({"recipe": "metaworld-cw10-b", "settings": {"demonstrations.folder": "demos"}, "part": later})
