"""Processes that share a training: two end as one, a mistake in one ends all, what cannot be shared is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.methods.interrupted import run_of
from tests.pair import work
from tests.small import SKILL_METHODS, TRAIN, lessons, make_policy, train

from skilltokens import distributed
from skilltokens.demos import DemonstrationStore
from skilltokens.distributed import Team
from skilltokens.experiments import lifelong
from skilltokens.methods import load_method, method_of, method_settings
from skilltokens.methods.base import Method, Training
from skilltokens.methods.examples import Examples
from skilltokens.methods.rule import Now, Rule, shareable
from skilltokens.methods.t2s import T2SSettings
from skilltokens.settings import TrainSettings
from skilltokens.train import fit
from skilltokens.types import SettingError

HERE = "tests.test_distributed"
SETTINGS = dataclasses.replace(TRAIN, batch=7, observation_noise=0.1, weight_decay=0.01, clip=0.2)
"""Of a batch that two processes share unequally, with noise, decay and clipping."""
METHODS: dict[str, Any] = {
    **{name: method_settings(name)() for name in ("sequential", "single_task", "multitask", "er", "agem", "ewc")},
    **{name: method_settings(name)() for name in ("packnet", "prompts", "t2s-paper", "head_only")},
    "full_copy": dataclasses.replace(method_settings("full_copy")(), pull=0.1),
    "lora": SKILL_METHODS["lora"],
    "t2s": T2SSettings(),
    "t2s gates first": dataclasses.replace(SKILL_METHODS["t2s gates"], gates_first=0.5),
}
"""Settings of methods whose batches processes can share: with rules on examples, losses, gradients and parameters."""
CLOSE = 1e-5
"""How near losses, relatively, and parameters, absolutely, are to those of one process after eight steps."""


def begun(name: str, settings: TrainSettings = SETTINGS) -> Method:
    chosen = METHODS.get(name) or method_settings(name)()
    return load_method(method_of(chosen))(make_policy().to(settings.device), chosen, settings, 0)


def learned(
    name: str, stores: Sequence[DemonstrationStore], settings: TrainSettings = SETTINGS
) -> dict[str, torch.Tensor]:
    """Losses and trained parameters of two lessons, or of one where they are joint."""
    method, tensors = begun(name, settings), {}
    plan = lessons(stores, joint=method.joint)
    method.check(len(plan))
    for lesson in plan:
        training = method.begin(lesson)
        *_, last = fit(training, settings, 8, [0.0, 0.5, 1.0], seed=3)
        tensors[f"{lesson.index}.loss"] = torch.tensor(last.record.loss)
        tensors |= {f"{lesson.index}.{i}": p.detach().cpu().clone() for i, p in enumerate(training.parameters())}
        method.finish(lesson)
    return tensors


def opened(folder: str) -> list[DemonstrationStore]:
    return [DemonstrationStore.open(path) for path in sorted(Path(folder).iterdir())[:2]]


def everything(team: Team, folder: str, out: str, *names: str) -> None:
    """What this process learns by each method, and what it sees of mistakes between them, written to files."""
    torch.set_num_threads(1)
    stores = opened(folder)
    said = {name: seen(team, stores, name) for name in (*FAULTS, *REFUSED) if name != KILLED}
    Path(out, f"said.{team.rank}").write_text(json.dumps(said))
    with team.at_work():  # behind all the failures
        for name in names:
            save_file(learned(name, stores), Path(out) / f"{name}.{team.rank}")
    said[KILLED] = seen(team, stores, KILLED)
    Path(out, f"said.{team.rank}").write_text(json.dumps(said))


def seen(team: Team, stores: Sequence[DemonstrationStore], name: str) -> str:
    """The exception that a training ends with in this process."""
    try:
        with team.at_work():
            if name in REFUSED:
                REFUSED[name](team, stores)
            else:
                train(from_scratch(stores, Fails(team.rank, name)))
    except BaseException as problem:
        return f"{type(problem).__name__}: {problem}"
    return ""


KILLED = "killed"
FAULTS: dict[str, tuple[int, BaseException]] = {
    "mistake": (1, SettingError("the second one erred")),
    "fault": (1, ZeroDivisionError("by nought")),
    "interruption": (0, KeyboardInterrupt()),
    KILLED: (1, SystemExit()),
}
"""Which process fails at the third step, and how."""


class Fails(Rule):
    def __init__(self, rank: int, name: str) -> None:
        who, fault = FAULTS[name]
        self.fault, self.killed = fault if who == rank else None, name == KILLED

    def gradients(self, now: Now) -> None:
        if self.fault is not None and now.step == 2:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.fault


def from_scratch(stores: Sequence[DemonstrationStore], rule: Rule | None = None) -> Training:
    policy, (lesson,) = make_policy(), lessons(stores[:1])
    return Training(policy, [{"params": list(policy.parameters()), "lr": 1e-3}], [lesson], rule or Rule())


def a_small_batch(_: Team, stores: Sequence[DemonstrationStore]) -> None:
    train(from_scratch(stores), dataclasses.replace(TRAIN, batch=1))


def one_gpu(_: Team, stores: Sequence[DemonstrationStore]) -> None:
    train(from_scratch(stores), dataclasses.replace(TRAIN, device="cuda:1"))


def a_rule_that_reads_the_batch(_: Team, stores: Sequence[DemonstrationStore]) -> None:
    train(from_scratch(stores, Reads()))


def a_foreign_loss(_: Team, stores: Sequence[DemonstrationStore]) -> None:
    training = from_scratch(stores)
    training.loss = lambda now: torch.zeros((), requires_grad=True)
    train(training)


def other_seeds(team: Team, stores: Sequence[DemonstrationStore]) -> None:
    train(from_scratch(stores), TRAIN, team.rank)


def other_numbers(team: Team, stores: Sequence[DemonstrationStore]) -> None:
    training = from_scratch(stores)
    if not team.leads:
        torch.nn.init.zeros_(training.parameters()[0])
    train(training)


def other_demonstrations(team: Team, stores: Sequence[DemonstrationStore]) -> None:
    training = from_scratch(stores)
    training.lessons = lessons([stores[team.rank]])
    train(training)


REFUSED = {
    function.__name__: function
    for function in (
        *(a_small_batch, one_gpu, a_rule_that_reads_the_batch, a_foreign_loss),
        *(other_seeds, other_numbers, other_demonstrations),
    )
}
"""What is refused before a training."""
SAID = {
    "a_small_batch": "train.batch 1 cannot be shared among 2 processes: raise it, or start fewer",
    "one_gpu": "train.device cuda:1 is one GPU for 2 processes: write cuda, and each takes the GPU of its own number",
    "a_rule_that_reads_the_batch": "the loss of the rule Reads depends on the batch as a whole, which processes cannot "
    "share: leave out torchrun, or choose another method",
    "a_foreign_loss": "beside another make's policy one process learns: leave out torchrun",
}


class Reads(Rule):
    def loss(self, loss: torch.Tensor, learned: Examples, now: Now) -> torch.Tensor:
        return loss + learned.action.mean()


@pytest.fixture(scope="module")
def pair(toy_stores: list[DemonstrationStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have done together."""
    out = tmp_path_factory.mktemp("pair")
    first, second = work(f"{HERE}:everything", str(toy_stores[0].path.parent), str(out), "t2s", "sequential")
    assert first.returncode == 0, first.stderr
    assert second.returncode == -signal.SIGKILL, second.stderr
    return out


