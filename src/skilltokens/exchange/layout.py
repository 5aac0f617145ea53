"""Reading HDF5 in robomimic's layout: which demos a file holds, what they show, its groups, arrays and attributes.

All functions take an open file and raise an error of one sentence that says what the file lacks. `conversion` makes
episodes of what they read; `hdf5` describes the layout and has the functions that users call.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from skilltokens import files
from skilltokens.demos.header import feature_from, task_from
from skilltokens.exchange.probe import withstood
from skilltokens.types import (
    Array,
    DemonstrationError,
    SkilltokensError,
    Task,
    natural,
    nearest,
)

OWN = "skilltokens"
"""Attribute of `data` in our exports: all that robomimic's layout cannot express, sealed; of a demo its digests."""
MOST = 1100
"""How many times larger an array may be than its file: no compression that HDF5 brings with it does more."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading, with a group `data` in it."""
    with opened_file(path) as file:
        with reading(path):
            if not isinstance(get(path, file, "data"), h5py.Group):
                raise DemonstrationError(
                    f"{path} has no group 'data' (it has {listed(list(file))}): only the layouts of robomimic and of "
                    "ALOHA can be imported"
                )
        yield file


@contextlib.contextmanager
def opened_file(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading, whatever is in it."""
    with files.reading(path, DemonstrationError):  # HDF5 would wait at a pipe
        pass
    withstood(path)
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as problem:
        raise DemonstrationError(f"{path} does not exist: check the path") from problem
    except OSError as problem:
        raise DemonstrationError(f"{path} is no readable HDF5 file, or is truncated ({_first(problem)})") from problem
    with file:
        yield file


def hdf5_files(folder: Path) -> list[Path]:
    """The HDF5 files in a folder, by their names (.hdf5 or .h5, in any case), in the order of their numbers."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in (".hdf5", ".h5"))
    return sorted((path for path in files if not path.name.startswith(".")), key=lambda path: natural(path.name))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what h5py raises on damaged bytes into one sentence. It can be almost any exception."""
    try:
        yield
    except SkilltokensError:
        raise
    except Exception as problem:
        raise DemonstrationError(f"{path} is damaged ({_first(problem)}): get the file again") from problem


def get(path: Path, group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset | None:
    """The group or array `key` in `group`, or None. Data in other files is refused: it could be any file."""
    outside = isinstance(group.get(key, getlink=True), h5py.ExternalLink)
    entry = None if outside else group.get(key)
    if isinstance(entry, h5py.Group | h5py.Dataset):
        outside = entry.file.filename != group.file.filename  # by a soft link over an external one
    if isinstance(entry, h5py.Dataset):
        outside = outside or bool(entry.external) or entry.is_virtual
    if outside:
        raise DemonstrationError(f"{path}: {group.name}/{key} points to another file: copy its data into this one")
    return entry if isinstance(entry, h5py.Group | h5py.Dataset) else None


def member(path: Path, group: h5py.Group, key: str) -> h5py.Group:
    """The group `key` in `group`; an error if it is missing."""
    entry = get(path, group, key)
    if not isinstance(entry, h5py.Group):
        raise DemonstrationError(f"{path}: {group.name} has no group {key!r}: {nearest(key, list(group))}")
    return entry


def demo_names(path: Path, file: h5py.File, subset: str | None) -> list[str]:
    """The names of the file's demos, or of those listed in mask/`subset`, sorted by number."""
    data = member(path, file, "data")
    names = list(data)
    if subset is not None:
        masks = get(path, file, "mask")
        listed = list(masks) if isinstance(masks, h5py.Group) else []
        chosen = get(path, masks, subset) if isinstance(masks, h5py.Group) and subset in listed else None
        if not isinstance(chosen, h5py.Dataset):
            clause = nearest(subset, listed) if listed else "the file has no subsets"
            raise DemonstrationError(f"{path} has no subset mask/{subset}: {clause}")
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(chosen[()])]
    if not names:
        raise DemonstrationError(f"{path}: there are no demonstrations in {'data' if subset is None else subset}")
    return sorted(names, key=natural)


def own_entry(path: Path, file: h5py.File) -> dict[str, Any]:
    """The content of our own attribute (`OWN`) in a file that we exported; empty for other files."""
    data = member(path, file, "data")
    own = json_in(path, data, OWN)
    try:
        if not own and any(OWN in member(path, data, name).attrs for name in list(data)[:1]):
            raise ValueError("it is gone, and its demos have theirs")
        if own:
            if files.SEAL in own and own[files.SEAL] != files.seal(own):
                raise ValueError("its digest differs")
            _ = [(entry["key"], feature_from(entry)) for entry in own["features"].values()]
            for stored in own["stores"].values():
                _ = task_from(stored["task"]), [feature_from(entry) for entry in stored.get("private", {}).values()]
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise DemonstrationError(
            f"{path}: the attribute {OWN!r} of /data is altered: export the file again"
        ) from problem
    return own


def is_sealed(own: Mapping[str, Any]) -> bool:
    """Whether an export says digests of its demos, as all have since 0.2."""
    return files.SEAL in own


