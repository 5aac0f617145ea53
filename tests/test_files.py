"""Files and folders that are replaced at once: as they were, or as they shall be."""

from __future__ import annotations

from pathlib import Path

import pytest

from skilltokens.files import replacing, write_bytes
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


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "precious").write_text("mine")
    with pytest.raises(SkilltokensError, match="runs is a folder: name a file"):
        write_bytes(tmp_path / "runs", b"a page")
    assert contents(tmp_path) == {"runs/precious": "mine"}
