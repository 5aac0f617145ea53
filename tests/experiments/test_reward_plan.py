"""What a study of learning from reward plans, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from skilltokens.behaviour.learners import LEARNERS
from skilltokens.cli.plan import make_plan
from skilltokens.experiments.recipes import RECIPES
from skilltokens.types import SettingError


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if recipe.experiment.name == "reward"])
def test_a_study_plans_every_learner_and_seed(name: str):
    plan = make_plan([name, "--seeds", "0", "1", "--ppo.tokens", "2"])
    once = ("goal",)  # nothing is trained there, so every seed would be the same run
    learners = [learner for learner in RECIPES[name].learners for _ in range(1 if learner in once else 2)]
    assert [run.settings.learner for run in plan.runs] == learners
    assert all(run.settings.ppo.tokens == 2 for run in plan.runs)
    assert set(RECIPES[name].learners) <= set(LEARNERS)


def checked_plan(words: list[str]) -> None:
    """What `skilltokens run` does before it makes anything."""
    plan = make_plan(words)
    for run in plan.runs:
        plan.experiment.finished(run.folder, run.settings, run.recipe.name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "magic"], "magic"),
        (["--methods", "token", "token"], "named twice"),
        (["--jobs", "-1"], "impossible"),
        (["--nothing", "3"], "no option --nothing"),
        (["--learner", "mlp"], "name learners with --methods"),
        (["--seeds", "-1"], "seed -1 is impossible"),
        (["--adapt.points", "0"], "use 1 or more"),
        (["--ppo.presence", "nan"], "ppo.presence nan is impossible: use a finite number"),
        (["--noise", "-1", "inf"], "noise inf is impossible: use a finite number"),
        (["--suite", "metaworld"], "name one with --library"),
    ],
)
def test_mistakes_in_the_words_are_told_before_anything_is_made(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=said):
        checked_plan(["task-tokens", *words])
    assert not list(tmp_path.iterdir())


def test_scratch_gets_five_times_the_steps():
    runs = {run.settings.learner: run.settings for run in make_plan(["task-tokens"]).runs}
    assert runs["mlp"].adapt.steps == runs["transformer"].adapt.steps == 5 * runs["token"].adapt.steps
    assert runs["token"].adapt.steps == runs["finetune"].adapt.steps == runs["lora"].adapt.steps