def check_digests(path: Path, demo: h5py.Group, arrays: Mapping[str, Array]) -> str:
    """Checks the arrays of a demo of a sealed export against the digests that it says; returns what it says.

    Raises:
        DemonstrationError: one of them was altered.
    """
    said = json_in(path, demo, OWN)
    for name, digest in demo_digests(arrays, text_of(demo.attrs.get("ep_meta", ""))).items():
        if said.get(name) != digest:
            raise DemonstrationError(
                f"{path}: {name!r} of {demo.name} was altered since it was exported (its digest differs): export it "
                "again"
            )
    return text_of(demo.attrs[OWN])


def demo_digests(arrays: Mapping[str, Array], meta: str) -> dict[str, str]:
    """SHA-256 of each array of a demo, by its kind, shape and numbers, and of the text that says what it shows."""
    digests = {"ep_meta": hashlib.sha256(meta.encode()).hexdigest()}
    for name, array in arrays.items():
        total = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).data)
        digests[name] = total.hexdigest()
    return digests


def together(digests: Sequence[str]) -> str:
    """SHA-256 over what the demos of a store say of themselves, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def shown_task(path: Path, file: h5py.File, names: Sequence[str], name: str = "") -> Task:
    """The one task that the demos `names` show. If the file does not name it, `name` or the file's own name is used."""
    data = member(path, file, "data")
    metas = [json_in(path, member(path, data, name), "ep_meta") for name in names]
    tasks = {str(meta["task"]) for meta in metas if "task" in meta}
    texts = set(instructions(path, data, names).values()) - {""}
    if len(tasks) > 1 or len(texts) > 1:
        shown = sorted(tasks) or [repr(text) for text in sorted(texts)]
        raise DemonstrationError(
            f"{path} shows {len(shown)} tasks ({listed(shown)}): choose one by its subset (--subset), or by its "
            "instruction (--instruction), which takes the demos that show it"
        )
    stored = own_entry(path, file).get("stores", {}).get(next(iter(tasks), None))
    if stored is not None:
        return task_from(stored["task"])
    instruction = next(iter(texts), None) or libero_instruction(path, data)
    if instruction is None:
        raise DemonstrationError(f"{path} does not say what it shows: give an instruction (--instruction)")
    return Task(name or re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem.removesuffix("_demo")), instruction)


def instructions(path: Path, data: h5py.Group, names: Sequence[str]) -> dict[str, str]:
    """The instruction of each of these demos, as its `ep_meta` says it; empty where it says none."""
    said = {name: json_in(path, member(path, data, name), "ep_meta").get("lang") for name in names}
    return {name: text if isinstance(text, str) else "" for name, text in said.items()}


def showing(instruction: str, said: Mapping[str, str]) -> list[str]:
    """The demos whose instruction is this one, where they have several of which it is one; else all of them.

    Args:
        said: see `instructions`.
    """
    plain = {name: text.strip().lower() for name, text in said.items()}
    chosen = [name for name, text in plain.items() if text == instruction.strip().lower()]
    return chosen if chosen and len(set(plain.values()) - {""}) > 1 else list(said)


def dataset(path: Path, group: h5py.Group, key: str) -> h5py.Dataset:
    """The numeric array `key` in `group`; an error if it is missing."""
    array = get(path, group, key)
    if not isinstance(array, h5py.Dataset):
        raise DemonstrationError(f"{path}: {group.name} has no array {key!r}: {nearest(key, list(group))}")
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise DemonstrationError(f"{path}: {array.name} is no array of numbers over the steps ({array.dtype})")
    if array.nbytes > MOST * (1000 + os.path.getsize(path)):
        raise DemonstrationError(
            f"{path}: {array.name} claims {array.nbytes} bytes, more than such a file can hold: get the file again"
        )
    return array


def json_in(path: Path, group: h5py.Group, attribute: str) -> dict[str, Any]:
    """The JSON object in an attribute of `group`; empty if there is none."""
    value = group.attrs.get(attribute)
    if value is None or isinstance(value, h5py.Empty) or not text_of(value).strip():
        return {}
    try:
        content = json.loads(text_of(value))
        json.dumps(content, ensure_ascii=False).encode()  # half a character is valid JSON, but no text
    except (TypeError, ValueError, RecursionError) as problem:
        raise DemonstrationError(
            f"{path}: the attribute {attribute!r} of {group.name} is not JSON: repair it"
        ) from problem
    return content if isinstance(content, dict) else {}


def libero_instruction(path: Path, data: h5py.Group) -> str | None:
    """The instruction in a file of LIBERO's, stored as a string or as a list of its pieces; None if there is none."""
    stored = json_in(path, data, "problem_info").get("language_instruction")
    text = "".join(map(str, stored)) if isinstance(stored, list) else stored
    return text.strip().strip('"') if isinstance(text, str) else None


def text_of(value: object) -> str:
    """An attribute as text: h5py gives str, bytes, a number, or an array of one of these."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _first(problem: Exception) -> str:
    return str(problem).splitlines()[0][:160] if str(problem) else type(problem).__name__


def listed(words: Sequence[str]) -> str:
    """The first eight words for a message, or "nothing"."""
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "") if words else "nothing"
