"""fit(): the same words give the same numbers, whole or interrupted, and mistakes are told."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.small import SKILL_METHODS, TRAIN, changed, lessons, make_method, make_policy, numbers, teach, train

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments import checkpoint
from skilltokens.methods.base import Training
from skilltokens.methods.examples import Source, imitation
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.kernels import TORCH, kernel_for
from skilltokens.optimizer import JoinedAdamW
from skilltokens.settings import TrainSettings
from skilltokens.train import Point, fit, rate_factor
from skilltokens.types import Progress, RunError, SkilltokensError

NOISY = dataclasses.replace(TRAIN, iterations=8, observation_noise=0.1, weight_decay=0.01)


def second(name: str, stores: list[DemonstrationStore]) -> Training:
    """A skill that is about to be trained."""
    method = make_method(SKILL_METHODS[name])
    plan = lessons(stores[:2])
    teach(method, plan[0])
    return method.begin(plan[1])


def whole(store: DemonstrationStore, rate: float = 1e-3) -> Training:
    """A policy that is about to be trained from scratch."""
    policy, (lesson,) = make_policy(), lessons([store])
    return Training(policy, [{"params": list(policy.parameters()), "lr": rate}], [lesson])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(toy_stores: list[DemonstrationStore]):
    endings = []
    for seed in (0, 0, 1):
        training = second("t2s gates", toy_stores)
        record = train(training, NOISY, seed)
        endings.append((numbers(training.policy), vars(record)))
    assert endings[0][1] == endings[1][1] != endings[2][1]
    assert all(torch.equal(endings[0][0][name], endings[1][0][name]) for name in endings[0][0])
    assert not torch.equal(endings[0][0]["head.map.weight"], endings[2][0]["head.map.weight"])


@pytest.mark.parametrize(
    ("name", "kernel"), [("t2s gates", "torch"), ("t2s gates", "numba"), ("t2s bend", "torch"), ("lora", "torch")]
)
def test_training_goes_on_from_every_point_bit_for_bit(
    name: str, kernel: Literal["torch", "numba"], toy_stores: list[DemonstrationStore], tmp_path: Path
):
    settings = dataclasses.replace(NOISY, kernel=kernel)
    points, training = [0.0, 0.25, 0.5, 0.75, 1.0], second(name, toy_stores)
    stops: list[Point] = []
    for index, point in enumerate(fit(training, settings, 8, points, seed=3)):
        checkpoint.save_progress(tmp_path / str(index), checkpoint.Tie(1), point.state(), [], (0.0, 0.0))
        stops.append(point)
    assert [(point.step, point.progress) for point in stops] == [(round(8 * p), p) for p in points]
    after, record = numbers(training.policy), json.loads(json.dumps(vars(stops[-1].record)))
    for index in range(5):
        again = second(name, toy_stores)
        before = checkpoint.load_progress(tmp_path / str(index), checkpoint.Tie(1))
        assert before is not None
        *_, last = fit(again, settings, 8, points, seed=99, start=before.start)
        assert not changed(after, again.policy)
        assert vars(last.record) == record
        assert last.state()[1] == stops[-1].state()[1]


def test_the_kernel_computes_the_steps_and_nothing_that_is_done_at_a_point(toy_stores: list[DemonstrationStore]):
    endings = []
    for kernel in ("torch", "numba", "numba"):
        training = second("t2s gates", toy_stores)
        for _ in fit(training, dataclasses.replace(NOISY, kernel=kernel), 8, [0.5, 1.0], seed=3):
            assert kernel_for(torch.zeros(1)) is TORCH
        endings.append((numbers(training.policy), training.policy))
    (by_torch, _), (by_numba, policy), (_, again) = endings
    assert changed(by_torch, policy)
    assert not changed(by_numba, again)
    for name, value in by_torch.items():
        torch.testing.assert_close(by_numba[name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("began", "now"), [("torch", "numba"), ("numba", "torch")])
def test_a_training_does_not_go_on_by_another_kernel(
    began: Literal["torch", "numba"], now: Literal["torch", "numba"], toy_stores: list[DemonstrationStore]
):
    first = dataclasses.replace(NOISY, kernel=began)
    state = next(iter(fit(second("t2s gates", toy_stores), first, 8, [0.5, 1.0], 0))).state()
    later = fit(second("t2s gates", toy_stores), dataclasses.replace(NOISY, kernel=now), 8, [0.5, 1.0], 0, start=state)
    with pytest.raises(RunError, match=f"began with the kernel '{began}'.*resume it with --train.kernel {began}"):
        next(later)
    if began == "torch":
        del state[1]["kernel"]  # as states were before there were kernels
        assert next(fit(second("t2s gates", toy_stores), NOISY, 8, [0.5, 1.0], 0, start=state)).step == 8


@pytest.mark.parametrize("average", [0.98, 0.0])
def test_stops_on_the_way_change_no_bit(average: float, toy_stores: list[DemonstrationStore]):
    settings = dataclasses.replace(NOISY, average=average)
    straight, stopped = second("t2s gates", toy_stores), second("t2s gates", toy_stores)
    (last,) = fit(straight, settings, 8, [1.0], seed=3)
    reached: list[Point] = []
    for point in fit(stopped, settings, 8, [(i + 1) / 8 for i in range(8)], seed=3):
        assert point.state()[1]["step"] == point.step
        reached.append(point)
    assert [point.step for point in reached] == list(range(1, 9))
    assert not changed(numbers(straight.policy), stopped.policy)
    assert vars(last.record) == vars(reached[-1].record)


def test_points_are_met_in_their_order_and_need_not_begin_at_zero(toy_stores: list[DemonstrationStore]):
    steps = [point.step for point in fit(whole(toy_stores[0]), TRAIN, 6, [1 / 3, 1.0], 0)]
    assert steps == [2, 6]


@given(st.integers(1, 2000), st.integers(0, 200))
def test_the_rate_warms_up_and_falls_by_a_cosine(total: int, warmup: int):
    rates = [rate_factor(step, total, warmup) for step in range(total)]
    assert all(0 <= rate <= 1 for rate in rates)
    late = rates[warmup:]
    assert late == sorted(late, reverse=True)
    for step in range(0, total, max(total // 7, 1)):
        cosine = 0.5 * (1 + math.cos(math.pi * step / total))
        assert rates[step] == pytest.approx(cosine * min(1, (step + 1) / max(warmup, 1)))
    assert rate_factor(total, total, 0) == pytest.approx(0)


def test_each_group_follows_the_cosine_from_its_own_peak(
    toy_stores: list[DemonstrationStore], monkeypatch: pytest.MonkeyPatch
):
    used: list[list[float]] = []
    step = JoinedAdamW.step

    def watched(self: JoinedAdamW) -> None:
        used.append([group["lr"] for group in self.param_groups])
        step(self)

    monkeypatch.setattr(JoinedAdamW, "step", watched)
    settings = SKILL_METHODS["t2s"]
    train(second("t2s", toy_stores), dataclasses.replace(TRAIN, iterations=5))
    used = used[-5:]
    assert used == [
        [settings.rate * f, settings.own_rate * f] for f in (rate_factor(i, 5, TRAIN.warmup) for i in range(5))
    ]


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_ends_training_with_a_sentence(log_every: int, toy_stores: list[DemonstrationStore]):
    settings = dataclasses.replace(TRAIN, iterations=6, log_every=log_every)
    with pytest.raises(SkilltokensError, match=r"the loss became (nan|inf) at step \d: lower the learning rate"):
        train(whole(toy_stores[0], rate=1e25), settings)


@pytest.mark.parametrize("name", [name for name, chosen in SKILL_METHODS.items() if isinstance(chosen, T2SSettings)])
def test_shared_rows_have_no_gradient_and_specific_rows_have_some(name: str, toy_stores: list[DemonstrationStore]):
    method = make_method(SKILL_METHODS[name])
    assert isinstance(method, T2S)
    plan = lessons(toy_stores[:3])
    teach(method, plan[0])
    teach(method, plan[1])
    record = train(method.begin(plan[2]))
    assert record.iterations == [0, 1, 2, 3]
    assert len(record.loss) == 4
    assert record.gradients.keys() == method.skills[2].active.keys()
    assert len(record.gradients) == (2 if method.settings.rows_in == "feed-forward" else 10)
    for norms in record.gradients.values():
        assert norms["shared"] == [0.0] * 4
        assert len(norms["specific"]) == 4
        assert min(norms["specific"]) > 0


def test_losses_are_written_down_every_so_often_and_at_the_end(toy_stores: list[DemonstrationStore]):
    reports: list[Progress] = []
    points = fit(whole(toy_stores[0]), dataclasses.replace(TRAIN, log_every=4), 10, [1.0], 0, report=reports.append)
    (point,) = points
    assert point.record.iterations == [0, 4, 8, 9]
    assert all(math.isfinite(loss) for loss in point.record.loss)
    assert (reports[-1].stage, reports[-1].done, reports[-1].total) == ("train", 10, 10)


def test_training_learns(toy_stores: list[DemonstrationStore]):
    settings = TrainSettings(iterations=60, batch=16, window=12, log_every=1, warmup=5)
    record = train(whole(toy_stores[0], rate=5e-3), settings)
    assert sum(record.loss[-5:]) < 0.4 * sum(record.loss[:5])


def test_several_lessons_have_equal_shares(toy_stores: list[DemonstrationStore]):
    plan, policy, rng = lessons(toy_stores[:3]), make_policy(), np.random.default_rng([5, 7])
    # the draws of one training step
    alone = [imitation(policy, Source(lesson, TRAIN).draw(rng), TRAIN, rng).item() for lesson in plan]
    training = Training(policy, [{"params": list(policy.parameters()), "lr": 0.0}], plan)
    loss = train(training, dataclasses.replace(TRAIN, iterations=1), seed=5).loss[0]
    assert loss == pytest.approx(sum(alone) / 3, rel=1e-5)
    assert all(abs(loss - other) > 1e-3 * loss for other in alone)


def test_half_precision_trains_close_to_full_precision(toy_stores: list[DemonstrationStore]):
    records = []
    for precision in ("float32", "bfloat16"):
        settings = dataclasses.replace(TRAIN, precision=precision)
        records.append(train(second("t2s", toy_stores), settings))
    assert records[1].loss == pytest.approx(records[0].loss, rel=0.1)
    assert all(norms["shared"] == [0.0] * 4 for norms in records[1].gradients.values())
