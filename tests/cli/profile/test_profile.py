"""--profile: a trace that Perfetto reads, a table by room, and not one bit of a run changed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import command, results_in, run, sentence

from skilltokens.cli.profile.options import profiled
from skilltokens.cli.profile.rooms import IMPORTS, Place, entries, place_of
from skilltokens.cli.profile.sampling import Sampler
from skilltokens.cli.profile.trace import read_summary, write_trace
from skilltokens.demos.windows import Windows
from skilltokens.model.policy import Policy
from skilltokens.model.tpst import TPSTLayer
from skilltokens.simulation.rollout import evaluate
from skilltokens.suites.metaworld.environment import MetaWorldEnvironment
from skilltokens.train import fit
from skilltokens.types import SettingError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profiles")


@pytest.fixture(scope="module")
def watched(place: Path) -> subprocess.CompletedProcess[str]:
    return run(command(place, "watched", "--methods", "t2s", "--profile", str(place / "profile")))


def events(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["traceEvents"]


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1000))


# ---------------------------------------------------------------- a run


def test_a_watched_run_ends_with_the_same_bits(watched: subprocess.CompletedProcess[str], place: Path):
    alone = run(command(place, "alone", "--methods", "t2s"))
    assert (watched.returncode, alone.returncode) == (0, 0), watched.stderr + alone.stderr
    assert results_in(place / "watched" / "t2s-seed0") == results_in(place / "alone" / "t2s-seed0")
    kept = [
        {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in run.rglob("*.safetensors")
            if path.parent.name != ".cache"
        }
        for run in (place / "watched" / "t2s-seed0", place / "alone" / "t2s-seed0")
    ]
    assert kept[0]
    assert kept[0] == kept[1]


def test_a_run_says_where_its_time_went(watched: subprocess.CompletedProcess[str], place: Path):
    folder = place / "profile"
    assert {path.name for path in folder.iterdir()} == {"preparing.json", "t2s-seed0.json"}
    assert f"opens {folder / 't2s-seed0.json'}" in watched.stdout
    summary = read_summary(folder / "t2s-seed0.json")
    assert summary is not None
    assert sum(spent for _, _, spent in summary.places) == pytest.approx(summary.seconds, abs=0.1)
    seen = {(loop, room) for loop, room, _ in summary.places}
    assert {("train", "model"), ("simulation", "model"), (IMPORTS, IMPORTS)} <= seen
    assert any("train.py: fit" in name for name, _ in summary.functions)
    assert all(line in watched.stdout.splitlines() for line in summary.lines(folder / "t2s-seed0.json"))


def test_the_trace_is_of_complete_events_that_lie_in_each_other(watched: subprocess.CompletedProcess[str], place: Path):
    content = events(place / "profile" / "t2s-seed0.json")
    assert {event["ph"] for event in content} == {"M", "X"}
    rows = {event["tid"]: event["args"]["name"] for event in content if event["name"] == "thread_name"}
    assert sorted(rows.values()) == ["functions", "rooms"]
    for row in rows:
        spans = [(e["ts"], e["ts"] + e["dur"]) for e in content if e["ph"] == "X" and e["tid"] == row]
        assert len(spans) > 10
        around: list[int] = []
        for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while around and around[-1] <= begin:
                around.pop()
            assert begin <= end
            assert not around or end <= around[-1], "a viewer would draw it over its neighbour"
            around.append(end)


@pytest.mark.parametrize("verb", ["adapt", "learn", "evaluate", "run demo", "grid"])
def test_every_verb_that_works_for_a_while_has_it(verb: str):
    shown = run([*verb.split(), "--help"]).stdout
    assert "--profile" in shown


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    said = sentence(["evaluate", str(tmp_path), "--profile", str(tmp_path / "file")], capsys)
    assert said.startswith(f"{tmp_path / 'file'} cannot hold a profile")


# ---------------------------------------------------------------- samples


def test_a_long_work_is_not_kept_for_ever_and_all_of_it_is_counted(tmp_path: Path):
    sampler = Sampler(every=0.001, limit=64)
    with sampler:
        busy(0.8)
    kept = list(sampler.samples())
    assert len(kept) < 64
    assert [end for end, _ in kept] == sorted(end for end, _ in kept)
    assert sum(sampler.seconds) >= 0.8
    assert kept[-1][0] == pytest.approx(sum(sampler.seconds))
    write_trace(tmp_path / "t.json", "t", sampler)
    assert len(events(tmp_path / "t.json")) < 64 * 60


def test_a_signal_while_the_one_before_is_handled_harms_nothing():
    for _ in range(5):
        sampler = Sampler(every=1e-5, limit=4)
        with sampler:
            end = time.perf_counter() + 0.05
            while time.perf_counter() < end:
                sampler._every = 1e-5  # no rarer, though every other sample goes again and again
        assert len(list(sampler.samples())) < 4


def test_what_never_returns_to_python_is_seen_when_it_does():
    with (sampler := Sampler()):
        time.sleep(0.3)  # one call into C
    mine = [
        spent
        for stack, spent in zip(sampler.stacks, sampler.seconds, strict=True)
        if any(code is test_what_never_returns_to_python_is_seen_when_it_does.__code__ for code in stack)
    ]
    assert sum(mine) >= 0.29


def test_it_is_written_however_the_work_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def work() -> None:
        with profiled(tmp_path / "new", "cut"):
            busy(0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert read_summary(tmp_path / "new" / "cut.json") is not None
    assert capsys.readouterr().out == ""


def test_two_profiles_at_once_and_other_threads_are_refused():
    with Sampler(), pytest.raises(SettingError, match="leave out --profile"), Sampler():
        pass
    problems: list[Exception] = []

    def elsewhere() -> None:
        try:
            with Sampler():
                pass
        except SettingError as problem:
            problems.append(problem)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(problems) == 1


# ---------------------------------------------------------------- rooms


def test_time_is_the_innermost_rooms_within_its_loop():
    step, layer, loop = MetaWorldEnvironment.step.__code__, TPSTLayer.attend.__code__, fit.__code__
    policy, rollout, windows = Policy.forward.__code__, evaluate.__code__, Windows.gather.__code__
    other = json.dumps.__code__
    assert place_of((other, layer, policy, loop)) == Place("train", "model")
    assert place_of((windows, loop)) == Place("train", "demos")
    assert place_of((other, step, rollout)) == Place("simulation", "suites")
    assert place_of((policy, rollout)) == Place("simulation", "model")
    assert place_of((windows,)) == Place("demos", "demos")
    assert place_of((other,)) == Place("python", "python")
    assert [*entries((other, layer, policy, policy, loop))] == [layer, policy, loop]
