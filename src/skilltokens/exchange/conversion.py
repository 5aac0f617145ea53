"""How the arrays of a demo become an episode: which keys make which feature, and what is corrected.

Corrected are: pictures with the bottom row first, pictures with the colours first, and LIBERO's observations, which are
one step late (see `Conversion`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from skilltokens.demos.header import feature_from
from skilltokens.exchange.kinds import (
    has_colours_first,
    is_depth,
    is_encoded,
    is_flat,
    is_picture,
    is_vector,
    unread_kind,
)
from skilltokens.exchange.known import (
    LIBERO,
    LIBERO_ACTIONS,
    PROBLEM,
    Keys,
    cameras_of,
    known_keys,
    stands_on_its_head,
)
from skilltokens.exchange.layout import dataset, get, listed, member
from skilltokens.types import ACTION, STATE, DemonstrationError, Feature


@dataclass(frozen=True)
class Conversion:
    """How the arrays of a demo become an episode.

    Attributes:
        keys: observation -> the keys under obs/ whose vectors are joined to make it.
        features: all features of the episode, `action` and private ones included.
        private: features stored beside `actions`, under their own names.
        turned: pictures that are stored with the bottom row first; an episode has the top row first.
        colours_first: pictures that are stored as (steps, colours, height, width); an episode has the colours last.
        late: the observation of a row was taken after its action, so it belongs to the action of the next row.
        bounded: actions outside [-1, 1] are refused.
        floats: pictures in floats, from 0 to 1.
        whole: the actions are stored as whole numbers or truth values.
        unused: keys under obs/ that no feature is made of, and `unread` what some of them are that none can be made of.
        observed: the name of the group obs/, and `actions` of the arrays that are joined to make the action.
    """

    keys: Keys
    features: Mapping[str, Feature]
    private: Sequence[str] = ()
    turned: Sequence[str] = ()
    colours_first: Sequence[str] = ()
    floats: Sequence[str] = ()
    late: bool = False
    bounded: bool = False
    whole: bool = False
    unused: Sequence[str] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    observed: str = "obs"
    actions: Sequence[str] = ("actions",)

    def settings(self) -> dict[str, Any]:
        """As JSON for the settings of a store; what is empty or false is left out."""
        optional = {
            "turned": list(self.turned),
            "colours_first": list(self.colours_first),
            "late": self.late,
            "whole": self.whole,
            "actions": list(self.actions) if tuple(self.actions) not in (("actions",), ("action",)) else [],
            "left": list(self.unused),
            "unread": dict(self.unread),
        }
        return {"keys": {name: list(group) for name, group in self.keys.items()}} | {
            name: value for name, value in optional.items() if value
        }


def conversion_of(
    path: Path, data: h5py.Group, first: str, keys: Keys | None, images: bool, turn: bool | None = None
) -> Conversion:
    """The conversion for a file of another program, from the keys and shapes in its demo `first`.

    Args:
        keys: which keys make which feature, or which arrays of the demo `action`; None, or where it names no
            observation, for those that robomimic or LIBERO use, or else all vectors; empty for no observation.
        images: take all pictures too.
        turn: turn the pictures upside down; None where the file is one whose pictures stand on their heads.

    Raises:
        DemonstrationError: the demo lacks a key or has no observations, or an array is not what it has to be.
    """
    demo = member(path, data, first)
    observed = _observations(path, data, demo)
    present = sorted(leaves(observed))
    libero = PROBLEM in data.attrs
    chosen = dict(keys or {})
    actions = chosen.pop(ACTION, ("actions",))
    if not chosen and keys != {}:
        chosen = usual_keys(path, observed, LIBERO if libero else None)
    turned = stands_on_its_head(data.attrs, present) if turn is None else turn
    pictures = pictures_in(path, observed, present) if images else {}
    conversion = converting(path, demo, "obs", actions, chosen, pictures, turned, libero)
    if libero and conversion.features[ACTION].shape != (LIBERO_ACTIONS,):
        taken = dataset(path, demo, actions[0])
        raise DemonstrationError(
            f"{path}: {taken.name} has shape {taken.shape} where LIBERO's is (steps, {LIBERO_ACTIONS}), six "
            "numbers of motion and one of the gripper: it shows another robot, or is damaged"
        )
    return replace(conversion, late=bool(conversion.keys) and _taken_late(path, demo, observed))


def converting(
    path: Path,
    demo: h5py.Group,
    observed: str,
    actions: Sequence[str],
    keys: Keys,
    pictures: Mapping[str, str],
    turned: bool,
    bounded: bool,
) -> Conversion:
    """The conversion by which these arrays of `demo` make these features.

    Args:
        observed: the name of the group of observations, in which `keys` and `pictures` are.
        pictures: feature -> the key of its pictures, in addition to `keys`.
        turned, bounded: see `Conversion`; here of all pictures.
    """
    group = member(path, demo, observed)
    taken = {key for names in keys.values() for key in names}
    keys = {n: list(g) for n, g in keys.items()} | {n: [key] for n, key in pictures.items() if key not in taken}
    arrays = {name: [_dataset_of(path, group, key) for key in names] for name, names in keys.items()}
    features = {name: _joined(path, group, members) for name, members in arrays.items()}
    acting = [dataset(path, demo, key) for key in actions]
    for entry in acting:
        check_action(path, str(entry.name), entry.shape[1:])
    width = sum(math.prod(entry.shape[1:]) for entry in acting)
    shown = {name: members[0].shape[1:] for name, members in arrays.items() if len(features[name].shape) == 3}
    left = sorted(set(leaves(group)) - {key for names in keys.values() for key in names})
    kinds = {key: unread_kind(group.get(key) if _is_inside(group, key) else None) for key in left}
    return Conversion(
        keys,
        {**features, ACTION: Feature((width,))},
        turned=list(shown) if turned else (),
        colours_first=[name for name, shape in shown.items() if has_colours_first(shape)],
        floats=[name for name in shown if features[name].dtype != "uint8"],
        bounded=bounded,
        whole=all(entry.dtype.kind != "f" for entry in acting),
        unused=left,
        unread={key: kind for key, kind in kinds.items() if kind},
        observed=observed,
        actions=actions,
    )


def pictures_in(path: Path, observed: h5py.Group, keys: Sequence[str]) -> dict[str, str]:
    """observation.images.<camera> -> its key under obs/, for every picture of a demo.

    Raises:
        DemonstrationError: there is none, or some are JPEG or PNG files.
    """
    entries = {key: get(path, observed, key) for key in keys}
    for key, entry in entries.items():
        if is_encoded(entry):
            raise _encoded(path, f"{observed.name}/{key}")
    pictures = [key for key, entry in entries.items() if is_picture(entry)]
    if not pictures:
        raise DemonstrationError(f"{path}: {observed.name} holds no pictures ({listed(keys)})")
    return cameras_of(pictures)


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


def usual_keys(path: Path, observed: h5py.Group, expected: Keys | None = None) -> Keys:
    """Which keys make which feature where nobody says: by known names, or else all vectors as `observation.state`.

    Args:
        expected: these keys, where the file has any of them.
    """
    if expected is not None and any(key in observed for group in expected.values() for key in group):
        return expected
    present = sorted(leaves(observed))
    vectors = [key for key in present if is_vector(get(path, observed, key))]
    if not vectors:
        raise DemonstrationError(f"{path}: {observed.name} holds no vectors ({listed(present)})")
    return known_keys(vectors) or {STATE: vectors}


def _is_inside(group: h5py.Group, key: str) -> bool:
    """Whether a key is the place of its array or group itself, and no link to another one, maybe of another file."""
    return isinstance(group.get(key, getlink=True), h5py.HardLink)


def _observations(path: Path, data: h5py.Group, demo: h5py.Group) -> h5py.Group:
    """The group obs/ of a demo."""
    if get(path, demo, "obs") is None and get(path, demo, "states") is not None:
        script = "LIBERO's create_dataset.py" if PROBLEM in data.attrs else "robomimic's dataset_states_to_obs.py"
        raise DemonstrationError(
            f"{path}: {demo.name} has no group 'obs', only what the simulator needs to play it again "
            f"({listed(list(demo))}): let {script} observe it, and import the file that it writes"
        )
    return member(path, demo, "obs")


def leaves(group: h5py.Group, before: str = "") -> Iterator[str]:
    """The keys of all arrays in a group and in the groups within it; of what links lead to, the links' names."""
    for key in map(str, group):
        entry = group.get(key) if _is_inside(group, key) else None
        if isinstance(entry, h5py.Group):
            yield from leaves(entry, f"{before}{key}/")
        else:
            yield before + key


