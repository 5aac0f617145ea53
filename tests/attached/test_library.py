"""A library beside a foreign base: the rules of every library, a base that is referred to, checked, never copied."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.attached.bases import SIZES, drawn, write

from skilltokens.attached import digests
from skilltokens.attached.acting import AttachedActor
from skilltokens.attached.digests import Digests
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.verifying import verify
from skilltokens.files import digest
from skilltokens.skills.adding import added
from skilltokens.skills.disk import Disk
from skilltokens.skills.head import Source, read_head, write_head
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import diff, export_skill, import_skill
from skilltokens.skills.together import Together
from skilltokens.types import ACTION, Array, AttachError, Feature, LibraryError, NoSkillError, SettingError

FEATURES = {**{name: Feature((size,)) for name, size in SIZES.items()}, ACTION: Feature((2,))}
LOADER = "tests.attached.bases:load"
POLICIES = ("transformer", "unet", "decoder")
SHARE = 0.4


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of each kind."""
    folder = tmp_path_factory.mktemp("bases")
    for kind in POLICIES:
        write(folder / kind, kind)
    return folder


def create(folder: Path, base: Path, **more: object) -> AttachedLibrary:
    options = {"loader": LOADER, "share": SHARE, "features": FEATURES, "wordings": ("do what it always did",), **more}
    return AttachedLibrary.create(folder, base, **options)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def numbers(library: AttachedLibrary, seed: int, kind: str = "rows") -> AttachedSkill:
    """A skill of random numbers, with statistics."""
    skill = library.new(seed, kind, rows=1)  # pyright: ignore[reportArgumentType]
    draw = torch.Generator().manual_seed(seed)
    for parameter in skill.trained().values():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    for name, feature in FEATURES.items():
        skill.statistics[f"{name}.center"] = torch.full(feature.shape, 0.1 * seed)
        skill.statistics[f"{name}.unit"] = torch.full(feature.shape, 1.0 + seed)
    return skill.frozen()


