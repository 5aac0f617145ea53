"""Rules: called in their order, resumed bit for bit, kept apart from the batches, and refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small import TRAIN, changed, lessons, make_policy, numbers, train
from torch import Tensor

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments import checkpoint
from skilltokens.methods.base import Training
from skilltokens.methods.examples import Examples, Source
from skilltokens.methods.rule import Now, Rule
from skilltokens.settings import TrainSettings
from skilltokens.train import Record, fit
from skilltokens.types import STATE, SkilltokensError

NOISY = dataclasses.replace(TRAIN, iterations=8, observation_noise=0.1, weight_decay=0.01)


def training_of(store: DemonstrationStore, rule: Rule | None = None) -> Training:
    policy, (lesson,) = make_policy(), lessons([store])
    return Training(policy, [{"params": list(policy.parameters()), "lr": 1e-3}], [lesson], rule or Rule())


class Replay(Rule):
    """Windows of another task behind the new ones; writes down what was learned from."""

    def __init__(self, store: DemonstrationStore, settings: TrainSettings) -> None:
        self.source = Source(lessons([store])[0], settings)
        self.learned: list[Examples] = []

    def examples(self, new: Examples, now: Now) -> Examples:
        return new.joined(self.source.draw(now.generator))

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        self.learned.append(learned)
        return loss


class Watch(Rule):
    """Writes down what was learned from; with a number, draws so many of its own beside it."""

    def __init__(self, draws: int = 0) -> None:
        self.draws, self.learned = draws, list[Examples]()

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        now.generator.random(self.draws)
        self.learned.append(learned)
        return loss


class Restless(Rule):
    """Its pull depends on what it drew before: all of it must survive an interruption."""

    def __init__(self, policy: torch.nn.Module) -> None:
        self.policy = policy
        self.kept["pull"] = torch.zeros(())

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        return loss + self.kept["pull"] * sum(p.square().sum() for p in self.policy.parameters())

    def stepped(self, now: Now) -> None:
        self.kept["pull"] = self.kept["pull"] + 0.1 * float(now.generator.random())


# ------------------------------------------------ the order of a step


class Order(Rule):
    """Writes down its calls, with what each must find."""

    def __init__(self, policy: torch.nn.Module) -> None:
        self.policy, self.calls = policy, list[str]()

    def norm(self) -> float:
        return math.sqrt(sum(float(p.grad.square().sum()) for p in self.policy.parameters() if p.grad is not None))

    def examples(self, new: Examples, now: Now) -> Examples:
        self.calls.append(f"examples {now.step}/{now.total}")
        return new

    def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
        self.calls.append("loss")
        return 1000 * loss

    def gradients(self, now: Now) -> None:
        self.calls.append("gradients")
        assert self.norm() > 1  # not yet clipped
        for parameter in self.policy.parameters():
            assert parameter.grad is not None
            parameter.grad *= 3

    def figures(self) -> dict[str, dict[str, float]]:
        self.calls.append("figures")
        return {"all": {"norm": self.norm()}}

    def stepped(self, now: Now) -> None:
        self.calls.append("stepped")
        assert self.norm() == pytest.approx(1, rel=1e-3)  # clipped
        assert not torch.is_grad_enabled()


def test_a_step_calls_the_hooks_in_their_order(toy_stores: list[DemonstrationStore]):
    training = training_of(toy_stores[0])
    training.rule = rule = Order(training.policy)
    record = train(training, dataclasses.replace(TRAIN, iterations=3, log_every=2))
    first, middle, last = ([f"examples {i}/3", "loss", "gradients", "figures", "stepped"] for i in range(3))
    middle.remove("figures")
    assert rule.calls == first + middle + last
    assert record.iterations == [0, 2]
    assert len(record.gradients["all"]["norm"]) == 2
    assert min(record.gradients["all"]["norm"]) > 3


def test_figures_keep_their_names():
    record = Record()
    record.note(0, 1.0, {"a": {"norm": 1.0}})
    with pytest.raises(SkilltokensError, match="figures have other names at step 5"):
        record.note(5, 1.0, {"a": {"norm": 1.0, "more": 2.0}})


# ------------------------------------------------ draws


def test_a_rule_that_draws_for_itself_leaves_the_batches_alone(toy_stores: list[DemonstrationStore]):
    watches = [Watch(), Watch(draws=5)]
    records = [train(training_of(toy_stores[0], watch), NOISY) for watch in watches]
    assert records[0].loss == records[1].loss


def test_the_new_task_is_seen_the_same_with_and_without_replay(toy_stores: list[DemonstrationStore]):
    watch, replay = Watch(), Replay(toy_stores[1], NOISY)
    train(training_of(toy_stores[0], watch), NOISY)
    train(training_of(toy_stores[0], replay), NOISY)
    batch, noises = NOISY.batch, []
    assert len(watch.learned) == len(replay.learned) == 8
    for alone, both in zip(watch.learned, replay.learned, strict=True):
        assert both.parts == (batch, batch)
        assert torch.equal(alone.observation[STATE], both.observation[STATE][:batch])
        assert torch.equal(alone.words, both.words[:batch])
        assert alone.noise is not None
        assert both.noise is not None
        assert torch.equal(alone.noise[STATE], both.noise[STATE][:batch])
        noises.append(both.noise[STATE][batch:])
    assert not torch.equal(noises[0], noises[1])
    assert float(torch.stack(noises).std()) == pytest.approx(0.1, rel=0.1)


def test_noise_of_a_rules_own_is_taken_and_changes_no_batch(toy_stores: list[DemonstrationStore]):
    class Silent(Watch):
        def examples(self, new: Examples, now: Now) -> Examples:
            return dataclasses.replace(new, noise={name: 0 * value for name, value in new.observation.items()})

    silent, watch = Silent(), Watch()
    for rule in (silent, watch):
        train(training_of(toy_stores[0], rule), NOISY)
    assert all(not value.any() for learned in silent.learned for value in (learned.noise or {}).values())
    assert torch.equal(silent.learned[-1].observation[STATE], watch.learned[-1].observation[STATE])


# ------------------------------------------------ interruptions


@pytest.mark.parametrize("average", [0.98, 0.0])
def test_training_by_a_rule_resumes_from_every_point_bit_for_bit(
    average: float, toy_stores: list[DemonstrationStore], tmp_path: Path
):
    settings = dataclasses.replace(NOISY, average=average)

    def fresh() -> Training:
        training = training_of(toy_stores[0])
        training.rule = Restless(training.policy)
        return training

    points, whole = [0.0, 0.25, 0.5, 1.0], fresh()
    for index, point in enumerate(fit(whole, settings, 8, points, seed=3)):
        checkpoint.save_progress(tmp_path / str(index), checkpoint.Tie(1), point.state(), [], (0.0, 0.0))
    for index in range(len(points)):
        again = fresh()
        before = checkpoint.load_progress(tmp_path / str(index), checkpoint.Tie(1))
        assert before is not None
        *_, _ = fit(again, settings, 8, points, seed=3, start=before.start)
        assert not changed(numbers(whole.policy), again.policy)
        assert torch.equal(again.rule.kept["pull"], whole.rule.kept["pull"])
    other = fresh()
    for _ in fit(other, settings, 8, [1.0], seed=4):
        pass
    assert not torch.equal(other.rule.kept["pull"], whole.rule.kept["pull"])


def test_a_training_saved_before_there_were_rules_resumes(toy_stores: list[DemonstrationStore]):
    whole, again = training_of(toy_stores[0]), training_of(toy_stores[0])
    first, *_ = [point.state() for point in fit(whole, NOISY, 8, [0.5, 1.0], seed=3)]
    tensors, plain = first
    plain.pop("rule")
    *_, _ = fit(again, NOISY, 8, [0.5, 1.0], seed=3, start=(tensors, plain))
    assert not changed(numbers(whole.policy), again.policy)


# ------------------------------------------------ what is held still


class Hold(Rule):
    """Puts back nine of ten entries after every step."""

    def __init__(self, policy: torch.nn.Module) -> None:
        draw = torch.Generator().manual_seed(0)
        self.parameters = list(policy.parameters())
        self.held = [torch.rand(p.shape, generator=draw) < 0.9 for p in self.parameters]
        self.still = [p.detach().clone() for p in self.parameters]

    def stepped(self, now: Now) -> None:
        for parameter, held, still in zip(self.parameters, self.held, self.still, strict=True):
            parameter.copy_(torch.where(held, still, parameter))


@pytest.mark.parametrize("average", [0.98, 0.0])
def test_weight_decay_moves_no_entry_that_a_rule_holds_still(average: float, toy_stores: list[DemonstrationStore]):
    settings = dataclasses.replace(NOISY, average=average)
    training = training_of(toy_stores[0])
    training.rule = rule = Hold(training.policy)
    for _ in fit(training, settings, 8, [0.5, 1.0], seed=0):
        for parameter, held, still in zip(rule.parameters, rule.held, rule.still, strict=True):
            assert torch.equal(parameter[held], still[held])
            assert not torch.equal(parameter, still) or held.all()
    for parameter, held, still in zip(rule.parameters, rule.held, rule.still, strict=True):
        assert torch.equal(parameter[held], still[held])


class Prune(Rule):
    """Sets half of the entries to zero after four steps, and holds them there."""

    def __init__(self, policy: torch.nn.Module) -> None:
        draw = torch.Generator().manual_seed(0)
        self.parameters = list(policy.parameters())
        self.gone = [torch.rand(p.shape, generator=draw) < 0.5 for p in self.parameters]

    def stepped(self, now: Now) -> None:
        if now.step >= 3:
            for parameter, gone in zip(self.parameters, self.gone, strict=True):
                parameter.masked_fill_(gone, 0.0)
        if now.step == 3:
            now.restart()


@pytest.mark.parametrize("average", [0.98, 0.0])
def test_a_restart_reaches_the_average_and_the_optimizer_and_resumes(
    average: float, toy_stores: list[DemonstrationStore]
):
    settings = dataclasses.replace(NOISY, average=average)

    def fresh() -> Training:
        training = training_of(toy_stores[0])
        training.rule = Prune(training.policy)
        return training

    whole, states = fresh(), []
    assert isinstance(whole.rule, Prune)
    for point in fit(whole, settings, 8, [0.25, 0.5, 0.75, 1.0], seed=3):
        zero = [
            not parameter[gone].any() for parameter, gone in zip(whole.rule.parameters, whole.rule.gone, strict=True)
        ]
        assert all(zero) == (point.step >= 4)  # at once, though an average is shown
        states.append(point.state())
    steps = [{float(t) for name, t in tensors.items() if name.endswith(".step")} for tensors, _ in states]
    assert steps == [{2.0}, set(), {2.0}, {4.0}]
    for state in states:
        again = fresh()
        *_, _ = fit(again, settings, 8, [0.25, 0.5, 0.75, 1.0], seed=3, start=state)
        assert not changed(numbers(whole.policy), again.policy)


# ------------------------------------------------ refusals

FAULTS: dict[str, tuple[Callable[[Examples], Any], str]] = {
    "nothing": (lambda new: None, "a NoneType is no Examples"),
    "rows": (lambda new: dataclasses.replace(new, words=new.words[:5]), r"words is \(5, 24\), where .* \(8, 24\)"),
    "widths": (lambda new: dataclasses.replace(new, words=new.words[:, :5]), r"words is \(8, 5\), where .* \(8, 24\)"),
    "steps": (lambda new: dataclasses.replace(new, mask=new.mask[:, 1:]), r"mask is \(8, 11\), where .* \(8, 12\)"),
    "parts": (lambda new: dataclasses.replace(new, parts=(8, 8)), r"words is .*, where parts \(8, 8\) ask for \(16,"),
    "no part": (lambda new: dataclasses.replace(new, parts=()), r"parts \(\) has an empty part, or none"),
    "an empty part": (lambda new: dataclasses.replace(new, parts=(8, 0)), r"parts \(8, 0\) has an empty part"),
    "precision": (lambda new: dataclasses.replace(new, action=new.action.double()), r"action is torch.float64, where"),
    "an array": (lambda new: dataclasses.replace(new, mask=new.mask.numpy()), "mask is a ndarray, not a tensor"),
    "a feature": (
        lambda new: dataclasses.replace(new, observation={**new.observation, STATE: new.observation[STATE][..., :1]}),
        r"feature 'observation.state' is \(8, 12, 1\), where .* \(8, 12, 2\)",
    ),
    "another feature": (
        lambda new: dataclasses.replace(new, observation={**new.observation, "touch": new.mask}),
        "the demonstrations have no feature 'touch'",
    ),
    "noise": (
        lambda new: dataclasses.replace(new, noise={STATE: torch.zeros(8, 12)}),
        r"noise on feature 'observation.state' is \(8, 12\), where",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_examples_of_other_shapes_are_refused_in_a_sentence(name: str, toy_stores: list[DemonstrationStore]):
    act, sentence = FAULTS[name]

    class Wrong(Rule):
        def examples(self, new: Examples, now: Now) -> Examples:
            return act(new)

    with pytest.raises(SkilltokensError, match="the rule Wrong returned examples that cannot be .*: " + sentence):
        train(training_of(toy_stores[0], Wrong()))


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda loss: None, "a NoneType is no tensor"),
        (lambda loss: loss.item(), "a float is no tensor"),
        (lambda loss: loss + torch.zeros(8), r"its shape is \(8,\), not \(\): take its mean"),
        (lambda loss: loss.detach(), "it has no gradient"),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused_in_a_sentence(
    act: Callable[[Tensor], Any], sentence: str, toy_stores: list[DemonstrationStore]
):
    class Wrong(Rule):
        def loss(self, loss: Tensor, learned: Examples, now: Now) -> Tensor:
            return act(loss)

    with pytest.raises(SkilltokensError, match="the rule Wrong returned a loss that cannot be minimised: " + sentence):
        train(training_of(toy_stores[0], Wrong()))


def test_a_state_that_holds_no_tensors_is_refused_in_a_sentence(toy_stores: list[DemonstrationStore]):
    class Wrong(Rule):
        def state(self) -> dict[str, Any]:
            return {"seen": 3}

    (point,) = fit(training_of(toy_stores[0], Wrong()), TRAIN, 4, [1.0], seed=0)
    with pytest.raises(SkilltokensError, match="the rule Wrong cannot be saved: 'seen' of its state is a int"):
        point.state()
