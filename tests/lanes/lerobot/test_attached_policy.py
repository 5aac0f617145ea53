"""A library beside a policy of LeRobot's as a LeRobot policy: it acts in batches of several skills, lerobot-train
teaches it, lerobot-eval calls its skills by their sentences."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.datasets import LeRobotDatasetMetadata
from tests import toy
from tests.lanes.lerobot.checkpoints import write
from tests.lanes.lerobot.test_attached import OLD, TRAIN, create, teach
from tests.pictured import pictured_stores
from tests.small import make_stores
from tests.toy import TASKS

from lerobot_policy_skilltokens.modeling_skilltokens_attached import SkilltokensAttachedPolicy
from skilltokens.attached.library import AttachedLibrary
from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.lerobot import export_lerobot
from skilltokens.types import ACTION, Array, AttachError, DemonstrationError, NoSkillError, SettingError

RED, BLUE = (task.instruction for task in TASKS[:2])
KINDS = ("act", "diffusion", "pictures")
Shown = tuple[Path, list[DemonstrationStore]]


@pytest.fixture(scope="module", params=KINDS)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A library with two skills beside a checkpoint of a kind, and the demonstrations."""
    folder = tmp_path_factory.mktemp(request.param)
    pictured = request.param == "pictures"
    stores = (pictured_stores if pictured else make_stores)(folder / "stores", TASKS[:2])
    library = create(folder / "library", write(folder / "base", request.param, stores[0]), stores[0])
    for store in stores:
        teach(library, store, TRAIN)
    library.attached.detach()
    return library.folder, stores


def seen(store: DemonstrationStore, step: int, rows: int = 3) -> dict[str, Array]:
    return {
        n: np.array(store[n][[(step + 2 * row) % store.steps for row in range(rows)]])
        for n in store.features
        if n != ACTION
    }


def batch(observation: dict[str, Array], task: Any) -> dict[str, Any]:
    """As lerobot-eval hands it on: pictures as floats with the colours in front, and no action."""
    pictured = {n: np.moveaxis(v, 3, 1) / np.float32(255) if v.ndim == 4 else v for n, v in observation.items()}
    return {**{name: torch.from_numpy(value) for name, value in pictured.items()}, ACTION: None, "task": task}


def alone(library: AttachedLibrary, words: str, store: DemonstrationStore, steps: range) -> Array:
    actor = library.actor(words)
    memory = actor.start(3)
    return np.stack([actor.act(seen(store, step), memory) for step in steps])


def test_each_row_of_a_batch_has_the_very_actions_of_its_skill(shown: Shown) -> None:
    folder, (store, _) = shown
    policy = SkilltokensAttachedPolicy.from_pretrained(folder)
    sentences = [BLUE, OLD, RED]
    actions = np.stack([policy.select_action(batch(seen(store, step), sentences)).numpy() for step in range(5)])
    for row, words in enumerate(sentences):
        np.testing.assert_array_equal(actions[:, row], alone(policy.library, words, store, range(5))[:, row])
    assert len({actions[:, row].tobytes() for row in range(3)}) == 3

    # the first row is told something else, in the middle of what was planned; the others go on
    later = np.stack([policy.select_action(batch(seen(store, s), [RED, OLD, RED])).numpy() for s in range(5, 8)])
    np.testing.assert_array_equal(later[:, 0], alone(policy.library, RED, store, range(5, 8))[:, 0])
    for row, words in ((1, OLD), (2, RED)):
        np.testing.assert_array_equal(later[:, row], alone(policy.library, words, store, range(8))[5:, row])
    policy.reset()
    again = policy.select_action(batch(seen(store, 0), sentences)).numpy()
    np.testing.assert_array_equal(again, actions[0])
    chunk = policy.predict_action_chunk(batch(seen(store, 0), [RED, BLUE, RED]))
    assert chunk.shape[0] == 3
    assert chunk.shape[2] == 2
    policy.reset()
    with pytest.raises(NoSkillError, match="bake a cake"):
        policy.select_action(batch(seen(store, 0), [RED, "bake a cake", RED]))