def _taken_late(path: Path, demo: h5py.Group, observed: h5py.Group) -> bool:
    """Whether observations were taken after the action of their row, as in all files that LIBERO published.

    Its script plays an action and then observes (issue 54 of its repository), but `states` holds the states before the
    actions. So the arm's joints show it: a state is (time, qpos, qvel), and the arm comes first in qpos.
    """
    joints, states = get(path, observed, "joint_states"), get(path, demo, "states")
    if not (is_vector(joints) and is_vector(states)) or len(joints) != len(states) or len(joints) < 2:
        return False
    seen, true = np.asarray(joints[()]), np.asarray(states[()])
    if seen.ndim != 2 or true.ndim != 2 or true.shape[1] <= seen.shape[1]:
        return False
    true = true[:, 1 : 1 + seen.shape[1]]
    return bool(np.abs(seen[:-1] - true[1:]).mean() < np.abs(seen[:-1] - true[:-1]).mean())


def _joined(path: Path, observed: h5py.Group, members: Sequence[h5py.Dataset]) -> Feature:
    """The feature that these arrays make: a vector of floats, or one picture or set."""
    if not members:
        raise DemonstrationError(f"{path}: a feature names no key: choose from {listed(list(map(str, observed)))}")
    entry, shape = members[0], tuple(members[0].shape[1:])
    if len(members) == 1 and is_picture(entry):
        last = (*shape[1:], shape[0]) if has_colours_first(shape) else shape
        return Feature(last, "uint8" if entry.dtype == np.uint8 else "float32")
    if len(members) == 1 and len(shape) == 2 and not is_vector(entry) and not is_depth(entry):
        return Feature(shape)
    for entry in members:
        if is_depth(entry):
            raise DemonstrationError(
                f"{path}: {entry.name} is depth, which no policy here reads: leave it out (--keys)"
            )
        if not is_vector(entry):
            raise DemonstrationError(
                f"{path}: {entry.name} has shape {entry.shape}: only vectors can be joined, and an image stands alone"
            )
    return Feature((sum(math.prod(entry.shape[1:]) for entry in members),))


def _dataset_of(path: Path, observed: h5py.Group, key: str) -> h5py.Dataset:
    entry = get(path, observed, key)
    if is_encoded(entry):
        raise _encoded(path, str(entry.name))
    return dataset(path, observed, key)


def _encoded(path: Path, name: str) -> DemonstrationError:
    return DemonstrationError(
        f"{path}: {name} holds pictures as JPEG or PNG files: decode them into uint8 (steps, height, width, 3) first"
    )


def check_action(path: Path, name: str, shape: tuple[int, ...]) -> None:
    if not is_flat((1, *shape)):
        raise DemonstrationError(f"{path}: {name} has the shape {shape} a step: actions are one vector a step")
