"""Processes that are killed for good (SIGKILL) at a chosen moment of their work.

Moments are counted, not timed, so a test repeats exactly.

    dies                        at the nth piece of news that a loop tells ("train", "evaluate"), or file of a folder
                                just before it takes its name ("write") or goes away ("remove")
    operations, killed_at       at any operation on files at all, of a command of ours or of a function
    check_kills                 a command is killed at many of them, given again, and must end as if nothing had been
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skilltokens.files import SEAL
from skilltokens.locking import LOCKS
from skilltokens.tensors import fingerprint, read_state

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["skilltokens.experiments.lifelong", "skilltokens.skills.library", "skilltokens.methods.t2s.method"]
)
KILLED = -signal.SIGKILL
Moment = Callable[[str], None]


def dies(work: Callable[..., None], folder: Path, kinds: set[str], nth: int | None, *words: Any) -> str:
    """Runs work(moment, folder, *words) in a process that is killed at the nth moment of these kinds.

    Returns the kind of moment that it died at, or "" where it came to its end.
    """
    log = folder.with_name(folder.name + ".moment")
    log.unlink(missing_ok=True)
    process = CONTEXT.Process(target=_child, args=(work, folder, kinds, nth, log, words))
    process.start()
    process.join()
    kind = log.read_text() if log.exists() else ""
    assert process.exitcode == (KILLED if kind else 0)
    return kind


def _child(
    work: Callable[..., None], folder: Path, kinds: set[str], nth: int | None, log: Path, words: tuple[Any, ...]
) -> None:
    left = nth or 0

    def moment(kind: str) -> None:
        nonlocal left
        if kind in kinds:
            left -= 1
            if left == 0:
                log.write_text(kind)
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and Path(arguments[1]).is_relative_to(folder):
            moment("write")
        elif event == "os.remove" and Path(arguments[0]).is_relative_to(folder) and ".tmp-" not in str(arguments[0]):
            moment("remove")

    sys.addaudithook(watch)
    work(moment, folder, *words)


# ---------------------------------------------------------------- at any operation on files

ROOT, PRELOAD = Path(__file__).parents[1], Path(__file__).parent / "preload"
Command = Sequence[str] | Callable[[], object]
"""The words after `skilltokens`, or a function that can be pickled (functools.partial of one at a module's top)."""
PATIENCE = 60.0
"""Seconds in which what a killed command had started must have ended by itself."""


def operations(command: Command, folder: Path) -> list[str]:
    """Does a command to its end; a line for each operation that changes something in or below a folder."""
    lines, status = _watched(command, folder, 0)
    assert status == 0, f"{command} ended with {status}"
    return lines


def killed_at(command: Command, folder: Path, at: int) -> str:
    """Does a command that is killed just before such an operation, the first being 1; so are its child processes.

    Returns:
        The operation; empty where the command came to its end before.
    """
    lines, status = _watched(command, folder, at)
    if len(lines) < at:
        assert status == 0, f"{command} ended with {status}"
        return ""
    assert status == KILLED, f"{command} ended with {status}, and was to be killed at {lines[at - 1]}"
    return lines[at - 1]


def again(command: Command) -> int:
    """Does a command with nobody watching; its exit status."""
    if callable(command):
        process = CONTEXT.Process(target=command)
        process.start()
        process.join()
        return process.exitcode or 0
    return subprocess.run(_words(command), cwd=ROOT, env=_environment(), capture_output=True, check=False).returncode


def check_kills(
    command: Callable[[Path], Command],
    place: Path,
    numbers: int | None = None,
    contents: Callable[[Path], Mapping[str, object]] | None = None,
    prepare: Callable[[Path], object] = lambda folder: None,
) -> list[str]:
    """Kills a command at its operations, gives it again, and compares with one that was never disturbed.

    Args:
        command: the folder that it works in -> the command.
        place: for the folders.
        numbers: how many operations to try, spread evenly and shifted by chance; None: each.
        contents: what of a folder must be the same; None: `contents_of`.
        prepare: fills a folder before the command is given first.

    Returns:
        The operations that it was killed at.
    """
    contents = contents or contents_of
    whole = place / "whole" / "folder"
    _make(whole, prepare)
    count = len(operations(command(whole), whole))
    assert count, "the command changes nothing"
    needed, deaths = contents(whole), []
    step = 1 if numbers is None else max(1.0, count / numbers)
    first = random.Random(count).uniform(1, step) if numbers is not None else 1
    for at in sorted({round(first + step * n) for n in range(count) if round(first + step * n) <= count}):
        folder = place / f"killed-{at}" / "folder"
        _make(folder, prepare)
        death = killed_at(command(folder), folder, at)
        assert again(command(folder)) == 0, f"killed before {death}, the same command failed"
        found = contents(folder)
        assert found == needed, f"killed before {death}: {_difference(found, needed)}"
        deaths.append(death)
        shutil.rmtree(folder.parent)
    return deaths


def check_instants(
    command: Callable[[Path], Command],
    place: Path,
    count: int,
    contents: Callable[[Path], Mapping[str, object]] | None = None,
    prepare: Callable[[Path], object] = lambda folder: None,
) -> int:
    """As `check_kills`, at random instants of its work; returns how many of them it had not ended before."""
    contents = contents or contents_of
    whole = place / "whole" / "folder"
    _make(whole, prepare)
    begun = time.monotonic()
    assert again(command(whole)) == 0
    needed, lasts, died = contents(whole), time.monotonic() - begun, 0
    instants = random.Random(count)
    for number in range(count):
        folder = place / f"instant-{number}" / "folder"
        _make(folder, prepare)
        died += _killed_after(command(folder), instants.uniform(0, lasts))
        assert again(command(folder)) == 0, f"killed at instant {number}, the same command failed"
        found = contents(folder)
        assert found == needed, f"killed at instant {number}: {_difference(found, needed)}"
        shutil.rmtree(folder.parent)
    return died


def _killed_after(command: Command, seconds: float) -> bool:
    """Kills a command after so many seconds; whether it was still at work."""
    if callable(command):
        process = CONTEXT.Process(target=command)
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode == KILLED
    child = subprocess.Popen(
        _words(command), cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return child.returncode == KILLED


def contents_of(folder: Path) -> dict[str, object]:
    """All files of a folder but locks, logs and pages; run.json without times; a training's file without its seconds.

    Names of unfinished files are among them: a command leaves none of those.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name in LOCKS or path.suffix in (".log", ".html") or "tensorboard" in name:
            if ".tmp-" in path.name:
                found[name] = "unfinished"
            continue
        if path.name == "run.json":
            found[name] = _timeless(json.loads(path.read_text()))
        elif path.suffix == ".safetensors" and b'"about"' in path.read_bytes()[:4096].replace(b"\\", b""):
            tensors, about = read_state(path)
            found[name] = fingerprint(tensors, _timeless(about))
        else:
            found[name] = path.read_bytes()
    return found


TIMES = ("started", "finished", "timing", "seconds", "command", "commit", "resumed", SEAL)


def _timeless(value: Any) -> Any:
    """A JSON value without what depends on when it was made, or where."""
    if isinstance(value, dict):
        return {key: _timeless(entry) for key, entry in value.items() if key not in TIMES}
    return [_timeless(entry) for entry in value] if isinstance(value, list) else value


def _difference(found: Mapping[str, object], needed: Mapping[str, object]) -> str:
    names = sorted(name for name in found.keys() | needed.keys() if found.get(name) != needed.get(name))
    both = found.keys() & needed.keys()
    return ", ".join(f"{name} {'differs' if name in both else 'is there in one'}" for name in names)


def _make(folder: Path, prepare: Callable[[Path], object]) -> None:
    folder.parent.mkdir(parents=True)
    prepare(folder)


def _words(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "skilltokens", *command]


def _environment(**more: str) -> dict[str, str]:
    places = [str(PRELOAD), str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), **more}


def _watched(command: Command, folder: Path, at: int) -> tuple[list[str], int]:
    """The operations of a command, or those up to its death, and its exit status."""
    log = folder.with_name(f"{folder.name}.operations")
    log.unlink(missing_ok=True)
    if callable(command):
        process = CONTEXT.Process(target=_watch_function, args=(command, str(folder), str(log), at))
        process.start()
        process.join()
        status = process.exitcode or 0
    else:
        marks = {"KILLED_FOLDER": str(folder), "KILLED_LOG": str(log), "KILLED_AT": str(at)}
        done = subprocess.run(_words(command), cwd=ROOT, env=_environment(**marks), capture_output=True, check=False)
        status = done.returncode
        assert status in (0, KILLED), done.stderr.decode()[-2000:]
        _wait_for_the_rest(str(log))
    return log.read_text().splitlines() if log.exists() else [], status


def _watch_function(work: Callable[[], object], folder: str, log: str, at: int) -> None:
    runpy.run_path(str(PRELOAD / "sitecustomize.py"))["watch"](folder, log, at)
    work()


def _wait_for_the_rest(mark: str) -> None:
    """Until no process is left that a command had started: each has `mark` in its environment."""
    end = time.monotonic() + PATIENCE
    while left := _marked(mark):
        assert time.monotonic() < end, f"processes {left} outlive the command that started them"
        time.sleep(0.02)


def _marked(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
