"""Demonstrations from and to HDF5 in robomimic's layout, which LIBERO's datasets share. (`aloha` reads another one.)

    data                      attributes: total, env_args (JSON); LIBERO also: problem_info (JSON)
      demo_0, demo_1, ...     attributes: num_samples, ep_meta (JSON, {"lang": instruction})
        actions               (steps, width)
        rewards, dones        (steps,)      1 at the last step
        obs/<key>             (steps, ...)
        next_obs/<key>        (steps, ...)  obs one step later; the last step repeats itself
        states                (steps, ...)  LIBERO: the simulator's state before the action
    mask/<name>               names of the demos of a subset; an export has one for each task

Source: https://robomimic.github.io/docs/datasets/overview.html. Files that `export_hdf5` wrote also say which
feature each key came from, so an import gives the same store back, down to its digest. A `Convention` writes what
LIBERO's files hold besides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from skilltokens.demos.rules import OBSERVATION
from skilltokens.demos.store import DemonstrationStore, same_features, write_store
from skilltokens.exchange.aloha import episode_files, import_episodes
from skilltokens.exchange.conversion import Conversion, conversion_of, conversion_of_export
from skilltokens.exchange.demo import read_demo
from skilltokens.exchange.disk import DeferredErrorFile
from skilltokens.exchange.known import Keys
from skilltokens.exchange.layout import (
    OWN,
    check_digests,
    demo_digests,
    demo_names,
    instructions,
    is_sealed,
    json_in,
    member,
    opened,
    own_entry,
    reading,
    showing,
    shown_task,
)
from skilltokens.files import digest, replacing, sealed
from skilltokens.types import ACTION, Array, DemonstrationError, Episode, Feature, Progress, Report, Task, silent


def import_hdf5(
    path: str | Path,
    target: str | Path,
    *,
    task: Task | None = None,
    keys: Keys | None = None,
    images: bool = False,
    subset: str | None = None,
    suite: str | None = None,
    source: str | None = None,
    clip: bool = False,
    turn: bool | None = None,
    bounded: bool = False,
    report: Report = silent,
) -> DemonstrationStore:
    """Makes the store `target` from the demonstrations in an HDF5 file. Numbers become float32, images stay uint8.

    LIBERO's published observations were taken after the action in their row; here they go with the action of the next
    row, and the first action is left out. Its pictures are upside down there, and upright here. What was done, and what
    was left out, stands in the store's `settings["imported"]`.

    Args:
        path: the HDF5 file, in robomimic's layout or one episode in ALOHA's, or a folder of such episodes. It is only
            read.
        target: the store's folder. A store at this path is replaced when the new one is whole.
        task: the task that is shown; None reads it from the file (see `task_in`). Of a file that says several
            instructions, of which the task's is one, only the demos are taken that show it.
        keys: which keys under obs/ make which feature, such as {"observation.state": ["eef_pos", "gripper"]}; an
            image is a feature of one key, and "action" is made of arrays beside obs/. None takes the keys that the file
            names (our exports), or else those that robomimic or LIBERO use, of all arms, or else joins all vectors, in
            alphabetical order, to `observation.state`.
        images: take all pictures too, as `observation.images.<camera>`; our exports bring theirs in any case.
        subset: the name of a list under mask/; None takes all demos.
        suite, source: see `write_store`; None takes what the file says, else "own" and "human".
        clip: clip actions to [-1, 1].
        turn: turn all pictures the other way up, or none; None goes by what the file is
            (`known.stands_on_its_head`). Those of our exports are as they were.
        bounded: refuse actions outside [-1, 1]; those of LIBERO's own files are in any case.

    Raises:
        DemonstrationError: the file cannot be read, lacks a key, or a demonstration breaks a rule: one sentence
            with the demo, the step and the feature. A store that was at `target` is as it was.
    """
    path = Path(path)
    episodes = episode_files(path)
    if episodes:
        if subset is not None:
            raise DemonstrationError(f"{path} is in ALOHA's layout, which has no subsets (--subset): leave that out")
        return import_episodes(
            episodes,
            target,
            task=task or task_in(path),
            keys=keys,
            images=images,
            turn=bool(turn),
            suite=suite or "own",
            source=source or "human",
            clip=clip,
            bounded=bounded,
            report=report,
        )
    with opened(path) as file:
        with reading(path):
            names = demo_names(path, file, subset)
            data = member(path, file, "data")
            task = task or shown_task(path, file, names)
            said = instructions(path, data, names)
            names = showing(task.instruction, said)
            own = own_entry(path, file)
            if own and keys is None:
                conversion = conversion_of_export(own, task.name)
            else:
                conversion = conversion_of(path, data, names[0], keys, images, turn)
            conversion = dataclasses.replace(conversion, bounded=conversion.bounded or bounded)
        stored = own.get("stores", {}).get(task.name, {})
        settings = stored.get("settings", {})
        if not stored or keys is not None or clip:
            imported = origin(path, subset=subset, source=source, clip=clip, images=images)
            several = sorted(set(said.values()) - {""})
            if len(several) > 1:
                imported |= {"instructions": several, "of": len(said)}
            settings = {**settings, "imported": {**imported, **conversion.settings()}}
        return write_store(
            target,
            _episodes(path, data, names, conversion, clip, own, _whole(own, subset), report),
            task=task,
            features=conversion.features,
            source=source or stored.get("source", "human"),
            suite=suite or stored.get("suite", "own"),
            versions=stored.get("versions", {}),
            settings=settings,
        )


def _episodes(
    path: Path,
    data: h5py.Group,
    names: Sequence[str],
    conversion: Conversion,
    clip: bool,
    own: Mapping[str, Any],
    whole: str | None,
    report: Report,
) -> Iterator[Episode]:
    """The demos `names` of an open file, as episodes; those of our exports as they were exported.

    Args:
        own, whole: see `layout.own_entry` and `_whole`.
    """
    said: list[str] = []
    for number, name in enumerate(names):
        report(Progress("import", number, len(names), name))
        with reading(path):
            demo = member(path, data, name)
            episode = read_demo(path, demo, conversion, clip)
            if is_sealed(own):
                exported = conversion_of_export(own, str(json_in(path, demo, "ep_meta").get("task", "")))
                same = not clip and dataclasses.replace(exported, bounded=conversion.bounded) == conversion
                as_it_was = episode if same else read_demo(path, demo, exported, clip=False)
                said.append(check_digests(path, demo, as_it_was.features))
        yield episode
    if whole is not None and whole != _together(said):
        raise DemonstrationError(
            f"{path} does not hold the demos that were exported, in their order: export it again, or take a list of "
            "your own under mask/ (--subset)"
        )


def _whole(own: Mapping[str, Any], subset: str | None) -> str | None:
    """The digest over all demos of the store that is imported; None where it is another choice of demos."""
    stores: dict[str, Any] = own.get("stores", {})
    name = next(iter(stores), None) if subset is None and len(stores) == 1 else subset
    return stores[name].get("demos") if name in stores else None


def _together(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def origin(path: Path, *, subset: str | None, source: str | None, clip: bool, images: bool) -> dict[str, Any]:
    """What a store's settings say of its import: the file's name and SHA-256, and these arguments of `import_hdf5`.

    Raises:
        DemonstrationError: the file cannot be read.
    """
    try:
        sha256 = digest(path)
    except OSError as problem:
        raise DemonstrationError(f"{path} cannot be read ({problem.strerror}): check the path") from problem
    return {
        "file": path.name, "sha256": sha256, "subset": subset, "source": source, "clip": clip, "images": images,
    }  # fmt: skip


def task_in(path: str | Path, subset: str | None = None, name: str = "") -> Task:
    """The task that an HDF5 file shows, as it says itself: in our own attribute, `ep_meta`'s "lang" or `problem_info`.

    Args:
        name: the task's name, where the file says none; empty for the file's name.

    Raises:
        DemonstrationError: the file cannot be read, names no instruction, or names several.
    """
    path = Path(path)
    if episode_files(path):
        raise DemonstrationError(f"{path} does not say what it shows: give an instruction (--instruction)")
    with opened(path) as file, reading(path):
        return shown_task(path, file, demo_names(path, file, subset), name)


class Convention(Protocol):
    """What a benchmark's files hold beyond robomimic's layout, so that its own programs can read an export."""

    @property
    def pictures(self) -> Mapping[str, str]:
        """Feature -> the key under obs/ for its pictures, which are written with the bottom row first."""
        ...

    def attributes(self, store: DemonstrationStore) -> Mapping[str, Any]:
        """Attributes of `data`."""
        ...

    def demo(self, store: DemonstrationStore, rows: slice) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
        """Further arrays, name in the demo's group -> (steps, ...), and attributes of the demo of these rows."""
        ...


