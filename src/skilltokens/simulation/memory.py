"""How many worker processes fit into memory: too many would be killed by the system in the middle of their work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from skilltokens.types import Progress, Report, Suite, silent

STAGE = "memory"
"""The stage of the news that fewer workers are used."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def fitting(workers: int, suite: Suite, report: Report = silent) -> int:
    """`workers`, or as many as fit into free memory, at least one; a line is reported where that is fewer.

    A suite says by an attribute `memory` how many bytes one of its processes takes, with an environment in it. Where
    it does not, or where the system does not say what is free, all workers are believed to fit.
    """
    size, free = getattr(suite, "memory", 0), available()
    if workers < 2 or size <= 0 or free is None:
        return workers
    fit = max(1, min(workers, free // size))
    if fit < workers:
        report(
            Progress(
                STAGE,
                0,
                1,
                f"{workers} processes of {suite.name} would take {gibibytes(workers * size)} of memory where "
                f"{gibibytes(free)} are free: {fit} {'is' if fit == 1 else 'are'} used",
            )
        )
    return fit


def available() -> int | None:
    """Bytes that new processes may take: what the machine has free, or what this control group (a container, a job of
    a cluster) is still allowed, whichever is less. None where the system does not say."""
    sizes = [*_free_in_machine(), *_free_in_group()]
    return max(0, min(sizes)) if sizes else None


def _free_in_machine() -> Iterator[int]:
    kibibytes = _table(PROC / "meminfo").get("MemAvailable:")
    if kibibytes is not None:
        yield kibibytes * 1024


def _free_in_group() -> Iterator[int]:
    """What is left of every limit that stands above this process. Pages of files are given back when needed."""
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, usage, cache = CGROUPS, "memory.max", "memory.current", ("active_file", "inactive_file")
        elif "memory" in controllers.split(","):
            root, limit, usage = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = ("total_active_file", "total_inactive_file")
        else:
            continue
        own = root / path.lstrip("/")
        # Inside a container the path may be the host's: then only the mount's root is there to be read.
        for group in (own, *own.parents):
            allowed, used = _number(group / limit), _number(group / usage)
            if allowed is not None and used is not None:
                statistics = _table(group / "memory.stat")
                yield allowed - used + sum(statistics.get(name, 0) for name in cache)
            if group == root:
                break


def _number(file: Path) -> int | None:
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdigit() else None  # "max" is no limit; version 1 says it by a number near 2 ** 63


def _table(file: Path) -> dict[str, int]:
    """First word -> the number behind it."""
    words = [line.split() for line in _lines(file)]
    return {row[0]: int(row[1]) for row in words if len(row) > 1 and row[1].isdigit()}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def gibibytes(size: int) -> str:
    """A number of bytes for a sentence."""
    return f"{size / 2**30:.1f} GiB"
