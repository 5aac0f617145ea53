"""Whatever was done to the files of a library: it is refused in one sentence, or acts as the whole one does.

Where the digests were made right all the same, what opens is verified: every skill that can be used acts, and `verify`
says of the others what is wrong. `tests/soak.py` does more of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.damage import DEEP, EQUAL, OTHER, REFUSED, Variant, hostile, survives, variants
from tests.skills.making import fingerprints, first, grown, make_base
from tests.skills.test_checking import forge, write_log
from tests.skills.test_older import KNOWN

from skilltokens.files import sealed
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.card import PAPERS
from skilltokens.skills.disk import LOG, SKILLS, WORDINGS, Disk
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.older import upgrade
from skilltokens.skills.parcel import export_skill, import_skill
from skilltokens.skills.proof import prove
from skilltokens.tensors import unpack

COUNT = 120
"""Damages of each kind."""


def used(folder: Path) -> dict[str, str]:
    """Opens a library and acts with every skill of it: name -> what it did, or that it is refused."""
    library = ActingLibrary.open(folder)
    _ = library.notes
    for record in library.state.everything():
        skill = library.skill_of(record)
        prove(library.policy_of_record(record), skill.key, library.features)
        assert skill.embeddings.shape == (len(skill.wordings), library.base.shape.language)
    return fingerprints(library)


def said(found: dict[str, str]) -> str:
    return json.dumps(found, sort_keys=True)


def logs(whole: Path, rng: random.Random, count: int) -> Iterator[Variant]:
    """The log with one value replaced, lines cut, doubled, swapped, nested; its digests are made right."""
    lines = (whole / LOG).read_bytes().splitlines(keepends=True)
    for number in range(count):
        changed = list(lines)
        at = rng.randrange(len(lines))
        kinds: dict[str, Callable[[], bytes | list[bytes]]] = {
            "value": lambda at=at: json.dumps(hostile(json.loads(lines[at]), rng)).encode() + b"\n",
            "gone": lambda: b"",
            "twice": lambda at=at: lines[at] * 2,
            "another": lambda: lines[rng.randrange(len(lines))],
            "nested": lambda: DEEP.encode() + b"\n",
            "nested notes": lambda at=at: lines[at].replace(b'"notes":', b'"notes":' + DEEP.encode() + b',"x":'),
            "no JSON": lambda: rng.randbytes(50) + b"\n",
            "an order": lambda: json.dumps(rng.choice(ORDERS)).encode() + b"\n",
        }
        name = ["value"] * 4 + [*kinds]
        kind = name[number % len(name)]
        made = kinds[kind]()
        changed[at] = made if isinstance(made, bytes) else b"".join(made)
        content = b"".join(changed)
        yield Variant(f"log, {kind}", lambda copy, content=content: write_log(copy, content), mended=True)


ORDERS = [
    {"change": "undo", "at": "", "number": 10**9}, {"change": "undo", "at": "", "number": 1},
    {"change": "remove", "at": "", "name": "push"}, {"change": "drop", "at": "", "name": "push", "version": 1},
    {"change": "rename", "at": "", "name": "push", "to": "../push"}, {"change": "retire", "at": "", "name": "x"},
    {"change": "prune", "at": "", "files": ["../../x"]}, {"change": "evil", "at": ""},
    {"change": "note", "at": "", "name": "push", "notes": {"episodes": 1}},
    {"change": "reword", "at": "", "name": "push", "wordings": ["x"], "vectors": {"first": 10**9, "sha256": ""}},
    {"change": "reword", "at": "", "name": "push", "wordings": ["x"], "vectors": {"first": 0, "sha256": "0" * 64}},
]  # fmt: skip


def words(whole: Path, rng: random.Random, count: int) -> Iterator[Variant]:
    """What a skill's file says beside its tensors, with one value replaced; every digest is made right."""
    state = Disk.open(whole).state
    for _ in range(count):
        record = rng.choice(list(state.skills.values()))
        about = unpack((whole / SKILLS / record.file).read_bytes(), whole)[1]
        changed = hostile(about, rng)
        change = {key: changed[key] for key in changed if key != "identity"} if isinstance(changed, dict) else {}
        yield Variant(
            "words of a skill",
            lambda copy, name=record.name, change=change: forge(copy, name, lambda held: None, change),
            mended=True,
        )


def swapped(whole: Path, rng: random.Random, count: int) -> Iterator[Variant]:
    """Files of a library, or of two, in each other's places."""
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.suffix)

    def swap(one: Path, other: Path) -> Callable[[Path], None]:
        return lambda copy: (copy / one).write_bytes((whole / other).read_bytes())  # pyright: ignore[reportReturnType]

    for _ in range(count):
        yield Variant("swapped", swap(rng.choice(files), rng.choice(files)))


