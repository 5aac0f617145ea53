"""A library's repository at the Hub is a checkpoint: LeRobot loads configuration, processors and policy by its id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.hubstub import at_home

from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.pushing import push_library

LOAD = """
from lerobot.utils.import_utils import register_third_party_plugins

register_third_party_plugins()
from lerobot.configs import PreTrainedConfig
from lerobot.policies import make_pre_post_processors
from lerobot.policies.factory import get_policy_class

config = PreTrainedConfig.from_pretrained("me/toy")
make_pre_post_processors(config, pretrained_path="me/toy")
print(*get_policy_class(config.type).from_pretrained("me/toy", config=config).library.fingerprints())
"""


def test_lerobot_loads_a_library_by_its_id_at_the_hub(
    toy_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with at_home(monkeypatch, tmp_path) as hub:
        push_library(toy_library, "me/toy", endpoint=hub.address)
        done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == SkillLibrary.open(toy_library).fingerprints()
