"""How the arrays of a demo become an episode: which keys make which feature, and what is corrected.

Two things are corrected in LIBERO's files: their pictures are upside down, and their observations are one step late
(see `Conversion`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np

from skilltokens.demos.header import feature_from
from skilltokens.demos.rules import conform
from skilltokens.exchange.layout import dataset, get, listed, member, text_of
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Array, DemonstrationError, Episode, Feature

IMAGES = "observation.images."
Keys = Mapping[str, Sequence[str]]
"""Feature name -> the keys under obs/ whose vectors are joined to make it."""

LIBERO: Keys = {STATE: ("joint_states", "ee_states", "gripper_states")}
LIBERO_ACTIONS = 7
KNOWN: tuple[Keys, ...] = (
    {STATE: ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"), ENVIRONMENT_STATE: ("object",)},
    {STATE: ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")},
    LIBERO,
)
"""The keys of these features in robomimic's and LIBERO's own datasets. The first entry whose keys all exist is used."""

CAMERAS = {"eye_in_hand": "wrist", "robot0_eye_in_hand": "wrist"}
"""What LIBERO and robosuite call the camera at the wrist; other cameras keep their names."""


@dataclass(frozen=True)
class Conversion:
    """How the arrays of a demo become an episode.

    Attributes:
        keys: observation -> the keys under obs/ whose vectors are joined to make it.
        features: all features of the episode, `action` and private ones included.
        private: features stored beside `actions`, under their own names.
        turned: pictures that are stored with the bottom row first; an episode has the top row first.
        late: the observation of a row was taken after its action, so it belongs to the action of the next row.
        unused: keys under obs/ that no feature is made of.
    """

    keys: Keys
    features: Mapping[str, Feature]
    private: Sequence[str] = ()
    turned: Sequence[str] = ()
    late: bool = False
    unused: Sequence[str] = ()

    def settings(self) -> dict[str, Any]:
        """As JSON for the settings of a store; what is empty or false is left out."""
        optional = {"turned": list(self.turned), "late": self.late, "left": list(self.unused)}
        return {"keys": {name: list(group) for name, group in self.keys.items()}} | {
            name: value for name, value in optional.items() if value
        }


def conversion_of(path: Path, data: h5py.Group, first: str, keys: Keys | None, images: bool) -> Conversion:
    """The conversion for a file of another program, from the keys and shapes in its demo `first`.

    Args:
        keys: which keys make which feature; None for those that robomimic or LIBERO use, or else all vectors.
        images: take all pictures too.
    """
    demo = member(path, data, first)
    observed = member(path, demo, "obs")
    libero = "problem_info" in data.attrs
    if keys is None:
        keys = LIBERO if libero else _usual_keys(path, observed)
    keys = {name: list(group) for name, group in keys.items()} | (_pictures(path, observed) if images else {})
    features = {name: _joined(path, observed, group) for name, group in keys.items()}
    actions = dataset(path, demo, "actions")
    if libero and actions.shape[1:] != (LIBERO_ACTIONS,):
        raise DemonstrationError(
            f"{path}: {actions.name} has shape {actions.shape} where LIBERO's is (steps, {LIBERO_ACTIONS}), six "
            "numbers of motion and one of the gripper: it shows another robot, or is damaged"
        )
    turned = [name for name, feature in features.items() if feature.dtype == "uint8" and len(feature.shape) == 3]
    return Conversion(
        keys,
        {**features, ACTION: Feature(tuple(actions.shape[1:]))},
        turned=turned if text_of(data.attrs.get("macros_image_convention")) == "opengl" else (),
        late=bool(keys) and _taken_late(path, demo, observed),
        unused=sorted(set(map(str, observed)) - {key for group in keys.values() for key in group}),
    )


def conversion_of_export(own: Mapping[str, Any], task: str) -> Conversion:
    """The conversion for one of our exports, which gives the episodes that were exported.

    Args:
        own: see `layout.own_entry`.
    """
    entries = own["features"].items()
    private = own["stores"].get(task, {}).get("private", {})
    return Conversion(
        {name: [entry["key"]] for name, entry in entries if name != ACTION},
        {name: feature_from(entry) for name, entry in (*entries, *private.items())},
        private=tuple(private),
        turned=[name for name, entry in entries if entry.get("turned")],
    )


def read_demo(path: Path, demo: h5py.Group, conversion: Conversion, clip: bool) -> Episode:
    """One demo as an episode that keeps every rule of a store (`demos.rules`)."""
    where = f"{path}: {demo.name}"
    actions = np.asarray(dataset(path, demo, "actions")[()])
    if len(actions) <= conversion.late:
        raise DemonstrationError(f"{where} is {'too short' if len(actions) else 'empty'}: leave it out")
    count = text_of(demo.attrs.get("num_samples", len(actions)))
    if _number(count) != len(actions):
        raise DemonstrationError(f"{where} has {len(actions)} actions where num_samples says {count}: repair the file")
    observed = member(path, demo, "obs")
    arrays: dict[str, Array] = {ACTION: np.clip(actions, -1, 1) if clip and actions.dtype.kind == "f" else actions}
    for name, group in conversion.keys.items():
        parts = [_rows(path, where, observed, key, len(actions)) for key in group]
        if len(parts) == 1 and (parts[0].ndim > 1 or not conversion.features[name].shape):
            arrays[name] = parts[0]
        else:
            arrays[name] = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        if name in conversion.turned:
            arrays[name] = arrays[name][:, ::-1]
    for name in conversion.private:
        arrays[name] = _rows(path, where, demo, name, len(actions))
    if conversion.late:
        arrays = {name: array[1:] if name == ACTION else array[:-1] for name, array in arrays.items()}
    return Episode(conform(where, Episode(arrays), conversion.features))


def _usual_keys(path: Path, observed: h5py.Group) -> Keys:
    """The first entry of `KNOWN` whose keys all exist, or else all vectors as `observation.state`."""
    for keys in KNOWN:
        if all(key in observed for group in keys.values() for key in group):
            return keys
    vectors = sorted(key for key in map(str, observed) if _is_vector(get(path, observed, key)))
    if not vectors:
        raise DemonstrationError(f"{path}: {observed.name} holds no vectors ({listed(list(observed))})")
    return {STATE: vectors}


def _number(text: str) -> float | None:
    try:
        return float(text.strip("[]"))
    except ValueError:
        return None


def _rows(path: Path, where: str, group: h5py.Group, key: str, steps: int) -> Array:
    part = np.asarray(dataset(path, group, key)[()])
    if len(part) != steps:
        name = str(group.name).removeprefix(where.rpartition(": ")[2]) + f"/{key}"
        raise DemonstrationError(f"{where}{name} has {len(part)} rows for {steps} actions")
    return part


def _pictures(path: Path, observed: h5py.Group) -> dict[str, list[str]]:
    """observation.images.<camera> -> its key under obs/, for every picture of a demo."""
    keys = [key for key in map(str, observed) if _is_picture(get(path, observed, key))]
    if not keys:
        raise DemonstrationError(f"{path}: {observed.name} holds no pictures ({listed(list(map(str, observed)))})")
    cameras = {key: key.removesuffix("_rgb").removesuffix("_image") for key in keys}
    return {IMAGES + CAMERAS.get(camera, camera): [key] for key, camera in cameras.items()}


def _taken_late(path: Path, demo: h5py.Group, observed: h5py.Group) -> bool:
    """Whether observations were taken after the action of their row, as in all files that LIBERO published.

    Its script plays an action and then observes (issue 54 of its repository), but `states` holds the states before the
    actions. So the arm's joints show it: a state is (time, qpos, qvel), and the arm comes first in qpos.
    """
    joints, states = get(path, observed, "joint_states"), get(path, demo, "states")
    if not (_is_vector(joints) and _is_vector(states)) or len(joints) != len(states) or len(joints) < 2:
        return False
    seen, true = np.asarray(joints[()]), np.asarray(states[()])
    if seen.ndim != 2 or true.ndim != 2 or true.shape[1] <= seen.shape[1]:
        return False
    true = true[:, 1 : 1 + seen.shape[1]]
    return bool(np.abs(seen[:-1] - true[1:]).mean() < np.abs(seen[:-1] - true[:-1]).mean())


def _joined(path: Path, observed: h5py.Group, group: Sequence[str]) -> Feature:
    """The feature that the keys `group` make: a vector of floats, or one image."""
    if not group:
        raise DemonstrationError(f"{path}: a feature names no key: choose from {listed(list(map(str, observed)))}")
    members = [dataset(path, observed, key) for key in group]
    if len(members) == 1 and _is_picture(members[0]):
        return Feature(tuple(members[0].shape[1:]), "uint8")
    for entry in members:
        if not _is_vector(entry):
            raise DemonstrationError(
                f"{path}: {entry.name} has shape {entry.shape}: only vectors can be joined, and an image stands alone"
            )
    return Feature((sum(int(np.prod(entry.shape[1:])) for entry in members),))


def _is_vector(entry: object) -> TypeGuard[h5py.Dataset]:
    return isinstance(entry, h5py.Dataset) and entry.dtype.kind in "fiub" and entry.ndim in (1, 2)


def _is_picture(entry: object) -> TypeGuard[h5py.Dataset]:
    return isinstance(entry, h5py.Dataset) and entry.dtype == np.uint8 and entry.ndim == 4
