"""Exported skills act without torch as they do with it, and say by how much they differ."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.skills.making import LANGUAGE, first, make_library, vectors
from tests.small import variants

from skilltokens.deploy import runner
from skilltokens.deploy.exporting import TOLERANCE, compared, export_skill
from skilltokens.methods.base import generator_of
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    STATE,
    Feature,
    LibraryError,
    Scale,
    SettingError,
    SkilltokensError,
)

FORMS = ("base", "push", "pull", "turn", "copy", "steer")
IMAGE = "observation.images.top"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SkillLibrary:
    return make_library(tmp_path_factory.mktemp("deploy") / "library")


def library_of(folder: Path, features: dict[str, Feature], scales: dict[str, Scale], settings: PolicySettings):
    """A library of one skill, the base, with numbers of chance that act: a head that moves."""
    policy = Policy(Shape.of(features, scales, LANGUAGE), settings, generator_of(0, 0)).requires_grad_(False)
    policy.head.map.weight.mul_(20)
    return SkillLibrary.create(folder, policy, first(), features, "minilm", {})


@pytest.mark.parametrize("name", FORMS)
def test_a_skill_of_every_form_acts_in_numpy_as_in_torch(library: SkillLibrary, name: str, tmp_path: Path) -> None:
    card = export_skill(library, name, tmp_path / "out", "numpy")
    assert card.difference is not None
    assert card.difference <= TOLERANCE
    skill = runner.Skill(tmp_path / "out" / "skill.npz")
    actor, random = library.actor_of(name), np.random.default_rng(3)
    memory = actor.start(1)
    for _ in range(9):
        seen = {n: random.normal(size=f.shape).astype(np.float32) for n, f in skill_features(skill).items()}
        action = actor.act({n: value[None] for n, value in seen.items()}, memory)[0]
        np.testing.assert_allclose(skill.act(seen), action, rtol=0, atol=TOLERANCE)


def skill_features(skill: runner.Skill) -> dict[str, Feature]:
    return {name: Feature(tuple(f["shape"]), f["dtype"]) for name, f in skill.card["features"].items()}


@pytest.mark.parametrize(
    "settings",
    [
        *variants(step=("joint", "separate"), maps=("pattention", "linear"), head=("regression", "mixture")),
        *variants(head=("regression", "mixture"), chunk=(3,)),
    ],
    ids=lambda s: f"{s.step}-{s.maps}-{s.head}-{s.chunk}",
)
def test_policies_of_every_kind_and_sets_and_own_units_act_in_numpy(settings: PolicySettings, tmp_path: Path) -> None:
    features = {STATE: Feature((2,)), ENVIRONMENT_STATE: Feature((3, 4)), ACTION: Feature((2,))}
    scales = {
        STATE: Scale((10.0, 0.0), (90.0, 0.1)),
        ENVIRONMENT_STATE: Scale((0.0,) * 4, (1.0,) * 4),
        ACTION: Scale((45.0, 0.5), (60.0, 0.4)),
    }
    library = library_of(tmp_path / "library", features, scales, settings)
    card = export_skill(library, "base", tmp_path / "out", "numpy")
    assert card.units == "in the robot's own units"
    skill, actor, random = (
        runner.Skill(tmp_path / "out" / "skill.npz"),
        library.actor_of("base"),
        np.random.default_rng(0),
    )
    memory, actions = actor.start(1), []
    for step in range(8):
        things = random.normal(size=(3, 4)).astype(np.float32)
        things[:, 0] = np.arange(3) < 1 + step % 3  # full slots come first
        seen = {STATE: np.float32(random.normal(size=2) * [90, 0.1]), ENVIRONMENT_STATE: things}
        actions.append(actor.act({name: value[None] for name, value in seen.items()}, memory)[0])
        assert (np.abs(skill.act(seen) - actions[-1]) / [60.0, 0.4]).max() <= TOLERANCE
    assert np.ptp(actions, axis=0).max() > 1  # it moves, in degrees


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [False, True], ids=["states", "pictures"])
def test_a_skill_acts_in_onnx_as_in_torch(pictures: bool, tmp_path: Path) -> None:
    features = {STATE: Feature((2,)), ENVIRONMENT_STATE: Feature((3, 4)), ACTION: Feature((2,))}
    if pictures:
        features[IMAGE] = Feature((32, 32, 3), "uint8")
    scales = {STATE: Scale((0.0, 0.0), (1.0, 1.0)), ENVIRONMENT_STATE: Scale((0.0,) * 4, (1.0,) * 4)}
    settings = PolicySettings(width=16, layers=2, history=4)
    library = library_of(tmp_path / "library", features, scales, settings)
    card = export_skill(library, "base", tmp_path / "out")
    assert card.difference is not None
    assert card.difference <= TOLERANCE
    assert "Not the same bits" in (tmp_path / "out" / "README.md").read_text()
    skill, actor = runner.Skill(tmp_path / "out" / "skill.onnx"), library.actor_of("base")
    assert compared(tmp_path / "out" / "skill.onnx", actor, library.features)[0] == card.difference
    assert skill.card["skill"] == "base"


def test_a_robot_needs_numpy_alone(library: SkillLibrary, tmp_path: Path) -> None:
    export_skill(library, "pull", tmp_path / "out", "numpy")
    code = (
        "import sys, numpy as np\n"
        "from runner import Skill\n"
        "skill = Skill('skill.npz')\n"
        "seen = {n: np.zeros(f['shape']) for n, f in skill.card['features'].items()}\n"
        "print(skill.act(seen).tolist())\n"
        "print(sorted(m for m in ('torch', 'skilltokens', 'safetensors') if m in sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    action, others = result.stdout.splitlines()
    assert len(json.loads(action)) == 2
    assert others == "[]"


def test_the_runner_says_what_is_wrong_and_its_memory_does_not_move(library: SkillLibrary, tmp_path: Path) -> None:
    export_skill(library, "push", tmp_path / "out", "numpy")
    skill, other = (runner.Skill(tmp_path / "out" / "skill.npz") for _ in range(2))
    seen = {name: np.zeros(feature.shape, np.float32) for name, feature in skill_features(skill).items()}
    width = len(seen[STATE])
    for bad, message in (
        ({name: value for name, value in seen.items() if name != STATE}, "lacks 'observation.state'"),
        ({**seen, STATE: np.zeros(width + 1)}, "has shape"),
        ({**seen, STATE: np.full(width, np.nan)}, r"holds nan at entry \(0,\)"),
        ({**seen, STATE: np.full(width, "x")}, "where numbers are needed"),
    ):
        with pytest.raises(ValueError, match=message):
            skill.act(bad)
    np.testing.assert_array_equal(skill.act(seen), other.act(seen))


def test_what_numpy_cannot_read_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    features = {STATE: Feature((2,)), IMAGE: Feature((32, 32, 3), "uint8"), ACTION: Feature((2,))}
    scales = {STATE: Scale((0.0, 0.0), (1.0, 1.0))}
    library = library_of(tmp_path / "library", features, scales, PolicySettings(width=16, layers=1, history=2))
    with pytest.raises(SettingError, match="looks at pictures"):
        export_skill(library, "base", tmp_path / "out", "numpy")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(LibraryError, match="holds no exported skill"):
        export_skill(library, "base", tmp_path / "mine", "numpy")
    with pytest.raises(LibraryError):
        export_skill(library, "nobody", tmp_path / "out", "numpy")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_skill_that_acts_otherwise_is_refused(library: SkillLibrary, tmp_path: Path) -> None:
    export_skill(library, "push", tmp_path / "out", "numpy")
    other = PolicyActor(library.policy_of("pull"), vectors(["do pull"])[0])
    with pytest.raises(SkilltokensError, match="differ from torch's"):
        compared(tmp_path / "out" / "skill.npz", other, library.features)
    assert replace(export_skill(library, "push", tmp_path / "out", "numpy")).compared > 0  # it is replaced


class Robot:
    """What the page's code moves: it shows numbers of chance, and keeps what it was told to do."""

    def __init__(self, features: dict[str, Feature]) -> None:
        self.features, self.actions = features, []

    def observe(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(len(self.actions) % 200)
        return {name: random.normal(size=f.shape).astype(np.float32) for name, f in self.features.items()}

    def do(self, action: np.ndarray) -> None:
        self.actions.append(action)


@pytest.mark.slow
def test_the_code_of_deploying_md_acts_by_both_files(
    library: SkillLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_skill(library, "push", tmp_path / "robot" / "push", "numpy")
    content = (tmp_path / "robot" / "push" / "skill.npz").read_bytes()
    export_skill(library, "push", tmp_path / "robot" / "push")
    (tmp_path / "robot" / "push" / "skill.npz").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "runner", runner)
    monkeypatch.setattr(library, "actor", lambda _, traced: library.actor_of("push", traced=traced))
    robot = Robot({n: f for n, f in library.features.items() if n != ACTION})
    observation = {name: value[None] for name, value in robot.observe().items()}
    names = {"robot": robot, "library": library, "observation": observation}
    page = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, "deploying.md", "exec"), names)
    first, second = np.split(np.array(robot.actions), 2)  # the same 200 observations, by NumPy and by ONNX
    np.testing.assert_allclose(first, second, rtol=0, atol=2 * TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((32, 32, 3), np.zeros((32, 32, 3), np.uint8), "is a picture of uint8 where floats from 0 to 1 are needed"),
        ((32, 32, 3), np.full((32, 32, 3), 255.0), "is a picture outside of 0 to 1"),
        ((2, 2), np.array([[0.3, 1.0], [0.0, 0.0]]), "needs slots whose first number is 1"),
        ((2, 2), np.array([[0.0, 0.0], [1.0, 1.0]]), "needs slots whose first number is 1"),
    ],
)
def test_the_runner_takes_nothing_for_what_it_is_not(shape: tuple[int, ...], value: np.ndarray, message: str) -> None:
    feature = {"shape": list(shape), "dtype": "float32"}
    good = np.zeros(shape, np.float32)
    assert runner._checked("x", feature, {"x": good}) is not None
    with pytest.raises(ValueError, match=message):
        runner._checked("x", feature, {"x": value})


def test_the_figures_of_deploying_md_are_those_that_were_measured() -> None:
    root = Path(__file__).parents[2]
    ways = json.loads((root / "results" / "latency" / "latency.json").read_text())["ways"]
    page = (root / "docs" / "deploying.md").read_text()
    rows = {"torch": "`library.actor(...)`", "traced": "traced=True", "onnx": "to ONNX", "numpy": "to NumPy"}
    for way, words in rows.items():
        (line,) = (line for line in page.splitlines() if line.startswith("|") and words in line)
        assert f"{ways[way]['p50']:.2f} and {ways[way]['p99.9']:.2f} ms" in line
