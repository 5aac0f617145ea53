"""Action heads against torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from skilltokens.model.heads import MixtureHead, RegressionHead, make_head

X = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))
ACTION = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1))


def test_regression_predicts_and_is_scored_by_its_squared_error():
    head = make_head("regression", 8, 2, 0, torch.Generator().manual_seed(2))
    assert isinstance(head, RegressionHead)
    torch.testing.assert_close(head.loss(X, ACTION), ((head(X) - ACTION) ** 2).mean(-1))


def test_the_mixture_is_scored_by_its_likelihood_and_acts_by_its_likeliest_mode():
    head = make_head("mixture", 8, 2, 3, torch.Generator().manual_seed(2))
    assert isinstance(head, MixtureHead)
    weights, means, deviations = head.parts(X)
    mixture = MixtureSameFamily(Categorical(logits=weights), Independent(Normal(means, deviations.exp()), 1))
    torch.testing.assert_close(head.loss(X, ACTION), -mixture.log_prob(ACTION))
    best = weights.argmax(-1)
    for i in range(4):
        for j in range(5):
            assert torch.equal(head(X)[i, j], means[i, j, best[i, j]])
    assert len({tuple(mode) for mode in means[0, 0].tolist()}) == 3
