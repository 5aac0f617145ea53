"""The skill library on disk: the same bits back, damage refused, additions all or nothing."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.killing import Moment, dies
from tests.small import EVERYWHERE, act, make_method, make_policy, observations, teach, words
from tests.toy import TASKS

from skilltokens import files
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.language import load_encoder
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.policy import Policy, Shape
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.types import Feature, LanguageError, LibraryError


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
    library = SkillLibrary.create(folder, learned.base, learned.skills[0], features(toy_stores), "minilm", notes)
    library.add(learned.skills[1])
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(original, tmp_path / "library")


def features(stores: list[DemonstrationStore]) -> dict[str, Feature]:
    return dict(stores[0].features)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def actions(library: SkillLibrary, number: int, store: DemonstrationStore) -> np.ndarray:
    return act(library.policy(number), library.skills[number].embeddings[0], observations(store, 12))


# ------------------------------------------------ round trip


def test_a_library_comes_back_with_the_same_bits(learned: T2S, folder: Path, toy_stores: list[DemonstrationStore]):
    SkillLibrary.open(folder).add(learned.skills[2], {"seed": 7})
    library = SkillLibrary.open(folder)
    assert [skill.name for skill in library.skills] == [task.name for task in TASKS[:3]]
    assert library.features == features(toy_stores)
    assert library.notes == [{"successes": 3, "episodes": 4}, {}, {"seed": 7}]
    seen = observations(toy_stores[0], 12)
    for number, entry in enumerate(learned.entries):
        assert library.policy(number).fingerprint() == entry.policy.fingerprint()
        np.testing.assert_array_equal(
            act(library.policy(number), library.skills[number].embeddings[0], seen),
            act(entry.policy, entry.embeddings[0], seen),
        )
        assert library.skills[number].wordings == learned.skills[number].wordings
        np.testing.assert_array_equal(library.skills[number].embeddings, learned.skills[number].embeddings)
    assert not any(parameter.requires_grad for parameter in library.base.parameters())


def test_adding_leaves_older_files_and_actions_as_they_were(
    learned: T2S, folder: Path, toy_stores: list[DemonstrationStore]
):
    before = contents(folder)
    library = SkillLibrary.open(folder)
    acted = [actions(library, number, toy_stores[1]) for number in range(2)]
    library.add(learned.skills[2])
    after = contents(folder)
    assert set(after) - set(before) == {"skills/between.safetensors"}
    assert {name for name in before if before[name] != after[name]} == {"library.json", "README.md"}
    for opened in (library, SkillLibrary.open(folder)):
        for number in range(2):
            np.testing.assert_array_equal(actions(opened, number, toy_stores[1]), acted[number])


def test_any_wording_calls_the_skill_and_it_acts_the_same(
    learned: T2S, folder: Path, toy_stores: list[DemonstrationStore]
):
    library = SkillLibrary.open(folder)
    library.add(learned.skills[2])
    seen = observations(toy_stores[0], 6)
    for number, task in enumerate(TASKS[:3]):
        expected = act(library.policy(number), library.skills[number].embeddings[0], seen)
        for wording in (task.instruction, *task.wordings, *task.held_out):
            assert library.select(wording)[0] == number
            actor = library.actor(wording)
            memory = actor.start(3)
            np.testing.assert_array_equal(np.stack([actor.act(observation, memory) for observation in seen]), expected)
        assert library.select(task.instruction)[1] == pytest.approx(1.0, abs=1e-5)
        assert library.select(task.held_out[0])[1] < 0.99
    for bad in ("", "x" * 10_000):
        with pytest.raises(LanguageError):
            library.select(bad)


def test_the_model_card_names_skills_counts_and_the_way_to_act(folder: Path):
    card = (folder / "README.md").read_text()
    for word in ("2 skills", "reach-red", "go to the red marker", "3 of 4", "not measured", "SkillLibrary.open"):
        assert word in card


# ------------------------------------------------ damage


@pytest.mark.parametrize("name", ["base.safetensors", "skills/reach-red.safetensors", "skills/reach-blue.safetensors"])
def test_altered_truncated_and_missing_files_are_refused(name: str, folder: Path):
    path = folder / name
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for content in (flipped, whole[:-1], b"", whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(LibraryError, match="truncated or altered"):
            SkillLibrary.open(folder)
    path.unlink()
    with pytest.raises(LibraryError, match="is missing"):
        SkillLibrary.open(folder)


def test_a_library_json_that_is_cut_missing_or_of_another_make_is_refused(folder: Path, tmp_path: Path):
    path = folder / "library.json"
    whole = path.read_bytes()
    bad = ((whole[:-9], "truncated"), (b"", "truncated"), (b"[]", "schema"), (b'{"schema": 1}', "schema"))
    for content, message in bad:
        path.write_bytes(content)
        with pytest.raises(LibraryError, match=message):
            SkillLibrary.open(folder)
    with pytest.raises(LibraryError, match="does not exist"):
        SkillLibrary.open(tmp_path / "nowhere")


def locations(card: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    items = card.items() if isinstance(card, dict) else enumerate(card) if isinstance(card, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from locations(value, (*path, key))


@pytest.mark.filterwarnings("ignore:Initializing zero-element:UserWarning")
def test_a_library_json_altered_anywhere_opens_or_is_refused_in_words(folder: Path):
    path = folder / "library.json"
    card = json.loads(path.read_bytes())
    messages: list[str] = []
    for location in locations(card):
        for junk in ("gone", None, "x", 3, [], {}):
            other = copy.deepcopy(card)
            holder = other
            for key in location[:-1]:
                holder = holder[key]
            if junk == "gone":
                del holder[location[-1]]
            else:
                holder[location[-1]] = junk
            path.write_text(json.dumps(other))
            try:
                SkillLibrary.open(folder)
            except LibraryError as problem:
                messages.append(str(problem))
    assert len(messages) > 100
    assert all(str(folder) in sentence for sentence in messages)


@pytest.mark.parametrize("path", ["../outside.safetensors", "/etc/hostname", "skills/../../outside.safetensors"])
def test_a_path_out_of_the_folder_is_refused(path: str, folder: Path):
    outside = folder.parent / "outside.safetensors"
    shutil.copy(folder / "base.safetensors", outside)
    card = json.loads((folder / "library.json").read_text())
    card["base"] = {"path": path, "sha256": files.digest(outside)}
    (folder / "library.json").write_text(json.dumps(card))
    with pytest.raises(LibraryError, match="points out of its folder"):
        SkillLibrary.open(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path):
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / "base.safetensors", outside)
    (folder / "base.safetensors").symlink_to(outside)
    with pytest.raises(LibraryError, match="points out of its folder"):
        SkillLibrary.open(folder)


def test_rows_that_no_earlier_skill_has_are_refused(folder: Path):
    path = folder / "skills" / "reach-blue.safetensors"
    tensors = load_file(path)
    tensors["active.layers.0.q"] = tensors["active.layers.0.q"] + 1000
    save_file(tensors, path)
    card = json.loads((folder / "library.json").read_text())
    card["skills"][1]["file"]["sha256"] = files.digest(path)
    (folder / "library.json").write_text(json.dumps(card))
    with pytest.raises(LibraryError, match="reach-blue"):
        SkillLibrary.open(folder)


# ------------------------------------------------ adding


def add(moment: Moment, folder: Path, skill: Skill) -> None:
    SkillLibrary.open(folder).add(skill)


def test_killed_at_any_write_an_addition_is_whole_or_not_there(
    learned: T2S, folder: Path, toy_stores: list[DemonstrationStore]
):
    before = SkillLibrary.open(folder)
    acted = [actions(before, number, toy_stores[0]) for number in range(2)]
    deaths = 0
    while dies(add, folder, {"write"}, deaths + 1, learned.skills[2]):
        deaths += 1
        library = SkillLibrary.open(folder)
        assert len(library.skills) == 2
        for number in range(2):
            np.testing.assert_array_equal(actions(library, number, toy_stores[0]), acted[number])
    assert deaths == 3  # the skill, the card, library.json
    assert len(SkillLibrary.open(folder).skills) == 3


def test_names_that_are_taken_or_no_file_names_are_refused(learned: T2S, folder: Path):
    library, before = SkillLibrary.open(folder), contents(folder)
    skill = learned.skills[2]
    for name in ("reach-red", "", "../evil", "a/b", ".hidden", "x" * 101, "naïve", "a\n"):
        renamed = Skill(name, skill.wordings, skill.embeddings, skill.tensors, skill.active)
        with pytest.raises(LibraryError, match=r"already|no file name"):
            library.add(renamed)
    assert contents(folder) == before
    assert len(library.skills) == 2


def test_two_writers_cannot_lose_each_others_skill(learned: T2S, folder: Path):
    one, other = SkillLibrary.open(folder), SkillLibrary.open(folder)
    one.add(learned.skills[2])
    before = contents(folder)
    renamed = Skill("late", learned.skills[2].wordings, learned.skills[2].embeddings)
    with pytest.raises(LibraryError, match="changed by another process"):
        other.add(renamed)
    assert contents(folder) == before


def test_a_library_is_not_made_over_another(learned: T2S, folder: Path, toy_stores: list[DemonstrationStore]):
    before = contents(folder)
    with pytest.raises(LibraryError, match="already"):
        SkillLibrary.create(folder, learned.base, learned.skills[0], features(toy_stores), "minilm")
    assert contents(folder) == before


def test_other_features_are_refused_by_name(folder: Path):
    library = SkillLibrary.open(folder)
    other = {**library.features, "observation.state": Feature((7,))}
    with pytest.raises(LibraryError, match=r"'observation\.state' has shape \(2,\).*\(7,\) in there"):
        library.check_features(other, "there")


def test_a_library_made_with_a_function_says_what_to_do(folder: Path):
    library = SkillLibrary.open(folder)
    library.encoder = load_encoder(words).name
    with pytest.raises(LibraryError, match=r"set `library\.encoder`"):
        library.select("go to the red marker")