@pytest.fixture
def grown_once(folder: Path) -> Path:
    """The library with some history."""
    library = SkillLibrary.open(folder)
    library.add(grown(library.base, "push", rows=1), again=True)
    library.rename("turn", "twist")
    library.retire("copy")
    library.undo()
    library.note("pull", {"successes": 1, "episodes": 2})
    return folder


def check(counts: Counter[tuple[str, str]], *needed: str) -> None:
    outcomes = {outcome for _, outcome in counts}
    assert set(needed) <= outcomes <= {REFUSED, EQUAL, OTHER}


def test_damaged_files_are_refused_or_act_alike(grown_once: Path, tmp_path: Path):
    damages = list(variants(grown_once, random.Random(1), COUNT))
    check(survives(used, said, grown_once, tmp_path / "copies", damages), REFUSED, EQUAL)


@pytest.mark.parametrize("kind", [logs, words, swapped])
def test_hostile_files_are_refused_or_do_what_they_say(
    kind: Callable[[Path, random.Random, int], Iterator[Variant]], folder: Path, tmp_path: Path
):
    damages = list(kind(folder, random.Random(2), COUNT // 2))
    check(survives(used, said, folder, tmp_path / "copies", damages), REFUSED)


def test_every_byte_of_the_list_and_of_the_vectors_counts(folder: Path, tmp_path: Path):
    """A flip in each 11th byte of library.json, changes.jsonl and wordings.f32 is found, or in none that is valid."""

    def flips() -> Iterator[Variant]:
        for name in ("library.json", LOG, WORDINGS):
            for place in range(0, (folder / name).stat().st_size, 41):

                def flip(copy: Path, name: str = name, place: int = place) -> None:
                    content = bytearray((copy / name).read_bytes())
                    content[place] ^= 1 << place % 8
                    (copy / name).write_bytes(content)

                yield Variant(name, flip)

    counts = survives(used, said, folder, tmp_path / "copies", list(flips()))
    equal = sum(number for (_, outcome), number in counts.items() if outcome == EQUAL)
    assert equal <= 10  # spaces between the words of library.json


def test_a_damaged_old_library_is_refused_or_acts_alike(tmp_path: Path):
    old = Path(shutil.copytree(Path(__file__).parent / "old" / "rows", tmp_path / "old" / "rows"))

    def read(folder: Path) -> dict[str, str]:
        if folder == old:
            return KNOWN["rows"]
        library = upgrade(folder)
        return dict(zip(library.names, library.fingerprints(), strict=True))

    damages = [
        Variant(each.name, each.apply, mended=True) if each.name.startswith(".json") else each
        for each in variants(old, random.Random(3), COUNT // 2)
    ]  # its list bears no seal: what is changed in it may be meant
    check(survives(read, said, old, tmp_path / "copies", damages), REFUSED, EQUAL)


def imported(folder: Path) -> Callable[[Path], dict[str, str]]:
    """How an exported skill is read: into a new library of the same base as that in a folder."""

    def read(path: Path) -> dict[str, str]:
        home = path.with_name("home")
        shutil.rmtree(home, ignore_errors=True)
        library = SkillLibrary.create(home, make_base(), first(), SkillLibrary.open(folder).features, "minilm")
        import_skill(library, path)
        return fingerprints(SkillLibrary.open(home))

    return read


def test_a_damaged_export_is_refused_or_acts_alike(folder: Path, tmp_path: Path):
    whole = export_skill(SkillLibrary.open(folder), "pull", tmp_path / "pull.safetensors")
    read = imported(folder)
    damages = list(variants(whole, random.Random(4), COUNT // 2))
    check(survives(read, said, whole, tmp_path / "copies", damages), REFUSED)


@pytest.mark.parametrize("name", [".lock", ".writer", LOG, WORDINGS, *PAPERS, "library.json", SKILLS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_a_writer_is_not_held_up_by_what_stands_in_place_of_a_file(name: str, kind: str, folder: Path, tmp_path: Path):
    """A pipe would be waited for without an end."""
    kinds = {"pipe": os.mkfifo, "folder": os.mkdir, "link to nothing": lambda path: path.symlink_to("/nowhere/at/all")}

    def put(copy: Path) -> None:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        kinds[kind](path)

    def read(copy: Path) -> str:
        own = SkillLibrary.open(copy)
        own.retire("turn")
        return str(SkillLibrary.open(copy).state.record("turn").retired)

    survives(read, str, folder, tmp_path / "copies", [Variant(kind, put)])


def test_hashes_of_the_harness_are_those_of_the_library(folder: Path):
    """A forged log that says the same is the same library: the forgery itself is right."""
    before = used(folder)
    write_log(folder, (folder / LOG).read_bytes())
    assert used(folder) == before
    head = json.loads((folder / "library.json").read_text())
    assert sealed(head) == head
    assert head["changes"]["sha256"] == hashlib.sha256((folder / LOG).read_bytes()).hexdigest()
