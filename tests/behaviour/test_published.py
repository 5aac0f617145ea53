"""The behaviour models that are kept beside published runs are those that the runs steered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skilltokens.skills.library import SkillLibrary

RESULTS = Path(__file__).parents[2] / "results"
MODELS = sorted(RESULTS.glob("*/made/model"))


@pytest.mark.parametrize("model", MODELS, ids=[path.parents[1].name for path in MODELS])
def test_a_published_model_has_the_bits_of_its_runs(model: Path):
    library = SkillLibrary.open(model)
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in model.parents[1].glob("*/run.json")]
    assert runs
    for run in runs:
        assert run["model"]["fingerprints"] == [library.policy(0).fingerprint()]
