"""The real vla-eval: its connection, and its runner with a benchmark, call a library. Run by `make vla-eval`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.lanes.running import answers, write_readings
from tests.serve.served import acted, make_served, readings

from skilltokens.serve.server import PolicyServer, serving
from skilltokens.serve.settings import ServeSettings
from skilltokens.skills.library import SkillLibrary

STEPS = 12


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SkillLibrary:
    return make_served(tmp_path_factory.mktemp("served") / "library")


def test_the_real_runner_gets_a_local_actors_bits(library: SkillLibrary, tmp_path: Path):
    seen = list(readings(STEPS))
    write_readings(tmp_path, seen)
    server = PolicyServer(SkillLibrary.open(library.folder), ServeSettings(port=0))
    with serving(server) as (_, port):
        said = answers("vla-eval", Path(__file__).with_name("client.py"), port, tmp_path)
    actions = np.load(tmp_path / "actions.npz")
    push = acted(library, "push", seen)
    assert actions["first"].tobytes() == push.tobytes()
    assert actions["second"].tobytes() == push.tobytes(), "`episode_start` begins an episode"
    assert said["server"] == "skilltokens"
    assert said["steps"] == str(STEPS)
    assert said["live"] == str(STEPS)
    assert "an observation came before `episode_start`" in said["too early"]
    assert "abstained: no skill is sure enough" in said["abstained"]
    assert said["picture"] == "['images.top']"
    assert "is not finite at entry 1" in said["broken"]
    assert said["behind it"] == "1"