def export_hdf5(
    stores: Sequence[DemonstrationStore],
    path: str | Path,
    *,
    next_observations: bool = True,
    convention: Convention | None = None,
    report: Report = silent,
) -> None:
    """Writes stores with the same features into one HDF5 file that robomimic's `SequenceDataset` reads.

    The demos of all stores follow one another; mask/<task name> lists those of one store. `observation.<key>`
    becomes obs/<key>; private features are stored beside `actions`, under their names. A file at `path` is replaced in
    one move, when the new one is whole.

    Args:
        next_observations: write next_obs/ too; without it the file is half as large, and robomimic then needs
            `load_next_obs=False`.
        convention: what else to write, for the programs of a benchmark. It allows one store only.

    Raises:
        DemonstrationError: stores with different features or the same task, or the file cannot be written.
    """
    path = Path(path)
    features = same_features(stores)
    _check_export(path, stores, convention)
    for store in stores:
        store.verify()  # what is written gets digests of its own, which must not cover altered numbers
    keys = {name: name.removeprefix(OBSERVATION) for name in features}
    keys |= {name: key for name, key in (convention.pictures.items() if convention else ()) if name in features}
    with replacing(path, DemonstrationError) as fresh, DeferredErrorFile(fresh) as output:
        # Errors are raised from `output`, since a failed write that HDF5 sees can crash the process.
        with h5py.File(output, "w") as file:
            data, first = file.create_group("data"), 0
            digests: list[str] = []
            for store in stores:
                said: list[str] = []
                for number in range(store.episodes):
                    report(Progress("export", number, store.episodes, store.task.name))
                    demo = data.create_group(f"demo_{first + number}")
                    said.append(_write_demo(demo, store, number, keys, next_observations, convention))
                    output.raise_error()
                digests.append(_together(said))
                demos = [f"demo_{first + number}".encode() for number in range(store.episodes)]
                file.create_dataset(f"mask/{store.task.name}", data=np.array(demos))
                first += store.episodes
            data.attrs["total"] = sum(store.steps for store in stores)
            # Type 2 is robomimic's number for a Gymnasium environment.
            data.attrs["env_args"] = json.dumps({"env_name": stores[0].task.name, "type": 2, "env_kwargs": {}})
            for name, value in (convention.attributes(stores[0]) if convention else {}).items():
                data.attrs[name] = value
            turned = set(convention.pictures if convention else ())
            data.attrs[OWN] = json.dumps(sealed(_own(stores, digests, features, keys, turned)))
        output.raise_error()


