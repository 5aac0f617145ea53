"""A writer that is killed, or runs out of disk, leaves the old store or none; never a part of one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demos.making import make_store

from skilltokens.demos import DemonstrationStore, check, stores_in
from skilltokens.exchange.hdf5 import export_hdf5
from skilltokens.types import DemonstrationError

ROOT = Path(__file__).parents[2]

HALF_WAY = """
import sys, time
from tests.demos.making import episode, store_of
def episodes():
    for number in range(50):
        yield episode(30, number)
    print("half way", flush=True)
    time.sleep(60)
store_of(sys.argv[1], episodes())
"""

FOR_EVER = """
import sys
from tests.demos.making import make_store
print("started", flush=True)
while True:
    make_store(sys.argv[1], (5, 1, 8), seed=1)
    make_store(sys.argv[1], (7, 7), seed=2)
"""

LIMITED = """
import resource, sys
from skilltokens.types import DemonstrationError
from tests.demos.making import make_store
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    make_store(sys.argv[1], [1000] * 10)
except DemonstrationError as problem:
    print(problem)
    sys.exit(2)
"""

LIMITED_EXPORT = """
import resource, sys
from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.hdf5 import export_hdf5
from skilltokens.types import DemonstrationError
store, target, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    export_hdf5([DemonstrationStore.open(store)], target)
except DemonstrationError as problem:
    print(problem)
    sys.exit(2)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("old", [True, False])
def test_writer_killed_half_way_leaves_the_old_store_or_none(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "push"
    digest = make_store(path).digest if old else None
    process = start(HALF_WAY, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    kill(process)
    if old:
        assert [store.digest for store in stores_in(tmp_path)] == [digest]
        assert check(path) == []
    else:
        assert not path.exists()
    assert make_store(path, (2,)).episodes == 1, "what the killed writer left is not in the way"


def test_writer_killed_at_any_moment_leaves_a_whole_store_or_none(tmp_path: Path) -> None:
    path = tmp_path / "push"
    whole = {
        make_store(tmp_path / "one", (5, 1, 8), seed=1).digest,
        make_store(tmp_path / "two", (7, 7), seed=2).digest,
    }
    moments = random.Random(0)
    for _ in range(8):
        process = start(FOR_EVER, path)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(moments.uniform(0, 0.1))
        kill(process)
        if path.exists():
            assert check(path) == []
            assert DemonstrationStore.open(path).digest in whole


def test_a_file_that_may_not_grow_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    old = make_store(tmp_path / "push")
    process = start(LIMITED, tmp_path / "push")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "could not be written (File too large)" in output
    assert output.count("\n") == 1
    assert DemonstrationStore.open(tmp_path / "push").digest == old.digest
    assert [entry.name for entry in tmp_path.iterdir()] == ["push"]


@pytest.mark.parametrize("missing", [1, 3000, 40_000])
def test_an_export_that_fails_late_or_early_is_one_sentence_and_loses_nothing(tmp_path: Path, missing: int) -> None:
    """HDF5 itself ends the process by a segmentation fault here; an export whose last byte is missing is no export."""
    store = make_store(tmp_path / "push", [50] * 5)
    target = tmp_path / "demos.hdf5"
    export_hdf5([store], target)
    whole = target.read_bytes()
    process = start(LIMITED_EXPORT, store.path, target, len(whole) - missing)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "could not be written (File too large)" in output
    assert target.read_bytes() == whole
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["demos.hdf5", "push"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB, where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tiny_disk: Path, tmp_path: Path) -> None:
    old = make_store(tiny_disk / "push").digest
    with pytest.raises(DemonstrationError, match=r"No space left on device.*free some space"):
        make_store(tiny_disk / "push", [1000] * 10)
    large = make_store(tmp_path / "large", [1000] * 10)
    with pytest.raises(DemonstrationError, match=r"[Nn]o space left.*free some space"):
        export_hdf5([large], tiny_disk / "demos.hdf5")
    assert DemonstrationStore.open(tiny_disk / "push").digest == old
    assert [entry.name for entry in tiny_disk.iterdir()] == ["push"]
