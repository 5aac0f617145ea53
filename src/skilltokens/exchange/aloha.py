"""Demonstrations in ALOHA's layout, which others who record arms use too: one episode a file, in a folder.

    action                      (steps, width)   joint positions to go to, of both arms
    base_action                 (steps, 2)       of one that drives
    observations/qpos           (steps, width)   the joints' positions
    observations/qvel, effort   (steps, width)
    observations/images/<name>  (steps, height, width, 3) uint8, or a JPEG a step

Source: record_sim_episodes.py of github.com/tonyzhaozh/act, and of MarkFzp/act-plus-plus for robots that drive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py

from skilltokens.demos.store import DemonstrationStore, write_store
from skilltokens.exchange.conversion import Conversion, converting, leaves, pictures_in, usual_keys
from skilltokens.exchange.demo import read_demo
from skilltokens.exchange.kinds import is_vector
from skilltokens.exchange.known import Keys
from skilltokens.exchange.layout import get, hdf5_files, member, opened_file, reading
from skilltokens.files import digest
from skilltokens.types import ACTION, STATE, DemonstrationError, Episode, Progress, Report, Task

OBSERVED = "observations"
ACTIONS = ("action", "base_action")
POSITIONS: Keys = {STATE: ("qpos",)}


def episode_files(path: Path) -> list[Path]:
    """The files of one episode each at `path`, a file or a folder, in the order of their numbers; none elsewhere.

    A folder is in this layout where its first file is.
    """
    files = hdf5_files(path) if os.path.isdir(path) else [path]
    with contextlib.suppress(DemonstrationError):  # a file that cannot be read says so when it is imported
        if files:
            with opened_file(files[0]) as file, reading(files[0]):
                return files if _is_episode(files[0], file) else []
    return []


def import_episodes(
    files: Sequence[Path],
    target: str | Path,
    *,
    task: Task,
    keys: Keys | None,
    images: bool,
    turn: bool,
    suite: str,
    source: str,
    clip: bool,
    bounded: bool,
    report: Report,
) -> DemonstrationStore:
    """Makes the store `target` from files of one episode each; see `hdf5.import_hdf5`.

    Without `keys`, `observation.state` is `qpos`, and `action` is `action` and `base_action`, where there is one.

    Raises:
        DemonstrationError: a file cannot be read or is in another layout, or a demonstration breaks a rule.
    """
    with opened_file(files[0]) as file, reading(files[0]):
        conversion = _conversion(files[0], file, keys, images, turn, bounded)
    return write_store(
        target,
        _episodes(files, conversion, clip, report),
        task=task,
        features=conversion.features,
        source=source,
        suite=suite,
        settings={"imported": {**_origin(files), "clip": clip, "images": images, **conversion.settings()}},
    )


def _is_episode(path: Path, file: h5py.File) -> bool:
    return isinstance(get(path, file, ACTIONS[0]), h5py.Dataset) and isinstance(get(path, file, OBSERVED), h5py.Group)


def _conversion(path: Path, file: h5py.File, keys: Keys | None, images: bool, turn: bool, bounded: bool) -> Conversion:
    observed = member(path, file, OBSERVED)
    chosen = dict(keys or {})
    actions = chosen.pop(ACTION, None) or [name for name in ACTIONS if is_vector(get(path, file, name))]
    pictures = pictures_in(path, observed, sorted(leaves(observed))) if images else {}
    group = chosen or usual_keys(path, observed, POSITIONS)
    return converting(path, file, OBSERVED, actions or ACTIONS[:1], group, pictures, turn, bounded)


def _episodes(files: Sequence[Path], conversion: Conversion, clip: bool, report: Report) -> Iterator[Episode]:
    for number, path in enumerate(files):
        report(Progress("import", number, len(files), path.name))
        with opened_file(path) as file, reading(path):
            if not _is_episode(path, file):
                raise DemonstrationError(
                    f"{path} is no episode in ALOHA's layout, as {files[0].name} beside it is: put it elsewhere"
                )
            episode = read_demo(path, file, conversion, clip)
        yield episode


def _origin(files: Sequence[Path]) -> dict[str, Any]:
    """What a store's settings say of the files that it was made from."""
    digests = [digest(path, DemonstrationError) for path in files]
    if len(files) == 1:
        return {"layout": "aloha", "file": files[0].name, "sha256": digests[0]}
    together = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {"layout": "aloha", "files": len(files), "sha256": together}
