"""Downloads from the Hub: whole and checked or not there, whatever the connection does."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.exchange.hub_server import BOWL, COMMIT, MB, REPOSITORY, STOVE, HubServer, files_in, goal_files

from skilltokens.exchange.download import download, part_of, path_of
from skilltokens.types import DemonstrationError, Progress


def test_files_arrive_whole_and_are_kept(server: HubServer, tmp_path: Path) -> None:
    hub, files = goal_files(server)
    reports: list[Progress] = []
    paths = download(hub, files, tmp_path, reports.append)
    assert [path.name for path in paths] == [f"{BOWL}_demo.hdf5", f"{STOVE}_demo.hdf5"]
    for path in paths:
        assert path.read_bytes() == server.files[f"libero_goal/{path.name}"]
    assert files_in(tmp_path) == [f"libero_goal/{path.name}" for path in paths]
    assert {news.stage for news in reports} == {"download (MB)"}
    assert [news.done for news in reports] == sorted(news.done for news in reports)
    assert (reports[-1].done, reports[-1].total) == (5, 5)
    assert all(f"/resolve/{COMMIT}/" in asked[0] for asked in server.asked if "resolve" in asked[0]), "one commit"
    before, reports = len(server.stored()), []
    assert download(hub, files, tmp_path, reports.append) == paths
    assert len(server.stored()) == before, "what is there is not asked for again"
    assert {news.stage for news in reports} == {"check"}


def test_a_task_is_chosen_by_name(server: HubServer, tmp_path: Path) -> None:
    hub, files = goal_files(server, STOVE)
    download(hub, files, tmp_path)
    assert files_in(tmp_path) == [f"libero_goal/{STOVE}_demo.hdf5"]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server: HubServer, tmp_path: Path) -> None:
    server.cuts = [MB + 5, 0, 7, 500_000]
    hub, files = goal_files(server, BOWL)
    (path,) = download(hub, files, tmp_path)
    assert path.read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]
    assert [asked[1] for asked in server.stored()] == [
        None,
        f"bytes={MB + 5}-",
        f"bytes={MB + 5}-",
        f"bytes={MB + 12}-",
        f"bytes={MB + 12 + 500_000}-",
    ]


def test_what_arrived_is_kept_for_the_next_call(server: HubServer, tmp_path: Path) -> None:
    server.cuts = [MB] + [0] * 9
    hub, files = goal_files(server, BOWL)
    with pytest.raises(DemonstrationError, match=r"stopped arriving at 1\.0 of 3\.0 MB .*run the same command again"):
        download(hub, files, tmp_path)
    assert files_in(tmp_path) == [str(part_of(files[0], path_of(files[0], Path())))], (
        "nothing under the file's own name"
    )
    server.cuts.clear()
    server.asked.clear()
    (path,) = download(hub, files, tmp_path)
    assert [asked[1] for asked in server.stored()] == [f"bytes={MB}-"]
    assert path.read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]
    assert files_in(tmp_path) == [f"libero_goal/{BOWL}_demo.hdf5"]


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_stopped_resumes_later(server: HubServer, tmp_path: Path, by: signal.Signals) -> None:
    server.hold = MB
    words = ["demos", "download", "libero-goal", "--task", BOWL, "--repository", REPOSITORY]
    environment = {**os.environ, "HF_ENDPOINT": server.address, "NO_PROXY": "*"}
    command = [sys.executable, "-m", "skilltokens", *words]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    _, files = goal_files(server, BOWL)
    target = path_of(files[0], tmp_path / "demos" / "published")
    part = part_of(files[0], target)
    assert server.held.wait(120)
    while not part.exists() or part.stat().st_size < MB // 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(by)
    _, errors = process.communicate()
    assert process.returncode == (130 if by == signal.SIGINT else -by)
    assert "Traceback" not in errors
    kept = part.stat().st_size
    assert not target.exists()
    server.hold = None
    server.release.set()
    server.asked.clear()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [asked[1] for asked in server.stored()] == [f"bytes={kept}-"]
    assert target.read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]
    assert f"skilltokens demos import {Path('demos/published/libero_goal')} --suite libero-goal" in done.stdout


def test_altered_bytes_are_thrown_away(server: HubServer, tmp_path: Path) -> None:
    server.altered = True
    hub, files = goal_files(server, BOWL)
    with pytest.raises(DemonstrationError, match=r"arrived altered \(SHA-256 .*\) and was thrown away"):
        download(hub, files, tmp_path)
    assert files_in(tmp_path) == []
    server.altered = False
    assert download(hub, files, tmp_path)[0].read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]


@pytest.mark.parametrize("damage", ["altered", "too long"])
def test_an_unfinished_file_that_was_damaged_does_no_harm(server: HubServer, tmp_path: Path, damage: str) -> None:
    hub, files = goal_files(server, BOWL)
    part = part_of(files[0], path_of(files[0], tmp_path))
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(MB) if damage == "altered" else bytes(4 * MB))
    if damage == "altered":
        with pytest.raises(DemonstrationError, match="arrived altered"):
            download(hub, files, tmp_path)
        assert files_in(tmp_path) == []
    (path,) = download(hub, files, tmp_path)
    assert path.read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]


def test_a_store_without_ranges_sends_everything_again(server: HubServer, tmp_path: Path) -> None:
    server.cuts, server.ranges = [MB], False
    hub, files = goal_files(server, BOWL)
    (path,) = download(hub, files, tmp_path)
    assert path.read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]


def test_a_busy_store_is_asked_again(server: HubServer, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    hub, files = goal_files(server, STOVE)
    download(hub, files, tmp_path)
    server.statuses = [503] * 9
    hub, files = goal_files(server, BOWL)
    with pytest.raises(DemonstrationError, match=r"stopped arriving at 0\.0 of 3\.0 MB \(503 "):
        download(hub, files, tmp_path)


def test_a_store_that_refuses_is_asked_once(server: HubServer, tmp_path: Path) -> None:
    server.statuses = [403]
    hub, files = goal_files(server, STOVE)
    with pytest.raises(DemonstrationError, match=r"does not give libero_goal/.* \(403 Forbidden\)"):
        download(hub, files, tmp_path)
    assert len(server.stored()) == 1


def test_a_store_with_fewer_bytes_than_listed_is_no_end_of_the_world(server: HubServer, tmp_path: Path) -> None:
    server.statuses = [416] * 9
    hub, files = goal_files(server, BOWL)
    part = part_of(files[0], path_of(files[0], tmp_path))
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(MB))
    with pytest.raises(DemonstrationError, match="416"):
        download(hub, files, tmp_path)
    server.statuses.clear()
    assert download(hub, files, tmp_path)[0].read_bytes() == server.files[f"libero_goal/{BOWL}_demo.hdf5"]


def test_the_token_goes_to_the_hub_alone(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub, files = goal_files(server, STOVE)
    download(hub, files, tmp_path)
    sent = {asked[0].split("/")[1]: asked[2] for asked in server.asked}
    assert sent == {"api": "Bearer hf_secret", "datasets": "Bearer hf_secret", "store": None}


def test_a_file_of_the_same_name_is_never_replaced(server: HubServer, tmp_path: Path) -> None:
    hub, files = goal_files(server)
    path = path_of(files[1], tmp_path)
    path.parent.mkdir(parents=True)
    for mine in (b"mine", bytes(files[1].size)):
        path.write_bytes(mine)
        with pytest.raises(DemonstrationError, match="is there and is not the published file"):
            download(hub, files, tmp_path)
        assert path.read_bytes() == mine
    assert server.stored() == [], "seen before anything is downloaded"


def test_two_at_once_do_not_mix(server: HubServer, tmp_path: Path) -> None:
    hub, files = goal_files(server, BOWL)
    part = part_of(files[0], path_of(files[0], tmp_path))
    part.parent.mkdir(parents=True)
    with part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DemonstrationError, match="another process is downloading"):
            download(hub, files, tmp_path)


def test_too_little_space_is_said_first(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, files = goal_files(server)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**7, 10**7, 4 * MB))  # type: ignore[attr-defined]
    with pytest.raises(DemonstrationError, match=r"0\.0 GB are to be downloaded and .* has room for 0\.0 GB"):
        download(hub, files, tmp_path / "not" / "there" / "yet")
    assert files_in(tmp_path) == []


def test_a_full_disk_is_told_from_a_broken_connection(server: HubServer, tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from skilltokens.exchange.download import download
from skilltokens.exchange.hub import Hub
from skilltokens.types import DemonstrationError
resource.setrlimit(resource.RLIMIT_FSIZE, ({MB}, {MB}))
hub = Hub({REPOSITORY!r}, endpoint={server.address!r})
try:
    download(hub, hub.choose("libero-goal", [{BOWL!r}]), Path(sys.argv[1]))
except DemonstrationError as problem:
    sys.exit(str(problem))
"""
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "could not be written (File too large)" in done.stderr
    assert not list(tmp_path.rglob("*_demo.hdf5"))
    assert len(server.stored()) == 1
