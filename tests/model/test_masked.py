"""Several tasks in one batch, each with rows of its own: what the masks let through."""

from __future__ import annotations

import numpy as np
import torch
from tests.small import lessons, make_policy

from skilltokens.demos import DemonstrationStore
from skilltokens.model.masked import masked_policy, rows_alone
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import Policy

UNION = torch.arange(0, 24, 2)


def masked(base: Policy, stores: list[DemonstrationStore]) -> tuple[Policy, list[Policy], dict[str, torch.Tensor]]:
    """A policy of two tasks with eight of twelve rows each in every map."""
    draw, (lesson,) = torch.Generator().manual_seed(0), lessons(stores[:2], joint=True)
    masks = {path: torch.zeros(2, 12, dtype=torch.bool) for path in base.maps()}
    for mask in masks.values():
        for task in mask:
            task[torch.randperm(12, generator=draw)[:8]] = True
    sentences = [torch.as_tensor(np.array(vectors)) for vectors in lesson.embeddings]
    return *masked_policy(base, dict.fromkeys(base.maps(), UNION), masks, sentences), masks


def seen(store: DemonstrationStore, base: Policy, windows: int) -> dict[str, torch.Tensor]:
    steps = np.arange(windows)[:, None] + np.arange(6)
    return {name: torch.tensor(np.asarray(store[name])[steps]) for name in base.shape.scales}


def test_each_window_is_computed_with_its_tasks_rows(toy_stores: list[DemonstrationStore]):
    base = make_policy()
    policy, parts, masks = masked(base, toy_stores)
    observation = seen(toy_stores[0], base, 4)
    (lesson,) = lessons(toy_stores[:2], joint=True)
    tasks = [0, 1, 1, 0]
    words = torch.as_tensor(np.stack([lesson.embeddings[task][-1] for task in tasks]))
    together = policy(observation, words)
    for window, task in enumerate(tasks):
        alone = {name: value[window : window + 1] for name, value in observation.items()}
        torch.testing.assert_close(together[window], parts[task](alone, words[window : window + 1])[0])
        by_hand = base.derive({path: rows_alone(_map(base, path), UNION[masks[path][task]]) for path in base.maps()})
        torch.testing.assert_close(together[window], by_hand(alone, words[window : window + 1])[0])
    assert not torch.allclose(together[0], parts[1]({n: v[:1] for n, v in observation.items()}, words[:1])[0])


def test_a_windows_gradient_reaches_its_tasks_rows_alone(toy_stores: list[DemonstrationStore]):
    base = make_policy().requires_grad_(False)
    policy, _, masks = masked(base, toy_stores)
    (lesson,) = lessons(toy_stores[:2], joint=True)
    words = torch.as_tensor(np.stack([lesson.embeddings[1][0]] * 3))
    policy(seen(toy_stores[1], base, 3), words).square().sum().backward()
    for path, part in policy.maps().items():
        for parameter in part.parameters():
            assert parameter.grad is not None
            assert not parameter.grad[~masks[path][1]].any()
            assert (parameter.grad[masks[path][1]].norm(dim=1) > 0).all()
    assert all(parameter.grad is None for parameter in base.parameters())


def test_what_a_part_computes_with_is_the_masked_maps_own(toy_stores: list[DemonstrationStore]):
    policy, parts, _ = masked(make_policy(), toy_stores)
    assert parts[0].fingerprint() != parts[1].fingerprint()  # of the same numbers, other rows
    before = parts[0].fingerprint()
    with torch.no_grad():
        policy.get_parameter("layers.0.q.key").add_(1.0)
    assert parts[0].fingerprint() != before


def test_rows_alone_are_copies_with_the_same_tau():
    whole = Pattention(16, 8, 8, torch.Generator().manual_seed(0))
    alone = rows_alone(whole, torch.tensor([3, 5]))
    assert alone.tau == whole.tau
    assert torch.equal(alone.value, whole.value[[3, 5]])
    with torch.no_grad():
        alone.value.zero_()
    assert whole.value[3].any()


def _map(base: Policy, path: str) -> Pattention:
    part = base.maps()[path]
    assert isinstance(part, Pattention)
    return part
