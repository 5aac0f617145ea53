"""`verify` reads everything and says what is wrong, of which skill, and what is only worth knowing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.skills.making import grown
from tests.skills.test_checking import forge

from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.verifying import Finding, verify
from skilltokens.types import Progress


def test_a_whole_library_has_no_finding_and_every_skill_is_told(folder: Path):
    told: list[Progress] = []
    assert verify(folder, report=told.append) == []
    assert [news.note for news in told] == ["base", "push", "pull", "turn", "copy", "steer", ""]
    assert {news.stage for news in told} == {"verify"}


def test_one_damaged_skill_is_named_with_those_that_need_it_and_the_others_are_not(folder: Path):
    file = SkillLibrary.open(folder).state.record("push").file
    path = folder / "skills" / file
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    found = verify(folder, actions=True)
    faults = {finding.subject for finding in found if finding.fault}
    assert {"push", "pull"} <= faults <= {"push", "pull", "steer"}
    assert all(file in finding.sentence for finding in found if finding.subject in ("push", "pull"))
    assert {finding.subject for finding in found if not finding.fault} >= {"base", "turn", "copy"}


@pytest.mark.parametrize("name", ["library.json", "changes.jsonl", "base.safetensors"])
def test_where_nothing_can_be_read_there_is_one_finding(name: str, folder: Path):
    (folder / name).write_bytes((folder / name).read_bytes()[:-3])
    (finding,) = verify(folder)
    assert finding.fault
    assert name in finding.sentence


def test_a_folder_that_is_no_library_is_a_finding(tmp_path: Path):
    (finding,) = verify(tmp_path)
    assert finding.fault


def test_what_nothing_needs_is_worth_knowing_and_no_fault(folder: Path):
    library = SkillLibrary.open(folder)
    file = library.state.record("copy").file
    library.remove("copy")
    assert verify(folder) == [Finding(f"skills/{file}", "no skill needs it: `prune` removes it", False)]
    library.undo()
    assert verify(folder) == []


def test_older_versions_and_kept_skills_are_verified_too(folder: Path):
    library = SkillLibrary.open(folder)
    file = library.state.record("push").file
    library.add(grown(library.base, "push", rows=1), again=True)
    for name, expected in (("push", "push@1"), ("pull", "pull")):
        copy = Path(shutil.copytree(folder, folder.with_name(f"copy-{name}")))
        (copy / "skills" / library.state.record(f"{name}@1").file).write_bytes(b"")
        assert expected in {finding.subject for finding in verify(copy) if finding.fault}
    library.remove("push")
    (folder / "skills" / file).write_bytes(b"")
    assert "(push, removed)" in {finding.subject for finding in verify(folder) if finding.fault}


def test_a_skill_whose_actions_are_others_is_found_though_every_digest_is_right(folder: Path):
    forge(folder, "turn", lambda held: held.update({"proof.actions": held["proof.actions"] + 0.5}))
    assert not any(finding.fault for finding in verify(folder))
    (fault,) = [finding for finding in verify(folder, actions=True) if finding.fault]
    assert fault.subject == "turn"
    assert "acts otherwise" in fault.sentence