def check_alike(stores: Sequence[DemonstrationStore], out: Path, names: Sequence[str], size: int) -> None:
    for name in names:
        alone, first = learned(name, opened(str(stores[0].path.parent))), load_file(out / f"{name}.0")
        assert alone.keys() == first.keys()
        for number in range(1, size):
            other = load_file(out / f"{name}.{number}")
            assert all(torch.equal(value, other[key]) for key, value in first.items()), name
        for key, value in alone.items():
            relative, absolute = (CLOSE, 0.0) if key.endswith("loss") else (0.0, CLOSE)
            said = f"{name} {key}: {{}}".format
            torch.testing.assert_close(first[key], value, rtol=relative, atol=absolute, msg=said)


def test_two_processes_give_the_losses_and_parameters_of_one(toy_stores: list[DemonstrationStore], pair: Path):
    check_alike(toy_stores, pair, ["t2s", "sequential"], 2)


@pytest.mark.slow
def test_so_do_three_with_every_kind_of_rule(toy_stores: list[DemonstrationStore], tmp_path: Path):
    work(f"{HERE}:everything", str(toy_stores[0].path.parent), str(tmp_path), *METHODS, size=3)
    check_alike(toy_stores, tmp_path, list(METHODS), 3)
    first, second, third = (json.loads((tmp_path / f"said.{rank}").read_text()) for rank in range(3))
    assert first["fault"] == "DistributedError: process 1 of 3 failed: by nought"
    assert second["fault"] == "ZeroDivisionError: by nought"
    assert third["fault"] == third["mistake"] == third["interruption"] == second["interruption"] == "Left: "


