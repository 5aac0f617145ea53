"""A library's repository at the Hub is a checkpoint: LeRobot loads configuration, processors and policy by its id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hubstub import TOKEN, Hub, serving

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


def test_lerobot_loads_a_library_by_its_id_at_the_hub(toy_library: Path, tmp_path: Path):
    with serving(Hub()) as hub:
        push_library(toy_library, "me/toy", endpoint=hub.address, token=TOKEN)
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_XET": "1",  # the stub has no such store
        }
        done = subprocess.run(
            [sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == SkillLibrary.open(toy_library).fingerprints()
