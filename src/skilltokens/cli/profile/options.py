"""The option --profile, the same for every verb that works for a while, and what it does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skilltokens.types import RunError


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """Whether the work is profiled."""

    profile: Path | None = None
    """Folder for a trace of what took the time, which https://ui.perfetto.dev opens; a table is printed. It changes no
    result."""


@contextlib.contextmanager
def sampled(folder: Path | None, name: str) -> Iterator[None]:
    """Writes FOLDER/NAME.json at the end of the block, however it ends; None: nothing is done.

    Raises:
        RunError: the folder cannot be written.
    """
    if folder is None:
        yield
        return
    from skilltokens.cli.profile.sampling import Sampler
    from skilltokens.cli.profile.trace import write_trace

    path = place_of(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise RunError(f"{folder} cannot hold a profile ({problem.strerror}): name another folder") from problem
    sampler = Sampler()
    try:
        with sampler:
            yield
    finally:
        write_trace(path, name, sampler)


@contextlib.contextmanager
def profiled(folder: Path | None, name: str) -> Iterator[None]:
    """As `sampled`, and prints where the time went.

    Raises:
        RunError: the folder cannot be written.
    """
    with sampled(folder, name):
        yield
    show(folder, [name])


def show(folder: Path | None, names: Iterable[str]) -> None:
    """Prints where the time of each went, of those that left a trace in the folder."""
    if folder is None:
        return
    from skilltokens.cli.profile.trace import read_summary
    from skilltokens.cli.saying import say

    for name in names:
        path = place_of(folder, name)
        summary = read_summary(path)
        for line in summary.lines(path) if summary is not None else ():
            say(line)


def place_of(folder: Path, name: str) -> Path:
    """The file of a profile."""
    return folder / f"{name}.json"
