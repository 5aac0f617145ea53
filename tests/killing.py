"""Processes that are killed for good (SIGKILL) at a chosen moment of their work.

Moments are counted, not timed, so a test repeats exactly: every piece of news that a loop tells ("train", "evaluate"),
and every file of a folder just before it takes its name ("write") or goes away ("remove").
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
