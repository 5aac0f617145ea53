"""What runs on the nodes of a cluster.

Ray sends these functions as they are, so that a node answers even where it has no skilltokens, or another one: nothing
of the project is imported before both are known to be the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

PACKAGE = "skilltokens"
CODE = "skilltokens' code"
"""Stands among the versions: a digest of the package's modules, since two checkouts can call themselves the same."""


def versions_here(names: Sequence[str]) -> dict[str, str]:
    """Python's version, those of the packages that are installed, and what stands for the code of this one."""
    known = {"python": platform.python_version()}
    for name in names:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    place = util.find_spec(PACKAGE)  # looks for it, and imports nothing
    for folder in place.submodule_search_locations or () if place is not None else ():
        digest = hashlib.sha256()
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
        known[CODE] = digest.hexdigest()[:12]
    return known


def processor_here() -> str:
    """The processor's name, on a node whose skilltokens is the sender's."""
    from skilltokens.machine import processor

    return processor()


def seen_here(tokens: Mapping[str, tuple[str, str]], out: str, folder: str) -> dict[str, str]:
    """Where this node does not see what the sender sees: a folder -> what is wrong with it.

    Args:
        tokens: a folder -> the name and the content of a file that was put there; where nothing can be put, no name and
            what `contents` gave.
        out: the one of them that is written to.
        folder: where commands are started.
    """
    wrong: dict[str, str] = {}
    for place, (name, content) in tokens.items():
        try:
            if not os.path.isdir(place):
                wrong[place] = "is not there"
            elif (Path(place, name).read_text() if name else contents(place)) != content:
                wrong[place] = "is another folder"
            elif place == out and not os.access(place, os.W_OK):
                wrong[place] = "cannot be written"
        except FileNotFoundError:
            wrong[place] = "is another folder"
        except OSError as problem:
            wrong[place] = f"cannot be read ({problem.strerror})"
    if not os.path.isdir(folder):
        wrong.setdefault(folder, "is not there")
    return wrong


def contents(place: str) -> str:
    """What stands for the names in a folder that cannot be written."""
    return hashlib.sha256("\0".join(sorted(os.listdir(place))).encode()).hexdigest()


class Carried:
    """One job on its node, in an actor of its own: it starts the child, and ends it when it is told to, or dies.

    Its child's lifeline is a pipe of this process, which Ray ends with the command that asked for it.
    """

    def start(self, name: str, command: Sequence[str], log: str, threads: int, folder: str) -> str | None:
        """Starts the child; a sentence where that is impossible."""
        from skilltokens.cli.batch import Child, Job
        from skilltokens.types import SkilltokensError

        # Ray's processes block Ctrl-C's signal, or ignore it where a script started Ray in the background: a child that
        # inherited that could only be killed.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The node's own Python, which may stand elsewhere than the sender's.
        words = (sys.executable, *command[1:])
        try:
            self._child: Any = Child(Job(name, words, Path(log), threads), Path(folder))
        except SkilltokensError as problem:
            return str(problem)
        except OSError as problem:
            return f"{name} cannot be started in {folder} ({problem.strerror})"
        self._ending: tuple[str | None] | None = None
        return None

    def news(self, patience: float) -> tuple[list[str], tuple[str | None] | None]:
        """Waits so many seconds for lines of the protocol; they, and in a tuple the failure or None of an ended job.

        May be asked again after the end, and gives the same.
        """
        import select

        from skilltokens.cli.batch import encode

        if self._ending is not None or not select.select([self._child.pipe], [], [], patience)[0]:
            return [], self._ending
        lines = [encode(progress) for progress in self._child.read()]
        if self._child.ended:
            self._ending = (self._child.close(),)
        return lines, self._ending

    def end(self, patience: float) -> None:
        """Interrupts the child and waits so long for it before it kills it."""
        if self._ending is None:
            self._child.ask_to_stop()
            self._child.stop(patience)
