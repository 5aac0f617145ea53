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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from skilltokens.demos.store import DemonstrationStore, write_store
from skilltokens.exchange.aloha import episode_files, import_episodes
from skilltokens.exchange.conversion import Conversion, conversion_of, conversion_of_export
from skilltokens.exchange.demo import read_demo
from skilltokens.exchange.hdf5_export import Convention, export_hdf5
from skilltokens.exchange.known import Keys
from skilltokens.exchange.layout import (
    check_digests,
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
    together,
)
from skilltokens.files import digest
from skilltokens.types import DemonstrationError, Episode, Progress, Report, Task, silent

__all__ = ["Convention", "export_hdf5", "import_hdf5", "origin", "task_in"]


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
    if whole is not None and whole != together(said):
        raise DemonstrationError(
            f"{path} does not hold the demos that were exported, in their order: export it again, or take a list of "
            "your own under mask/ (--subset)"
        )


def _whole(own: Mapping[str, Any], subset: str | None) -> str | None:
    """The digest over all demos of the store that is imported; None where it is another choice of demos."""
    stores: dict[str, Any] = own.get("stores", {})
    name = next(iter(stores), None) if subset is None and len(stores) == 1 else subset
    return stores[name].get("demos") if name in stores else None


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
