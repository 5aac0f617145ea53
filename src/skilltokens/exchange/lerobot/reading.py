"""Stores from a LeRobot data set, one a task: rows are read a row group at a time, videos from front to back."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skilltokens.demos.store import DemonstrationStore, write_store
from skilltokens.escaping import file_name
from skilltokens.exchange.lerobot.episodes import Entry, files_of, read_entries, read_tasks
from skilltokens.exchange.lerobot.features import Choice, choose
from skilltokens.exchange.lerobot.info import INFO, Info, read_info
from skilltokens.exchange.lerobot.own import AGAIN, OWN, Own, OwnStore, read_own
from skilltokens.exchange.lerobot.rows import STATS, Reader
from skilltokens.files import digest
from skilltokens.types import DemonstrationError, Report, Task, silent


def import_lerobot(
    folder: str | Path,
    target: str | Path,
    *,
    task: str | None = None,
    instruction: str | None = None,
    wordings: Sequence[str] = (),
    images: bool = False,
    subset: str | None = None,
    suite: str | None = None,
    source: str | None = None,
    clip: bool = False,
    changed: bool = False,
    again: bool = True,
    report: Report = silent,
) -> list[DemonstrationStore]:
    """Makes a store of each task in a LeRobot data set (version 3), TARGET/TASK.

    `action` and `observation.*` are taken, under their names; what else the data set has, such as `next.reward`, is
    not. Each store's settings keep fps, the robot, the names of entries and what was not taken. An export of ours gives
    its stores back as they were.

    Args:
        folder: the data set's folder. It is only read.
        target: the folder for the stores. A store there is replaced when the new one is whole.
        task, instruction, wordings: the task's name and words, for a data set of one task, or for that of several whose
            sentence `instruction` is; None: its sentence, and a name made of it.
        images: take pictures and videos too; our exports bring theirs in any case.
        subset: the name of a split, such as "train"; None takes all episodes.
        suite, source: see `write_store`; None takes what an export says, else "own" and "human".
        clip: clip actions to [-1, 1].
        changed: take an export of ours as it is now, as if another program had written it.
        again: make a store that is there already again. Else it is kept, if the same import made it.

    Raises:
        DemonstrationError: the data set cannot be read, is of another version, or breaks a rule of its format or of a
            store's: one sentence that says where. Stores that were not yet made again are as they were.
    """
    folder, target = Path(folder), Path(target)
    info = read_info(folder)
    own = None if changed else read_own(info, report)
    choice = own.choice if own else choose(info, images)
    sentences = read_tasks(info)
    entries = read_entries(info, choice.sources, sentences)
    taken = info.split(subset) if subset is not None else range(info.episodes)
    chosen: dict[int, list[Entry]] = {}
    first: dict[int, int] = {}
    for entry in entries:
        first.setdefault(entry.task, entry.start)
        if entry.number in taken:
            chosen.setdefault(entry.task, []).append(entry)
    if task or instruction or wordings:
        chosen = _only(folder, chosen, sentences, instruction)
    origin = None
    if own is None or clip or subset is not None or any(one.kind == "video" for one in choice.sources.values()):
        origin = _origin(info, choice, subset=subset, source=source, clip=clip, images=images)
    stores: list[DemonstrationStore] = []
    with Reader(info, choice, own, clip, changed, sum(map(len, chosen.values())), report) as reader:
        for number, named in _named(sorted(chosen), sentences, own).items():
            store = own.stores[number] if own else None
            words = {"name": task, "instruction": instruction, "wordings": tuple(wordings)}
            named = replace(named, **{key: value for key, value in words.items() if value})
            about = _about(reader, named, store, origin, suite, source)
            path = target / named.name
            if not again and os.path.exists(path):
                stores.append(_kept(path, about, store.digest if store and origin is None else None))
                reader.skip(chosen[number])
                continue
            episodes = reader.episodes(chosen[number], named, store, first[number])
            stores.append(write_store(path, episodes, **about))
    return stores


def _only(
    folder: Path, chosen: dict[int, list[Entry]], sentences: Sequence[str], instruction: str | None
) -> dict[int, list[Entry]]:
    """The episodes of the one task that a user's words are about."""
    if len(chosen) > 1 and instruction in sentences:
        chosen = {number: mine for number, mine in chosen.items() if sentences[number] == instruction}
    if len(chosen) != 1:
        raise DemonstrationError(
            f"{folder} shows {len(chosen)} tasks: a name and words are for one; the sentence of one of them "
            "(--instruction) takes it alone"
        )
    return chosen


