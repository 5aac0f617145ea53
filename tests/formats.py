"""A whole file or folder of every format that we read, small, and how it is read: what the tests of damage work on.

Skill libraries have their own (tests/skills).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from tests.demos.making import make_store
from tests.exchange.lerobot_sets import door_store
from tests.exchange.lerobot_sets import foreign as foreign_set
from tests.small import TRAIN, lessons, make_policy
from tests.toy import TASKS, Toy

from skilltokens.behaviour.adapt import _curve, _start
from skilltokens.behaviour.agents import MlpAgent
from skilltokens.behaviour.environments import SuiteEnvironment
from skilltokens.behaviour.ppo import check_start, ppo
from skilltokens.behaviour.settings import PpoSettings
from skilltokens.cli.job import RunJob, read_job
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.hdf5 import export_hdf5, import_hdf5
from skilltokens.exchange.lerobot import export_lerobot, import_lerobot
from skilltokens.experiments import checkpoint
from skilltokens.experiments.checkpoint import Tie
from skilltokens.experiments.experiment import EXPERIMENTS, experiment_in
from skilltokens.experiments.foreign import read_foreign
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_record, write_record
from skilltokens.experiments.records import RewardRecord
from skilltokens.experiments.settings import RunSettings
from skilltokens.language.cache import read_vector, write_vector
from skilltokens.methods.base import Training
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report.comparison.tournament import read_tournament, write_tournament
from skilltokens.report.runs import Run, read_run
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.simulation.drawing import _kept, draw_episodes
from skilltokens.tensors import State, fingerprint, write_state
from skilltokens.train import fit
from skilltokens.types import ENVIRONMENT_STATE, STATE, RunError, SkilltokensError


@dataclass(frozen=True)
class Format:
    """A format: a whole file or folder of it, and how it is read.

    Attributes:
        read: path of a copy -> what is read.
        said: what is read -> a text that is the same for equal contents only.
        unsealed: it bears no digest.
        costly: each takes long, so fewer are tried; HDF5 is read by a process of its own first.
    """

    name: str
    whole: Path
    read: Callable[[Path], Any]
    said: Callable[[Any], str]
    unsealed: bool = False
    costly: bool = False


def formats(place: Path) -> Iterator[Format]:
    """Every format, made in a folder."""
    place.mkdir(parents=True, exist_ok=True)
    yield from _demonstrations(place)
    yield from _runs(place)
    yield from _results(place)
    yield from _trainings(place)
    yield from _others(place)


# ---------------------------------------------------------------- demonstrations


def _demonstrations(place: Path) -> Iterator[Format]:
    store = make_store(place / "stores" / "push", images=True)
    yield Format("demonstration store", store.path, _verified, _demonstrated)
    exported = place / "exported" / "push.hdf5"
    exported.parent.mkdir()
    export_hdf5([store], exported)
    yield Format("HDF5 export", exported, _imported, _demonstrated, costly=True)
    foreign = place / "foreign" / "push.hdf5"
    foreign.parent.mkdir()
    export_hdf5([store], foreign)
    import h5py

    with h5py.File(foreign, "a") as file:
        for ours in (file["data"], *file["data"].values()):  # pyright: ignore[reportAttributeAccessIssue]
            del ours.attrs["skilltokens"]
    yield Format("HDF5 of others", foreign, _imported, _demonstrated, unsealed=True, costly=True)
    export_lerobot([store], place / "lerobot", fps=10)
    yield Format("LeRobot export", place / "lerobot", _imported_set, _demonstrated_all)
    others = foreign_set(place / "lerobot-of-others", [store])
    yield Format("LeRobot of others", others, _imported_set, _demonstrated_all, unsealed=True)
    filmed = foreign_set(place / "lerobot-films", [door_store(place / "stores" / "film")], videos=True)
    yield Format(
        "LeRobot of others, with a video", filmed, _imported_set, _demonstrated_all, unsealed=True, costly=True
    )
    parts = place / "drawn"
    list(draw_episodes(_Drawn(), TASKS[0], store, parts))
    part = parts / "0.episode"
    yield Format("drawn episode", part, functools.partial(_drawn, f"{store.digest} 0"), _arrays)


class _Drawn:
    def draw(self, task: object, store: DemonstrationStore, index: int) -> Any:
        return store.episode(index)


def _verified(path: Path) -> DemonstrationStore:
    store = DemonstrationStore.open(path)
    store.verify()
    assert all(store.episode(index).features.keys() == store.features.keys() for index in range(len(store)))
    return store


def _demonstrated(store: DemonstrationStore) -> str:
    """All that a store says, and no digest of its own: that could be right beside what is altered."""
    said = (store.task, store.suite, store.source, store.settings, store.versions, store.features, store.private)
    arrays = {name: np.asarray(store[name]) for name in (*store.features, *store.private)}
    return f"{said} {_arrays({**arrays, 'offsets': np.asarray(store.offsets)})}"


def _imported(path: Path) -> DemonstrationStore:
    return import_hdf5(path, path.with_name("imported"))


def _imported_set(path: Path) -> list[DemonstrationStore]:
    return import_lerobot(path, path.with_name("imported"), images=True)


def _demonstrated_all(stores: list[DemonstrationStore]) -> str:
    return " ".join(map(_demonstrated, stores))


def _drawn(which: str, path: Path) -> dict[str, Any]:
    episode = _kept(path, which)
    if episode is None:
        raise SkilltokensError("it is drawn again")
    return dict(episode.features)


def _arrays(arrays: dict[str, Any]) -> str:
    parts = [(name, array.dtype.str, array.shape, array.tobytes()) for name, array in sorted(arrays.items())]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# ---------------------------------------------------------------- runs


def small_run(demos: Path) -> RunSettings[Any]:
    """Two lessons of the toy suite, as short as a run can be."""
    return RunSettings(
        method=T2SSettings(rows_in="all"),
        suite="tests.toy:Toy",
        tasks=("reach-red", "reach-blue"),
        policy=PolicySettings(width=16, layers=1, history=2),
        train=TrainSettings(iterations=2, first_iterations=2, batch=2, window=2, log_every=1),
        evaluate=EvaluateSettings(episodes=1, group=1, points=2, horizon=2),
        demonstrations=DemonstrationSettings(episodes=2, folder=str(demos)),
    )


REWARD = {
    "schema": "skilltokens.reward/2",
    "learner": "token",
    "suite": "halfcheetah",
    "seed": 0,
    "tasks": [{"name": "reach", "instruction": "go"}],
    "model": {"parameters": 7, "fingerprints": ["ab"]},
    "results": [
        {
            "task": "reach",
            "instruction": "go",
            "steps": [0, 10],
            "successes": [3, 4],
            "lengths": [1.5, 2.5],
            "episodes": 10,
            "trained": 0,
            "seconds": 1.5,
            "prompted": [{"asked": 1.1, "speed": 0.9, "successes": 4, "episodes": 10}],
        }
    ],
    "config": {"ppo": {"rate": 0.001}, "body": "halfcheetah"},
    "versions": {},
    "started": "2026-01-01T00:00:00+00:00",
    "finished": None,
}


def _runs(place: Path) -> Iterator[Format]:
    settings = small_run(place / "demos")
    run = place / "run" / "run.json"
    learn(settings, run.parent, recipe="small")
    yield Format("run.json of a lifelong run", run, _record, _recorded)
    old = place / "old" / "run.json"
    old.parent.mkdir()
    content = {k: v for k, v in json.loads(run.read_text()).items() if k not in ("digest", "state")}
    old.write_text(json.dumps({**content, "schema": "skilltokens.run/1"}))
    yield Format("run.json without a seal", old, _record, _recorded, unsealed=True)
    reward = place / "reward" / "run.json"
    reward.parent.mkdir()
    write_record(reward.parent, msgspec.convert(REWARD, RewardRecord))
    yield Format("run.json of learning from reward", reward, _record, _recorded)
    known = json.loads(run.read_text())["state"]
    yield Format("a method's state", run.parent / "state-2.safetensors", functools.partial(_state, known), fingerprint)
    job = place / "job.json"
    RunJob(EXPERIMENTS[0], settings, place / "run", "small", "command").write(job)
    yield Format("a child's job", job, read_job, lambda job: repr(dataclasses.asdict(job)), unsealed=True)


def _record(path: Path) -> Any:
    record = read_record(path)
    experiment_in(record).settings_in(record)
    return record


def _recorded(record: Any) -> str:
    return msgspec.json.encode(record).decode()


def _state(known: str, path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_state(path.parent, 2, known)


# ---------------------------------------------------------------- results, ours together and others'


def _results(place: Path) -> Iterator[Format]:
    folder = place / "results"
    folder.mkdir()
    comparison = folder / "all.json"
    write_tournament([read_run(place / "run")], comparison)
    yield Format("comparison", comparison, read_tournament, _compared)
    lines = ("task,after,successes,episodes,outcomes", "push,1,1,2,01", "pull,2,2,2,11", "push,2,0,2,00")
    (folder / "er.csv").write_text("\n".join(("# suite: metaworld", *lines, "")))
    tests = [{"task_group": "libero_goal", "task_id": k, "metrics": {"successes": [True, False]}} for k in (0, 1)]
    (folder / "eval_info.json").write_text(json.dumps({"per_task": tests}))
    matrix = np.array([[0.5, 0.0], [0.0, 1.0]])
    torch.save({"S_conf_mat": matrix, "S_fwd": matrix[0]}, folder / "result.pt")
    np.save(folder / "matrix.npy", matrix)
    np.savez(folder / "matrix.npz", S_conf_mat=matrix)
    said = {"episodes": "2", "tasks": "push+pull"}
    names = {"er.csv": "CSV of results", "eval_info.json": "LeRobot's results", "result.pt": "LIBERO's results"}
    names |= {"matrix.npy": "LIBERO's matrix", "matrix.npz": "LIBERO's matrix, packed"}
    for file, name in names.items():
        read = functools.partial(_foreign, {} if file == "er.csv" else said)
        yield Format(name, folder / file, read, _recorded, unsealed=True)


def _compared(runs: list[Run]) -> str:
    return " ".join(_recorded(run.record) for run in runs)


def _foreign(said: dict[str, str], path: Path) -> Any:
    return read_foreign(path, said)


# ---------------------------------------------------------------- trainings


def _trainings(place: Path) -> Iterator[Format]:
    store = write_store(
        place / "toy",
        Toy().demonstrate(TASKS[0], 2, 0, 0.1),
        task=TASKS[0],
        features=Toy().features,
        source="scripted",
        suite="toy",
    )
    *_, point = fit(_training(store), _TRAIN, 2, [0.5, 1.0], 0)
    checkpoint.save_progress(place / "progress", Tie(1), point.state(), [], (1.0, 2.0))
    path = place / "progress" / "progress.safetensors"
    yield Format("a lesson in training", path, functools.partial(_progress, store), _training_said)
    settings = PpoSettings(envs=2, rollout=32, batch=64, epochs=1, hidden=(8,), critic_hidden=(8,))
    stop = next(ppo(_agent(settings), _Near, settings, [64], 0, horizon=40))
    curve = {"steps": [64], "successes": [1], "lengths": [2.0], "episodes": 4, "trained": 7, "seconds": 1.5}
    tensors, rest = stop.state()
    path = place / "adapting.safetensors"
    write_state(path, tensors, {**rest, "found": {**curve, "reward": {"steps": [], "mean": []}}, "made_with": MADE})
    yield Format("a training from reward", path, functools.partial(_adapting, settings), _adapting_said)


_TRAIN = dataclasses.replace(TRAIN, iterations=2)
MADE = {"environment": "near", "seed": 0}


class _Near(SuiteEnvironment):
    def __init__(self) -> None:
        super().__init__(Toy(), TASKS[0], 40)


def _agent(settings: PpoSettings) -> MlpAgent:
    return MlpAgent({STATE: 2, ENVIRONMENT_STATE: 4}, 2, settings, torch.Generator().manual_seed(0))


def _training(store: DemonstrationStore) -> Training:
    policy, (lesson,) = make_policy(PolicySettings(width=16, layers=1, history=2)), lessons([store])
    return Training(policy, [{"params": list(policy.parameters()), "lr": 1e-3}], [lesson])


def _progress(store: DemonstrationStore, path: Path) -> tuple[State, Any]:
    """The lesson as it goes on: its training is taken over, and read off it again."""
    before = checkpoint.load_progress(path.parent, Tie(1))
    if before is None:
        raise RunError("the lesson starts again")
    *_, point = [*fit(_training(store), _TRAIN, 2, [0.5, 1.0], 0, start=before.start), None][:1]
    if point is None:
        raise RunError("the training stopped nowhere")
    return point.state(), [before.cells, before.seconds]


def _training_said(kept: tuple[State, Any]) -> str:
    (tensors, plain), beside = kept
    return fingerprint(tensors, {"fit": plain, "beside": msgspec.to_builtins(beside)})


def _adapting(settings: PpoSettings, path: Path) -> tuple[Any, Any]:
    """As adapt() reads it; a file without a seal is refused here, since it would be told of."""
    notes: list[Any] = []
    start = _start(path, MADE, notes.append)
    if start is None or notes:
        raise RunError("there is none, or one of which something is said")
    check_start(start, _agent(settings), path)
    return start, _curve(start[1], path)


def _adapting_said(read: tuple[Any, Any]) -> str:
    (tensors, rest), curve = read
    return fingerprint(tensors, {**rest, "curve": dataclasses.asdict(curve)})


# ---------------------------------------------------------------- others


def _others(place: Path) -> Iterator[Format]:
    text = "push the puck"
    path = place / "cache" / "one.vector"
    write_vector(path, text, np.linspace(-1, 1, 24, dtype=np.float32))
    yield Format("sentence vector", path, functools.partial(_vector, text), lambda vector: vector.tobytes().hex())


def _vector(text: str, path: Path) -> Any:
    vector = read_vector(path, text)
    if vector is None:
        raise SkilltokensError("it is made again")
    return vector
