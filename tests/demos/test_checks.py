"""Whatever happens to a store's files, checking it gives sentences that name the file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.demos.making import make_store

from skilltokens.demos import DemonstrationStore, check, checks, store
from skilltokens.files import digest, seal, sealed
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, DemonstrationError

FILES = ["header.json", "offsets.npy", f"{STATE}.npy", f"{ACTION}.npy"]


def reseal(path: Path) -> None:
    """Makes digests right again, as a careless program that writes stores itself would."""
    header = json.loads((path / "header.json").read_text())
    for name, entry in header["files"].items():
        entry.update(bytes=(path / name).stat().st_size, sha256=digest(path / name))
    header["digest"] = seal(header)
    (path / "header.json").write_text(json.dumps(header))


def alter(path: Path, feature: str, row: int, value: float) -> None:
    array = np.load(path / f"{feature}.npy")
    array[row, 0] = value
    np.save(path / f"{feature}.npy", array)
    reseal(path)


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    assert check(make_store(tmp_path / "push", images=True).path) == []


@given(file=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=80)
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, file: str, share: float, bit: int) -> None:
    path = make_store(tmp_path_factory.mktemp("flip") / "push").path
    content = bytearray((path / file).read_bytes())
    position = int(share * len(content))
    before = json.loads(bytes(content)) if file == "header.json" else None
    content[position] ^= 1 << bit
    (path / file).write_bytes(content)
    findings = check(path)
    if before is not None and not findings:  # white space of the header may change: it means the same
        assert json.loads(bytes(content)) == before
    else:
        assert findings
        assert all(str(path) in finding and "\n" not in finding for finding in findings)


@given(file=st.sampled_from(FILES), kept=st.floats(0, 0.99))
@settings(max_examples=40)
def test_any_truncated_file_is_refused_when_opening(
    tmp_path_factory: pytest.TempPathFactory, file: str, kept: float
) -> None:
    path = make_store(tmp_path_factory.mktemp("cut") / "push").path
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DemonstrationError, match="truncated or altered"):
        DemonstrationStore.open(path)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    path = make_store(tmp_path / "push").path
    (path / file).unlink()
    (finding,) = check(path)
    assert str(path / file) in finding


def test_values_are_checked_even_where_the_digests_are_right(tmp_path: Path) -> None:
    path = make_store(tmp_path / "push", (5, 1, 8)).path
    alter(path, STATE, 7, np.nan)
    alter(path, ACTION, 5, -np.inf)
    findings = check(path)
    assert len(findings) == 2
    assert "episode 2, step 1, feature 'observation.state' holds nan" in findings[0]
    assert "episode 1, step 0, feature 'action' holds -inf" in findings[1]
    with pytest.raises(DemonstrationError, match="holds nan"):
        DemonstrationStore.open(path).verify()


def test_a_wrong_value_is_found_in_any_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_PIECE", 64)
    path = make_store(tmp_path / "push", (5, 1, 8)).path
    alter(path, STATE, 13, np.inf)
    (finding,) = check(path)
    assert "episode 2, step 7, feature 'observation.state' holds inf" in finding


@pytest.mark.parametrize(
    ("offsets", "message"),
    [([0, 5, 5, 14], "episode 1 is empty"), ([0, 6, 5, 14], "episode 1 is empty"), ([1, 5, 6, 14], "run from 1 to 14")],
)
def test_offsets_that_are_no_episodes_are_named(tmp_path: Path, offsets: list[int], message: str) -> None:
    path = make_store(tmp_path / "push", (5, 1, 8)).path
    np.save(path / "offsets.npy", np.array(offsets))
    reseal(path)
    (finding,) = check(path)
    assert message in finding


def change_header(path: Path, **changes) -> None:
    header = json.loads((path / "header.json").read_text())
    header.update(changes)
    (path / "header.json").write_text(json.dumps(header))


def test_a_header_that_was_edited_or_is_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = make_store(tmp_path / "push").path
    change_header(path, task={"name": "push-v3", "instruction": "open", "wordings": [], "held_out": []})
    assert "header.json is truncated or altered" in check(path)[0]
    change_header(path, schema="skilltokens.demonstrations/9")
    assert "has schema 'skilltokens.demonstrations/9'" in check(path)[0]


@pytest.mark.parametrize(
    "changes",
    [{"features": 3}, {"files": {}}, {"task": {}}, {"episodes": 0}, {"episodes": "3"}, {"features": {"action": {}}}],
)
def test_a_header_by_other_rules_is_one_sentence(tmp_path: Path, changes: dict) -> None:
    path = make_store(tmp_path / "push").path
    change_header(path, **changes)
    header = json.loads((path / "header.json").read_text())
    change_header(path, digest=seal(header))
    (finding,) = check(path)
    assert str(path) in finding


def test_an_array_of_pickled_objects_is_refused_unread(tmp_path: Path) -> None:
    path = make_store(tmp_path / "push").path
    np.save(path / f"{STATE}.npy", np.full((14, 4), None), allow_pickle=True)
    reseal(path)
    (finding,) = check(path)
    assert "holds object" in finding


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device"])
def test_something_else_in_place_of_a_file_is_refused_and_nothing_waits(file: str, kind: str, tmp_path: Path) -> None:
    path = make_store(tmp_path / "push").path
    (path / file).unlink()
    makes = {"a pipe": os.mkfifo, "a folder": os.mkdir, "a device": lambda at: os.symlink("/dev/null", at)}
    makes[kind](path / file)
    with pytest.raises(DemonstrationError, match=f"{kind}.* where a file is needed"):
        DemonstrationStore.open(path)


HUGE = {"shape": [2**40], "dtype": "float32"}
HEADERS = {
    "true for a number": ({"episodes": True}, "Expected int, got bool"),
    "a negative number": ({"steps": -14}, "int >= 1"),
    "more than there is": ({"steps": 10**15}, "says another size of"),
    "an array less": ({"features": {ACTION: {"shape": [3], "dtype": "float32"}}}, "there is no observation"),
    "a huge shape": ({"features": {STATE: HUGE, ENVIRONMENT_STATE: HUGE, ACTION: HUGE}}, "says another size of"),
    "no number": ({"settings": {"noise": float("nan")}}, "not JSON compliant"),
    "a key of nobody's": ({"mood": "good"}, "unknown field"),
    "a sentence of numbers": ({"source": 7}, "Expected str, got int"),
    "settings without end": ({"settings": {"a": [[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]}}, "nested too deep"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_sealed_header_that_cannot_be_right_is_refused_when_opening(name: str, tmp_path: Path) -> None:
    change, said = HEADERS[name]
    path = make_store(tmp_path / "push").path
    header = json.loads((path / "header.json").read_text())
    (path / "header.json").write_text(json.dumps(sealed({**header, **change})))
    with pytest.raises(DemonstrationError, match=said) as refusal:
        DemonstrationStore.open(path)
    assert "\n" not in str(refusal.value)


def test_a_digest_is_of_what_was_given_and_not_of_what_the_disk_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit that flips between writing and the end of it, as on a failing disk."""
    finish = store._ArrayFile.finish

    def flipped(self: Any, steps: int) -> dict[str, Any]:
        self._file.flush()
        self._file.seek(-1, os.SEEK_END)
        last = self._file.read(1)
        self._file.seek(-1, os.SEEK_END)
        self._file.write(bytes([last[0] ^ 1]))
        return finish(self, steps)

    monkeypatch.setattr(store._ArrayFile, "finish", flipped)
    with pytest.raises(DemonstrationError, match="is read otherwise than it was written"):
        make_store(tmp_path / "push")
    assert not (tmp_path / "push").exists()


def test_an_array_that_differs_from_the_header_is_refused(tmp_path: Path) -> None:
    path = make_store(tmp_path / "push").path
    np.save(path / f"{STATE}.npy", np.zeros((14, 5), dtype=np.float32))
    reseal(path)
    assert "holds float32 (14, 5) where the header says float32 (14, 4)" in check(path)[0]


def test_what_is_no_store_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file.hdf5").write_bytes(b"hello")
    shutil.copytree(make_store(tmp_path / "push").path, tmp_path / "copy")
    assert "is a file, not a demonstration store" in check(tmp_path / "file.hdf5")[0]
    assert "does not exist" in check(tmp_path / "nowhere")[0]
    assert check(tmp_path / "copy") == []
