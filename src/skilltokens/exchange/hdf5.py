"""Demonstrations from and to HDF5 in robomimic's layout, which LIBERO's datasets share.

    data                      attributes: total, env_args (JSON); LIBERO also: problem_info (JSON)
      demo_0, demo_1, ...     attributes: num_samples, ep_meta (JSON, {"lang": instruction})
        actions               (steps, width)
        rewards, dones        (steps,)      1 at the last step
        obs/<key>             (steps, ...)
        next_obs/<key>        (steps, ...)  obs one step later; the last step repeats itself
        states                (steps, ...)  LIBERO: the simulator's state before the action
    mask/<name>               names of the demos of a subset; an export has one for each task

Source: https://robomimic.github.io/docs/datasets/overview.html. Files that `export_hdf5` wrote also say which
feature each key came from, so an import gives the same store back, down to its digest. What else LIBERO's files hold
is written by a `Convention`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from skilltokens.demos.disk import QuietDisk
from skilltokens.demos.rules import OBSERVATION
from skilltokens.demos.store import DemonstrationStore, same_features, write_store
from skilltokens.exchange.conversion import Keys, own_plan, plan, read_demo
from skilltokens.exchange.layout import OWN, demo_names, member, opened, own_entry, reading, shown_task
from skilltokens.files import digest, replacing
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
    report: Report = silent,
) -> DemonstrationStore:
    """Makes the store `target` from the demonstrations in an HDF5 file. Floats become float32, images stay uint8.

    LIBERO's published observations were taken after the action in their row; here they go with the action of the next
    row, and the first action is left out. Its pictures stand on their heads there, and upright here.

    Args:
        path: the HDF5 file. It is only read.
        target: the store's folder; a store that is there is replaced at the end.
        task: the task that is shown; None reads it from the file (see `task_in`).
        keys: which keys under obs/ make which feature, such as {"observation.state": ["eef_pos", "gripper"]}; an
            image is a feature of one key. None takes what the file says (our exports), else what robomimic or
            LIBERO call it, else joins all vectors, in alphabetical order, to `observation.state`.
        images: take all pictures too, as `observation.images.<camera>`; our exports bring theirs in any case.
        subset: the name of a list under mask/; None takes all demos.
        suite, source: see `write_store`; None takes what the file says, else "own" and "human".
        clip: clip actions to [-1, 1] instead of refusing those outside.

    Raises:
        DemonstrationError: the file cannot be read, lacks a key, or a demonstration breaks a rule: one sentence
            with the demo, the step and the feature. A store that was at `target` is as it was.
    """
    path = Path(path)
    with opened(path) as file:
        with reading(path):
            names = demo_names(path, file, subset)
            data = member(path, file, "data")
            task = task or shown_task(path, file, names)
            own = own_entry(path, file)
            ours = bool(own) and keys is None
            made = own_plan(own, task.name) if ours else plan(path, data, names[0], keys, images)
        stored = own.get("stores", {}).get(task.name, {})
        settings = stored.get("settings", {})
        if not stored or keys is not None or clip:
            asked = origin(path, subset=subset, source=source, clip=clip, images=images)
            settings = {**settings, "imported": {**asked, **made.said}}

        def episodes() -> Iterator[Episode]:
            for number, name in enumerate(names):
                report(Progress("import", number, len(names), name))
                with reading(path):
                    episode = read_demo(path, member(path, data, name), made, clip)
                yield episode

        return write_store(
            target,
            episodes(),
            task=task,
            features=made.features,
            source=source or stored.get("source", "human"),
            suite=suite or stored.get("suite", "own"),
            versions=stored.get("versions", {}),
            settings=settings,
        )


def origin(path: Path, *, subset: str | None, source: str | None, clip: bool, images: bool) -> dict[str, Any]:
    """What a store keeps of the file that it was imported from, and of how; the arguments are `import_hdf5`'s.

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
    """The task that an HDF5 file says it shows: an export's own, `ep_meta`'s "lang", or LIBERO's `problem_info`.

    Args:
        name: for a task that has none in the file; empty: the file's name.

    Raises:
        DemonstrationError: the file cannot be read, names no instruction, or names several.
    """
    path = Path(path)
    with opened(path) as file, reading(path):
        return shown_task(path, file, demo_names(path, file, subset), name)


