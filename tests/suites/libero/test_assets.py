"""LIBERO's files are compared with what was published, and the list that says so is too."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from skilltokens.suites.libero import assets
from skilltokens.suites.libero.assets import check_assets
from skilltokens.types import SuiteError

FILES = {"made_up/mesh.obj": b"v 0 0 0", "made_up/states.npz": b"numbers"}


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package "made-up" 1.0 as pip would install it, known to the check by the digest of its list."""
    info = tmp_path / "made_up-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    rows = [f"{path},sha256={encoded(content)},{len(content)}" for path, content in FILES.items()]
    extra = ["../../../bin/made-up,sha256=abc,3", "made_up/__pycache__/x.pyc,,", "made_up-1.0.dist-info/METADATA,,"]
    (info / "RECORD").write_text("\n".join([*extra, *reversed(rows)]) + "\n")
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    listed = "".join(f"{path},{encoded(content)}\n" for path, content in sorted(FILES.items()))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(assets, "_LISTS", (("made-up", "1.0", hashlib.sha256(listed.encode()).hexdigest()),))
    return tmp_path


def test_files_as_published_are_counted(installed: Path):
    assert check_assets() == (2, sum(map(len, FILES.values())))


def test_an_altered_file_is_named_with_the_command_that_restores_it(installed: Path):
    (installed / "made_up/mesh.obj").write_bytes(b"v 0 0 1")
    fix = "pip install --force-reinstall --no-deps made-up==1.0"
    with pytest.raises(SuiteError, match=rf"{re.escape(str(installed / 'made_up/mesh.obj'))} of .*: run `{fix}`"):
        check_assets()


def test_missing_files_are_named_and_counted(installed: Path):
    for path in FILES:
        (installed / path).unlink()
    with pytest.raises(SuiteError, match=r"mesh\.obj and 1 more of made-up 1\.0: missing"):
        check_assets()


def test_a_list_that_was_altered_with_its_file_is_found(installed: Path):
    (installed / "made_up/mesh.obj").write_bytes(b"v 0 0 1")
    record = installed / "made_up-1.0.dist-info/RECORD"
    record.write_text(record.read_text().replace(encoded(FILES["made_up/mesh.obj"]), encoded(b"v 0 0 1")))
    with pytest.raises(SuiteError, match="list of files of made-up"):
        check_assets()


def test_no_list_at_all_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assets, "_LISTS", (("made-up", "1.0", None),))
    assert check_assets()[0] == 2
    (installed / "made_up-1.0.dist-info/RECORD").unlink()
    with pytest.raises(SuiteError, match="list of files of made-up"):
        check_assets()


@pytest.mark.parametrize(
    ("name", "version", "message"), [("made-up", "1.1", "1.0 is installed"), ("no-such", "1", "not")]
)
def test_a_missing_package_and_another_version_are_named(
    name: str, version: str, message: str, installed: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(assets, "_LISTS", ((name, version, None),))
    with pytest.raises(SuiteError, match=rf"{message}.*pip install --force-reinstall --no-deps {name}=={version}"):
        check_assets()


@pytest.mark.slow
def test_the_files_installed_here_are_the_published_ones():
    files, size = check_assets()
    assert files > 3000
    assert size > 600 * 2**20
