"""A run from reward killed at its operations on files: given again, the same command ends with the same files."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from tests.killing import Command, check_kills
from tests.small import TRAIN
from tests.soak import REWARD

from skilltokens.cli.plan import make_plan
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.reward import learn_from_reward
from skilltokens.experiments.settings import RewardSettings
from skilltokens.grow import learn_skill
from skilltokens.model.settings import PolicySettings


def _run(settings: RewardSettings, folder: Path) -> Command:
    return functools.partial(learn_from_reward, settings, folder, recipe="small")


@pytest.mark.slow
def test_killed_at_any_operation_on_files_it_ends_with_the_same_files(
    toy_stores: list[DemonstrationStore], tmp_path: Path
):
    library = tmp_path / "library"
    learn_skill(library, toy_stores[0], policy=PolicySettings(width=16, layers=1, history=2), train=TRAIN)
    words = ["task-tokens-metaworld", *REWARD, "--methods", "token", "--library", str(library)]
    (planned,) = make_plan(words).runs
    deaths = check_kills(functools.partial(_run, planned.settings), tmp_path / "kills", 4)
    assert len(deaths) >= 4
