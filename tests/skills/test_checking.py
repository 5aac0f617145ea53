"""What opens, acts: tensors that could not are refused in words, before anything is computed or allocated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from tests.damage import hostile
from tests.skills.making import HEAD, fingerprints, make_base
from torch import Tensor

from skilltokens.files import SEAL, sealed, write_json
from skilltokens.skills import skillfile
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.disk import BASE_FILE, LOG, SKILLS, Disk
from skilltokens.skills.records import Add, Record, encode
from skilltokens.skills.verifying import verify
from skilltokens.tensors import fingerprint, pack, unpack
from skilltokens.types import LibraryError

Tensors = dict[str, Tensor]


def forge(folder: Path, name: str, tensors: Callable[[Tensors], object], about: dict[str, Any] | None = None) -> None:
    """Alters the file of a skill, with every digest made right, in the file, the log and the head.

    The identity, too: it is that of the numbers as they are now, where they have one.
    """
    disk = Disk.open(folder)
    record = disk.state.record(name)
    path = folder / SKILLS / record.file
    held, said = unpack(path.read_bytes(), path)
    tensors(held)
    said = {**said, **(about or {})}
    content = pack(held, said) if "identity" in (about or {}) else _with_identity(held, said)
    path.write_bytes(content)
    mend(folder, record, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), identity=_said(content, path))


def _said(content: bytes, path: Path) -> str:
    return str(unpack(content, path)[1]["identity"])


def _with_identity(held: Tensors, said: dict[str, Any]) -> bytes:
    try:
        identity = skillfile._content(dict(held), msgspec.convert(said, skillfile._About)).identity
    except (msgspec.ValidationError, ValueError, LookupError, RuntimeError, TypeError):
        return pack(held, said)
    return pack(held, {**said, "identity": identity})


def mend(folder: Path, record: Record, **changes: Any) -> None:
    """Alters what the list says of a skill, with the digests of the log and of the head made right.

    Of another identity, those that need the skill as it was go.
    """
    gone = {record.identity} if changes.get("identity", record.identity) != record.identity else set[str]()
    lines: list[bytes] = []
    for change in Disk.open(folder).changes:
        assert isinstance(change, Add)
        gone |= {r.identity for r in change.skills if gone.intersection(r.needs)}
        new = [msgspec.structs.replace(r, **changes) if r.name == record.name else r for r in change.skills]
        new = [r for r in new if r.name == record.name or r.identity not in gone]
        lines.append(encode(msgspec.structs.replace(change, skills=tuple(new))))
    write_log(folder, b"".join(lines))


def write_log(folder: Path, content: bytes) -> None:
    """Replaces the log, with the digests in the head made right."""
    (folder / LOG).write_bytes(content)
    head = json.loads((folder / "library.json").read_text())
    head["changes"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_json(folder / "library.json", sealed(head))


def test_a_forged_skill_that_could_act_does(folder: Path):
    """The forgery itself: with all digests right, other numbers are another skill."""
    before = ActingLibrary.open(folder).policy_of("turn").fingerprint()
    forge(folder, "turn", lambda held: held.update({name: 2 * t for name, t in held.items() if ".up." in name}))
    assert ActingLibrary.open(folder).policy_of("turn").fingerprint() != before


Q = "tensor.layers.0.q"
WRONG: dict[str, tuple[str, Callable[[Tensors], object]]] = {
    "NaN": ("push", lambda t: t.update({f"{Q}.key": torch.full_like(t[f"{Q}.key"], torch.nan)})),
    "infinite": ("push", lambda t: t.update({f"tensor.{HEAD}": torch.full_like(t[f"tensor.{HEAD}"], torch.inf)})),
    "NaN in a token": ("steer", lambda t: t.update({n: x * torch.nan for n, x in t.items() if "presence" in n})),
    "NaN in a scene": ("push", lambda t: t.update({"scene.mean": torch.tensor([torch.nan])})),
    "wider key": ("push", lambda t: t.update({f"{Q}.key": torch.zeros(2, 17)})),
    "more keys than values": ("push", lambda t: t.update({f"{Q}.key": torch.zeros(3, 16)})),
    "flat key": ("push", lambda t: t.update({f"{Q}.key": torch.zeros(32)})),
    "no dimension": ("push", lambda t: t.update({f"{Q}.key": torch.tensor(1.0)})),
    "double": ("push", lambda t: t.update({f"{Q}.key": t[f"{Q}.key"].double()})),
    "half": ("push", lambda t: t.update({f"{Q}.value": t[f"{Q}.value"].half()})),
    "whole numbers": ("push", lambda t: t.update({f"{Q}.value": t[f"{Q}.value"].long()})),
    "complex": ("push", lambda t: t.update({f"tensor.{HEAD}": t[f"tensor.{HEAD}"].to(torch.complex64)})),
    "no value": ("push", lambda t: t.pop(f"{Q}.value")),
    "no key": ("push", lambda t: t.pop(f"{Q}.key")),
    "no rows": ("push", lambda t: t.pop(f"active.{Q[7:]}.row")),
    "no active": ("push", lambda t: [t.pop(f"active.{Q[7:]}.{part}") for part in ("row", "source")]),
    "unknown tensor": ("push", lambda t: t.update({"tensor.stranger": torch.zeros(1)})),
    "unknown part": ("push", lambda t: t.update({"stranger": torch.zeros(1)})),
    "unknown map": ("push", lambda t: t.update({"tensor.layers.7.q.key": torch.zeros(2, 16)})),
    "a module's part": ("push", lambda t: t.update({"tensor.layers.0.q.tau": torch.zeros(())})),
    "head of another shape": ("push", lambda t: t.update({f"tensor.{HEAD}": torch.zeros(1, 1)})),
    "rows out of range": ("push", lambda t: t.update({f"active.{Q[7:]}.row": t[f"active.{Q[7:]}.row"] + 1000})),
    "another's rows out of range": ("pull", lambda t: t.update({f"active.{Q[7:]}.row": t[f"active.{Q[7:]}.row"] + 9})),
    "negative rows": ("push", lambda t: t.update({f"active.{Q[7:]}.row": t[f"active.{Q[7:]}.row"] - 1})),
    "rows of no source": ("push", lambda t: t.update({f"active.{Q[7:]}.source": t[f"active.{Q[7:]}.source"] + 1})),
    "rows of floats": ("push", lambda t: t.update({f"active.{Q[7:]}.row": t[f"active.{Q[7:]}.row"].float()})),
    "fewer sources": ("push", lambda t: t.update({f"active.{Q[7:]}.source": t[f"active.{Q[7:]}.source"][:-1]})),
    "gates": ("pull", lambda t: t.update({f"{Q}.gate": torch.ones(1)})),
    "gates of a skill without rows": ("turn", lambda t: t.update({f"{Q}.gate": torch.ones(1)})),
    "half an adapter": ("turn", lambda t: t.pop(f"{Q}.up.key")),
    "another rank": ("turn", lambda t: t.update({f"{Q}.up.key": torch.zeros(t[f"{Q}.up.key"].shape[0], 2)})),
    "adapter of doubles": ("turn", lambda t: t.update({f"{Q}.up.key": t[f"{Q}.up.key"].double()})),
    "adapter with rows": ("turn", lambda t: t.update({n: torch.zeros(1, dtype=torch.int64) for n in _ACTIVE})),
    "whole without a part": ("copy", lambda t: t.pop(f"tensor.{HEAD}")),
    "whole with too much": ("copy", lambda t: t.update({"tensor.stranger": torch.zeros(1)})),
    "token of another shape": ("steer", lambda t: t.update({n: x[None] for n, x in t.items() if "prompt" in n})),
    "no token": ("steer", lambda t: [t.pop(n) for n in list(t) if n.startswith("tensor.")]),
    "no language key": ("push", lambda t: t.pop("key")),
    "another language key": ("push", lambda t: t.update({"key": -t["key"]})),
    "wider language key": ("push", lambda t: t.update({"key": torch.zeros(25)})),
    "proof of doubles": ("push", lambda t: t.update({"proof.actions": t["proof.actions"].double()})),
    "flat proof": ("push", lambda t: t.update({"proof.actions": t["proof.actions"].reshape(-1)})),
    "no proof": ("push", lambda t: t.pop("proof.actions")),
}  # fmt: skip
_ACTIVE = (f"active.{Q[7:]}.row", f"active.{Q[7:]}.source")


@pytest.mark.parametrize("what", WRONG)
def test_tensors_that_cannot_act_are_refused_though_every_digest_is_right(what: str, folder: Path):
    name, change = WRONG[what]
    forge(folder, name, change)
    file = ActingLibrary.open(folder).state.record(name).file
    with pytest.raises(LibraryError, match=file):
        ActingLibrary.open(folder).policy_of(name)
    assert name in {finding.subject for finding in verify(folder) if finding.fault}


TOKEN = {"on": "x", "features": {"observation.state": 2}, "tokens": 1, "hidden": [8], "pictures": []}
ABOUT: dict[str, tuple[str, dict[str, Any]]] = {
    "another base": ("push", {"base": "0" * 64}),
    "another identity": ("push", {"identity": "0" * 64}),
    "another form": ("push", {"form": "lora"}),
    "unknown form": ("push", {"form": "rowz"}),
    "another schema": ("push", {"schema": "skilltokens.skill/2"}),
    "a stranger": ("push", {"stranger": 1}),
    "sources missing": ("push", {"sources": []}),
    "a source that is not there": ("push", {"sources": ["0" * 64]}),
    "a source more": ("push", {"sources": ["base", "0" * 64]}),
    "endless token": ("steer", {"token": {**TOKEN, "tokens": 10**9}}),
    "endless layer": ("steer", {"token": {**TOKEN, "hidden": [10**9]}}),
    "endless layers": ("steer", {"token": {**TOKEN, "hidden": [8] * 10**5}}),
    "endless feature": ("steer", {"token": {**TOKEN, "features": {"observation.state": 10**12}}}),
    "endless pictures": ("steer", {"token": {**TOKEN, "pictures": ["a"] * 10**5}}),
    "token on nobody": ("steer", {"token": TOKEN}),
    "no tokens": ("steer", {"token": {**TOKEN, "tokens": 0}}),
    "a token on rows": ("push", {"token": TOKEN}),
    "a token gone": ("steer", {"token": None}),
    "a proof gone": ("push", {"proof": None}),
}


@pytest.mark.parametrize("what", ABOUT)
def test_words_of_a_skills_file_that_cannot_be_are_refused_though_every_digest_is_right(what: str, folder: Path):
    name, about = ABOUT[what]
    forge(folder, name, lambda held: None, about)
    with pytest.raises(LibraryError):
        ActingLibrary.open(folder).policy_of(name)
    assert any(finding.fault for finding in verify(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "lora"}, {"parameters": 3}, {"needs": ("0" * 64,)}, {"needs": ()}, {"steers": "0" * 64},
        {"key": 0}, {"key": 10**9}, {"identity": "0" * 64}, {"bytes": 10**9}, {"file": "nobody.safetensors"},
        {"file": "../base.safetensors"}, {"name": "../pull"}, {"wordings": ("one", "two", "three")},
        {"wordings": ("one",) * 10**5}, {"notes": msgspec.Raw(b"[]")},
    ],
)  # fmt: skip
def test_a_list_that_says_otherwise_than_a_skills_file_is_refused(changes: dict[str, Any], folder: Path):
    mend(folder, Disk.open(folder).state.record("pull"), **changes)
    with pytest.raises(LibraryError):
        _use(folder)


def _use(folder: Path) -> None:
    """Whatever a library is used for: calling, and acting."""
    library = ActingLibrary.open(folder)
    assert library.notes
    assert library.index.names
    library.fingerprints()


def test_a_skill_that_steers_one_that_steers_is_refused(folder: Path):
    disk = Disk.open(folder)
    said = unpack((folder / SKILLS / disk.state.record("steer").file).read_bytes(), folder)[1]["token"]
    forge(folder, "steer", lambda held: None, {"token": {**said, "on": disk.state.record("copy").identity}})
    mend(folder, disk.state.record("steer"), steers=disk.state.record("copy").identity, needs=())
    with pytest.raises(LibraryError):
        ActingLibrary.open(folder).policy_of("steer")


# ------------------------------------------------ the base


def forge_base(
    folder: Path, change: Callable[[Tensors], object], settings: dict[str, Any], shape: dict[str, Any]
) -> None:
    """Alters the base with every digest made right."""
    held = load((folder / BASE_FILE).read_bytes())
    change(held)
    content = save(held)
    (folder / BASE_FILE).write_bytes(content)
    head = json.loads((folder / "library.json").read_text())
    head["base"] |= {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "fingerprint": fingerprint(held),
    }
    head["policy"]["settings"] |= settings
    head["policy"]["shape"] |= shape
    write_json(folder / "library.json", sealed(head))


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"width": 10**9}, {}), ({"width": 32}, {}), ({"layers": 10**9}, {}), ({"layers": 2}, {}),
        ({"history": 10**9}, {}), ({"history": 0}, {}), ({"heads": 10**9}, {}), ({"maps": "pattentoin"}, {}),
        ({"components": 10**9}, {}), ({"stranger": 1}, {}), ({"width": "wide"}, {}), ({"head": "jnint"}, {}),
        ({}, {"language": 10**9}), ({}, {"language": 23}), ({}, {"actions": 10**9}), ({}, {"actions": True}),
        ({}, {"kinds": {"observation.state": "imagf"}}), ({}, {"scales": {}}), ({}, {"stranger": 1}),
        ({}, {"scales": {"observation.state": {"center": [0, 0], "unit": [1, 0]}}}),
    ],
)  # fmt: skip
def test_a_base_whose_settings_do_not_fit_its_tensors_is_refused(
    settings: dict[str, Any], shape: dict[str, Any], folder: Path
):
    forge_base(folder, lambda held: None, settings, shape)
    with pytest.raises(LibraryError):
        _ = ActingLibrary.open(folder).base
    assert any(finding.fault for finding in verify(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({HEAD: torch.full_like(t[HEAD], torch.nan)}),
        lambda t: t.update({HEAD: t[HEAD].double()}),
        lambda t: t.update({HEAD: t[HEAD].reshape(-1)}),
        lambda t: t.pop(HEAD),
        lambda t: t.update({"stranger": torch.zeros(1)}),
        lambda t: t.clear(),
    ],
)
def test_a_base_of_other_tensors_is_refused(change: Callable[[Tensors], object], folder: Path):
    forge_base(folder, change, {}, {})
    with pytest.raises(LibraryError, match=BASE_FILE):
        _ = ActingLibrary.open(folder).base


def _words(content: Any, path: tuple[Any, ...] = ()):
    """The place of every text in a JSON value, keys too."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        if isinstance(key, str):
            yield path, key
        if isinstance(value, str):
            yield (*path, key), None
        yield from _words(value, (*path, key))


