"""One look of the doctor at a time: what it finds, the probe that finds it, and the code that a probe runs.

Nothing is believed that can be tried: each probe runs in a process of its own, so that a broken graphics driver or a
damaged package ends its probe and not the doctor.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from skilltokens.escaping import shell

State = Literal["ok", "missing", "broken"]

PATIENCE = 180
"""Seconds that a probe may take; the first import of torch on a cold disk is slow."""


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
            process = subprocess.run(
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
        if process.returncode == 0:
            return Finding(self.room, self.what, "ok", process.stdout.strip().rpartition("\n")[2], self.needed)
        return self._bad(_error_in(process.stderr) or f"the process ended with status {process.returncode}")

    def _bad(self, why: str) -> Finding:
        """A broken finding; the fix that the error names comes before the probe's own."""
        named = re.search(r"run `([^`]+)`", why)
        pip = f"{shell(sys.executable)} -m pip "
        fix = re.sub(r"\bpip (?=install|uninstall)", lambda _: pip, named[1]) if named else self.fix
        return Finding(self.room, self.what, "broken", why, self.needed, fix)


def _error_in(stderr: str) -> str:
    """The one line to show of a failed process's output: an error of skilltokens' own, else the first error.

    Clean-up code that fails after the real error prints too; and our own sentence comes after its cause.
    """
    lines = stderr.strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    for line in errors:
        if line.startswith("skilltokens."):
            return line.partition(": ")[2]
    return (errors or lines[-1:] or [""])[0]


TORCH = """
import torch
square = torch.eye(3)
assert torch.equal(square @ square, square)
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(f"multiplies on {', '.join(gpus) or 'the CPU'}, {torch.get_num_threads()} threads")
"""

LANGUAGE = """
from skilltokens.language import load_encoder
from tempfile import TemporaryDirectory
from pathlib import Path
with TemporaryDirectory() as folder:
    encoder = load_encoder(cache=Path(folder))
    vectors = encoder(["open the door", "close the window"])
assert vectors.shape == (2, encoder.dim)
print(f"{encoder.name} embeds sentences in {encoder.dim} numbers, offline")
"""

_STEPS = """
import numpy as np
from skilltokens.suites import load_suite
suite = load_suite(SUITE)
environment = suite.make(suite.tasks[0])
environment.reset(SPLIT, 0)
environment.step(np.zeros(suite.features["action"].shape, np.float32))
environment.close()
"""

METAWORLD = f"""
SUITE, SPLIT = "metaworld", "train"
{_STEPS}
print(f"{{len(suite.tasks)}} tasks; {{suite.tasks[0].name}} resets and steps")
"""

LIBERO_FILES = """
from skilltokens.suites.libero.assets import check_assets
files, size = check_assets()
print(f"{files} files, {size >> 20} MiB, as published")
"""

LIBERO = f"""
SUITE, SPLIT = "libero-goal", "test"
{_STEPS}
print(f"{{suite.tasks[0].name}} of {{suite.name}} resets and steps")
"""

LIBERO_DRAWS = """
from skilltokens.suites import load_suite
suite = load_suite("libero-goal")
environment = suite.make(suite.tasks[0])
environment.reset("test", 0)
frame = environment.render()
environment.close()
assert frame.ndim == 3 and frame.std() > 1, "the frame is blank"
print("drew a frame of {} x {}".format(*frame.shape))
"""

REWARD = """
from skilltokens.behaviour.ppo import ppo
from skilltokens.suites.bodies import make_body
environment = make_body("halfcheetah", "reach")
environment.reset(seed=0)
environment.step(environment.action_space.sample())
print("PPO is here; HalfCheetah resets and steps")
"""

RENDER = """
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
