"""What robosuite, robomimic and LIBERO call things: the keys of their arms and cameras, and which way up pictures are.

These names are a help and no filter: a robot whose names are not known gives all of its vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from skilltokens.types import ENVIRONMENT_STATE, STATE

IMAGES = "observation.images."
Keys = Mapping[str, Sequence[str]]
"""Feature name -> the keys under obs/ whose vectors are joined to make it."""

LIBERO_ACTIONS = 7
LIBERO: Keys = {STATE: ("joint_states", "ee_states", "gripper_states")}
"""The arm in LIBERO's own files."""
PROBLEM, CONVENTION = "problem_info", "macros_image_convention"
"""Attributes of `data` in LIBERO's own files: what they show, and robosuite's convention for pictures."""

HAND = ("eef_pos", "eef_quat", "gripper_qpos")
"""What robomimic's own settings take of each arm of robosuite: where the hand is, how it is turned, its fingers."""
BASE = ("base_pos", "base_quat")
"""The same of a robot that drives."""
_ARM = re.compile(r"(robot(\d+)_(|.*(?<!to)_))eef_pos")  # and not robot0_base_to_eef_pos
_ROBOT = re.compile(r"robot(\d+)_.+")
_SIDES = ("", "right_", "left_")
"""The arms of one robot in the order in which robosuite's actions have them."""

CAMERAS = {"eye_in_hand": "wrist", "robot0_eye_in_hand": "wrist"}
"""What LIBERO and robosuite call the camera at the wrist; other cameras keep their names."""


def known_keys(vectors: Sequence[str]) -> Keys | None:
    """Which of these vectors make which feature, by the names that robosuite and LIBERO use; None where they do not.

    `observation.state` has, robot by robot, the hand of each of its arms and its base; of a robot without a hand of a
    known name all vectors. `object` is `observation.environment_state`.
    """
    arms = [match for name in vectors if (match := _ARM.fullmatch(name))]
    if not any(all(match[1] + part in vectors for part in HAND) for match in arms):
        return LIBERO if all(key in vectors for key in LIBERO[STATE]) else None
    state: list[str] = []
    for robot in sorted({int(match[1]) for name in vectors if (match := _ROBOT.fullmatch(name))}):
        own = sorted((match for match in arms if int(match[2]) == robot), key=lambda match: _order(match[3]))
        names = [match[1] + part for match in own for part in HAND] + [f"robot{robot}_{part}" for part in BASE]
        state += [name for name in (names if own else vectors_of(robot, vectors)) if name in vectors]
    return {STATE: state} | ({ENVIRONMENT_STATE: ["object"]} if "object" in vectors else {})


def vectors_of(robot: int, vectors: Iterable[str]) -> list[str]:
    """All vectors whose names begin with a robot's."""
    return sorted(name for name in vectors if name.startswith(f"robot{robot}_"))


def hands_in(keys: Iterable[str]) -> int:
    """How many arms of robosuite's names these keys are of."""
    return sum(bool(_ARM.fullmatch(key)) for key in keys)


def camera_of(key: str) -> str:
    """What the camera of a key is called: what it says without "_rgb", "_image" and our exports' "images."; "wrist"."""
    name = key.rpartition("/")[2].removeprefix("images.").removesuffix("_rgb").removesuffix("_image")
    return CAMERAS.get(name, name)


def cameras_of(keys: Iterable[str]) -> dict[str, str]:
    """observation.images.<camera> -> the key under obs/ of its pictures.

    Where the cameras of two keys would have one name, each is called by its whole key.
    """
    names = {key: camera_of(key) for key in sorted(keys)}
    while len(set(names.values())) < len(names):
        twice = {name for name in names.values() if list(names.values()).count(name) > 1}
        names = {key: key.replace("/", ".") if name in twice else name for key, name in names.items()}
    return {IMAGES + name: key for key, name in names.items()}


def stands_on_its_head(attributes: Mapping[str, object], keys: Iterable[str]) -> bool:
    """Whether the pictures of a file have the bottom row first, by what the file is.

    MuJoCo draws the bottom row first, and robosuite leaves it so unless its IMAGE_CONVENTION is "opencv". LIBERO's
    scripts store that as it is: in its published files (which say `problem_info`) and in those that others made anew
    from them, which say nothing but have LIBERO's keys. robomimic turns them upright before it writes a file, whatever
    its attributes say.
    """
    if PROBLEM not in attributes and not set(LIBERO[STATE]) <= set(keys):
        return False
    said = attributes.get(CONVENTION, "opengl")
    return (said.decode(errors="replace") if isinstance(said, bytes) else str(said)) != "opencv"


def _order(side: str) -> tuple[int, str]:
    return (_SIDES.index(side) if side in _SIDES else len(_SIDES), side)
