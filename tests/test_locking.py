"""One writer at a time, whatever becomes of the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skilltokens.locking import LOCKS, WAITING, check_free, locked
from skilltokens.types import Progress, SkilltokensError

HOLDS = """
import sys, time
from pathlib import Path
from skilltokens.locking import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_writer_is_told_who_writes(tmp_path: Path, other: subprocess.Popen[str]):
    says = f"is being written by process {other.pid} on .*: try later"
    with pytest.raises(SkilltokensError, match=says), locked(tmp_path, advice="try later"):
        pass


def test_a_killed_writer_holds_no_lock(tmp_path: Path, other: subprocess.Popen[str]):
    news: list[Progress] = []

    def end(progress: Progress) -> None:
        news.append(progress)
        other.kill()

    with locked(tmp_path, wait=60, report=end):
        pass
    assert news[0].stage == WAITING
    assert f"process {other.pid}" in news[0].note


def test_a_lock_that_is_a_link_is_replaced_and_holds(tmp_path: Path):
    """As in a library that a cache of downloads laid out: the file behind it is shared by others."""
    shared, folder = tmp_path / "blob", tmp_path / "folder"
    shared.write_text("shared")
    folder.mkdir()
    (folder / LOCKS[0]).symlink_to(shared)
    with locked(folder):
        assert not (folder / LOCKS[0]).is_symlink()
        second = [sys.executable, "-c", HOLDS, str(folder)]
        done = subprocess.run(second, capture_output=True, text=True, check=False)
        assert "is being written by process" in done.stderr
    assert shared.read_text() == "shared"


def test_a_lock_ends_with_its_block_and_leaves_nothing_to_read(tmp_path: Path):
    (tmp_path / "mine").touch()
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path):
            raise KeyError
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", *LOCKS}


def test_a_folder_that_was_made_for_the_lock_alone_goes_with_it(tmp_path: Path):
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError
    assert not (tmp_path / "new").exists()
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "file").touch()
    assert (tmp_path / "new" / "file").exists()


def test_whether_another_writes_can_be_asked_before(tmp_path: Path, other: subprocess.Popen[str]):
    check_free(tmp_path / "nowhere")
    with pytest.raises(SkilltokensError, match=f"is being written by process {other.pid} on .*: try later"):
        check_free(tmp_path, advice="try later")
    other.kill()
    other.wait()
    check_free(tmp_path)


def test_a_folder_that_cannot_be_locked_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SkilltokensError, match="cannot be locked"), locked(tmp_path / "file"):
        pass


def test_who_holds_a_lock_may_take_it_again(tmp_path: Path):
    with locked(tmp_path):
        with locked(tmp_path):
            pass
        assert {path.name for path in tmp_path.iterdir()} == set(LOCKS)  # it is held still
