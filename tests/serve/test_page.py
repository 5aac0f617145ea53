"""What docs/serving.md shows works, and what it says of the command is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skilltokens.serve.server import PolicyServer
from skilltokens.serve.settings import ServeSettings

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_client_of_docs_serving_md(address: str, server: PolicyServer, capsys: pytest.CaptureFixture[str]):
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    before = server.requests
    exec(compile(block.replace("127.0.0.1:8000", address), "docs/serving.md", "exec"), {})
    skills, called, abstention = capsys.readouterr().out.splitlines()
    assert skills.startswith("{'push': ['push the puck to the goal'],")
    assert called == "close 1.0"
    assert abstention.startswith("no skill is sure enough for 'make me a coffee'")
    assert server.requests == before + 101


def test_the_limits_that_are_named():
    settings = ServeSettings()
    said = re.findall(r"`--([a-z-]+) (\d+)`", PAGE)
    assert {"clients", "message-limit", "idle"} <= {name for name, _ in said}
    for name, value in said:
        assert getattr(settings, name.replace("-", "_")) == float(value)
