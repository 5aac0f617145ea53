"""Mean ranks and their critical difference: the table of the paper that brought them, and what has none."""

from __future__ import annotations

import numpy as np
import pytest

from skilltokens.report.comparison.ranks import Ranks, ranks_of

QUANTILES = (2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
"""Table 5a of Demsar, JMLR 7 (2006): q at .05 of Nemenyi's test, for three methods to ten."""


@pytest.mark.parametrize(("count", "quantile"), list(enumerate(QUANTILES, start=3)))
def test_the_critical_difference_is_that_of_the_papers_table(count: int, quantile: float):
    tasks = 14
    success = np.random.default_rng(count).random((count, tasks))
    standing = ranks_of([str(place) for place in range(count)], success)
    assert isinstance(standing, Ranks)
    assert standing.distance == pytest.approx(quantile * np.sqrt(count * (count + 1) / (6 * tasks)), abs=1e-3)
    assert sum(standing.means) == pytest.approx(count * (count + 1) / 2)
    assert list(standing.means) == sorted(standing.means)


def test_methods_in_the_same_order_on_every_task_have_whole_ranks():
    success = np.array([np.linspace(0.1, 0.5, 6) + offset for offset in (0.0, 0.4, 0.2)])
    standing = ranks_of(["low", "high", "middle"], success)
    assert isinstance(standing, Ranks)
    assert (standing.labels, standing.means) == (("high", "middle", "low"), (1.0, 2.0, 3.0))
    assert standing.p == pytest.approx(np.exp(-6), rel=1e-6)  # chi-squared 2 N of 2 degrees of freedom


def test_bars_join_runs_of_methods_and_none_lies_inside_another():
    def bars(*means: float) -> list[tuple[int, int]]:
        return Ranks(tuple("abcdef"[: len(means)]), means, 10, 0.01, 1.0).cliques

    assert bars(1.0, 1.5, 2.2, 4.0) == [(0, 1), (1, 2)]
    assert bars(1.0, 1.4, 1.9, 4.0, 4.5) == [(0, 2), (3, 4)]
    assert bars(1.0, 3.0, 5.0) == []


def test_methods_that_are_all_alike_have_no_ranks():
    assert (
        ranks_of(["a", "b", "c"], np.ones((3, 6)))
        == "All methods have the same success on every task: there are no ranks."
    )


def test_a_tie_of_rates_is_a_tie_of_ranks():
    rates = np.array([[0.1 + 0.2, 1.0], [0.3, 0.5], [0.1, 0.2]])
    standing = ranks_of(["a", "b", "c"], rates)
    assert isinstance(standing, Ranks)
    assert standing.means == (1.25, 1.75, 3.0)
