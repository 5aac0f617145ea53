"""Skills beside LeRobot's own policies: ACT, Diffusion Policy, SmolVLA. The base and every skill keep their bits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.policies import make_pre_post_processors
from lerobot.policies.factory import get_policy_class
from safetensors.torch import load_file, save_file
from tests.lanes.lerobot.checkpoints import KINDS, write
from tests.pictured import pictured_stores
from tests.small import make_stores
from tests.toy import TASKS

from skilltokens.attached.acting import AttachedActor
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.settings import AttachedSettings
from skilltokens.attached.verifying import verify
from skilltokens.demos import DemonstrationStore
from skilltokens.grow_attached import learn_attached
from skilltokens.settings import TrainSettings
from skilltokens.skills.parcel import export_skill, import_skill
from skilltokens.types import ACTION, STATE, Array, AttachError, LibraryError

OLD = "do what you always did"
TRAIN = TrainSettings(iterations=30, batch=8, warmup=2, log_every=1)
Stores = Callable[[str], list[DemonstrationStore]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Demonstrations of the toy robot's tasks for a kind of policy."""
    folder = tmp_path_factory.mktemp("stores")
    every = {
        "states": make_stores(folder / "states", TASKS[:3], 6),
        "pictures": pictured_stores(folder / "p", TASKS[:3]),
    }
    return lambda kind: every["states" if kind in ("act", "diffusion") else "pictures"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Callable[[str], Path]:
    """A checkpoint of each kind, whose base saw the first task's demonstrations."""
    folder = tmp_path_factory.mktemp("bases")

    def base(kind: str) -> Path:
        return folder / kind if (folder / kind).exists() else write(folder / kind, kind, stores(kind)[0])

    return base


def create(folder: Path, base: Path, store: DemonstrationStore) -> AttachedLibrary:
    return AttachedLibrary.create(folder, base, features=store.features, wordings=[OLD], share=0.4)


def teach(library: AttachedLibrary, store: DemonstrationStore, train: TrainSettings = TRAIN) -> list[float]:
    """The losses of a skill that is learned."""
    losses: list[float] = []
    learn_attached(
        library,
        store,
        train=train,
        settings=AttachedSettings(),
        report=lambda news: losses.append(news.figures["loss"]) if news.stage == "train" else None,
    )
    return losses


def acts(actor: AttachedActor, store: DemonstrationStore, steps: int = 5) -> Array:
    memory = actor.start(2)
    actions = []
    for step in range(steps):
        seen = {name: np.array(store[name][[step, step + 3]]) for name in store.features if name != ACTION}
        actions.append(actor.act(seen, memory))
    return np.stack(actions)


AGAIN = """
import sys, types
import numpy as np, torch
from pathlib import Path
torch.set_num_threads(1)
package = types.ModuleType("tests"); package.__path__ = [sys.argv[1] + "/tests"]; sys.modules["tests"] = package
from tests.lanes.lerobot.test_attached import acts
from skilltokens.attached.library import AttachedLibrary
from skilltokens.demos import DemonstrationStore
library, store = AttachedLibrary.open(sys.argv[2]), DemonstrationStore.open(sys.argv[3])
np.savez(sys.argv[4], **{name: acts(library.actor_of(name), store) for name in reversed(library.names)})
"""


def elsewhere(library: AttachedLibrary, store: DemonstrationStore, folder: Path) -> dict[str, Array]:
    """What every skill does in another process, the last one first."""
    root, target = str(Path(__file__).parents[3]), folder / "actions.npz"
    words = [sys.executable, "-c", AGAIN, root, str(library.folder), str(store.path), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(target) as content:
        return {name: content[name] for name in content}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_learns_skills_and_every_bit_stays(
    kind: str, bases: Callable[[str], Path], stores: Stores, tmp_path: Path
) -> None:
    base, (first, second, third) = bases(kind), stores(kind)
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    library = create(tmp_path / "library", base, first)
    assert library.source.loader == "lerobot"
    actions = {"base": acts(library.actor_of("base"), first)}
    for store in (second, third):
        losses = teach(library, store)
        assert np.mean(losses[-8:]) < np.mean(losses[:8])
        actions[store.task.name] = acts(library.actor(store.task.instruction), first)
        assert all(np.array_equal(acts(library.actor_of(name), first), value) for name, value in actions.items())
    assert library.state.newest(second.task.name).parameters <= 0.4 * library.parameters
    assert len({value.tobytes() for value in actions.values()}) == 3
    later = elsewhere(library, first, tmp_path)
    assert all(np.array_equal(later[name], value) for name, value in actions.items())

    export_skill(library, second.task.name, tmp_path)
    library.remove(second.task.name)
    assert np.array_equal(acts(library.actor_of(third.task.name), first), actions[third.task.name])
    library.attached.detach()
    other = create(tmp_path / "other", base, first)
    import_skill(other, tmp_path / f"{second.task.name}.skill")
    assert np.array_equal(acts(other.actor(second.task.instruction), first), actions[second.task.name])
    other.attached.detach()
    findings = verify(tmp_path / "library", actions=True)
    assert not any(finding.fault for finding in findings)
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


@pytest.mark.parametrize("kind", [*KINDS, "averaged"])
def test_the_base_acts_as_lerobot_lets_it_act(
    kind: str, bases: Callable[[str], Path], stores: Stores, tmp_path: Path
) -> None:
    """Its preprocessor, its own select_action, its postprocessor: all as lerobot-eval has them."""
    if kind == "averaged":  # ACT's temporal ensembling, which it keeps in itself
        (store, *_) = stores("act")
        base = write(tmp_path / "base", "act", store, temporal_ensemble_coeff=0.01, n_action_steps=1)
    else:
        base, (store, *_) = bases(kind), stores(kind)
    library = create(tmp_path / "library", base, store)
    actor = library.actor(OLD)
    memory = actor.start(2)
    policy = get_policy_class(library.where.type).from_pretrained(base)
    policy.requires_grad_(False)  # torch multiplies by numbers that could be trained in another order (at::matmul)
    before, behind = make_pre_post_processors(policy.config, pretrained_path=str(base))
    policy.reset()
    for step in range(5):
        seen = {name: np.array(store[name][[step, step + 3]]) for name in store.features if name != ACTION}
        batch = {
            name: torch.from_numpy(np.moveaxis(value, 3, 1) / np.float32(255) if value.ndim == 4 else value)
            for name, value in seen.items()
        }
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(step)
            action = behind(policy.select_action(before({**batch, "task": [OLD] * 2}))).numpy()
        if kind == "diffusion":  # it scales by a range, in another order of operations
            np.testing.assert_allclose(actor.act(seen, memory), action, atol=2e-6)
        else:
            np.testing.assert_array_equal(actor.act(seen, memory), action)


def test_statistics_are_the_skill_s_and_pictures_the_base_s(
    bases: Callable[[str], Path], stores: Stores, tmp_path: Path
) -> None:
    store = stores("diffusion")[1]
    library = create(tmp_path / "d", bases("diffusion"), store)
    teach(library, store, TrainSettings(iterations=2, batch=4))
    skill = library.numbers(store.task.name)
    assert skill is not None
    values = np.asarray(store[ACTION], np.float64)
    np.testing.assert_allclose(skill.statistics["action.center"], (values.min(0) + values.max(0)) / 2, rtol=1e-6)
    np.testing.assert_allclose(skill.statistics["action.unit"], (values.max(0) - values.min(0)) / 2, rtol=1e-6)
    assert "observation.environment_state.center" not in skill.statistics  # LeRobot does not scale it either

    pictured = create(tmp_path / "p", bases("pictures"), stores("pictures")[1])
    assert pictured.spreads == {STATE: None, ACTION: None}
    assert pictured.prepare is not None
    batch = {
        name: torch.rand(2, *shape) for name, shape in {STATE: (2,), "observation.images.top": (3, 40, 40)}.items()
    }
    prepared = pictured.prepare({**batch, "task": ["go"] * 2})
    assert torch.equal(prepared[STATE], batch[STATE])
    stats = load_file(next(bases("pictures").glob("policy_preprocessor*normalizer*.safetensors")))
    mean, deviation = (stats[f"observation.images.top.{part}"] for part in ("mean", "std"))
    assert torch.allclose(prepared["observation.images.top"], (batch["observation.images.top"] - mean) / deviation)


def test_a_base_whose_readings_never_moved_leaves_no_trace_in_a_skill(stores: Stores, tmp_path: Path) -> None:
    """Its deviation of 0 would make millions of a new task's readings."""
    store = stores("act")[1]
    base = write(tmp_path / "base", "act", store)
    for path in base.glob("policy_*normalizer*.safetensors"):
        stats = load_file(path)
        save_file({n: torch.zeros_like(v) if n == f"{STATE}.std" else v for n, v in stats.items()}, path)
    library = create(tmp_path / "library", base, store)
    assert float(library.base_statistics[f"{STATE}.unit"].max()) < 1e-6
    losses = teach(library, store)
    assert losses[0] < 10
    assert np.abs(acts(library.actor(store.task.instruction), store)).max() < 10


# ---------------------------------------------------------------- bad input


def damaged(base: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(base, folder)
    change(folder)
    return folder


def dropped(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def rewritten(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return write


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    for path in folder.glob("*.safetensors"):
        path.unlink()


def emptied(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.action_head.bias")
    save_file(tensors, folder / "model.safetensors")


BEFORE, BEHIND = "policy_preprocessor.json", "policy_postprocessor.json"
DAMAGE = {
    "no config": (dropped("config.json"), "who makes a policy of the base is not known here"),
    "no numbers": (dropped("model.safetensors"), "has no model.safetensors: name a folder that lerobot-train wrote"),
    "no processor": (dropped(BEFORE), "migrate_policy_normalization makes newer ones"),
    "pickled": (pickled, "holds pytorch_model.bin, which is pickled and never opened"),
    "other names": (emptied, r"could not be loaded \(RuntimeError: .*"),
    "unknown type": (rewritten("config.json", lambda c: c.update(type="nobody")), "'nobody'"),
    "a library": (
        rewritten("config.json", lambda c: c.update(type="skilltokens")),
        "is a skill library, and no policy",
    ),
    "an adapter": (rewritten("config.json", lambda c: c.update(use_peft=True)), "is an adapter of PEFT"),
    "code": (
        rewritten(BEFORE, lambda c: c["steps"].append({"class": "os.system", "config": {}})),
        "has the step a class by its path",
    ),
    "a step behind": (
        rewritten(BEHIND, lambda c: c["steps"].append({"registry_name": "molmoact2_clamp_action", "config": {}})),
        "has the step 'molmoact2_clamp_action'",
    ),
    "relative": (
        rewritten(
            BEFORE,
            lambda c: c["steps"].append({"registry_name": "relative_actions_processor", "config": {"enabled": True}}),
        ),
        "makes actions relative to the state",
    ),
    "no pipeline": (rewritten(BEFORE, lambda c: c.pop("steps")), "is no pipeline of LeRobot"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_checkpoint_is_refused_and_nothing_is_left(
    damage: str, bases: Callable[[str], Path], stores: Stores, tmp_path: Path
) -> None:
    change, sentence = DAMAGE[damage]
    place = damaged(bases("act"), tmp_path / "base", change)
    with pytest.raises(LibraryError, match=sentence):
        create(tmp_path / "library", place, stores("act")[0])
    assert not (tmp_path / "library").exists()


def test_data_of_another_robot_are_refused(bases: Callable[[str], Path], stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(
        LibraryError, match=r"reads 'observation.environment_state', float32 \(4,\), which is absent in"
    ):
        create(tmp_path / "library", bases("act"), stores("pictures")[0])
    with pytest.raises(LibraryError, match=r"reads 'observation.images.top', uint8 \(40, 40, 3\), which is absent in"):
        create(tmp_path / "library", bases("smolvla"), stores("act")[0])
    assert not (tmp_path / "library").exists()


def test_a_base_that_changed_or_is_not_installed_is_refused(
    bases: Callable[[str], Path], stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bases("act"), tmp_path / "base")
    folder = create(tmp_path / "library", tmp_path / "base", stores("act")[0]).folder
    (tmp_path / "base" / BEFORE).write_text((tmp_path / "base" / BEFORE).read_text() + " ")
    with pytest.raises(LibraryError, match=r"policy_preprocessor.json is not what it was when skills were attached"):
        _ = AttachedLibrary.open(folder).attached
    monkeypatch.setattr("skilltokens.attached.loading.entry_points", lambda group: [])
    with pytest.raises(
        LibraryError, match=r"'lerobot' is not installed here: `pip install \./plugins/lerobot_policy_skilltokens`"
    ):
        _ = AttachedLibrary.open(folder, base=bases("act")).attached


def test_the_policy_itself_is_not_saved_with_a_skill_s_head(
    bases: Callable[[str], Path], stores: Stores, tmp_path: Path
) -> None:
    library = create(tmp_path / "library", bases("act"), stores("act")[0])
    library.attached.use(library.new())
    for save in (library.attached.root.state_dict, lambda: library.attached.root.save_pretrained(tmp_path / "saved")):
        with pytest.raises(AttachError, match="asked for while a skill is active"):
            save()
    assert not (tmp_path / "saved" / "model.safetensors").exists()
