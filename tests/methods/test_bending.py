"""What T2S may change of rows that it shares: a low-rank bend of the base's, and factors on earlier skills' rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import (
    EVERYWHERE,
    TRAIN,
    act,
    called,
    changed,
    lessons,
    make_method,
    make_policy,
    more_lessons,
    numbers,
    observations,
    teach,
)  # fmt: skip

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore
from skilltokens.deploy import runner
from skilltokens.deploy.exporting import TOLERANCE
from skilltokens.deploy.exporting import export_skill as deploy
from skilltokens.methods.base import Lesson, count
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.budget import divide, own_shapes
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.actor import PolicyActor
from skilltokens.model.pattention import GrownPattention
from skilltokens.model.policy import Policy
from skilltokens.skills.describing import describe
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import export_skill, import_skill
from skilltokens.skills.skill import BASE, Content, Rows, Skill
from skilltokens.skills.skillfile import pack_skill, unpack_skill
from skilltokens.skills.verifying import verify
from skilltokens.train import fit
from skilltokens.types import LibraryError, SettingError

MIXED = replace(EVERYWHERE, share=0.3, fork=0.5, bend=0.5, start="copy", near=-1.0, reuse_skills=2, gates_first=0.5)
"""Everything at once; the small policy's 8 % leave no rank beside rows."""


def taught(chosen: T2SSettings, plan: list[Lesson]) -> T2S:
    method = make_method(chosen)
    assert isinstance(method, T2S)
    for lesson in plan:
        teach(method, lesson)
    return method


def grown(policy: Policy) -> dict[str, GrownPattention]:
    return {path: part for path, part in policy.maps().items() if isinstance(part, GrownPattention)}


