"""The behaviour models that are kept beside published runs are those that the runs steered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skilltokens.behaviour.motion import expert
from skilltokens.experiments.recipes import RECIPES
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites.bodies import body_of
from skilltokens.types import Progress

RESULTS = Path(__file__).parents[2] / "results"
MODELS = sorted(RESULTS.glob("*/made/model"))
EXPERTS = sorted(RESULTS.glob("*/made/*.safetensors"))


@pytest.mark.parametrize("model", MODELS, ids=[path.parents[1].name for path in MODELS])
def test_a_published_model_has_the_bits_of_its_runs(model: Path):
    library = SkillLibrary.open(model)
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in model.parents[1].glob("*/run.json")]
    assert runs
    for run in runs:
        assert run["model"]["fingerprints"] == [library.policy(0).fingerprint()]


def test_the_published_questions_were_asked_on_the_model_that_is_kept():
    fingerprint = SkillLibrary.open(RESULTS / "task-tokens/made/model").policy(0).fingerprint()
    runs = list(RESULTS.glob("task-tokens-questions/*/run.json"))
    assert runs
    for run in runs:
        assert json.loads(run.read_text(encoding="utf-8"))["model"]["fingerprints"] == [fingerprint]


@pytest.mark.parametrize("kept", EXPERTS, ids=[path.stem for path in EXPERTS])
def test_a_published_expert_is_used_by_its_recipe_as_it_is(kept: Path, tmp_path: Path):
    settings = RECIPES[kept.parents[1].name].settings("token")
    shutil.copy(kept, tmp_path)

    def report(news: Progress) -> None:
        assert "before files were sealed" in news.note, f"it is trained again: {news}"

    body = body_of(settings.body)
    expert(body, kept.stem.endswith("leaper"), settings.motion, tmp_path, report)
    assert (tmp_path / kept.name).read_bytes() == kept.read_bytes()
