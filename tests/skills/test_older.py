"""Libraries of the version before: made into ones of this version, and their skills keep their bits."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest
from tests.killing import check_kills
from tests.skills.making import contents, fingerprints, grown

from skilltokens.files import digest
from skilltokens.skills.head import LIBRARY_SCHEMA
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.older import upgrade
from skilltokens.skills.outline import outline
from skilltokens.skills.verifying import verify
from skilltokens.types import LibraryError

OLD = Path(__file__).parent / "old"
KNOWN: dict[str, dict[str, str]] = json.loads((OLD / "fingerprints.json").read_text())
"""What the older version computed: library -> skill -> its policy's fingerprint."""


@pytest.mark.parametrize("name", KNOWN)
def test_an_old_library_keeps_every_skills_bits(name: str, tmp_path: Path):
    folder = Path(shutil.copytree(OLD / name, tmp_path / name))
    before = outline(folder)
    with pytest.raises(LibraryError, match=r"older version.*upgrade"):
        SkillLibrary.open(folder)
    library = upgrade(folder)
    for opened in (library, SkillLibrary.open(folder)):
        assert dict(zip(opened.names, opened.fingerprints(), strict=True)) == KNOWN[name]
    assert outline(folder) == before
    assert json.loads((folder / "library.json").read_text())["schema"] == LIBRARY_SCHEMA
    assert [finding.sentence for finding in verify(folder, actions=True)] == [
        "acts bit for bit as when it was learned"
    ] * len(library.names)
    library.add(grown(library.base, "later"))
    assert dict(zip(library.names, library.fingerprints(), strict=True)).items() >= KNOWN[name].items()


def test_upgrading_again_changes_nothing(tmp_path: Path):
    folder = Path(shutil.copytree(OLD / "rows", tmp_path / "rows"))
    upgrade(folder)
    before = contents(folder)
    upgrade(folder)
    assert contents(folder) == before


def _fingerprints(folder: Path) -> dict[str, object]:
    """What must be the same after a kill: the bits of every skill, and that no file is left over."""
    assert verify(folder) == []
    library = SkillLibrary.open(folder)
    return {**fingerprints(library), **dict.fromkeys(path.name for path in (folder / "skills").iterdir())}


def test_killed_at_any_operation_on_files_an_upgrade_is_repeated(tmp_path: Path, pytestconfig: pytest.Config):
    kills = None if pytestconfig.getoption("--all-tasks") else 8

    def prepare(folder: Path) -> None:
        shutil.copytree(OLD / "rows", folder)

    deaths = check_kills(lambda folder: functools.partial(_checked, folder), tmp_path, kills, _fingerprints, prepare)
    assert len(deaths) >= (kills or 30)


def _checked(folder: Path) -> None:
    """Upgrades; what is there before is the old library, whole, or the new one."""
    if json.loads((folder / "library.json").read_text())["schema"] == LIBRARY_SCHEMA:
        library = SkillLibrary.open(folder)
        assert dict(zip(library.names, library.fingerprints(), strict=True)) == KNOWN["rows"]
    else:
        content = json.loads((folder / "library.json").read_text())
        for entry in (content["base"], *(skill["file"] for skill in content["skills"])):
            assert digest(folder / entry["path"]) == entry["sha256"]
    upgrade(folder)


@pytest.mark.parametrize("path", ["base.safetensors", "skills/reach-blue.safetensors", "library.json"])
def test_a_damaged_old_library_is_refused_and_stays(path: str, tmp_path: Path):
    folder = Path(shutil.copytree(OLD / "rows", tmp_path / "rows"))
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    before = contents(folder)
    with pytest.raises(LibraryError, match=Path(path).name):
        upgrade(folder)
    assert contents(folder).items() >= before.items()
    assert json.loads((OLD / "rows" / "library.json").read_text())["schema"] != LIBRARY_SCHEMA


def _altered(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "library.json").read_text())
    (folder / "library.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("path", ["../outside.safetensors", "/etc/hostname", "skills/../../outside.safetensors"])
def test_a_path_out_of_the_folder_is_refused(path: str, tmp_path: Path):
    folder = Path(shutil.copytree(OLD / "rows", tmp_path / "rows"))
    outside = Path(shutil.copy(folder / "base.safetensors", tmp_path / "outside.safetensors"))
    _altered(folder, base={"path": path, "sha256": digest(outside)})
    with pytest.raises(LibraryError, match="points out of its folder"):
        upgrade(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"skills": []}, {"skills": None}, {"skills": [{}]}, {"policy": {}}, {"features": {}}, {"base": {}},
        {"encoder": None}, {"policy": {"settings": {"width": 10**9}, "shape": {}}}, {"schema": "other"},
    ],
)  # fmt: skip
def test_an_old_list_that_cannot_be_is_refused(changes: dict[str, object], tmp_path: Path):
    folder = Path(shutil.copytree(OLD / "rows", tmp_path / "rows"))
    _altered(folder, **changes)
    with pytest.raises(LibraryError, match=r"library\.json"):
        upgrade(folder)


def test_where_there_is_no_library_nothing_is_made(tmp_path: Path):
    with pytest.raises(LibraryError, match="does not exist"):
        upgrade(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
