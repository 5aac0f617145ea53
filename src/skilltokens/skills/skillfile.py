"""The file of one skill, NAME.HASH.safetensors: what decides its actions, sealed, and the reader that trusts nothing.

    key                          (language,): what its policy is given, and its rows' language key
    tensor.<name>                trained tensors, by their names in the policy
    active.<map>.source, .row    (n,) int64: earlier rows that it reuses; sources are named in the metadata
    scene.<name>                 the density of the observations that it was taught on
    proof.actions                (steps, actions): what it did where it was learned

The metadata says the rest, as JSON (`_About`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from skilltokens.model.trunks.naming import NONE
from skilltokens.skills.records import Form
from skilltokens.skills.skill import Content, Proof, Rows, TaskTokenSpec
from skilltokens.tensors import pack, unpack
from skilltokens.types import LibraryError

SCHEMA = "skilltokens.skill/1"


class _Token(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task token's sizes, see `TaskTokenSpec`."""

    on: str
    features: dict[str, int]
    tokens: int
    hidden: tuple[int, ...]
    pictures: tuple[str, ...]
    trunk: str = NONE


class _Proof(Struct, frozen=True, forbid_unknown_fields=True):
    """Of which observations, and where, see `Proof`."""

    observations: str
    machine: dict[str, str]


class _About(Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata of a skill's file."""

    schema: Literal["skilltokens.skill/1"]
    identity: str
    base: str
    form: Form
    sources: tuple[str, ...]
    token: _Token | None
    proof: _Proof | None


def pack_skill(content: Content, base: str) -> bytes:
    """The bytes of a skill's file; `base` is the fingerprint of the base that it stands on."""
    sources = sorted({name for rows in content.active.values() for name, n in rows.counts().items() if n})
    number = {name: place for place, name in enumerate(sources)}
    tensors: dict[str, Tensor] = {"key": torch.as_tensor(np.array(content.key, np.float32))}
    tensors |= {f"tensor.{name}": tensor for name, tensor in content.tensors.items()}
    for path, rows in content.active.items():
        places = np.array([number.get(name, -1) for name in rows.sources], np.int64)
        tensors[f"active.{path}.source"] = torch.as_tensor(places[rows.source])
        tensors[f"active.{path}.row"] = torch.as_tensor(rows.row)
    tensors |= {f"scene.{name}": tensor for name, tensor in content.scene.items()}
    if content.proof is not None:
        tensors["proof.actions"] = content.proof.actions
    about = _About(
        schema=SCHEMA,
        identity=content.identity,
        base=base,
        form=content.form,
        sources=tuple(sources),
        token=None if content.task_token is None else msgspec.convert(asdict(content.task_token), _Token),
        proof=None
        if content.proof is None
        else _Proof(content.proof.observations, {name: str(value) for name, value in content.proof.machine.items()}),
    )
    return pack(tensors, msgspec.to_builtins(about))


def unpack_skill(data: bytes, path: Path, base: str) -> Content:
    """What `pack_skill` wrote; `path` is for messages. Whether it fits a base is `checking.check_content`'s to say.

    Raises:
        LibraryError: it is damaged, of another base, or not what its identity says.
    """
    tensors, plain = unpack(data, path, LibraryError)
    try:
        about = msgspec.convert(plain, _About)
        content = _content(tensors, about)
        identity = content.identity
    except (msgspec.ValidationError, ValueError, IndexError, RuntimeError, TypeError) as problem:
        reason = str(problem).split("\n", 1)[0][:200]
        raise LibraryError(f"{path} is no skill's file ({reason}): restore it from a copy") from problem
    if about.base != base:
        raise LibraryError(f"{path} is a skill of another base: a skill acts only with the base that it was learned on")
    if about.identity != identity:
        raise LibraryError(f"{path} is altered (its content is not what its identity says): restore it from a copy")
    return content


def _content(tensors: dict[str, Tensor], about: _About) -> Content:
    """Raises ValueError for tensors of unknown names or kinds."""
    parts: dict[str, dict[str, Tensor]] = {"key": {}, "tensor": {}, "active": {}, "scene": {}, "proof": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts or (part == "key") != (rest == ""):
            raise ValueError(f"unknown tensor {name!r:.100}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"tensor {name!r:.100} holds numbers that are not finite")
        parts[part][rest] = tensor
    key = parts["key"].get("")
    if key is None or key.dtype != torch.float32 or key.dim() != 1:
        raise ValueError("there is no language key")
    active = {
        path: _rows(about.sources, parts["active"].pop(f"{path}.source"), parts["active"].pop(f"{path}.row"))
        for path in sorted({name.rpartition(".")[0] for name in parts["active"]})
        if {f"{path}.source", f"{path}.row"} <= parts["active"].keys()
    }
    if parts["active"] or (parts["proof"].keys() != ({"actions"} if about.proof else set())):
        raise ValueError("tensors are missing, or there are too many")
    actions = parts["proof"].get("actions")
    if actions is not None and (actions.dtype != torch.float32 or actions.dim() != 2):
        raise ValueError("the actions of its proof are no list of numbers for each step")
    if set(about.sources) != {name for rows in active.values() for name in rows.sources}:
        raise ValueError("it names sources of rows of which it has none")
    token = None
    if about.token is not None:
        token = TaskTokenSpec(**msgspec.structs.asdict(about.token))
    proof = about.proof and Proof(parts["proof"]["actions"], about.proof.observations, about.proof.machine)
    return Content(key.numpy(), parts["tensor"], active, token, about.form, parts["scene"], proof)


def _rows(sources: tuple[str, ...], source: Tensor, row: Tensor) -> Rows:
    """Raises ValueError unless these can be rows of these sources."""
    if {source.dtype, row.dtype} != {torch.int64} or source.dim() != 1 or source.shape != row.shape:
        raise ValueError("active rows are no lists of whole numbers")
    if len(row) and not (int(source.min()) >= 0 and int(source.max()) < len(sources) and int(row.min()) >= 0):
        raise ValueError("active rows are of no source")
    numbers = np.unique(source.numpy())  # only the sources of this map, in the order of the file's list
    places = np.searchsorted(numbers, source.numpy())
    return Rows(tuple(sources[number] for number in numbers), places.astype(np.int64), row.numpy())