def test_every_word_of_the_head_altered_is_refused_or_changes_no_action(folder: Path):
    """With the seal as it was nothing opens; with it made right, what opens acts as before."""
    path = folder / "library.json"
    head = json.loads(path.read_text())
    known, places, opened = fingerprints(ActingLibrary.open(folder)), list(_words(head)), 0
    for place, key in places:
        for mended in (False, True):
            other = json.loads(json.dumps(head))
            holder = other
            for part in place if key is not None else place[:-1]:
                holder = holder[part]
            if key is not None:
                holder[key[:-1] + chr(ord(key[-1]) ^ 1)] = holder.pop(key)
            else:
                text = holder[place[-1]]
                holder[place[-1]] = text[:-1] + chr(ord(text[-1]) ^ 1)
            write_json(path, sealed({k: v for k, v in other.items() if k != SEAL}) if mended else other)
            try:
                found = fingerprints(ActingLibrary.open(folder))
            except LibraryError:
                continue
            assert mended
            assert found == known, (place, key)
            opened += 1
    assert len(places) > 40
    assert opened <= 2  # the sentence encoder's name decides no action; a feature's that nobody reads


def test_sizes_in_json_do_not_become_memory(folder: Path):
    """Numbers of the head by chance: whatever they are, reading stays within what the files hold."""
    path = folder / "library.json"
    head = json.loads(path.read_text())
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    _ = ActingLibrary.open(folder).base
    rng = random.Random(0)
    for _ in range(60):
        other = json.loads(json.dumps(head))
        part = rng.choice(["policy", "base", "changes", "features"])
        other[part] = hostile(other[part], rng)
        write_json(path, sealed({k: v for k, v in other.items() if k != SEAL}))
        tracemalloc.start()
        with contextlib.suppress(LibraryError):
            ActingLibrary.open(folder).fingerprints()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 * size + (8 << 20)


def test_make_base_is_what_the_library_holds(folder: Path):
    """The forgeries above start from a library that is whole."""
    library = ActingLibrary.open(folder)
    assert library.base.fingerprint() == make_base().fingerprint()
    np.testing.assert_array_equal(library.skill("push").key, library.skill("push").embeddings[0])
