"""Skills go from one library to another of the same base, with what they build on and with their bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.skills.making import (
    ENCODER,
    contents,
    features,
    fingerprints,
    first,
    grown,
    make_base,
    make_library,
    vectors,
)

from skilltokens.language import load_encoder
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import diff, export_skill, import_skill, merge
from skilltokens.skills.verifying import verify
from skilltokens.tensors import pack, unpack
from skilltokens.types import LibraryError


@pytest.fixture
def other(tmp_path: Path) -> SkillLibrary:
    """A library of the same base with a skill of its own."""
    base = make_base()
    library = SkillLibrary.create(tmp_path / "other", base, first(), features(), ENCODER)
    library.add(grown(base, "mine"))
    return library


def whole(library: SkillLibrary) -> bool:
    return not any(finding.fault for finding in verify(library.folder, actions=True))


@pytest.mark.parametrize(
    ("name", "needed"),
    [("push", []), ("pull", ["push"]), ("turn", []), ("copy", []), ("steer", ["push", "pull"]), ("base", [])],
)
def test_an_exported_skill_acts_in_another_library_with_the_same_bits(
    name: str, needed: list[str], folder: Path, other: SkillLibrary, tmp_path: Path
):
    library = SkillLibrary.open(folder)
    path = export_skill(library, name, tmp_path)
    assert path == tmp_path / f"{name}.skill"
    before = fingerprints(other)
    record = import_skill(other, path, name=f"new-{name}")
    opened = SkillLibrary.open(other.folder)
    assert opened.names == ["base", "mine", f"new-{name}"]
    assert [kept.name for kept in opened.state.kept] == needed
    assert record.identity == library.state.record(name).identity
    assert fingerprints(opened) == before | {record.identity: fingerprints(library)[record.identity]} | {
        kept.identity: fingerprints(library)[kept.identity] for kept in opened.state.kept
    }
    assert opened.skill(f"new-{name}").wordings == library.skill(name).wordings
    assert opened.records[-1].about() == library.state.record(name).about()
    assert whole(other)


def test_importing_again_changes_nothing(folder: Path, other: SkillLibrary, tmp_path: Path):
    path = export_skill(SkillLibrary.open(folder), "pull", tmp_path / "one.skill")
    import_skill(other, path)
    before = contents(other.folder)
    import_skill(other, path)
    assert contents(other.folder) == before
    assert export_skill(other, "pull", tmp_path / "two.skill").read_bytes() != b""
    import_skill(other, tmp_path / "two.skill")
    assert contents(other.folder) == before


def test_a_name_that_is_taken_is_refused_or_becomes_a_version(folder: Path, other: SkillLibrary, tmp_path: Path):
    other.add(grown(other.base, "push", rows=1))
    path = export_skill(SkillLibrary.open(folder), "push", tmp_path)
    with pytest.raises(LibraryError, match="other skills called push"):
        import_skill(other, path)
    import_skill(other, path, again=True)
    assert other.records[-1].label == "push@2"
    for bad in ("../evil", "a b"):
        with pytest.raises(LibraryError, match="no file name"):
            import_skill(other, path, name=bad)


def test_a_reworded_skill_keeps_its_key_on_the_way(folder: Path, other: SkillLibrary, tmp_path: Path):
    library = SkillLibrary.open(folder)
    library.language = lambda report=None: load_encoder(vectors)  # pyright: ignore[reportAttributeAccessIssue]
    library.reword("push", add=["shove it"], remove=["do push"])
    import_skill(other, export_skill(library, "push", tmp_path))
    skill = SkillLibrary.open(other.folder).skill("push")
    assert skill.wordings == ("please do push", "shove it")
    assert (skill.key == library.skill("push").key).all()
    assert not (skill.key == skill.embeddings[0]).all()
    assert fingerprints(other)[skill.identity] == fingerprints(library)[skill.identity]
    assert whole(other)


def test_a_skill_of_another_base_or_encoder_is_refused(folder: Path, tmp_path: Path):
    path = export_skill(SkillLibrary.open(folder), "push", tmp_path)
    strange = SkillLibrary.create(tmp_path / "strange", make_base(seed=1), first(), features(), ENCODER)
    spoken = SkillLibrary.create(tmp_path / "spoken", make_base(), first(), features(), "another")
    for library, message in ((strange, "another base"), (spoken, "sentence encoder 'minilm'")):
        before = contents(library.folder)
        with pytest.raises(LibraryError, match=message):
            import_skill(library, path)
        with pytest.raises(LibraryError, match=message.removesuffix(" 'minilm'")):
            merge(library, SkillLibrary.open(folder))
        assert contents(library.folder) == before


@pytest.mark.parametrize(
    "what", ["bit", "cut", "record", "vectors", "file", "more", "none", "stranger", "number", "name", "identity"]
)
def test_a_file_that_was_altered_is_refused_though_its_digest_is_right(
    what: str, folder: Path, other: SkillLibrary, tmp_path: Path
):
    path = export_skill(SkillLibrary.open(folder), "pull", tmp_path)
    tensors, about = unpack(path.read_bytes(), path)
    records = about["records"]
    match what:
        case "record":
            records[1]["needs"] = []
            records[1]["parameters"] += 1
            records[1]["sha256"] = "0" * 64
        case "vectors":
            tensors["vectors.1"] = -2 * tensors["vectors.1"]
        case "file":
            tensors["file.1"] = tensors["file.0"]
            tensors["file.1"] = tensors["file.1"].clone()
        case "more":
            tensors["file.7"] = torch.zeros(1, dtype=torch.uint8)
        case "none":
            about["records"] = []
        case "stranger":
            about["stranger"] = 1
        case "number":
            records[1]["bytes"] = 10**9
        case "name":
            records[1]["name"] = "../../evil"
        case "identity":
            records[0]["identity"] = "0" * 64
    content = pack(tensors, about)
    content = {"bit": content[:-5] + bytes([content[-5] ^ 1]) + content[-4:], "cut": content[:-1]}.get(what, content)
    path.write_bytes(content)
    before = contents(other.folder)
    with pytest.raises(LibraryError):
        import_skill(other, path)
    assert contents(other.folder) == before


def test_nothing_damaged_goes_out(folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    path = folder / "skills" / library.state.record("push").file
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(LibraryError, match=path.name):
        export_skill(library, "pull", tmp_path / "pull.skill")  # it needs push
    assert not (tmp_path / "pull.skill").exists()
    with pytest.raises(LibraryError, match="no skill 'nobody'"):
        export_skill(library, "nobody", tmp_path)


# ------------------------------------------------ whole libraries


def test_merging_takes_all_that_is_new_in_one_commit_and_twice_does_nothing(folder: Path, other: SkillLibrary):
    source = SkillLibrary.open(folder)
    source.retire("turn")
    source.remove("push")  # kept for pull
    known = fingerprints(source)
    assert merge(other, source) == ["pull", "turn", "copy", "steer"]
    assert other.names == ["base", "mine", "pull", "turn", "copy", "steer"]
    assert [kept.name for kept in other.state.kept] == ["push"]
    assert [record.name for record in other.records if record.retired] == ["turn"]
    assert fingerprints(SkillLibrary.open(other.folder)).items() >= known.items()
    assert whole(other)
    before = contents(other.folder)
    assert merge(other, source) == []
    assert contents(other.folder) == before
    other.undo()
    assert other.names == ["base", "mine"]


def test_merging_with_a_name_that_means_another_skill_is_refused_or_makes_a_version(folder: Path, other: SkillLibrary):
    other.add(grown(other.base, "push", rows=1))
    before = contents(other.folder)
    with pytest.raises(LibraryError, match="other skills called push"):
        merge(other, SkillLibrary.open(folder))
    assert contents(other.folder)["library.json"] == before["library.json"]
    merge(other, SkillLibrary.open(folder), again=True)
    assert other.state.skills["push"].version == 2
    assert whole(other)


def test_what_is_needed_and_kept_may_need_what_is_merged(folder: Path, tmp_path: Path, other: SkillLibrary):
    """c reuses rows of b@1, which reuses rows of a; b was taught again, so that b@1 is only kept, and a is new."""
    source = SkillLibrary.open(folder)
    source.add(grown(source.base, "pull", rows=1), again=True)
    merge(other, source)
    assert [kept.name for kept in other.state.kept] == ["pull"]
    assert whole(other)


def test_a_difference_is_told_by_skill_and_word(folder: Path, tmp_path: Path):
    one, two = SkillLibrary.open(folder), make_library(tmp_path / "two")
    assert diff(one, two) == []
    two.rename("turn", "twist")
    two.retire("copy")
    two.add(grown(two.base, "push", rows=1), again=True)
    assert {(line.name, line.what) for line in diff(one, two)} == {
        ("turn", "only in the first"),
        ("twist", "only in the second"),
        ("copy", "retired only in the second"),
        ("push", "acts otherwise"),
    }
    strange = SkillLibrary.create(tmp_path / "strange", make_base(seed=1), first(), features(), ENCODER)
    assert any(line.name == "" and line.what.startswith("base") for line in diff(one, strange))
    assert json.loads((one.folder / "library.json").read_text())["base"]["fingerprint"] == one.identity
