"""The folder of a library: what is valid is read and nothing else, and what is written stays whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.killing import Moment, dies
from tests.skills.making import ENCODER, contents, features, fingerprints, first, grown, make_base

from skilltokens.files import sealed, write_json
from skilltokens.locking import LOCKS
from skilltokens.skills import disk as disk_module
from skilltokens.skills.disk import LOG, MAKING, WORDINGS
from skilltokens.skills.head import HEAD
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.verifying import verify
from skilltokens.types import LibraryError

GROWING = (LOG, WORDINGS)


# ------------------------------------------------ behind the valid part


@pytest.mark.parametrize("name", GROWING)
def test_what_stands_behind_the_valid_part_is_not_read_and_cut_off_by_the_next_writer(name: str, folder: Path):
    path = folder / name
    valid = path.read_bytes()
    path.write_bytes(valid + b'{"change":"remove","name":"push","at":""}\n' * 1000)
    library = SkillLibrary.open(folder)
    assert "push" in library.names
    assert not any(finding.fault for finding in verify(folder, actions=True))
    library.add(grown(library.base, "later"))
    after = path.read_bytes()
    assert after.startswith(valid)
    assert b"remove" not in after
    assert len(after) < len(valid) + 2000
    assert SkillLibrary.open(folder).names[-1] == "later"


def test_strays_of_killed_writers_go_with_the_next_writer(folder: Path):
    stray = folder / ".library.json.tmp-dead"
    stray.mkdir()
    (stray / "library.json").write_text("half")
    (folder / MAKING).touch()
    library = SkillLibrary.open(folder)
    assert {finding.subject for finding in verify(folder) if "killed" in finding.sentence} == {stray.name, MAKING}
    library.retire("push")
    assert not stray.exists()
    assert not (folder / MAKING).exists()


def test_a_making_that_was_killed_anywhere_is_made_again_by_the_same_call(tmp_path: Path):
    whole, folder = tmp_path / "whole", tmp_path / "library"
    _make(lambda kind: None, whole)
    at = 1
    while dies(_make, folder, {"write"}, at):
        at += 1
        if not (folder / "library.json").exists():
            with pytest.raises(LibraryError, match="does not exist"):
                SkillLibrary.open(folder)
            continue
        assert SkillLibrary.open(folder).names == ["base"]
        shutil.rmtree(folder)
    assert at == 11  # the mark, base, skill, wordings, log, card, three for LeRobot, library.json
    assert fingerprints(SkillLibrary.open(folder)) == fingerprints(SkillLibrary.open(whole))
    assert not any(finding.fault for finding in verify(folder, actions=True))


def _make(moment: Moment, folder: Path) -> None:
    SkillLibrary.create(folder, make_base(), first(), features(), ENCODER)


# ------------------------------------------------ links


def _as_cached(folder: Path, cache: Path) -> Path:
    """A library as huggingface_hub's cache has it: every file a link to a blob, which other names share; the lock too,
    as where a whole folder was uploaded."""
    snapshot = cache / "snapshots" / "abc"
    (cache / "blobs").mkdir(parents=True)
    (folder / LOCKS[0]).touch()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        blob = cache / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_a_library_in_a_download_cache_opens_and_grows_and_the_cache_stays(folder: Path, tmp_path: Path):
    snapshot = _as_cached(folder, tmp_path / "cache")
    blobs = contents(tmp_path / "cache" / "blobs")
    library = SkillLibrary.open(snapshot)
    assert fingerprints(library) == fingerprints(SkillLibrary.open(folder))
    library.add(grown(library.base, "later"))
    assert SkillLibrary.open(snapshot).names[-1] == "later"
    assert contents(tmp_path / "cache" / "blobs") == blobs
    assert not any(finding.fault for finding in verify(snapshot, actions=True))


CHANGES: dict[str, Callable[[SkillLibrary], object]] = {
    "add": lambda library: library.add(grown(library.base, "later")),
    "rename": lambda library: library.rename("push", "shove"),
    "note": lambda library: library.note("push", {"text": "x"}),
    "retire": lambda library: library.retire("push"),
    "undo": lambda library: library.undo(),
    "prune": lambda library: (library.undo(), library.prune()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_written_through_a_link(change: str, folder: Path, tmp_path: Path):
    snapshot = _as_cached(folder, tmp_path / "cache")
    blobs = contents(tmp_path / "cache" / "blobs")
    log = (snapshot / LOG).read_bytes()
    CHANGES[change](SkillLibrary.open(snapshot))
    assert contents(tmp_path / "cache" / "blobs") == blobs
    assert (snapshot / LOG).read_bytes().startswith(log)
    assert len((snapshot / LOG).read_bytes()) > len(log)
    assert not any((snapshot / name).is_symlink() for name in (LOG, HEAD, LOCKS[0]))
    assert not any(finding.fault for finding in verify(snapshot))


def test_a_library_of_hard_links_grows_and_the_other_one_stays(folder: Path, tmp_path: Path):
    other = Path(shutil.copytree(folder, tmp_path / "other", copy_function=os.link))
    before = contents(other)
    library = SkillLibrary.open(folder)
    library.add(grown(library.base, "later"))
    assert contents(other) == before
    assert SkillLibrary.open(other).names == library.names[:-1]


# ------------------------------------------------ a disk that fails


@pytest.mark.parametrize("limit", [0, 1000, 3000, "in the log"])
def test_where_a_file_cannot_grow_the_library_is_as_before(limit: int | str, folder: Path):
    """Limits of a file's size stand for a full disk: the same error of the system, at different files."""
    library = SkillLibrary.open(folder)
    if isinstance(limit, str):
        library.note("push", {"text": "x" * 20_000})  # the log is the largest file
        limit = (folder / LOG).stat().st_size + 100
    before = contents(folder)
    known, skill = fingerprints(library), grown(library.base, "later", rows=4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(LibraryError, match=r"could not be written|cannot be locked"):
            library.add(skill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(folder)["library.json"] == before["library.json"]
    assert fingerprints(SkillLibrary.open(folder)) == known
    library.add(skill)  # the same object goes on
    assert SkillLibrary.open(folder).names[-1] == "later"
    assert not any(finding.fault for finding in verify(folder, actions=True))


@pytest.mark.parametrize("name", GROWING)
def test_where_a_growing_file_is_half_written_the_library_is_as_before(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    known, real = fingerprints(SkillLibrary.open(folder)), disk_module._extend

    def full(path: Path, start: int, content: bytes) -> None:
        if path.name == name:
            real(path, start, content[: len(content) // 2])
            raise LibraryError(f"{path} could not be written ({os.strerror(errno.ENOSPC)})")
        real(path, start, content)

    library = SkillLibrary.open(folder)
    with monkeypatch.context() as patched:
        patched.setattr(disk_module, "_extend", full)
        with pytest.raises(LibraryError, match="No space"):
            library.add(grown(library.base, "later"))
    for opened in (library, SkillLibrary.open(folder)):
        assert opened.names == ["base", "push", "pull", "turn", "copy", "steer"]
        assert fingerprints(opened) == known
    library.add(grown(library.base, "later"))
    assert SkillLibrary.open(folder).names[-1] == "later"


# ------------------------------------------------ what is no library


@pytest.mark.parametrize("name", ["base.safetensors", LOG, WORDINGS, "skills", "library.json"])
def test_what_is_missing_is_named(name: str, folder: Path):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(LibraryError, match=name):
        SkillLibrary.open(folder).fingerprints()


def test_a_missing_skill_is_named_when_the_library_is_opened(folder: Path):
    file = SkillLibrary.open(folder).state.record("push").file
    (folder / "skills" / file).unlink()
    with pytest.raises(LibraryError, match=f"{file} is missing"):
        SkillLibrary.open(folder)


def test_a_library_without_its_head_is_not_made_over(folder: Path):
    (folder / "library.json").unlink()
    before = contents(folder)
    with pytest.raises(LibraryError, match=r"without its library\.json"):
        SkillLibrary.create(folder, make_base(), first(), features(), ENCODER)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stranger": 1}, "unknown field"),
        ({"encoder": None}, "encoder"),
        ({"wordings": 10**9}, "wordings"),
        ({"wordings": 0}, "below 1"),
        ({"wordings": "many"}, "wordings"),
        ({"changes": {"bytes": 10**9, "sha256": "0" * 64}}, "changes"),
        ({"changes": {"bytes": -1, "sha256": "0" * 64}}, "below 1"),
        ({"base": {"bytes": 10**9, "sha256": "", "fingerprint": "", "parameters": 0}}, "base"),
        ({"features": {}}, "feature"),
        ({"policy": {}}, "policy"),
        ({"policy": {"settings": {}, "shape": {"language": 10**9}}}, "library.json"),
        ({"schema": "skilltokens.library/3"}, "schema"),
        ({"schema": "skilltokens.library/1"}, "upgrade"),
    ],
)
def test_a_head_that_says_what_cannot_be_is_refused_though_its_seal_is_right(
    change: dict[str, object], message: str, folder: Path
):
    path = folder / "library.json"
    content = json.loads(path.read_text())
    write_json(path, sealed({**content, **change}))
    with pytest.raises(LibraryError, match=message):
        SkillLibrary.open(folder).fingerprints()
    write_json(path, {**content, **change})
    with pytest.raises(LibraryError):
        SkillLibrary.open(folder)
