"""Low-rank changes that begin along the loss's gradients, T2S's bend and LoRA's adapter alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import EVERYWHERE, POLICY, TRAIN, act, called, lessons, make_method, make_policy, observations, teach

from skilltokens.configuration import check_settings
from skilltokens.demos import DemonstrationStore
from skilltokens.methods.examples import imitation
from skilltokens.methods.gradients import Judged, along
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.lowrank import leaves, matrices
from skilltokens.types import SettingError

BENT = replace(EVERYWHERE, bend=1.0, own_rate=5e-3, bend_along="gradient")
ADAPTED = LoraSettings(along="gradient")
both = pytest.mark.parametrize("chosen", [BENT, ADAPTED], ids=["t2s", "lora"])


def down(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The lower matrices of a low-rank change, by map and matrix, whatever the method calls them."""
    return {
        name.replace(".bend.", ".").replace(".down.", "."): t.detach()
        for name, t in tensors.items()
        if ".down." in name
    }


def test_the_rows_are_the_largest_singular_vectors_and_what_the_gradient_does_not_know_stays():
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(size, size, generator=draw))[0] for size in (7, 5))
    gradient = left[:, :2] @ torch.diag(torch.tensor([3.0, 2.0])) @ right[:2]
    drawn = torch.randn(4, 5, generator=draw)
    rows = along(gradient, drawn)
    torch.testing.assert_close((rows[:2] @ right[:2].T).abs(), torch.eye(2), rtol=0, atol=1e-5)
    zero = along(torch.zeros(7, 5), drawn)
    assert torch.equal(zero, drawn)
    assert torch.equal(along(gradient, drawn[:1]), rows[:1])


@both
@pytest.mark.parametrize("maps", ["pattention", "linear"])
def test_a_fresh_change_holds_all_of_the_gradient_that_its_rank_can(
    chosen: T2SSettings | LoraSettings, maps: str, toy_stores: list[DemonstrationStore]
):
    if maps == "linear" and isinstance(chosen, T2SSettings):
        pytest.skip("T2S grows Pattention alone")
    plan = lessons(toy_stores[:2])
    method = make_method(chosen, make_policy(replace(POLICY, maps=maps)))
    teach(method, plan[0])
    policy = method.begin(plan[1]).policy
    seen, embedding = observations(toy_stores[1], 10), plan[1].embeddings[0][0]
    np.testing.assert_allclose(act(policy, embedding, seen), act(method.base, embedding, seen), rtol=0, atol=1e-5)
    paths = [path for path, _ in leaves(method.base)]
    changes = Judged(method.base, plan[1], TRAIN, 0).gradients(paths)
    rows = down(dict(policy.named_parameters()))
    assert len(rows) == sum(len(matrices(part)) for _, part in leaves(method.base))
    for path, by_name in changes.items():
        for name, gradient in by_name.items():
            basis = rows[f"{path}.{name}"]
            most = torch.linalg.svdvals(gradient)[: len(basis)].square().sum()
            torch.testing.assert_close((gradient @ basis.T).square().sum(), most, rtol=1e-3, atol=1e-9)


def test_the_whole_bend_along_gradients_is_lora_along_gradients(toy_stores: list[DemonstrationStore]):
    plan, methods = lessons(toy_stores[:2]), [make_method(BENT), make_method(ADAPTED)]
    for method in methods:
        for lesson in plan:
            teach(method, lesson)
    seen = observations(toy_stores[1], 10)
    mine, other = (called(method, plan[1], seen) for method in methods)
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)


@both
def test_its_first_step_gains_more_than_along_random_directions(
    chosen: T2SSettings | LoraSettings, toy_stores: list[DemonstrationStore]
):
    plan, losses = lessons(toy_stores[:2]), []
    random = {"bend_along": "random"} if isinstance(chosen, T2SSettings) else {"along": "random"}
    for settings in (chosen, replace(chosen, **random)):
        method = make_method(settings)
        teach(method, plan[0])
        policy = method.begin(plan[1]).policy
        uppers = [p for name, p in policy.named_parameters() if ".up." in name]
        judged = Judged(method.base, plan[1], TRAIN, 0)
        batch = next(judged.batches())
        loss = imitation(policy, batch, TRAIN, judged.draw)
        steps = torch.autograd.grad(loss, uppers)
        with torch.no_grad():
            for upper, step in zip(uppers, steps, strict=True):
                upper -= 1e-2 * step
            losses.append(float(imitation(policy, batch, TRAIN, judged.draw) - loss))
    assert losses[0] < 1.5 * losses[1] < 0


@both
def test_an_interrupted_run_ends_with_the_same_bits(chosen: T2SSettings | LoraSettings, tmp_path: Path):
    check_interrupted(run_of(chosen, tmp_path / "demos"), tmp_path)


def test_a_direction_for_no_bend_is_refused():
    with pytest.raises(SettingError, match=r"method\.bend-along gradient bends nothing: set method\.bend"):
        check_settings(T2SSettings(bend=0.0, bend_along="gradient"), "method")
