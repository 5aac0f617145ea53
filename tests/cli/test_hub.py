"""`skilltokens hub`: a library goes to the Hub and comes from there, and a stopped command leaves nothing half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.running import ROOT, run, sentence
from tests.hubstub import Hub, at_home
from tests.skills.making import contents, grown, make_library

from skilltokens.cli import main
from skilltokens.locking import LOCKS
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.pulling import pull_library
from skilltokens.skills.pushing import push_library
from skilltokens.skills.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own, of httpx2
Capture = pytest.CaptureFixture[str]
HOME = "me/kitchen"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with at_home(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SkillLibrary:
    """A library, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return make_library(tmp_path / "library")


def test_a_library_goes_to_the_hub_and_to_another_robot(hub: Hub, library: SkillLibrary, capsys: Capture):
    words = ["--endpoint", hub.address]
    assert main(["hub", "push", "library", HOME, "--license", "mit", *words]) == 0
    shown = capsys.readouterr()
    assert "skills/push." in shown.out
    assert f"library: 6 changes pushed to {hub.address}/me/kitchen/commit/" in shown.out
    assert "pushing" in shown.err
    assert main(["hub", "pull", HOME, *words]) == 0
    shown = capsys.readouterr()
    assert shown.out == "kitchen: 6 skills, whole and proved; 6 changes new\n"
    assert "pulling" in shown.err
    library.rename("push", "shove")
    assert main(["hub", "push", "library", HOME, *words]) == 0
    assert "1 change pushed" in capsys.readouterr().out
    assert main(["hub", "pull", HOME, "kitchen", *words]) == 0
    assert "1 change new" in capsys.readouterr().out
    assert SkillLibrary.open("kitchen").names == library.names
    assert main(["hub", "pull", HOME, "kitchen", *words]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert main(["hub", "push", "kitchen", HOME, *words]) == 0
    assert "kitchen: me/kitchen has all of it already" in capsys.readouterr().out


def test_mistakes_are_one_sentence(hub: Hub, library: SkillLibrary, capsys: Capture):
    words = ["--endpoint", hub.address]
    for mistaken, message in (
        (["hub", "psuh", "library", HOME], "did you mean 'push'?"),
        (["hub", "push", "nowhere", HOME, *words], "nowhere"),
        (["hub", "push", "library", "kitchen", *words], "it is OWNER/NAME"),
        (["hub", "push", "library", HOME, "--license", "MIT", *words], "is no license that the Hub knows"),
        (["hub", "pull", "kitchen", *words], "it is OWNER/NAME"),
        (["hub", "pull", "me/nothing", *words], "has no repository that you may read called 'me/nothing'"),
        (["hub", "pull", HOME, "--endpoint", "http://127.0.0.1:1"], "http://127.0.0.1:1 could not be reached"),
        (["hub", "pull", HOME, "library/library.json", *words], "has no repository that you may read"),
    ):
        assert message in sentence(mistaken, capsys), mistaken
    assert hub.repositories == {}
    assert not Path("kitchen").exists()


def test_without_a_token_it_says_what_to_do(
    hub: Hub, library: SkillLibrary, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "")
    capsys.readouterr()
    assert main(["hub", "push", "library", HOME, "--endpoint", hub.address]) == 2
    assert "log in with `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err.splitlines()[-1]
    assert hub.repositories == {}


@pytest.mark.slow
def test_offline_mode_is_respected(hub: Hub, library: SkillLibrary, tmp_path: Path):
    done = run(["hub", "push", str(library.folder), HOME], tmp_path, [ROOT / "src"], HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "skilltokens: HF_HUB_OFFLINE is set: unset it to reach the Hub"
    assert hub.asked == []


def stopped(hub: Hub, words: list[str], folder: Path, by: signal.Signals) -> None:
    """Gives a command that the Hub holds up in the middle, and stops it there."""
    command = [sys.executable, "-m", "skilltokens", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert hub.held.wait(120)
    process.send_signal(by)
    if by == signal.SIGINT:
        hub.release.set()  # threads end with their small files
    _, errors = process.communicate(timeout=120)
    hub.release.set()
    assert process.returncode == (130 if by == signal.SIGINT else -by), errors
    assert "Traceback" not in errors
    hub.hold = ""


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_that_is_stopped_leaves_nothing_half(
    by: signal.Signals, hub: Hub, library: SkillLibrary, tmp_path: Path
):
    push_library(library, HOME, endpoint=hub.address)
    hub.hold = r"skills/turn\..*"
    stopped(hub, ["hub", "pull", HOME, "robot"], tmp_path, by)
    assert not (tmp_path / "robot").exists()
    pull_library(HOME, "robot", endpoint=hub.address)
    assert not [path.name for path in tmp_path.iterdir() if "tmp-" in path.name]
    assert not any(finding.fault for finding in verify(tmp_path / "robot"))


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_into_a_library_that_is_stopped_leaves_it_as_it_was(
    by: signal.Signals, hub: Hub, library: SkillLibrary, tmp_path: Path
):
    push_library(library, HOME, endpoint=hub.address)
    pull_library(HOME, "robot", endpoint=hub.address)
    before = contents(tmp_path / "robot")
    library.rename("push", "shove")
    push_library(library, HOME, endpoint=hub.address)
    hub.hold = r"wordings\.f32"
    stopped(hub, ["hub", "pull", HOME, "robot"], tmp_path, by)
    after = contents(tmp_path / "robot")
    assert {path: after[path] for path in before} == before
    assert SkillLibrary.open(tmp_path / "robot").names != library.names
    pull_library(HOME, "robot", endpoint=hub.address)
    assert SkillLibrary.open(tmp_path / "robot").names == library.names
    assert {path.name for path in (tmp_path / "robot").iterdir()} - set(LOCKS) == {
        path.name for path in library.folder.iterdir()
    } - set(LOCKS)


@pytest.mark.slow
def test_a_push_that_is_stopped_has_pushed_nothing(hub: Hub, library: SkillLibrary, tmp_path: Path):
    push_library(library, HOME, endpoint=hub.address)
    files = dict(hub.repositories[HOME].files)
    library.remove("copy")
    library.prune()
    hub.hold = r"/store/.*"
    library.add(grown(library.base, "later"))
    stopped(hub, ["hub", "push", str(library.folder), HOME], tmp_path, signal.SIGINT)
    assert hub.repositories[HOME].files == files
    (removed,) = push_library(library, HOME, endpoint=hub.address).removed
    assert removed.startswith("skills/copy.")