def test_a_whole_bend_is_lora(toy_stores: list[DemonstrationStore]):
    plan = lessons(toy_stores[:2])
    method = taught(replace(EVERYWHERE, bend=1.0, own_rate=5e-3), plan)
    rival = make_method(LoraSettings())
    for lesson in plan:
        teach(rival, lesson)
    assert method.stored() == rival.stored()
    seen = observations(toy_stores[1], 10)
    mine, other = called(method, plan[1], seen), called(rival, plan[1], seen)
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)
    assert np.abs(mine - act(method.base, plan[1].embeddings[0][0], seen)).max() > 0.01
    adapters = dict(rival.entries[1].policy.named_parameters())
    for path, part in grown(method.entries[1].policy).items():
        assert part.bend is not None
        for name in ("key", "value"):
            torch.testing.assert_close(part.bend.up[name], adapters[f"{path}.up.{name}"], rtol=0, atol=1e-4)
            torch.testing.assert_close(part.bend.down[name], adapters[f"{path}.down.{name}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("bend", [0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("fork", [0.0, 0.5])
def test_rows_and_a_bend_share_one_budget_and_change_nothing_at_the_start(
    bend: float, fork: float, toy_stores: list[DemonstrationStore]
):
    plan = lessons(toy_stores[:2])
    method = taught(replace(EVERYWHERE, share=0.5, mu=1.0, bend=bend, fork=fork), plan[:1])
    training = method.begin(plan[1])
    seen, embedding = observations(toy_stores[1], 12), plan[1].embeddings[0][0]
    before = act(method.base, embedding, seen)
    np.testing.assert_allclose(act(training.policy, embedding, seen), before, rtol=0, atol=1e-5)
    trained = sum(parameter.numel() for parameter in training.parameters())
    assert 0.46 * count(method.base) < trained <= 0.5 * count(method.base)
    bends = sum(p.numel() for part in grown(training.policy).values() if part.bend for p in part.bend.parameters())
    rows = sum(part.key.numel() + part.value.numel() for part in grown(training.policy).values())
    assert bend - 0.05 < bends / (bends + rows) <= bend + 0.05


def test_too_small_a_bend_is_refused_before_the_first_lesson():
    method = make_method(replace(EVERYWHERE, bend=0.2, share=0.04))
    method.check(1)
    with pytest.raises(SettingError, match=r"method\.share 0\.04 and method\.bend 0\.2 leave no rank"):
        method.check(2)


def test_a_bend_has_a_rank_in_every_map_before_a_row_is_bought():
    method = make_method(replace(EVERYWHERE, bend=0.01))
    parts = divide(method.base, method.settings, 0)
    assert {rank for part in parts.values() for rank in part.ranks} == {1}
    sizes = [math.prod(shape) for path, part in parts.items() for shape in own_shapes(method.base, path, part).values()]
    room = int(0.08 * count(method.base))
    assert 0.9 * room < sum(sizes) <= room


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(SettingError, match=r"method\.reuse and method\.reuse-skills both"):
        check_settings(T2SSettings(reuse=1.0, reuse_skills=1), "method")
    with pytest.raises(SettingError, match=r"method\.gates-first 0\.1 has no gates"):
        check_settings(T2SSettings(gates_first=0.1), "method")
    for chosen in (T2SSettings(gates=True), T2SSettings(reuse_skills=1)):
        check_settings(replace(chosen, gates_first=0.1), "method")
    with pytest.raises(SettingError, match=r"method\.fork 1\.5 is impossible"):
        check_settings(T2SSettings(fork=1.5), "method")
    with pytest.raises(SettingError, match=r"method\.reuse_skills 4 is impossible"):
        check_settings(T2SSettings(reuse_skills=4), "method")


@pytest.mark.parametrize(
    ("rows_in", "layers", "halves"),
    [("first", 2, {"0"}), ("last", 2, {"1"}), ("first", 3, {"0", "1"}), ("last", 3, {"1", "2"}), ("last", 1, {"0"})],
)
def test_rows_can_go_into_one_half_of_the_layers(rows_in: Any, layers: int, halves: set[str]):
    policy = make_policy(replace(make_policy().settings, layers=layers))
    method = make_method(replace(EVERYWHERE, rows_in=rows_in), policy)
    assert isinstance(method, T2S)
    for lesson in lessons_without_demonstrations(2):
        method.begin(lesson)
        method.finish(lesson)
    paths = [path.split(".") for path in method.skills[1].active]
    assert {layer for _, layer, _ in paths} == halves
    assert len(paths) == 5 * len(halves)


def lessons_without_demonstrations(number: int) -> list[Lesson]:
    vectors = np.eye(24, dtype=np.float32)
    return [Lesson(i, (f"s{i}",), (), ((f"do {i}",),), (vectors[i : i + 1],), i) for i in range(number)]


def test_earlier_skills_rows_are_shared_whole_and_off_at_first(toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, reuse_skills=3), more_lessons(toy_stores[0], 6))
    lesson = more_lessons(toy_stores[0], 7)[6]
    policy, embedding = method.begin(lesson).policy, lesson.embeddings[0][0]
    seen = observations(toy_stores[0], 10)
    np.testing.assert_allclose(act(policy, embedding, seen), act(method.base, embedding, seen), rtol=0, atol=1e-5)
    nearness = [float(skill.key @ embedding) for skill in method.skills[1:6]]
    nearest = [1 + int(number) for number in np.argsort(-np.array(nearness), kind="stable")[:3]]
    for path, rows in method.skills[6].active.items():
        assert rows.skills() == [method.skills[number].identity for number in nearest]
        for number in nearest:
            skill = method.skills[number]
            assert rows.counts()[skill.identity] == skill.rows(path)
        assert not method.skills[6].tensors[f"{path}.skill_gate"].any()
    assert [len(rows.skills()) for rows in method.skills[3].active.values()] == [2] * 10
    assert "layers.0.q.skill_gate" not in method.skills[1].tensors  # there was no skill before it
    for part in grown(method.entries[5].policy).values():
        assert part.skill_gate is not None
        assert part.skill_gate.all()  # they learned


def test_a_factor_of_one_is_the_earlier_skills_own_map(toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, reuse_skills=1), more_lessons(toy_stores[0], 2))
    lesson = more_lessons(toy_stores[0], 3)[2]
    policy = method.begin(lesson).policy
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    for path, part in grown(policy).items():
        earlier, base = method.entries[1].policy.maps()[path], method.base.maps()[path]
        assert part.skill_gate is not None
        with torch.no_grad():
            torch.testing.assert_close(part(x), base(x), rtol=1e-4, atol=1e-5)
            part.skill_gate.fill_(1.0)
            torch.testing.assert_close(part(x), earlier(x), rtol=1e-4, atol=1e-5)
            assert (part(x) - base(x)).abs().max() > 1e-3


def test_a_copy_does_not_share_what_it_copies(toy_stores: list[DemonstrationStore]):
    plan = more_lessons(toy_stores[0], 4)
    method = taught(replace(EVERYWHERE, reuse_skills=3, start="copy", near=2.0), plan[:3])
    method.begin(plan[3])
    for rows in method.skills[3].active.values():
        assert rows.skills() == [method.skills[1].identity]  # not that of the newest, number 2


