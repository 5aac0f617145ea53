"""The words after `skilltokens run` become one complete configuration for each method and seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skilltokens.cli.plan import make_plan
from skilltokens.experiments.recipes import RECIPES, recipe
from skilltokens.methods import method_settings
from skilltokens.types import SettingError


def pairs() -> Iterator[tuple[str, str]]:
    """Every recipe with a part of the methods, and every method with a part of the recipes, by turns."""
    for kind in ("lifelong", "reward"):
        names = [name for name in RECIPES if RECIPES[name].experiment.name == kind]
        turns = min(5, len(names))
        for place, name in enumerate(names):
            learners = [*RECIPES[name].experiment.learners()]
            yield from ((name, learner) for learner in learners[place % turns :: turns])


PAIRS = [*pairs()]


@pytest.mark.parametrize(("name", "learner"), PAIRS)
def test_a_bare_recipe_is_exactly_that_recipe(name: str, learner: str):
    plan = make_plan([name, "--method", learner])
    (run,) = plan.runs
    assert run.settings == recipe(name, learner)
    assert plan.out == Path("runs") / name


def test_every_recipe_and_every_method_is_tried():
    assert {name for name, _ in PAIRS} == set(RECIPES)
    assert {learner for _, learner in PAIRS} == {
        word for name in RECIPES for word in RECIPES[name].experiment.learners()
    }


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
        (["demo", "--seeds", "0-2", "1"], "--seeds: 1 is named twice"),
        (["demo", "--seeds", "one"], "--seeds 'one' are no seeds: write numbers, or ranges such as 0-4"),
        (["demo", "--vary", "train.rate"], "--vary train.rate is impossible: write a setting and its values"),
        (["demo", "--vary", "train.rate="], "--vary train.rate= is impossible"),
        (["demo", "--vary", "train.rat=1,2"], "no method has a setting 'train.rat': did you mean 'train.rate'?"),
        (["demo", "--vary", "train.rate=1,1"], "name each setting and each value once"),
        (["demo", "--vary", "seed=1,2"], "name seeds with --seeds"),
        (["demo", "--vary", "train.rate=1,2", "--train.rate", "3"], "train.rate is set and varies"),
        (["demo", "--vary", "train.rate=1,fast"], "--train.rate"),
        (["demo", "--config", "missing.toml"], "missing.toml does not exist"),
        (["demo", "--config", "a.toml", "--config=b.toml"], "--config names 2 files (a.toml, b.toml): name one"),
        (["night.toml"], "night.toml is no recipe: a grid is run by `skilltokens grid night.toml`"),
        (["demo", "--resume", "runs/demo"], "write `skilltokens run --resume FOLDER`, without a recipe"),
        (["--resume"], "write `skilltokens run --resume FOLDER`"),
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


def test_seeds_may_be_ranges():
    assert [run.seed for run in make_plan(["demo", "--seeds", "0-2", "7"]).runs] == [0, 1, 2, 7]
    assert [run.seed for run in make_plan(["demo", "--seeds=3-4,9"]).runs] == [3, 4, 9]


def test_each_value_is_a_run_of_each_method_that_has_the_setting():
    words = [
        "demo",
        "--methods",
        "t2s",
        "sequential",
        "--vary",
        "method.share=0.1,0.25",
        "train.rate=1e-3",
        "--seed",
        "2",
    ]
    plan = make_plan([*words, "--tag", "wide", "--dry-run"])
    assert [run.name for run in plan.runs] == [
        "t2s-share0.1-rate0.001-seed2",
        "t2s-share0.25-rate0.001-seed2",
        "sequential-rate0.001-seed2",
    ]
    assert [run.settings.method.share for run in plan.runs[:2]] == [0.1, 0.25]
    assert {run.settings.train.rate for run in plan.runs} == {0.001}
    assert (plan.tag, plan.dry) == ("wide", True)


def test_demonstrations_that_vary_have_their_own_folders():
    plan = make_plan(["demo", "--vary", "demonstrations.episodes=5,50", "--demonstrations.folder", "mine"])
    assert [run.settings.demonstrations.folder for run in plan.runs] == ["mine-episodes5", "mine"]


def test_a_file_of_settings_stands_behind_what_is_typed(tmp_path: Path):
    path = tmp_path / "small.toml"
    path.write_text(
        "tasks = ['push']\nmethod.share = 0.25\n[train]\nrate = 0.5\nfirst_iterations = 9\n[evaluate]\nvideos = false\n"
    )
    plan = make_plan(["demo", "--methods", "t2s", "sequential", "--config", str(path), "--train.rate", "0.1"])
    t2s, sequential = (run.settings for run in plan.runs)
    assert (t2s.method.share, t2s.train.first_iterations, t2s.train.rate, t2s.tasks) == (0.25, 9, 0.1, ("push",))
    assert sequential.train == t2s.train
    assert t2s.evaluate.videos is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "train.itrations = 3",
            "small.toml: no method has a setting 'train.itrations': did you mean 'train.iterations'?",
        ),
        ("method.share = 0.1", "small.toml: no method has a setting 'method.share'"),
        ("recipe = 'demo'", "recipe is for a grid, which is run by `skilltokens grid"),
        ("train.rate = [1, 2]", "train.rate takes one value"),
        ("train.rate = ", "cannot be read as TOML"),
    ],
)
def test_mistakes_in_a_file_of_settings_are_named(text: str, said: str, tmp_path: Path):
    (tmp_path / "small.toml").write_text(text)
    with pytest.raises(SettingError) as mistake:
        make_plan(["demo", "--method", "sequential", "--config", str(tmp_path / "small.toml")])
    assert said in str(mistake.value)