def _check_export(path: Path, stores: Sequence[DemonstrationStore], convention: Convention | None) -> None:
    """Raises DemonstrationError unless these stores can be exported into one file at `path`."""
    names = [store.task.name for store in stores]
    for name in names:
        if names.count(name) > 1:
            raise DemonstrationError(f"two of the stores hold the task {name!r}: export them to files of their own")
    if convention is not None and len(stores) > 1:
        raise DemonstrationError(f"{len(stores)} tasks have no place in one file of that layout: export one at a time")
    if os.path.isdir(path):
        raise DemonstrationError(f"{path} is a folder: name a file such as {path / 'demos.hdf5'}")


def _write_demo(
    demo: h5py.Group,
    store: DemonstrationStore,
    number: int,
    keys: Mapping[str, str],
    next_observations: bool,
    convention: Convention | None,
) -> str:
    """Writes episode `number` of `store` into the empty group `demo`; returns the digests that the demo says.

    Args:
        keys: feature -> its key under obs/.
    """
    episode = store.episode(number)
    rows = slice(int(store.offsets[number]), int(store.offsets[number + 1]))
    steps = len(episode)
    end = np.zeros(steps)
    end[-1] = 1
    arrays: dict[str, Array] = {"actions": episode.features[ACTION], "rewards": end, "dones": end.astype(np.int64)}
    for name, array in episode.features.items():
        if name != ACTION:
            turned = convention is not None and name in convention.pictures
            arrays[f"obs/{keys[name]}"] = array[:, ::-1] if turned else array
    private = {name: store[name][rows] for name in store.private}
    arrays |= private
    attributes: dict[str, Any] = {
        "num_samples": steps,
        "ep_meta": json.dumps({"lang": store.task.instruction, "task": store.task.name}),
    }
    if convention is not None:
        more_arrays, more_attributes = convention.demo(store, rows)
        arrays, attributes = {**arrays, **more_arrays}, {**attributes, **more_attributes}
    following = np.minimum(np.arange(1, steps + 1), steps - 1)
    for name, array in arrays.items():
        demo.create_dataset(name, data=array)
        if next_observations and name.startswith("obs/"):
            demo.create_dataset(f"next_{name}", data=np.asarray(array)[following])
    digests = json.dumps(demo_digests({**episode.features, **private}, attributes["ep_meta"]))
    for name, value in {**attributes, OWN: digests}.items():
        demo.attrs[name] = value
    return digests


def _own(
    stores: Sequence[DemonstrationStore],
    digests: Sequence[str],
    features: Mapping[str, Feature],
    keys: Mapping[str, str],
    turned: set[str],
) -> dict[str, Any]:
    """The content of our own attribute (`OWN`), which an import reads back; `digests`: over all demos of each store."""
    return {
        "features": {
            name: {**dataclasses.asdict(entry), "key": keys[name]} | ({"turned": True} if name in turned else {})
            for name, entry in features.items()
        },
        "stores": {
            store.task.name: {
                "task": dataclasses.asdict(store.task),
                "suite": store.suite,
                "source": store.source,
                "settings": store.settings,
                "versions": store.versions,
                "private": {name: dataclasses.asdict(entry) for name, entry in store.private.items()},
                "demos": demos,
            }
            for store, demos in zip(stores, digests, strict=True)
        },
    }