def test_a_copy_takes_over_the_factors(toy_stores: list[DemonstrationStore]):
    method = taught(replace(EVERYWHERE, reuse_skills=3, start="copy", near=2.0), more_lessons(toy_stores[0], 5))
    lesson = more_lessons(toy_stores[0], 6)[5]
    policy, source = method.begin(lesson).policy, method.skills[4]
    seen, embedding = observations(toy_stores[0], 8), lesson.embeddings[0][0]
    expected = act(method.entries[4].policy, embedding, seen)
    np.testing.assert_allclose(act(policy, embedding, seen), expected, rtol=0, atol=1e-5)
    for path, rows in method.skills[5].active.items():
        theirs = source.active[path].skills()
        assert rows.skills()[: len(theirs)] == theirs
        assert len(rows.skills()) == 3
        gates = method.skills[5].tensors[f"{path}.skill_gate"]
        assert torch.equal(gates[: len(theirs)], source.tensors[f"{path}.skill_gate"])


def test_gates_can_be_trained_before_all_else(toy_stores: list[DemonstrationStore]):
    plan = more_lessons(toy_stores[0], 3)
    method = taught(replace(EVERYWHERE, reuse_skills=1, gates_first=0.5), plan[:2])
    training = method.begin(plan[2])
    before = numbers(training.policy)
    stops = fit(training, replace(TRAIN, average=0.0), 8, [0.5, 1.0], 0)
    next(stops)
    gates = {f"{path}.skill_gate" for path in method.skills[2].active}
    assert set(changed(before, training.policy)) == gates
    *_, last = stops
    trained = {name for name, parameter in training.policy.named_parameters() if parameter.requires_grad}
    assert set(changed(before, training.policy)) == trained
    first = next(iter(last.record.gradients.values()))["specific"]
    assert first[:4] == [0.0] * 4
    assert min(first[4:]) > 0


def test_everything_at_once_keeps_old_bits_and_is_restored(toy_stores: list[DemonstrationStore]):
    plan, method = lessons(toy_stores), make_method(MIXED)
    seen, first = observations(toy_stores[0], 10), []
    for lesson in plan:
        teach(method, lesson)
        first.append(called(method, lesson, seen))
        for earlier, actions in zip(plan, first, strict=False):
            np.testing.assert_array_equal(called(method, earlier, seen), actions)
    again = make_method(MIXED, make_policy(seed=1))
    again.restore(
        {name: tensor.clone() for name, tensor in method.state().items()},
        [replace(lesson, stores=()) for lesson in plan],
    )
    for lesson, actions in zip(plan, first, strict=True):
        np.testing.assert_array_equal(called(again, lesson, seen), actions)


def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path):
    check_interrupted(run_of(replace(MIXED, mu=1.0), tmp_path / "demos"), tmp_path)


# ------------------------------------------------ in a library


@pytest.fixture(scope="module")
def learned(
    toy_stores: list[DemonstrationStore], tmp_path_factory: pytest.TempPathFactory
) -> tuple[T2S, list[Skill], SkillLibrary]:
    """Four skills, and a library of them."""
    method = taught(MIXED, lessons(toy_stores))
    base, skills = method.library(lessons(toy_stores))
    folder = tmp_path_factory.mktemp("bending") / "library"
    return method, skills, made(folder, base, skills, toy_stores)


def made(folder: Path, base: Policy, skills: list[Skill], stores: list[DemonstrationStore]) -> SkillLibrary:
    return SkillLibrary.create(folder, base, [(skill, {}) for skill in skills], dict(stores[0].features), "words")


def test_a_library_keeps_every_bit_and_gives_it_to_another(
    learned: tuple[T2S, list[Skill], SkillLibrary], toy_stores: list[DemonstrationStore], tmp_path: Path
):
    method, skills, library = learned
    opened = SkillLibrary.open(library.folder)
    other = made(tmp_path / "other", library.base, skills[:1], toy_stores)
    for number, entry in enumerate(method.entries):
        assert opened.policy(number).fingerprint() == entry.policy.fingerprint()
        if number:
            import_skill(other, export_skill(opened, entry.name, tmp_path / f"{number}.skill"))
    again = SkillLibrary.open(other.folder)
    seen = observations(toy_stores[0], 8)
    for number, entry in enumerate(method.entries):
        np.testing.assert_array_equal(
            act(again.policy(number), entry.instruction, seen), act(entry.policy, entry.instruction, seen)
        )
    for folder in (library.folder, other.folder):
        assert not any(finding.fault for finding in verify(folder, actions=True))