@pytest.fixture(scope="module")
def originals(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each kind of base a library with two skills, rows and LoRA."""
    folder = tmp_path_factory.mktemp("attached")
    for kind in POLICIES:
        library = create(folder / kind, bases / kind)
        library.add("push", ["push the block", "shove it"], numbers(library, 1))
        library.add("pull", ["pull the lever"], numbers(library, 2, "lora"))
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    shutil.copytree(originals / "transformer", tmp_path / "library")
    return tmp_path / "library"


def opened(folder: Path) -> AttachedLibrary:
    return AttachedLibrary.open(folder, loader=LOADER)


def seen(batch: int = 3, step: int = 0) -> dict[str, Array]:
    draw = np.random.default_rng(step)
    return {name: draw.standard_normal((batch, size)).astype(np.float32) for name, size in SIZES.items()}


def acts(actor: AttachedActor, steps: int = 5) -> Array:
    memory = actor.start(3)
    return np.stack([actor.act(seen(step=step), memory) for step in range(steps)])


def every(library: AttachedLibrary) -> dict[str, Array]:
    return {name: acts(library.actor_of(name)) for name in library.names}


# ---------------------------------------------------------------- the invariants


@pytest.mark.parametrize("kind", POLICIES)
def test_skills_keep_their_bits_whatever_is_added_removed_and_imported(
    kind: str, originals: Path, bases: Path, tmp_path: Path
) -> None:
    place = tmp_path / "library"
    shutil.copytree(originals / kind, place)
    before = every(opened(place))
    assert len({value.tobytes() for value in before.values()}) == 3
    library = opened(place)
    library.add("turn", ["turn the knob"], numbers(library, 3))
    turned = acts(library.actor_of("turn"))
    export_skill(library, "turn", tmp_path)
    library.remove("push")
    library.add("lift", ["lift the cube"], numbers(library, 4))
    library.undo()
    library.undo()
    library.remove("turn")
    other = create(tmp_path / "other", bases / kind, wordings=())
    import_skill(other, tmp_path / "turn.skill")
    assert np.array_equal(acts(other.actor("turn the knob")), turned)
    later = every(opened(place))
    assert later.keys() == before.keys()
    assert all(np.array_equal(later[name], value) for name, value in before.items())
    findings = verify(place, actions=True, loader=LOADER)
    assert not any(finding.fault for finding in findings)
    assert sum("bit for bit" in finding.sentence for finding in findings) == 3


def test_actors_of_several_skills_take_turns(folder: Path) -> None:
    library = opened(folder)
    alone = every(library)
    actors = {name: library.actor_of(name) for name in library.names}
    memories = {name: actor.start(3) for name, actor in actors.items()}
    together: dict[str, list[Array]] = {name: [] for name in actors}
    for step in range(5):
        for name, actor in actors.items():
            together[name].append(actor.act(seen(step=step), memories[name]))
    assert all(np.array_equal(np.stack(together[name]), alone[name]) for name in actors)


def looking_back(bases: Path, folder: Path) -> AttachedLibrary:
    """A library whose base acts by its own select_action, and keeps what it plans in itself."""
    base = drawn("transformer")
    base.config.observation_delta_indices = [-1, 0]
    library = create(folder, bases / "transformer", policy=base)
    library.add("push", ["push the block"], numbers(library, 1))
    return library


def test_episodes_take_turns_with_a_policy_that_keeps_them_in_itself(bases: Path, tmp_path: Path) -> None:
    library = looking_back(bases, tmp_path / "library")
    actors = {name: library.actor_of(name) for name in library.names}
    alone = {name: acts(actor) for name, actor in actors.items()}
    memories = [(name, actor.start(3)) for name, actor in actors.items() for _ in range(2)]
    acted: list[list[Array]] = [[] for _ in memories]
    for step in range(5):
        for number, (name, memory) in enumerate(memories):
            acted[number].append(actors[name].act(seen(step=step), memory))
            if number == 1:
                library.attached.use(None)  # whoever comes between
    for (name, _), actions in zip(memories, acted, strict=True):
        assert np.array_equal(np.stack(actions), alone[name])
    vars(library.attached.root)["lock"] = threading.Lock()
    actors["push"].act(seen(), memories[-1][1])
    with pytest.raises(AttachError, match="Transformer keeps 'lock' in itself, which cannot be copied"):
        actors["push"].act(seen(), memories[0][1])


@pytest.mark.parametrize("kind", [*POLICIES, "looking back"])
def test_each_episode_of_a_batch_acts_as_with_its_skill_alone(
    kind: str, originals: Path, bases: Path, tmp_path: Path
) -> None:
    library = looking_back(bases, tmp_path / "new") if kind == "looking back" else opened(originals / kind)
    words = ["push the block", "do what it always did", "shove it" if kind != "looking back" else "push the block"]
    alone = {text: acts(library.actor(text)) for text in words}
    together = Together(lambda text: library.names[library.select(text).chosen or 0], library.actor_of)
    together.ask(words)
    actions = np.stack([together.act(seen(step=step))[:, 0] for step in range(5)])
    assert all(np.array_equal(actions[:, row], alone[text][:, row]) for row, text in enumerate(words))
    together.ask([words[1], *words[1:]])  # the first episode begins anew, the others go on
    later = np.stack([together.act(seen(step=step))[:, 0] for step in range(5, 8)])
    longer = {text: acts(library.actor(text), 8)[5:] for text in words}
    assert all(np.array_equal(later[:, row], longer[words[row]][:, row]) for row in (1, 2))
    memory = (actor := library.actor(words[1])).start(3)
    begun = np.stack([actor.act(seen(step=step), memory) for step in range(5, 8)])
    assert np.array_equal(later[:, 0], begun[:, 0])
    with pytest.raises(SettingError, match="the batch has 3 instructions and 2 of"):
        together.act(seen(batch=2))


def test_an_actor_acts_ahead(folder: Path, bases: Path, tmp_path: Path) -> None:
    library = opened(folder)
    actor = library.actor_of("push")
    memory = actor.start(3)
    chunk = actor.chunk(seen(), memory, 4)
    assert chunk.shape == (3, 4, 2)
    assert np.array_equal(chunk[:, :2].swapaxes(0, 1), acts(actor, 2))
    assert memory.steps == 4
    with pytest.raises(SettingError, match="a chunk of 7 actions is impossible: this policy predicts 6 at a time"):
        actor.chunk(seen(), memory, 7)
    actor = looking_back(bases, tmp_path / "other").actor_of("push")
    assert actor.chunk(seen(), actor.start(3), 1).shape == (3, 1, 2)
    with pytest.raises(SettingError, match="looks at every step"):
        actor.chunk(seen(), actor.start(3), 2)


# ---------------------------------------------------------------- one kind of library


def test_it_is_managed_as_every_library(folder: Path) -> None:
    library = AttachedLibrary.open(folder)  # nobody loads the base for this
    assert library.names == ["base", "push", "pull"]
    assert [record.form for record in library.records] == ["rows", "rows", "lora"]
    assert library.select("shove it").sentence().startswith("'shove it' calls 'push'")
    library.rename("push", "shove")
    library.reword("shove", add=["move it along"])
    library.retire("pull")
    library.undo()
    assert diff(library, AttachedLibrary.open(folder)) == []
    library.remove("pull")
    assert len(library.prune()) == 1
    card = (folder / "README.md").read_text()
    assert "a policy of type act" in card
    assert "AttachedLibrary.open" in card
    assert not (folder / "config.json").exists()
    assert not (folder / "base.safetensors").exists()
    assert acts(opened(folder).actor("move it along")).shape == (5, 3, 2)


def test_each_kind_of_library_says_where_the_other_belongs(folder: Path) -> None:
    with pytest.raises(LibraryError, match="skills beside a policy of another make"):
        SkillLibrary.open(folder)


def test_an_instruction_for_no_skill_is_refused(folder: Path) -> None:
    with pytest.raises(NoSkillError, match="no skill is sure enough"):
        opened(folder).actor("make me a coffee")


def test_a_base_without_words_is_called_by_none(bases: Path, tmp_path: Path) -> None:
    library = create(tmp_path / "library", bases / "unet", wordings=())
    assert library.state.newest("base").retired
    assert acts(library.actor_of("base")).shape == (5, 3, 2)


def test_only_the_skills_that_act_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = opened(folder)
    skill = numbers(library, 3)
    entries = [library.described(f"skill-{number}", [f"press button {number}"], skill) for number in range(47)]
    library.change(lambda disk: added(library, disk, [(entry, {}) for entry in entries]))
    read: list[str] = []
    whole = Disk.read_skill
    monkeypatch.setattr(Disk, "read_skill", lambda disk, record: (read.append(record.name), whole(disk, record))[1])
    library = opened(folder)
    assert len(library.names) == 50
    first, second = library.actor("push the block"), library.actor("press button 7")
    memories = first.start(3), second.start(3)
    for step in range(4):
        first.act(seen(step=step), memories[0])
        second.act(seen(step=step), memories[1])
    assert read == ["push", "skill-7"]


# ---------------------------------------------------------------- bad input


def test_a_base_that_is_not_what_it_was_is_refused(folder: Path, bases: Path, tmp_path: Path) -> None:
    moved = tmp_path / "base"
    shutil.copytree(bases / "transformer", moved)
    assert acts(AttachedLibrary.open(folder, loader=LOADER, base=moved).actor_of("push")).shape == (5, 3, 2)
    tensors = load_file(moved / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1e-7}, moved / "model.safetensors")
    refused(folder, moved, "model.safetensors is not what it was when skills were attached")
    (moved / "model.safetensors").unlink()
    refused(folder, moved, "holds no .safetensors file")
    shutil.rmtree(moved)
    refused(folder, moved, "is not there: check its path")
    shutil.copytree(bases / "unet", moved)
    refused(folder, moved, "is not what it was")
    with pytest.raises(LibraryError, match="has other numbers, or other names for them, than the base"):
        _ = AttachedLibrary.open(folder, policy=drawn("transformer", seed=8)).attached
    with pytest.raises((LibraryError, AttachError), match=r"no module of the policy is called"):
        _ = AttachedLibrary.open(folder, policy=drawn("unet")).attached


def refused(folder: Path, base: Path, match: str) -> None:
    with pytest.raises(LibraryError, match=match):
        _ = AttachedLibrary.open(folder, loader=LOADER, base=base).attached


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"loader": ""}, LibraryError, "who makes a policy of the base is not known here"),
        ({"loader": "nobody"}, SettingError, "there is no loader 'nobody'"),
        (
            {"loader": "tests.attached.bases:fails"},
            LibraryError,
            r"loaded \(RuntimeError: no such policy\)",
        ),
        ({"loader": "tests.attached.bases:returns"}, LibraryError, "returned a Tensor and no torch module"),
        ({"loader": "tests.attached.nothing:at_all"}, SettingError, "could not be imported"),
        ({"targets": ["model.nothing"]}, AttachError, "no module of the policy is called 'model.nothing'"),
        ({"share": 0.01}, AttachError, "is the ceiling"),
        ({"revision": "main"}, SettingError, "has no revision"),
        ({"name": "a/b"}, LibraryError, "is no file name"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    bases: Path, tmp_path: Path, options: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        create(tmp_path / "library", bases / "transformer", **options)
    assert not (tmp_path / "library").exists()


def test_a_loader_that_a_file_names_is_not_run(folder: Path) -> None:
    """A stranger's library.json may name anything: only the user, or an installed package's entry point, is asked."""
    assert AttachedLibrary.open(folder).source.loader == ""
    head = read_head(folder)
    assert isinstance(head.source, Source)
    write_head(folder, msgspec.structs.replace(head, source=msgspec.structs.replace(head.source, loader=LOADER)))
    with pytest.raises(LibraryError, match=r"the base's loader 'tests.attached.bases:load' is not installed here"):
        _ = AttachedLibrary.open(folder).attached
    assert acts(opened(folder).actor_of("push")).shape == (5, 3, 2)


def test_a_skill_beside_a_base_that_changed_is_not_kept(folder: Path) -> None:
    library = opened(folder)
    skill = numbers(library, 3)
    before = {path.name for path in folder.rglob("*")}
    with torch.no_grad():
        next(iter(library.attached.maps.values())).module.weight[0, 0] += 1
    with pytest.raises(AttachError, match="of the base changed under its skills"):
        library.add("turn", ["turn the knob"], skill)
    assert {path.name for path in folder.rglob("*")} == before


def test_a_damaged_skill_is_refused_before_it_acts(folder: Path) -> None:
    path = next((folder / "skills").glob("push.*"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(LibraryError, match="its digest differs"):
        opened(folder).actor_of("push")
    assert [finding.subject for finding in verify(folder) if finding.fault] == ["push"]


def test_a_skill_of_another_base_is_not_imported(folder: Path, originals: Path, tmp_path: Path) -> None:
    export_skill(opened(originals / "unet"), "push", tmp_path)
    with pytest.raises(LibraryError, match="stands on another base"):
        import_skill(AttachedLibrary.open(folder), tmp_path / "push.skill", name="other")
    assert AttachedLibrary.open(folder).names == ["base", "push", "pull"]


# ---------------------------------------------------------------- digests of large files


def test_a_large_file_is_read_again_only_where_anything_of_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LEAST", 10)
    read: list[str] = []
    monkeypatch.setattr(digests, "digest", lambda path, error: read.append(path.name) or digest(path, error))
    file, library = tmp_path / "model.safetensors", tmp_path / "library"
    library.mkdir()
    file.write_bytes(b"numbers of a base")
    now = file.stat().st_ctime_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: now)
    assert Digests(library).of(file) == digest(file)
    assert not (library / digests.NAME).exists()  # it was written a moment ago
    now += int(60e9)
    for _ in range(3):
        assert Digests(library).of(file) == digest(file)
    assert len(read) == 2
    Digests(None).of(file)
    assert len(read) == 3
    times = file.stat()
    file.write_bytes(b"NUMBERS of a base")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same size and time, and the same inode
    assert Digests(library).of(file) == digest(file)
    (library / digests.NAME).write_text((library / digests.NAME).read_text().replace("sha256", "sha255"))
    assert Digests(library).of(file) == digest(file)
    assert len(read) == 5


def test_the_base_is_read_once_for_many_openings_and_by_verify_each_time(
    folder: Path, bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LEAST", 10)
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    read: list[str] = []
    monkeypatch.setattr(digests, "digest", lambda path, error: read.append(path.name) or digest(path, error))
    for _ in range(2):
        _ = opened(folder).attached
    assert sorted(read) == ["config.json", "model.safetensors"]
    assert not [finding for finding in verify(folder, actions=True, loader=LOADER) if finding.fault]
    assert len(read) == 4
