"""Tests of differences: known answers, what algebra demands of them, and that what they promise comes true."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skilltokens.significance import (
    Discordant,
    bootstrap_interval,
    discordant,
    holm,
    paired_test,
    smallest_paired,
    smallest_unpaired,
    unpaired_test,
)

counts = st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
letters = st.text(alphabet="01", min_size=1, max_size=20)
chances = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_episodes_are_counted_pair_by_pair():
    assert discordant(["1101", "0"], ["1010", "1"]) == Discordant(2, 2, 5)
    with pytest.raises(ValueError, match="argument 2"):
        discordant(["11"], ["1"])


def test_mcnemars_test_is_the_binomial_by_hand():
    assert paired_test(Discordant(1, 7, 40)) == pytest.approx(2 * (1 + 8) / 2**8)
    assert paired_test(Discordant(0, 5, 5)) == pytest.approx(2 / 2**5)
    assert paired_test(Discordant(0, 0, 100)) == 1


@given(letters, letters)
def test_mcnemars_test_is_symmetric_and_sees_no_order(first: str, second: str):
    n = min(len(first), len(second))
    a, b = first[:n], second[:n]
    p = paired_test(discordant([a], [b]))
    assert 0 <= p <= 1
    assert paired_test(discordant([b], [a])) == pytest.approx(p)
    assert paired_test(discordant([a[::-1]], [b[::-1]])) == pytest.approx(p)
    assert paired_test(discordant([a, "1"], [b, "1"])) == pytest.approx(p), "an episode that both solve says nothing"


def test_fishers_test_is_that_of_the_tea_and_sums_the_tables_that_are_no_likelier():
    assert unpaired_test((3, 1), (4, 4)) == pytest.approx(34 / 70)
    n, a, b = 60, 55, 42
    likely = {k: math.comb(n, k) * math.comb(n, a + b - k) for k in range(a + b - n, n + 1)}
    least = sum(ways for ways in likely.values() if ways <= likely[a])
    assert unpaired_test((a, b), (n, n)) == pytest.approx(least / sum(likely.values()))


@settings(max_examples=40, deadline=None)
@given(counts, counts)
def test_the_test_of_counts_is_symmetric_in_methods_and_in_what_is_called_success(
    a: tuple[int, int], b: tuple[int, int]
):
    p = unpaired_test((a[0], b[0]), (a[1], b[1]))
    assert 0 <= p <= 1
    assert unpaired_test((b[0], a[0]), (b[1], a[1])) == p
    assert unpaired_test((a[1] - a[0], b[1] - b[0]), (a[1], b[1])) == pytest.approx(p)


def test_impossible_counts_are_refused():
    for successes, episodes in (((3, 1), (2, 2)), ((-1, 1), (2, 2)), ((0, 0), (0, 2))):
        with pytest.raises(ValueError, match="successes of"):
            unpaired_test(successes, episodes)


def test_holms_correction_of_a_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(chances, st.randoms())
def test_holms_correction_keeps_the_order_and_lies_between_none_and_bonferronis(values: list[float], chance):
    corrected = holm(values)
    for p, q in zip(values, corrected, strict=True):
        assert p <= q <= min(1.0, len(values) * p) + 1e-12
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert all(corrected[i] <= corrected[j] for i, j in itertools.pairwise(order))
    shuffled = list(range(len(values)))
    chance.shuffle(shuffled)
    assert holm([values[i] for i in shuffled]) == pytest.approx([corrected[i] for i in shuffled])


arrays = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(st.floats(-1, 1), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@settings(max_examples=30, deadline=None)
@given(arrays)
def test_the_bootstrap_lies_within_the_values_turns_with_their_sign_and_moves_with_them(values: list[list[float]]):
    apart = np.array(values)
    interval = bootstrap_interval(apart, draws=400)
    if apart.size == 1:
        assert interval is None
        return
    assert interval is not None
    assert apart.min() - 1e-9 <= interval.low <= interval.high <= apart.max() + 1e-9
    turned, moved = bootstrap_interval(-apart, draws=400), bootstrap_interval(apart + 1, draws=400)
    assert turned is not None
    assert moved is not None
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low))
    assert (moved.low, moved.high) == pytest.approx((interval.low + 1, interval.high + 1))
    assert bootstrap_interval(apart, draws=400) == interval


def test_the_bootstrap_draws_seeds_and_not_tasks_alone():
    """Seeds that differ widen it, though each seed's tasks are alike; a bootstrap over all cells would be narrower."""
    interval = bootstrap_interval(np.repeat([[0.0], [1.0]], 50, axis=1))
    assert interval is not None
    assert (interval.low, interval.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="seeds, tasks"):
        bootstrap_interval(np.zeros((2, 0)))


def test_the_smallest_difference_is_that_of_the_textbooks():
    # Fleiss, Tytun and Ury: 103 in each arm tell .5 from .3. Connor: 194 pairs show .1 where a quarter of them differ.
    assert smallest_unpaired((0, 0), (0, 93)) is None
    assert smallest_unpaired((41, 41), (103, 103)) == pytest.approx(0.2, abs=2e-3)
    assert smallest_paired(Discordant(50, 50, 400)) == pytest.approx(0.1 * math.sqrt(194 / 400), abs=2e-3)
    assert smallest_paired(Discordant(0, 1, 1)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 2000), st.floats(0, 1))
def test_more_episodes_show_smaller_differences(n: int, share: float):
    few, many = Discordant(int(share * n / 2), int(share * n / 2), n), Discordant(int(share * n), int(share * n), 2 * n)
    pairs = [(smallest_paired(few), smallest_paired(many), 1e-3)]
    n2 = 4 * n
    good, more = int(share * n), int(share * n2)
    pairs.append((smallest_unpaired((good, good), (n, n)), smallest_unpaired((more, more), (n2, n2)), 0.02))
    for one, two, rounding in pairs:
        assert one is not None
        assert two is not None
        assert 0 < two <= one + rounding


def test_the_smallest_difference_shows_as_often_as_promised():
    """In real draws: the test at .05 finds it about eight times of ten."""
    chance, n, draws = np.random.default_rng(0), 90, 400
    d = smallest_unpaired((54, 54), (n, n))
    assert d is not None
    good = chance.binomial(n, [0.6 + d / 2, 0.6 - d / 2], size=(draws, 2))
    power = np.mean([unpaired_test((int(a), int(b)), (n, n)) < 0.05 for a, b in good])
    assert 0.7 < power < 0.88
    share = 0.3
    d = smallest_paired(Discordant(int(share * 200), 0, 200))
    assert d is not None
    split = chance.multinomial(200, [(share + d) / 2, (share - d) / 2, 1 - share], size=draws)
    power = np.mean([paired_test(Discordant(int(a), int(b), 200)) < 0.05 for a, b, _ in split])
    assert 0.68 < power < 0.88