class Convention(Protocol):
    """What the files of one benchmark hold beyond robomimic's layout, so that its own programs read an export."""

    @property
    def pictures(self) -> Mapping[str, str]:
        """Feature -> the key under obs/ that its pictures are written to, bottom row first."""
        ...

    def attributes(self, store: DemonstrationStore) -> Mapping[str, Any]:
        """Attributes of `data`."""
        ...

    def demo(self, store: DemonstrationStore, rows: slice) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
        """Arrays (name below the demo -> (steps, ...)) and attributes of the demo in these rows of the store."""
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
    becomes obs/<key>; private features lie beside `actions`, under their names. The file replaces an older one at the
    end, at once.

    Args:
        next_observations: write next_obs/ too; without it the file is half as large, and robomimic must be told
            `load_next_obs=False`.
        convention: what else to write, for the programs of a benchmark; then there can be one store only.

    Raises:
        DemonstrationError: stores with different features or the same task, or the file cannot be written.
    """
    path = Path(path)
    features = same_features(stores)
    names = [store.task.name for store in stores]
    for name in names:
        if names.count(name) > 1:
            raise DemonstrationError(f"two of the stores hold the task {name!r}: export them to files of their own")
    if convention is not None and len(stores) > 1:
        raise DemonstrationError(f"{len(stores)} tasks have no place in one file of that layout: export one at a time")
    if path.is_dir():
        raise DemonstrationError(f"{path} is a folder: name a file such as {path / 'demos.hdf5'}")
    keys = {name: name.removeprefix(OBSERVATION) for name in features}
    keys |= {name: key for name, key in (convention.pictures.items() if convention else ()) if name in features}
    with replacing(path, DemonstrationError) as fresh, QuietDisk(fresh) as disk:
        # HDF5 crashes the process when a write fails while it closes a file, so the disk hides its
        # failures from it; what was written then is thrown away.
        with h5py.File(disk, "w") as file:
            data, first = file.create_group("data"), 0
            for store in stores:
                for number in range(store.episodes):
                    report(Progress("export", number, store.episodes, store.task.name))
                    demo = data.create_group(f"demo_{first + number}")
                    _write_demo(demo, store, number, keys, next_observations, convention)
                    disk.check()
                demos = [f"demo_{first + number}".encode() for number in range(store.episodes)]
                file.create_dataset(f"mask/{store.task.name}", data=np.array(demos))
                first += store.episodes
            data.attrs["total"] = sum(store.steps for store in stores)
            # Type 2 is robomimic's number for a Gymnasium environment.
            data.attrs["env_args"] = json.dumps({"env_name": names[0], "type": 2, "env_kwargs": {}})
            for name, value in (convention.attributes(stores[0]) if convention else {}).items():
                data.attrs[name] = value
            data.attrs[OWN] = json.dumps(_own(stores, features, keys, set(convention.pictures if convention else ())))
        disk.check()


def _write_demo(
    demo: h5py.Group,
    store: DemonstrationStore,
    number: int,
    keys: Mapping[str, str],
    next_observations: bool,
    convention: Convention | None,
) -> None:
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
    arrays |= {name: store[name][rows] for name in store.private}
    attributes = {
        "num_samples": steps,
        "ep_meta": json.dumps({"lang": store.task.instruction, "task": store.task.name}),
    }
    if convention is not None:
        more, said = convention.demo(store, rows)
        arrays, attributes = {**arrays, **more}, {**attributes, **said}
    following = np.minimum(np.arange(1, steps + 1), steps - 1)
    for name, array in arrays.items():
        demo.create_dataset(name, data=array)
        if next_observations and name.startswith("obs/"):
            demo.create_dataset(f"next_{name}", data=np.asarray(array)[following])
    for name, value in attributes.items():
        demo.attrs[name] = value


def _own(
    stores: Sequence[DemonstrationStore], features: Mapping[str, Feature], keys: Mapping[str, str], turned: set[str]
) -> dict[str, Any]:
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
            }
            for store in stores
        },
    }
