"""The words after `skilltokens run` become one complete configuration for each method and seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from skilltokens.cli.plan import make_plan
from skilltokens.experiments.recipes import RECIPES, recipe
from skilltokens.methods import method_settings
from skilltokens.types import SettingError


@pytest.mark.parametrize(
    ("name", "learner"), [(name, learner) for name in RECIPES for learner in RECIPES[name].experiment.learners()]
)
def test_a_bare_recipe_is_exactly_that_recipe(name: str, learner: str):
    plan = make_plan([name, "--method", learner])
    (run,) = plan.runs
    assert run.settings == recipe(name, learner)
    assert plan.out == Path("runs") / name


def test_t2s_is_the_method_when_none_is_named():
    assert [run.name for run in make_plan(["demo"]).runs] == ["t2s-seed0"]


def test_every_method_runs_with_every_seed():
    plan = make_plan(["demo", "--methods", "t2s", "sequential", "--seeds", "0", "3", "--out", "here", "--jobs", "2"])
    assert [run.name for run in plan.runs] == ["t2s-seed0", "t2s-seed3", "sequential-seed0", "sequential-seed3"]
    assert [run.settings.seed for run in plan.runs] == [0, 3, 0, 3]
    assert plan.runs[1].folder == Path("here/t2s-seed3")
    assert plan.jobs == 2


def test_a_single_seed_may_be_given_as_a_setting():
    assert make_plan(["demo", "--seed", "7"]).runs[0].name == "t2s-seed7"


def test_settings_are_overridden_for_all_methods_and_the_rest_stays():
    plan = make_plan(["demo", "--methods", "t2s", "lora", "--train.iterations", "5", "--tasks", "push"])
    for run in plan.runs:
        assert (run.settings.train.iterations, run.settings.tasks) == (5, ("push",))
        assert run.settings.evaluate == recipe("demo", run.learner).evaluate


def test_a_method_setting_goes_to_the_methods_that_have_it():
    plan = make_plan(["demo", "--methods", "sequential", "t2s", "--method.share", "0.05", "--method.rate", "0.5"])
    sequential, t2s = (run.settings.method for run in plan.runs)
    assert (t2s.share, t2s.rate) == (0.05, 0.5)
    assert sequential == method_settings("sequential")(rate=0.5)


def test_an_old_option_is_taken_and_said_once_however_many_methods_have_it(capsys: pytest.CaptureFixture[str]):
    plan = make_plan(["demo", "--methods", "t2s", "lora", "sequential", "--evaluate.no-films"])
    assert [run.settings.evaluate.videos for run in plan.runs] == [False] * 3
    assert capsys.readouterr().err == "note: --evaluate.no-films is the old name: --evaluate.no-videos is the same\n"
    plan = make_plan(["task-tokens", "--methods", "token", "mlp", "--prompts", "0.3", "--no-films"])
    assert [(run.settings.commands, run.settings.videos) for run in plan.runs] == [((0.3,), False)] * 2
    assert "--prompts is the old name: --commands is the same" in capsys.readouterr().err
    plan = make_plan(["demo", "--methods", "t2s", "lora", "--method.place", "all"])
    assert plan.runs[0].settings.method.rows_in == "all"
    assert capsys.readouterr().err == "note: --method.place is the old name: --method.rows-in is the same\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a recipe first"),
        (["--seed", "3"], "name a recipe first"),
        (["dmeo"], "recipe 'dmeo' is unknown: did you mean 'demo'?"),
        (["demo", "--method", "t3s"], "method 't3s' is unknown: did you mean 't2s'?"),
        (["demo", "--methods", "lora", "token"], "'token' learns from reward: use it with task-tokens"),
        (["demo", "--methods=lorra"], "method 'lorra' is unknown: did you mean 'lora'?"),
        (["demo", "--methods", "t2s", "t2s"], "t2s with seed 0 is named twice"),
        (["demo", "--train.itrations", "3"], "has no option --train.itrations: did you mean '--train.iterations'?"),
        (["demo", "--method", "sequential", "--method.share", "1"], "has no option --method.share"),
        (["demo", "--jobs", "-1"], "--jobs -1 is impossible"),
    ],
)
def test_mistakes_are_named(words: list[str], said: str):
    with pytest.raises(SettingError) as mistake:
        make_plan(words)
    assert said in str(mistake.value)


def test_help_of_a_recipe_shows_its_own_values(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        make_plan(["metaworld-cw10", "--method", "lora", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "peg-unplug-side" in shown
    assert f"Peak learning rate of the adapters. (default: {method_settings('lora')().rate})" in shown
