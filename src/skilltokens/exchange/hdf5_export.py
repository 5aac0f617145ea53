"""Writing stores as HDF5 in robomimic's layout; `hdf5` describes it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from skilltokens.demos.rules import OBSERVATION
from skilltokens.demos.store import DemonstrationStore, same_features
from skilltokens.exchange.disk import DeferredErrorFile
from skilltokens.exchange.layout import OWN, demo_digests, together
from skilltokens.files import replacing, sealed
from skilltokens.types import ACTION, Array, DemonstrationError, Feature, Progress, Report, silent

_UNUSABLE = (OBSERVATION, f"{OBSERVATION}.")
"""Features whose names leave nothing for a key, or a point, which is the group itself in HDF5."""


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
    keys = {name: name if name in _UNUSABLE else name.removeprefix(OBSERVATION) for name in features}
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
                digests.append(together(said))
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