def test_a_skill_without_rows_of_its_own_is_kept_and_description(toy_stores: list[DemonstrationStore], tmp_path: Path):
    plan = lessons(toy_stores[:2])
    method = taught(replace(EVERYWHERE, bend=1.0), plan)
    base, skills = method.library(plan)
    library = made(tmp_path / "library", base, skills, toy_stores)
    opened = SkillLibrary.open(library.folder)
    assert opened.policy(1).fingerprint() == method.entries[1].policy.fingerprint()
    description = describe(opened, skills[1].name)
    bends = sum(tensor.numel() for name, tensor in skills[1].tensors.items() if ".bend." in name)
    assert (description.own_rows, description.bends) == (0, bends)
    assert describe(opened, skills[0].name).bends == 0
    assert not any(finding.fault for finding in verify(library.folder, actions=True))


FAULTS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], Any]]] = {
    "half": ("half there", lambda t: t.pop("layers.0.q.bend.up.key")),
    "no values": ("half there", lambda t: t.pop("layers.0.q.bend.down.value")),
    "rank": ("another shape", lambda t: t.update({"layers.0.q.bend.up.key": torch.zeros(1, 1)})),
    "width": ("another shape", lambda t: t.update({"layers.0.q.bend.down.key": torch.zeros(1, 3)})),
    "flat": ("half there", lambda t: t.update({"layers.0.q.bend.up.key": torch.zeros(3)})),
    "doubles": ("another kind", lambda t: t.update({n: x.double() for n, x in t.items() if "q.bend" in n})),
    "stranger": ("unknown tensor", lambda t: t.update({"layers.0.q.bend.up.weight": torch.zeros(1)})),
    "bend alone": ("unknown tensor", lambda t: t.update({"layers.9.q.bend.up.key": torch.zeros(1)})),
    "gates": ("not one a skill", lambda t: t.update({"layers.0.q.skill_gate": torch.zeros(7)})),
    "gate of doubles": (
        "not one a skill",
        lambda t: t.update({"layers.0.q.skill_gate": t["layers.0.q.skill_gate"].double()}),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damaged_bends_and_factors_are_refused(name: str, learned: tuple[T2S, list[Skill], SkillLibrary]):
    said, damage = FAULTS[name]
    _, skills, library = learned
    tensors = dict(skills[3].tensors)
    damage(tensors)
    with pytest.raises(LibraryError, match=said):
        library.add(skills[3].with_content(tensors=tensors).named("damaged"))


def test_a_bend_of_rows_that_do_not_come_first_is_refused(learned: tuple[T2S, list[Skill], SkillLibrary]):
    _, skills, library = learned
    rows = skills[3].active["layers.0.q"]
    turned = {**skills[3].active, "layers.0.q": Rows(rows.sources, rows.source[::-1].copy(), rows.row[::-1].copy())}
    with pytest.raises(LibraryError, match="do not come first"):
        library.add(skills[3].with_content(active=turned).named("damaged"))


@given(st.permutations(["a", "b", "c", BASE]), st.lists(st.integers(1, 3), min_size=4, max_size=4))
@settings(max_examples=30)
def test_factors_go_by_the_order_of_the_rows_whatever_a_file_sorts(names: list[str], counts: list[int]):
    rows = Rows.of([(name, np.arange(count)) for name, count in zip(names, counts, strict=True)])
    content = Content(np.zeros(3, np.float32), {}, {"layers.0.q": rows})
    again = unpack_skill(pack_skill(content, "base"), Path("skill"), "base").active["layers.0.q"]
    skills = [name for name in names if name != BASE]
    assert rows.skills() == again.skills() == skills
    numbers = [0 if name == BASE else 1 + skills.index(name) for name in names]
    np.testing.assert_array_equal(rows.owners(), np.repeat(numbers, counts))
    np.testing.assert_array_equal(again.owners(), rows.owners())
    np.testing.assert_array_equal(again.of_base(), rows.of_base())


@pytest.mark.parametrize("to", ["numpy", pytest.param("onnx", marks=pytest.mark.slow)])
def test_it_acts_outside_of_torch(to: Any, learned: tuple[T2S, list[Skill], SkillLibrary], tmp_path: Path):
    method, skills, library = learned
    card = deploy(library, skills[3].name, tmp_path / "out", to)
    assert card.difference is not None
    assert card.difference <= TOLERANCE
    robot = runner.Skill(tmp_path / "out" / ("skill.npz" if to == "numpy" else "skill.onnx"))
    actor, draw = PolicyActor(method.entries[3].policy, method.entries[3].instruction), np.random.default_rng(0)
    memory = actor.start(1)
    for _ in range(5):
        seen = {n: draw.normal(size=tuple(f["shape"])).astype(np.float32) for n, f in robot.card["features"].items()}
        expected = actor.act({name: value[None] for name, value in seen.items()}, memory)[0]
        np.testing.assert_allclose(robot.act(seen), expected, rtol=0, atol=TOLERANCE)