def test_more_actions_for_a_look(shown: Shown) -> None:
    folder, (store, _) = shown
    config = PreTrainedConfig.from_pretrained(folder, cli_overrides=["--n_action_steps=5"])
    policy = SkilltokensAttachedPolicy.from_pretrained(folder, config=config)
    assert policy.attached.root.config.n_action_steps == 5  # pyright: ignore
    if policy.library.where.looks_at is None:
        assert policy.predict_action_chunk(batch(seen(store, 0), RED)).shape == (3, 5, 2)
    config.n_action_steps = 100
    with pytest.raises(SettingError, match="n_action_steps 100 is impossible"):
        SkilltokensAttachedPolicy.from_pretrained(folder, config=config)


# ---------------------------------------------------------------- teaching


@pytest.fixture(scope="module")
def act(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library with one skill beside ACT, and the folder with data sets of the toy robot's other tasks."""
    folder = tmp_path_factory.mktemp("teaching")
    stores = make_stores(folder / "stores", TASKS, 6)
    library = create(folder / "library", write(folder / "base", "act", stores[0]), stores[0])
    teach(library, stores[0])
    library.attached.detach()
    for store in stores:
        export_lerobot([store], folder / store.task.name, fps=10)
    return library.folder, folder


def run(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = str(Path(sys.executable).parent / command)
    return subprocess.run([path, *words], capture_output=True, text=True, check=False)


def train(library: Path, data: Path, output: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(
        "lerobot-train",
        f"--policy.path={library}",
        "--dataset.repo_id=local/toy",
        f"--dataset.root={data}",
        f"--output_dir={output}",
        *("--steps=12", "--save_freq=6", "--batch_size=8", "--num_workers=0", "--persistent_workers=false"),
        *("--env_eval_freq=0", "--log_freq=4"),
        *words,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "skills").iterdir()}


def test_lerobot_train_teaches_and_lerobot_eval_calls(
    act: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, folder = act
    before = files(library)
    told = ("--policy.skill=blue", "--policy.kind=lora", '--policy.wordings=["park at the blue dot"]')
    done = train(library, folder / "reach-blue", tmp_path / "one", *told)
    assert done.returncode == 0, done.stderr[-3000:]
    one = tmp_path / "one" / "checkpoints" / "last" / "pretrained_model"
    done = train(one, folder / "between", tmp_path / "two", "--policy.skill=between")
    assert done.returncode == 0, done.stderr[-3000:]
    two = tmp_path / "two" / "checkpoints" / "last" / "pretrained_model"
    assert files(library) == before
    grown = AttachedLibrary.open(two)
    assert grown.names == ["base", "reach-red", "blue", "between"]
    assert files(one).items() <= files(two).items()
    assert files(library).items() <= files(one).items()
    assert [(record.form, *record.wordings[:1]) for record in grown.records[2:]] == [
        ("lora", "park at the blue dot"),  # what the first was told is not for the second
        ("rows", TASKS[2].instruction),
    ]
    skill = grown.numbers("between")
    assert skill is not None
    assert any(float(part.key.abs().max()) > 0 for part in skill.beside.values())  # pyright: ignore
    grown.attached.detach()

    shutil.copy(toy.__file__, tmp_path / "table.py")  # a suite of the working folder
    monkeypatch.chdir(tmp_path)
    done = run(
        "lerobot-eval",
        f"--policy.path={two}",
        *("--env.type=skilltokens", "--env.suite=table:Toy", "--env.task=reach-red,between", "--env.horizon=6"),
        *("--eval.n_episodes=2", "--eval.batch_size=2", "--eval.use_async_envs=false", "--seed=0"),
        f"--output_dir={tmp_path / 'eval'}",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    info = json.loads((tmp_path / "eval" / "eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 4


def test_what_lerobot_train_sees_is_the_skill_alone(act: tuple[Path, Path], tmp_path: Path) -> None:
    library, folder = act
    config = PreTrainedConfig.from_pretrained(library, cli_overrides=["--skill=blue"])
    meta = LeRobotDatasetMetadata("local/toy", root=folder / "reach-blue")
    policy = SkilltokensAttachedPolicy.from_pretrained(library, config=config, dataset_meta=meta)
    assert policy.lesson is not None
    policy.train()
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    groups = [parameter for group in policy.get_optim_params() for parameter in group["params"]]
    assert {id(parameter) for parameter in trained} == {id(parameter) for parameter in groups}
    assert sum(parameter.numel() for parameter in trained) == policy.lesson.skill.parameters
    assert all(group["weight_decay"] == 0 for group in policy.get_optim_params())
    assert config.get_optimizer_preset().weight_decay == 0

    draw = torch.Generator().manual_seed(0)
    shapes = {"observation.state": (2,), "observation.environment_state": (4,), ACTION: (6, 2)}
    drawn = {name: torch.randn(4, *shape, generator=draw) for name, shape in shapes.items()}
    drawn["action_is_pad"] = torch.zeros(4, 6, dtype=torch.bool)
    loss, figures = policy.forward({**drawn, "task": [BLUE] * 4, "index": torch.arange(4)})
    loss.backward()
    assert figures is not None
    assert all(parameter.grad is not None for parameter in trained)
    assert not [n for n, p in policy.named_parameters() if not p.requires_grad and p.grad is not None]

    # nothing but the library leaves it: the base's state with the skill's head in it would be taken for the base
    with pytest.raises(AttachError, match="asked for while a skill is active"):
        policy.state_dict()
    policy.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("model*"))
    assert AttachedLibrary.open(tmp_path / "saved").names == ["base", "reach-red", "blue"]
    assert policy.attached.active is policy.lesson.skill
    assert policy.training


@pytest.mark.parametrize(
    ("changes", "data", "error", "message"),
    [
        ({}, "reach-blue", SystemExit, r"--policy\.skill=NAME"),
        ({"skill": "a/b"}, "reach-blue", Exception, "is no file name"),
        ({"skill": "new", "rows": 10_000}, "reach-blue", AttachError, "are not between 1 and"),
        ({"skill": "new", "start": "nobody"}, "reach-blue", Exception, "nobody"),
        ({"skill": "new"}, "other", DemonstrationError, "reads 'observation.environment_state' of shape"),
        ({"skill": "new"}, "several", DemonstrationError, r"shows 2 tasks, and a skill is one"),
    ],
)
def test_what_cannot_be_taught_is_one_sentence(
    act: tuple[Path, Path], changes: dict[str, Any], data: str, error: type[BaseException], message: str, tmp_path: Path
) -> None:
    library, folder = act
    config = PreTrainedConfig.from_pretrained(library)
    for name, value in changes.items():
        setattr(config, name, value)
    if data in ("other", "several"):
        stores = (
            pictured_stores(tmp_path / "p", TASKS[:1]) if data == "other" else make_stores(tmp_path / "s", TASKS[:2])
        )
        export_lerobot(stores, tmp_path / "data", fps=10, robot="toy")
    root = tmp_path / "data" if data in ("other", "several") else folder / data
    meta = LeRobotDatasetMetadata("local/toy", root=root)
    before = files(library)
    with pytest.raises(error, match=message):
        SkilltokensAttachedPolicy.from_pretrained(library, config=config, dataset_meta=meta)
    assert files(library) == before


def test_without_a_library_there_is_no_policy() -> None:
    with pytest.raises(SettingError, match=r"--policy\.path"):
        SkilltokensAttachedPolicy(PreTrainedConfig.get_choice_class("skilltokens_attached")(device="cpu"))
