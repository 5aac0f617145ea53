"""`skilltokens serve` as people start and end it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.running import ROOT, run, sentence
from tests.serve.served import PUSH, acted, make_served, readings

from skilltokens.serve import Client
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import ServeError

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_served(tmp_path_factory.mktemp("served") / "kitchen").folder


@contextlib.contextmanager
def serving(folder: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, which must end well; yields it and its address."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with subprocess.Popen(
        [sys.executable, "-m", "skilltokens", "serve", str(folder), "--port", "0", *words],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("serving "))
        place = re.fullmatch(r"serving \S+ \(2 skills\) on ws://(127\.0\.0\.1:\d+); Ctrl-C ends it\n", line)
        assert place is not None, line
        try:
            yield process, place[1]
        finally:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    """What the command says once it gets a signal."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.slow
def test_from_start_to_ctrl_c(folder: Path):
    seen = list(readings(3))
    with serving(folder, "--log") as (process, address):
        with Client(address) as client:
            actions = [client.act(observation, PUSH).actions for observation in seen]
        out, err = ended(process, signal.SIGINT)
    assert b"".join(one.tobytes() for one in actions) == acted(SkillLibrary.open(folder), "push", seen).tobytes()
    assert "Traceback" not in err
    assert len(re.findall(r"^\d\d:\d\d:\d\d 127\.0\.0\.1:\d+ push \(1\.00\), step \d, [\d.]+ ms$", out, re.M)) == 3
    assert out.splitlines()[-1] == "3 requests of 1 connections were answered"


@pytest.mark.slow
def test_a_key_that_is_never_printed_and_a_client_in_the_middle_when_it_ends(folder: Path, tmp_path: Path):
    (tmp_path / "key").write_text("open-sesame\n")
    words = ("--log", "--key-file", str(tmp_path / "key"))
    with serving(folder, *words, SKILLTOKENS_SERVE_KEY="another") as (process, address):
        with pytest.raises(ServeError, match="wants its key"):
            Client(address, key="another")
        with Client(address, key="open-sesame") as client:
            client.act(next(readings(1)), PUSH)
            out, err = ended(process, signal.SIGTERM)
            with pytest.raises(ServeError, match="has closed the connection"):
                client.act(next(readings(1)), PUSH)
    assert "open-sesame" not in out + err
    assert "another" not in out + err


def test_mistakes_are_one_sentence(folder: Path, tmp_path: Path, capsys: Capture):
    assert "threads 0 is impossible" in sentence(["serve", str(folder), "--threads", "0"], capsys)
    assert "port 70000 is impossible" in sentence(["serve", str(folder), "--port", "70000"], capsys)
    assert "has no option --prot: did you mean" in sentence(["serve", str(folder), "--prot", "1"], capsys)
    assert "threshold 2 is impossible" in sentence(["serve", str(folder), "--threshold", "2"], capsys)
    assert "none.key" in sentence(["serve", str(folder), "--key-file", str(tmp_path / "none.key")], capsys)
    assert "library.json does not exist" in sentence(["serve", str(tmp_path / "nowhere")], capsys)
    renamed = sentence(["serve", str(folder), "--rename", "image=observation.images.front"], capsys)
    assert "the library has no feature 'observation.images.front'" in renamed


@pytest.mark.parametrize("package", ["websockets", "msgpack"])
def test_a_package_that_is_missing_is_named(folder: Path, package: str):
    code = (
        f"import sys; sys.modules[{package!r}] = None\nfrom skilltokens.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        f'skilltokens: serving needs {package}, which is not installed: run `pip install "skilltokens[serve]"`\n'
    )


@pytest.mark.slow
def test_the_whole_network_is_a_note(folder: Path):
    """An address that is none of this machine: the note comes, then it cannot be listened on."""
    done = run(["serve", str(folder), "--host", "192.0.2.1", "--port", "0"])
    assert done.returncode == 2
    *_, note, mistake = done.stderr.splitlines()
    assert "note: whoever reaches 192.0.2.1 may call the skills" in note
    assert "192.0.2.1:0 cannot be listened on" in mistake