def on_gpus(team: Team, folder: str, out: str) -> None:
    with team.at_work():
        save_file(learned("t2s", opened(folder), ON_GPU), Path(out, f"t2s.{team.rank}"))


ON_GPU = dataclasses.replace(SETTINGS, device="cuda")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
def test_two_gpus_give_the_losses_of_one(toy_stores: list[DemonstrationStore], tmp_path: Path):
    folder = str(toy_stores[0].path.parent)
    for process in work(f"{HERE}:on_gpus", folder, str(tmp_path)):
        assert process.returncode == 0, process.stderr
    alone, first = learned("t2s", opened(folder), ON_GPU), load_file(tmp_path / "t2s.0")
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4)


def test_a_mistake_in_one_process_ends_both(pair: Path):
    first, second = (json.loads((pair / f"said.{rank}").read_text()) for rank in range(2))
    assert first["mistake"] == "DistributedError: process 1 of 2 failed: the second one erred"
    assert second["mistake"] == "SettingError: the second one erred"
    assert first["fault"] == "DistributedError: process 1 of 2 failed: by nought"
    assert second["fault"] == "ZeroDivisionError: by nought"
    assert first["interruption"] == "KeyboardInterrupt: "
    assert second["interruption"] == "Left: "
    assert first[KILLED].startswith("DistributedError: the processes lost each other")


@pytest.mark.parametrize("rank", [0, 1])
def test_what_cannot_be_shared_is_refused_in_all_before_the_training(rank: int, pair: Path):
    said = json.loads((pair / f"said.{rank}").read_text())
    for name in REFUSED:
        sentence = SAID.get(name, "processes 1 and 0 begin this training from other numbers")
        if rank and name not in SAID:
            sentence = sentence.replace("1 and 0", "0 and 1")
        assert said[name].startswith(f"SettingError: {sentence}"), name


def test_a_rule_that_may_read_the_batch_is_not_shared_unless_it_says_otherwise():
    rule = Reads()
    assert not shareable(rule)
    rule.of_parameters = True
    assert shareable(rule)
    assert shareable(Rule())


@pytest.mark.parametrize("name", ["lwf", "psec"])
def test_a_run_whose_later_lessons_cannot_be_shared_is_refused_before_its_first(
    name: str, toy_demos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distributed, "_at_work", Team(cast(Any, None), 0, 2))
    with pytest.raises(SettingError, match=f"the loss of {name} depends on the batch as a whole"):
        lifelong.learn(run_of(method_settings(name)(), toy_demos), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK 2 is not below it"),
        ({"WORLD_SIZE": "many", "RANK": "0"}, "invalid literal"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "MASTER_ADDR"),
    ],
)
def test_no_group_of_processes_is_said(environment: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=rf"WORLD_SIZE is \w+, but no group of processes can be made .*{reason}"):
        distributed.join()


def test_alone_there_is_no_team():
    assert distributed.current() is None
    assert distributed.processes() == 1
    assert not distributed.follows()
    distributed.leave()
