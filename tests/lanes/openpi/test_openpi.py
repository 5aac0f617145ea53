"""The real openpi client, in an environment of its own, calls a library. Run by `make openpi`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.lanes.running import answers, write_readings
from tests.serve.served import CLOSE, PUSH, acted, make_served, readings

from skilltokens.serve.server import PolicyServer, serving
from skilltokens.serve.settings import ServeSettings
from skilltokens.skills.library import SkillLibrary

STEPS = 12


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SkillLibrary:
    return make_served(tmp_path_factory.mktemp("served") / "library")


def test_the_real_client_gets_a_local_actors_bits(library: SkillLibrary, tmp_path: Path):
    seen = list(readings(STEPS))
    write_readings(tmp_path, seen)
    server = PolicyServer(SkillLibrary.open(library.folder), ServeSettings(port=0), key="open-sesame")
    with serving(server) as (_, port):
        said = answers("openpi", Path(__file__).with_name("client.py"), port, tmp_path)
    actions = np.load(tmp_path / "actions.npz")
    push, close = acted(library, "push", seen), acted(library, "close", seen)
    assert actions["push"].tobytes() == push.tobytes()
    assert actions["again"].tobytes() == push.tobytes(), "`reset: true` begins an episode"
    assert actions["broker"].tobytes() == close.tobytes(), "another prompt does, too"
    assert json.loads(said["metadata"])["skills"] == {"push": [PUSH], "close": [CLOSE]}
    assert said["health"] == "OK"
    assert said["no key"] == "HTTP 401"
    assert said["abstained"].startswith("Error in inference server:\\nabstained: no skill is sure enough")
    assert said["behind it"] == "close"
    assert "'observation/state' has the shape (3,): the skill reads (2,)" in said["broken"]
    assert said["behind that"].startswith("ConnectionClosed")


def test_the_client_of_docs_serving_md(library: SkillLibrary, tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    server = PolicyServer(SkillLibrary.open(library.folder), ServeSettings(port=0))
    with serving(server) as (_, port):
        (tmp_path / "page.py").write_text(block.replace("8000", str(port)))
        answers("openpi", tmp_path / "page.py", port, tmp_path)
    assert server.requests == 100
