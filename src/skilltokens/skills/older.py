"""Libraries of older versions, made into ones of this version; their skills keep their bits.

Schema skilltokens.library/1 had the list of skills in library.json, without a seal, and numbered the rows of each
linear map through: the base's, then each later skill's in the order learned.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from skilltokens.files import read_bytes, read_json, sweep
from skilltokens.locking import locked
from skilltokens.model.policy import TASK_TOKEN, Policy
from skilltokens.skills.adding import added
from skilltokens.skills.assembling import base_rows
from skilltokens.skills.checking import features_from, policy_from
from skilltokens.skills.disk import BASE_FILE, SKILLS, disk_over
from skilltokens.skills.head import HEAD, LIBRARY_SCHEMA, OLD_SCHEMA, damaged
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.listed import PROBLEMS
from skilltokens.skills.managing import WAIT
from skilltokens.skills.skill import BASE, Rows, Skill, TaskTokenSpec
from skilltokens.tensors import fingerprint
from skilltokens.types import Array, LibraryError

_NEW = re.compile(r".+\.[0-9a-f]{12}\.safetensors")
"""The names of skills' files in this version; those of older ones were NAME.safetensors."""


def upgrade(folder: Path | str) -> SkillLibrary:
    """Makes a library of an older version one of this version, in place; one that is of this version stays as it is.

    Every digest is checked before. Until the last step, which replaces library.json, the folder is the old library.

    Raises:
        LibraryError: there is none, or it is damaged.
    """
    folder = Path(folder)
    read_json(folder / HEAD, (LIBRARY_SCHEMA, OLD_SCHEMA), LibraryError)  # before a lock makes the folder
    with locked(folder, LibraryError, wait=WAIT):
        sweep(folder)
        content = read_json(folder / HEAD, (LIBRARY_SCHEMA, OLD_SCHEMA), LibraryError)
        if content["schema"] == OLD_SCHEMA:
            try:
                _upgrade(folder, content)
            except PROBLEMS as problem:
                if isinstance(problem, LibraryError):
                    raise
                raise damaged(folder / HEAD, str(problem)) from problem
        library = SkillLibrary.open(folder)
        known = {record.file for record in library.state.everything()}
        for path in (folder / SKILLS).iterdir():  # the old files, also where a killed upgrade left them
            if path.suffix == ".safetensors" and not _NEW.fullmatch(path.name) and path.name not in known:
                path.unlink()
    return library


def _upgrade(folder: Path, content: Mapping[str, Any]) -> None:
    policy, features, encoder = content["policy"], content["features"], content["encoder"]
    if not isinstance(encoder, str):
        raise ValueError("it names no sentence encoder")
    data = _verified(folder, content["base"])
    base = policy_from(policy["settings"], policy["shape"], _loaded(data, folder / BASE_FILE))
    features_from(features, base.shape)
    skills: list[Skill] = []
    for entry in content["skills"]:
        skills.append(_skill(folder, entry, base, skills))
    count = sum(parameter.numel() for parameter in base.parameters())
    disk = disk_over(folder, encoder, policy, features, data, (fingerprint(base.state_dict()), count))
    library = SkillLibrary(disk)
    library.use_base(base)
    notes = [dict(entry["notes"]) for entry in content["skills"]]
    library.commit(disk, *added(library, disk, list(zip(skills, notes, strict=True)), origin=f"{OLD_SCHEMA}"))


def _skill(folder: Path, entry: Mapping[str, Any], base: Policy, earlier: Sequence[Skill]) -> Skill:
    """A skill out of its old file; `earlier` are those before it."""
    tensors = _loaded(_verified(folder, entry["file"]), folder / str(entry["file"]["path"]))
    embeddings = tensors["embeddings"].numpy()
    own = {name.removeprefix("tensor."): value for name, value in tensors.items() if name.startswith("tensor.")}
    active = {
        name.removeprefix("active."): _rows(name.removeprefix("active."), value.numpy(), base, earlier)
        for name, value in tensors.items()
        if name.startswith("active.")
    }
    token = entry.get("prompt")
    if token is not None:
        [steered] = [skill for skill in earlier if skill.name == token["on"]]
        own.setdefault(f"{TASK_TOKEN}.presence", torch.zeros(int(token["tokens"])))  # before 2026-11-28 there was none
        token = TaskTokenSpec(
            steered.identity,
            {str(name): int(width) for name, width in token["features"].items()},
            int(token["tokens"]),
            tuple(map(int, token["hidden"])),
            tuple(map(str, token.get("pictures", ()))),
        )
    form = entry.get("form", "rows")
    if form not in ("rows", "lora", "whole"):
        raise ValueError(f"skill {entry['name']!r} has the form {form!r}")
    return Skill(str(entry["name"]), tuple(map(str, entry["wordings"])), embeddings, own, active, token, form)


def _rows(path: str, numbers: Array, base: Policy, earlier: Sequence[Skill]) -> Rows:
    """Rows by who learned them, of numbers that counted all rows of a map through."""
    offsets = np.cumsum([0, base_rows(base, path), *(skill.rows(path) for skill in earlier[1:])])
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < offsets[-1]:
        raise ValueError(f"a skill reuses rows in {path} that no earlier skill has")
    owners = np.searchsorted(offsets, numbers, side="right") - 1
    kinds, places = np.unique(owners, return_inverse=True)
    names = tuple(BASE if owner == 0 else earlier[owner].identity for owner in kinds)
    return Rows(names, places.astype(np.int64), (numbers - offsets[owners]).astype(np.int64))


def _verified(folder: Path, entry: Mapping[str, Any]) -> bytes:
    """The bytes of a file that an old library.json names, after a check of its path and its digest."""
    name = str(entry["path"])
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise LibraryError(f"{folder / HEAD} points out of its folder ({name!r:.200}): do not trust it")
    data = read_bytes(path, LibraryError)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise damaged(path, "its digest differs")
    return data


def _loaded(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(data)
    except SafetensorError as problem:
        raise damaged(path, str(problem)) from problem
