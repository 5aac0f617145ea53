"""What a policy sees of LIBERO without a camera: the arm, and one entry for each thing on the scene.

`observation.state` (11): the grip point in the frame of the robot's base (m), two columns of the hand's rotation
(finger axis, palm axis), the positions of both fingers (m).

`observation.environment_state` (16, 46), a set: one entry for each object, each fixture and each articulated part of
a fixture (drawer, knob, door), and zeros where there are fewer than 16:

    0       1 where there is an entry
    1:4     position in the robot's frame (m)
    4:7     offset from the grip point (m)
    7:13    two columns of its rotation
    13      joint position as a share of its range (parts only)
    14:46   embedding of its name

Nothing in it tells which thing the task is about: equal things have equal names, and are ordered by where they are at
the start of the episode, not by LIBERO's numbers (whose first bowl is the one to pick).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import ENVIRONMENT_STATE, STATE, Feature, Scale, SuiteError

SLOTS, NAME = 16, 32
"""Entries of a scene at most, and numbers of a name's embedding."""
WIDTH = 14 + NAME
FEATURES = {STATE: Feature((11,)), ENVIRONMENT_STATE: Feature((SLOTS, WIDTH))}
PLACES = {STATE: (0,), ENVIRONMENT_STATE: (1,)}
"""Where positions in the robot's frame begin; offsets from the grip point stay when all moves together."""

_CENTER = ((0.5, 0.1), (0.0, 0.1), (0.1, 0.1))
"""The middle of the workspace in the robot's frame, and the metres of one unit; the same for all suites."""
_NEAR = ((0.0, 0.02),) * 3
"""Offsets from the grip point, in units of 2 cm, by which a grip may miss; the policy clips scaled values, so offsets
beyond 16 cm look alike, while positions reach farther."""
_TURN = ((0.0, 1.0),) * 6
_FINGERS = ((0.02, 0.02), (-0.02, 0.02))


def _scale(*pairs: tuple[float, float]) -> Scale:
    return Scale(tuple(center for center, _ in pairs), tuple(unit for _, unit in pairs))


SCALES = {
    STATE: _scale(*_CENTER, *_TURN, *_FINGERS),
    ENVIRONMENT_STATE: _scale((0.0, 1.0), *_CENTER, *_NEAR, *_TURN, (0.5, 0.5), *((0.0, 0.2),) * NAME),
}


@functools.cache
def names() -> dict[str, NDArray[np.float32]]:
    """Name -> embedding (32,): MiniLM's sentence vectors of all of LIBERO's things, on their 32 principal axes."""
    text = resources.files("skilltokens.suites.libero").joinpath("names.json").read_text(encoding="utf-8")
    return {name: np.array(vector, np.float32) for name, vector in json.loads(text).items()}


@dataclass(frozen=True)
class Thing:
    """One entry: a body, its name, and the joint that moves it, if it is a part of a fixture."""

    name: str
    body: int
    joint: int | None = None


def things(domain: Any, model: Any) -> tuple[Thing, ...]:
    """Everything on LIBERO's scene but table and floor, sorted by name."""
    entries, problem = [], domain.parsed_problem
    kinds = {name: kind for part in ("objects", "fixtures") for kind, names in problem[part].items() for name in names}
    for name, thing in {**domain.objects_dict, **domain.fixtures_dict}.items():
        label = kinds[name].replace("_", " ")
        entries.append(Thing(label, domain.obj_body_id[name]))
        if name not in domain.fixtures_dict:
            continue
        for joint in (model.joint(joint) for joint in thing.joints):
            part = part_name(label, joint.name.removeprefix(f"{name}_"))
            entries.append(Thing(part, int(model.jnt_bodyid[joint.id]), joint.id))
    if len(entries) > SLOTS:
        raise SuiteError(f"the scene has {len(entries)} things where an observation has room for {SLOTS}")
    return tuple(sorted(entries, key=lambda thing: (thing.name, thing.body)))


def part_name(fixture: str, joint: str) -> str:
    """What a fixture's joint moves: of "wooden cabinet", "top_level" the "top drawer of the wooden cabinet"."""
    words = joint.replace("_level", "_drawer").replace("microjoint", "door").replace("_", " ")
    return f"{words} of the {fixture}"


class Eyes:
    """Reads observations out of one model.

    Args:
        things: the entries.
        model: the compiled model.
        site: the grip point's site.
        base: the robot's base, a body.
        fingers: where the fingers' positions are in qpos.
    """

    def __init__(self, things: tuple[Thing, ...], model: Any, site: int, base: int, fingers: list[int]) -> None:
        table = names()
        for thing in things:
            if thing.name not in table:
                raise SuiteError(f"{thing.name!r} is no thing of LIBERO's: its name has no embedding")
        self.things, self.site, self.fingers = things, site, fingers
        self.origin = model.body_pos[base].copy()  # bases of all of LIBERO's robots stand upright, facing x
        self._bodies = np.array([thing.body for thing in things])
        moved = [(row, thing.joint) for row, thing in enumerate(things) if thing.joint is not None]
        self._parts = np.array([row for row, _ in moved], dtype=int)
        joints = np.array([joint for _, joint in moved], dtype=int)
        self._address = model.jnt_qposadr[joints]
        self._low = model.jnt_range[joints, 0]
        reach = np.ptp(model.jnt_range[joints], axis=1)
        self._range = np.where(reach > 0, reach, 1.0)  # a joint without limits is shown in radians or metres
        self._fixed = np.zeros((SLOTS, WIDTH), np.float32)
        self._fixed[: len(things), 0] = 1
        self._fixed[: len(things), 14:] = [table[thing.name] for thing in things]

    def order(self, data: Any) -> NDArray[np.int64]:
        """The order of the entries in an episode that begins with `data`: by name, then by position (x, then y)."""
        positions = data.xpos[self._bodies]
        keys = [(thing.name, *positions[row, :2]) for row, thing in enumerate(self.things)]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__))

    def arm(self, data: Any) -> dict[str, NDArray[np.float32]]:
        """`observation.state` of `data`, whose poses must be up to date (mj_kinematics)."""
        hand, turn = data.site_xpos[self.site], data.site_xmat[self.site].reshape(3, 3)
        state = np.concatenate([hand - self.origin, turn[:, 0], turn[:, 1], data.qpos[self.fingers]])
        return {STATE: state.astype(np.float32)}

    def look(self, data: Any, order: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """The whole observation of `data`, whose poses must be up to date (mj_kinematics)."""
        hand = data.site_xpos[self.site]
        entries = self._fixed.copy()
        n = len(order)
        bodies = self._bodies[order]
        entries[:n, 14:] = self._fixed[:n, 14:][order]
        entries[:n, 1:4] = data.xpos[bodies] - self.origin
        entries[:n, 4:7] = data.xpos[bodies] - hand
        turns = data.xmat[bodies].reshape(n, 3, 3)
        entries[:n, 7:10], entries[:n, 10:13] = turns[:, :, 0], turns[:, :, 1]
        share = np.zeros(n)
        share[self._parts] = (data.qpos[self._address] - self._low) / self._range
        entries[:n, 13] = share[order]
        return {**self.arm(data), ENVIRONMENT_STATE: entries}
