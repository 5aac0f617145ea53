"""Where figures come from: the machine, the versions, the commit and the time."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from skilltokens.experiments.records import Machine
from skilltokens.machine import processor

PATIENCE = 60.0
"""Seconds that git may take; on a dead network disk it would take for ever."""


def machine() -> Machine:
    """What the figures of time depend on."""
    return Machine(platform.platform(), processor(), os.cpu_count())


def versions(*more: str) -> dict[str, str | None]:
    """Versions of what the figures depend on, and of `more` packages."""
    names = (*more, "skilltokens", "torch", "numpy", "gymnasium", "sentence-transformers", "safetensors")
    known: dict[str, str | None] = {"python": platform.python_version()}
    for name in names:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known


def computing(kernel: str) -> dict[str, str | None]:
    """Versions of all that a training by this kernel depends on."""
    return versions() if kernel == "torch" else versions(kernel)


def commit() -> str | None:
    """The git commit of a source checkout, with a plus where files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    words = ("git", *words)
    return subprocess.run(words, cwd=root, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def now() -> str:
    """The time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
