"""The Hub's listing: what there is to download, and one sentence for a Hub, suite or task that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.exchange.hub_server import REPOSITORY, STOVE, HubServer, files_in, goal_files

from skilltokens.cli import main
from skilltokens.types import DemonstrationError, SettingError

BAD_HUBS: dict[str, tuple[dict[str, str], str]] = {
    "no such repository": ({"repository": "somebody/nothing"}, "has no public data set 'somebody/nothing'"),
    "no name": ({"repository": "a b c"}, "'a b c' cannot name a repository"),
    "gated": ({"repository": "somebody/gated"}, "asks for consent"),
    "no such revision": ({"revision": "v9"}, "has no revision 'v9'"),
    "offline": ({"endpoint": "http://127.0.0.1:1"}, "http://127.0.0.1:1 could not be reached"),
    "no address": ({"endpoint": "huggingface.co"}, "'huggingface.co' is no address"),
    "a file": ({"endpoint": "file:///etc"}, "'file:///etc' is no address"),
}


@pytest.mark.parametrize("case", BAD_HUBS)
def test_a_hub_that_cannot_be_used_is_one_sentence(
    server: HubServer, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, message = BAD_HUBS[case]
    settings = {"repository": REPOSITORY, "endpoint": server.address, **settings}
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    assert main(["demos", "download", "libero-goal", *words]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert message in line
    assert printed.out == ""
    assert files_in(tmp_path) == []


def test_offline_mode_is_respected(server: HubServer, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "skilltokens", "demos", "download", "libero-goal", "--endpoint", server.address]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "skilltokens: HF_HUB_OFFLINE is set: unset it to reach the Hub\n"
    assert server.asked == []


def test_a_repository_without_digests_is_refused(server: HubServer) -> None:
    server.digests = False
    with pytest.raises(DemonstrationError, match="gives no SHA-256"):
        goal_files(server)


def test_unknown_suites_and_tasks_are_refused(server: HubServer) -> None:
    hub, _ = goal_files(server)
    for suite, tasks, message in (
        ("libero-gaol", [], "did you mean 'libero-goal'"),
        ("libero-90", [], "has no files of libero-90"),
        ("libero-goal", ["turn_on_the_stov"], f"did you mean '{STOVE}'"),
    ):
        with pytest.raises(SettingError, match=message):
            hub.choose(suite, tasks)


def test_the_command_shows_what_there_is(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demos", "download", "--repository", REPOSITORY, "--endpoint", server.address]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["libero-goal", "2", "tasks,", "0.0", "GB"] for line in shown)
    assert files_in(tmp_path) == []
