"""Recipes of other people: by module:function, or by an entry point."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.running import install, run, sentence

from skilltokens.cli import main
from skilltokens.cli.plan import make_plan
from skilltokens.experiments.recipes import GROUP, recipe

Capture = pytest.CaptureFixture[str]

RECIPES = '''
from dataclasses import replace

from skilltokens.experiments.recipes import recipe


def toy(method):
    """Two tasks on a table.

    And more about it.
    """
    settings = recipe("demo", method)
    return replace(
        settings,
        suite="tests.toy:Toy",
        tasks=("reach-red",),
        policy=replace(settings.policy, width=32, layers=2),
        train=replace(settings.train, iterations=4, first_iterations=4, batch=8),
        evaluate=replace(settings.evaluate, episodes=2, group=2, points=2, videos=False),
        demonstrations=replace(settings.demonstrations, episodes=2),
    )


def rewarded(learner):
    settings = recipe("task-tokens", learner)
    return replace(settings, tasks=("reach",), body="ant")


def raising(method):
    raise ValueError("an odd one")


def only_t2s(method):
    if method != "t2s":
        raise KeyError(method)
    return toy(method)


def changing(method):
    return toy(method) if method == "t2s" else 3


def empty(method):
    return None


def words(method):
    return {"method": method}


def without_arguments():
    return toy("t2s")


number = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command is started; nothing but the module with the recipes is in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_recipes.py").write_text(RECIPES)
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("own_recipes", None)


def test_a_function_is_a_recipe_of_the_experiment_whose_settings_it_returns(folder: Path):
    plan = make_plan(["own_recipes:toy", "--methods", "t2s", "lora", "--train.iterations", "5", "--seeds", "0", "1"])
    assert (plan.experiment.name, plan.out) == ("lifelong", Path("runs/own_recipes-toy"))
    assert [run.name for run in plan.runs] == ["t2s-seed0", "t2s-seed1", "lora-seed0", "lora-seed1"]
    assert all(run.settings.suite == "tests.toy:Toy" for run in plan.runs)
    assert all(run.settings.train.iterations == 5 for run in plan.runs)
    assert make_plan(["own_recipes:toy"]).runs[0].learner == "t2s"
    plan = make_plan(["own_recipes:rewarded", "--methods", "mlp"])
    assert plan.experiment.name == "reward"
    assert plan.runs[0].settings == replace(recipe("task-tokens", "mlp"), tasks=("reach",), body="ant")
    assert [run.learner for run in make_plan(["own_recipes:rewarded"]).runs] == ["token", "mlp"]


def test_the_help_of_ones_own_recipe_shows_its_values(folder: Path, capsys: Capture):
    with pytest.raises(SystemExit):
        make_plan(["own_recipes:toy", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "usage: skilltokens run own_recipes:toy" in shown
    assert "default: tests.toy:Toy" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere:toy"], "there is no recipe at 'nowhere:toy' (ModuleNotFoundError: No module named 'nowhere')"),
        (["own_recipes:tyo"], "there is no recipe at 'own_recipes:tyo' (AttributeError"),
        (["own_recipes:"], "there is no recipe at 'own_recipes:'"),
        ([":toy"], "there is no recipe at ':toy'"),
        (["own_recipes:raising"], "the recipe 'own_recipes:raising' failed (ValueError: an odd one)"),
        (["own_recipes:without_arguments"], "the recipe 'own_recipes:without_arguments' failed (TypeError"),
        (["own_recipes:only_t2s", "--method", "lora"], "failed for 'lora' (KeyError: 'lora')"),
        (["own_recipes:changing", "--method", "lora"], "'own_recipes:changing' is no recipe"),
        (["own_recipes:empty"], "'own_recipes:empty' is no recipe: a function from a method's name to RunSettings"),
        (["own_recipes:words"], "'own_recipes:words' is no recipe"),
        (["own_recipes:number"], "'own_recipes:number' is no recipe"),
        (["own_recipes:toy", "--method", "token"], "'token' learns from reward: use it with task-tokens"),
        (["own_recipes:toy", "--method", "t3s"], "method 't3s' is unknown: did you mean 't2s'?"),
        (["own_recipes:toy", "--train.itrations", "3"], "did you mean '--train.iterations'?"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_sentence_and_nothing_is_written(
    words: list[str], said: str, folder: Path, capsys: Capture
):
    assert said in sentence(["run", *words], capsys)
    assert [path.name for path in folder.iterdir()] == ["own_recipes.py"]


def test_another_package_adds_a_recipe_by_an_entry_point(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(folder)
    install(folder, GROUP, table="own_recipes:toy", broken="own_recipes:raising", lost="nowhere:toy")
    plan = make_plan(["table", "--method", "lora"])
    recipe = plan.runs[0].recipe
    assert (recipe.name, recipe.summary, plan.out) == ("table", "Two tasks on a table.", Path("runs/table"))
    assert plan.runs[0].settings.tasks == ("reach-red",)
    assert main(["list", "recipes"]) == 0
    assert "  table " in capsys.readouterr().out
    assert "recipe 'tabel' is unknown: did you mean 'table'?" in sentence(["run", "tabel"], capsys)
    assert "the recipe 'broken' failed (ValueError: an odd one)" in sentence(["run", "broken"], capsys)
    assert "there is no recipe at 'lost' (ModuleNotFoundError" in sentence(["run", "lost"], capsys)
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_ones_own_recipe_runs_from_the_folder_where_it_lies(folder: Path):
    done: subprocess.CompletedProcess[str] = run(["run", "own_recipes:toy", "--methods", "sequential"], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {folder / 'runs/own_recipes-toy/report.html'}"
    assert (folder / "runs/own_recipes-toy/sequential-seed0/run.json").is_file()
