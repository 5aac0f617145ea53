"""Files and folders that are replaced at once: as they were, or as they shall be."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.files import check_seal, read_json, replacing, sealed, sweep, write_bytes
from skilltokens.tensors import fingerprint, read_state, unpack, write_state
from skilltokens.types import SkilltokensError


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str) -> None:
    """A folder with one file, in place of what is at `path`."""
    with replacing(path) as fresh:
        fresh.mkdir()
        (fresh / "file").write_text(text)


@pytest.mark.parametrize("name", ["demos", "old"])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, name: str):
    for text in ("one", "two"):
        write(tmp_path / name, text)
    assert contents(tmp_path) == {f"{name}/file": "two"}


@pytest.mark.parametrize("name", ["demos", "old"])
@pytest.mark.parametrize(
    ("problem", "raised"), [(OSError(5, "it broke"), SkilltokensError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_folder_is_as_it_was_where_the_new_one_cannot_take_its_name(
    tmp_path: Path, name: str, problem: BaseException, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    def broken(self: Path, target: Path) -> Path:
        assert not target.exists()  # between the two renames
        raise problem

    write(tmp_path / name, "one")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        with pytest.raises(raised):
            write(tmp_path / name, "two")
    assert contents(tmp_path) == {f"{name}/file": "one"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_where_it_cannot_be_put_back_either_the_old_folder_is_kept_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if target == tmp_path / "demos":
            raise OSError(5, "it broke")
        return rename(self, target)

    write(tmp_path / "demos", "one")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        patched.setattr(Path, "rename", broken)
        with pytest.raises(SkilltokensError, match="could not be written"):
            write(tmp_path / "demos", "two")
    assert "one" in contents(tmp_path).values()


@pytest.mark.parametrize("name", ["demos", "old"])
def test_half_a_folder_never_takes_the_name(tmp_path: Path, name: str):
    def stopped() -> None:
        with replacing(tmp_path / name) as fresh:
            fresh.mkdir()
            (fresh / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a file in it"])
def test_a_new_folder_takes_the_place_of_nothing_that_holds_anything(tmp_path: Path, there: str):
    if there != "nothing":
        (tmp_path / "library").mkdir()
    holding = contextlib.nullcontext()
    if there == "a file in it":
        holding = pytest.raises(SkilltokensError, match="library could not be written")
        (tmp_path / "library" / "precious").write_text("mine")
    with holding, replacing(tmp_path / "library", over=False) as fresh:
        fresh.mkdir()
        (fresh / "file").write_text("new")
    expected = {"library/precious": "mine"} if there == "a file in it" else {"library/file": "new"}
    assert contents(tmp_path) == expected


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "precious").write_text("mine")
    with pytest.raises(SkilltokensError, match="runs is a folder: name a file"):
        write_bytes(tmp_path / "runs", b"a page")
    assert contents(tmp_path) == {"runs/precious": "mine"}


KILLED = """
import os, signal, sys
from pathlib import Path
from skilltokens.files import replacing
target = Path(sys.argv[1])
if sys.argv[2] == "between":
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with replacing(target) as fresh:
    fresh.mkdir()
    (fresh / "file").write_text("half")
    if sys.argv[2] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("instant", ["before", "between"])
def test_what_a_killed_process_left_is_put_right_by_the_next_writer(tmp_path: Path, instant: str):
    write(tmp_path / "demos", "one")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "demos"), instant], check=False)
    assert any(path.name.startswith(".demos.tmp-") for path in tmp_path.iterdir())
    sweep(tmp_path)
    assert contents(tmp_path) == {"demos/file": "one"}
    write(tmp_path / "demos", "two")
    assert contents(tmp_path) == {"demos/file": "two"}


def test_the_folder_of_a_writer_at_work_is_left_alone(tmp_path: Path):
    with replacing(tmp_path / "file") as fresh:
        fresh.write_text("mine")
        sweep(tmp_path)
    assert contents(tmp_path) == {"file": "mine"}


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "number").write_text('{"schema": 5}')
    for name, message in (
        ("pipe", "is a pipe"),
        ("folder", "is a folder"),
        ("none", "does not exist"),
        ("x" * 5000, "could not be read"),
        ("a\0b", "null character"),
        ("deep", "nested too deep"),
        ("number", "has schema 5"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(SkilltokensError, match=message) as caught:
            read_json(tmp_path / name, "some/1")
        assert len(str(caught.value)) < 600
        assert "\n" not in str(caught.value)


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.integers() | st.text() | st.floats(allow_nan=False), st.lists))
)
def test_a_seal_holds_over_json(content: dict[str, object]):
    bearing = sealed(content)
    check_seal(json.loads(json.dumps(bearing)), Path("file"))
    with pytest.raises(SkilltokensError, match="altered"):
        check_seal({**bearing, "one more": 1}, Path("file"))


def test_tensors_are_sealed_bit_for_bit(tmp_path: Path):
    write_state(
        tmp_path / "state", {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([], dtype=torch.int64)}, {"k": [1]}
    )
    content = (tmp_path / "state").read_bytes()
    tensors, about = read_state(tmp_path / "state")
    assert about == {"k": [1]}
    assert torch.equal(tensors["a"], torch.arange(6.0).reshape(2, 3))
    for place in range(len(content)):
        for bit in range(8):
            altered = bytearray(content)
            altered[place] ^= 1 << bit
            try:
                again, rest = unpack(bytes(altered), tmp_path / "state")
            except SkilltokensError:
                continue
            assert rest == about
            assert fingerprint(again) == fingerprint(tensors)  # nothing but white space has changed