def _about(
    reader: Reader,
    task: Task,
    own: OwnStore | None,
    origin: Mapping[str, Any] | None,
    suite: str | None,
    source: str | None,
) -> dict[str, Any]:
    """What `write_store` is told of the store of one task; `own`: as it was exported."""
    settings = dict(own.settings) if own else {"lerobot": reader.choice.settings(reader.info)}
    if origin is not None:
        settings["imported"] = dict(origin)
    return {
        "task": task,
        "features": {
            **{name: one.feature for name, one in reader.choice.sources.items()},
            **(own.private if own else {}),
        },
        "source": source or (own.source if own else "human"),
        "suite": suite or (own.suite if own else "own"),
        "versions": dict(own.versions) if own else {},
        "settings": settings,
    }


def _kept(path: Path, about: Mapping[str, Any], right: str | None) -> DemonstrationStore:
    """The store that is there, if the same import made it. `right`: the digest that it must have, where it is known."""
    store = DemonstrationStore.open(path)
    if store.digest == right:
        return store
    features = {**store.features, **store.private}
    for name, value in about.items():
        old = features if name == "features" else getattr(store, name)
        if old != value:
            raise DemonstrationError(
                f"{path} holds other demonstrations ({store.source}, {store.episodes} episodes), whose {name} differ "
                "from those of this import: name another folder, or remove that store"
            )
    if right is not None:
        raise DemonstrationError(f"{path} holds other numbers than {OWN} says: name another folder, or remove it")
    return store


def _origin(info: Info, choice: Choice, **arguments: object) -> dict[str, Any]:
    """What a store's settings say of its import: the data set's name and digest, the arguments, and what is left."""
    names = [INFO, STATS, "meta/tasks.parquet"]
    paths = [path for path in map(info.folder.joinpath, names) if os.path.lexists(path)]
    paths += files_of(info.folder / "meta/episodes")
    digests = "\n".join(
        f"{path.relative_to(info.folder).as_posix()} {digest(path, DemonstrationError)}" for path in paths
    )
    videos = [name for name, source in choice.sources.items() if source.kind == "video"]
    return {
        "file": name_of(info.folder),
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        **arguments,
        **({"videos": videos} if videos else {}),
        **({"left": list(choice.left)} if choice.left else {}),
    }


def name_of(folder: Path) -> str:
    """A data set's name: its folder's, or what the Hub calls it where it lies in the Hub's cache."""
    path = Path(os.path.abspath(folder))
    cached = re.fullmatch(r"datasets--.+?--(.+)", path.parent.parent.name) if path.parent.name == "snapshots" else None
    return cached[1] if cached else path.name


def _named(numbers: Sequence[int], sentences: Sequence[str], own: Own | None) -> dict[int, Task]:
    """The tasks of these numbers: as they were exported, or their sentence and a name made of it."""
    if own is not None:
        if len(own.stores) != len(sentences):
            raise DemonstrationError(f"{OWN} describes {len(own.stores)} stores for {len(sentences)} tasks: {AGAIN}")
        return {number: own.stores[number].task for number in numbers}
    names: dict[int, str] = {}
    for number in numbers:
        short = re.sub(r"[^A-Za-z0-9]+", "-", sentences[number])[:60].strip("-")
        taken = {name.lower() for name in names.values()}
        names[number] = short if short and short.lower() not in taken else file_name(sentences[number] + " ")[:110]
    return {number: Task(name, sentences[number]) for number, name in names.items()}
