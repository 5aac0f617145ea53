"""The figures: LIBERO's definitions, their limits and symmetries, and the worked example of docs/metrics.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens import metrics

Counts = tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]


@st.composite
def counts(draw: st.DrawFn, tasks: int | None = None) -> Counts:
    """Counts of a run: a full (K, K) matrix, of which the lower triangle counts, and a learning curve a task."""
    size = draw(st.integers(1, 6)) if tasks is None else tasks
    points = draw(st.integers(2, 6))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    episodes = chance.integers(1, 40, (size, size))
    successes = chance.integers(0, episodes + 1)
    curves = []
    for k in range(size):
        tried = np.append(chance.integers(1, 40, points - 1), episodes[k, k])
        curves.append((np.append(chance.integers(0, tried[:-1] + 1), successes[k, k]), tried))
    return successes, episodes, curves


def test_the_worked_example_of_the_docs_is_right():
    text = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "docs/metrics.md", "exec"), {})


@given(counts())
def test_figures_stay_within_their_bounds(run: Counts):
    scores = metrics.lifelong(*run)
    for value in (scores.final, scores.learned, scores.fwt, scores.auc):
        assert value is not None
        assert 0 <= value <= 1
    if scores.nbt is not None:
        assert -1 <= scores.nbt <= 1


@given(counts())
def test_figures_follow_liberos_sums_written_out(run: Counts):
    successes, episodes, curves = run
    size = len(successes)
    c = {(t, k): successes[t, k] / episodes[t, k] for t in range(size) for k in range(t + 1)}
    scores = metrics.lifelong(*run)
    fwt, nbt, auc = [], [], []
    for k in range(1, size + 1):  # counted from 1, as the paper does
        good, tried = curves[k - 1]
        fwt.append(sum(g / n for g, n in zip(good, tried, strict=True)) / len(good))
        later = [c[t - 1, k - 1] for t in range(k + 1, size + 1)]
        if later:
            nbt.append(sum(c[k - 1, k - 1] - x for x in later) / len(later))
        auc.append((fwt[-1] + sum(later)) / (size - k + 1))
    assert scores.fwt_of == pytest.approx(np.array(fwt))
    assert scores.auc_of == pytest.approx(np.array(auc))
    assert (scores.nbt_of is None) == (size == 1)
    if scores.nbt_of is not None:
        assert scores.nbt_of == pytest.approx(np.array(nbt))


@given(counts())
def test_nbt_is_exactly_zero_when_nothing_changes_after_its_lesson(run: Counts):
    successes, episodes, curves = run
    for k in range(len(successes)):
        successes[k:, k], episodes[k:, k] = successes[k, k], episodes[k, k]
    scores = metrics.lifelong(successes, episodes, curves)
    assert scores.nbt in (None, 0.0)
    assert scores.final == scores.learned


@given(counts())
def test_nbt_is_all_of_a_skill_when_it_is_lost_at_once(run: Counts):
    successes, episodes, curves = run
    successes[np.tril_indices(len(successes), -1)] = 0
    scores = metrics.lifelong(successes, episodes, curves)
    if scores.nbt_of is not None and scores.learned_of is not None:
        assert scores.nbt_of == pytest.approx(scores.learned_of[:-1])


@given(counts(), st.randoms(use_true_random=False))
def test_the_order_of_a_curves_points_does_not_change_fwt(run: Counts, order):
    successes, episodes, curves = run
    shuffled = []
    for good, tried in curves:
        places = list(range(len(good)))
        order.shuffle(places)
        shuffled.append((good[places], tried[places]))
    assert metrics.lifelong(successes, episodes, shuffled).fwt == pytest.approx(metrics.lifelong(*run).fwt)


@given(counts(), st.randoms(use_true_random=False))
def test_the_points_of_an_even_curve_may_be_named_in_any_order(run: Counts, order):
    successes, episodes, curves = run
    shuffled, at = [], []
    for good, tried in curves:
        places = list(range(len(good)))
        order.shuffle(places)
        shuffled.append((good[places], tried[places]))
        at.append(np.array(places) / (len(good) - 1))
    even = metrics.lifelong(successes, episodes, shuffled, at=at)
    assert even.fwt == pytest.approx(metrics.lifelong(*run).fwt)
    assert even.auc == pytest.approx(metrics.lifelong(*run).auc)


@given(st.sets(st.integers(1, 99), max_size=6), st.floats(0, 0.5), st.floats(-0.5, 0.5))
def test_the_area_below_a_straight_line_is_its_middle_wherever_its_points_lie(inner: set[int], low: float, rise: float):
    at = np.array(sorted({0, *inner, 100})) / 100
    line = low + 0.5 + rise * (at - 0.5) - 0.25
    area = metrics.forward_transfer([line], [at])
    assert area == pytest.approx(np.array([low + 0.25]))


def test_points_at_unequal_distances_weigh_as_much_as_the_training_around_them():
    at = [0.0, 0.1, 0.25, 0.5, 1.0]
    assert metrics.forward_transfer([[0, 0, 0, 0, 1]], [at]) == pytest.approx(np.array([0.25]))
    assert metrics.forward_transfer([[0, 1, 0, 0, 0]], [at]) == pytest.approx(np.array([0.125]))
    assert metrics.forward_transfer([[0, 0, 0, 0, 1]]) == pytest.approx(np.array([0.2]))
    with pytest.raises(ValueError, match="5 points"):
        metrics.forward_transfer([[0, 0, 0, 0, 1]], [at[1:]])


@given(counts(tasks=5))
def test_what_lies_above_the_diagonal_is_not_read(run: Counts):
    successes, episodes, curves = run
    before = metrics.lifelong(*run)
    above = np.triu_indices(5, 1)
    successes[above], episodes[above] = 0, 0
    after = metrics.lifelong(successes, episodes, curves)
    assert (before.final, before.fwt, before.nbt, before.auc) == (after.final, after.fwt, after.nbt, after.auc)


@given(counts(tasks=4), st.integers(2, 5))
def test_only_rates_matter_not_how_many_episodes_they_came_from(run: Counts, times: int):
    successes, episodes, curves = run
    more = metrics.lifelong(successes * times, episodes * times, [(g * times, n * times) for g, n in curves])
    assert more.auc == pytest.approx(metrics.lifelong(*run).auc)


@given(counts(), st.integers(0, 2**32 - 1))
def test_what_is_forgotten_and_what_is_miscalled_add_up_to_nbt(run: Counts, seed: int):
    size = len(run[0])
    miscalled = np.random.default_rng(seed).random((size, size)) < 0.5
    some, none, rest = (metrics.lifelong(*run, miscalled=mask) for mask in (miscalled, miscalled & False, ~miscalled))
    assert none.forgotten == none.nbt == some.nbt
    if none.nbt is not None:
        assert some.forgotten is not None
        assert rest.forgotten is not None
        assert some.forgotten + rest.forgotten == pytest.approx(none.nbt)
        assert metrics.lifelong(*run, miscalled=~(miscalled & False)).forgotten == 0
    assert (some.final, some.learned, some.fwt, some.auc) == (none.final, none.learned, none.fwt, none.auc)


def test_a_newest_skill_that_answers_for_its_twin_loses_nothing_by_forgetting():
    figures = metrics.lifelong([[10, 0], [0, 10]], [[10, 10], [10, 10]], miscalled=[[False, False], [True, False]])
    assert (figures.nbt, figures.forgotten) == (1.0, 0.0)


def test_perfect_learning_that_keeps_everything_scores_one():
    full = np.full((3, 3), 20)
    scores = metrics.lifelong(full, full, [(np.array([20, 20]), np.array([20, 20]))] * 3)
    assert (scores.final, scores.learned, scores.fwt, scores.nbt, scores.auc) == (1, 1, 1, 0, 1)


def test_a_single_task_has_no_nbt_and_its_auc_is_its_fwt():
    scores = metrics.lifelong([[8]], [[10]], [([0, 8], [10, 10])])
    assert scores.nbt is None
    assert scores.auc == scores.fwt == 0.4


def test_without_a_measured_curve_there_is_no_area():
    assert metrics.lifelong([[8]], [[10]]).fwt is None
    assert metrics.lifelong([[8]], [[10]], [([8], [10])]).auc is None


def test_learning_together_defines_final_success_alone():
    scores = metrics.together([5, 10], [10, 10])
    assert scores.final == 0.75
    assert (scores.learned, scores.fwt, scores.nbt, scores.auc) == (None, None, None, None)


TEN = np.full((4, 4), 10)
FIRST_TWO_TOGETHER = np.array([[9, 9, 9, 9], [5, 8, 9, 9], [4, 8, 6, 9], [3, 9, 4, 10]])
"""Four tasks, the first two taught in one lesson. Row 0 and what is above the diagonal say nothing."""
CURVES_OF_OTHERS = [([0, 6], [10, 10]), ([2, 10], [10, 10])]


def test_figures_of_first_tasks_taught_together_worked_by_hand():
    figures = metrics.lifelong(FIRST_TWO_TOGETHER, TEN, CURVES_OF_OTHERS, together=2)
    assert figures.final_of == pytest.approx([0.3, 0.9, 0.4, 1.0])
    assert figures.learned_of == pytest.approx([0.5, 0.8, 0.6, 1.0])  # the first two: after the lesson of both
    # task 0: (.5 - .4 + .5 - .3) / 2; task 1: (.8 - .8 + .8 - .9) / 2; task 2: .6 - .4
    assert figures.nbt_of == pytest.approx([0.15, -0.05, 0.2])
    assert figures.fwt_of == pytest.approx([0.3, 0.6])  # the others alone: the first two have no curve
    assert figures.auc_of == pytest.approx([(0.3 + 0.4) / 2, 0.6])
    assert (figures.final, figures.learned) == pytest.approx((0.65, 0.725))
    assert (figures.nbt, figures.fwt, figures.auc) == pytest.approx((0.1, 0.45, 0.475))


def test_the_rows_before_the_last_task_taught_together_are_not_read():
    successes, episodes = FIRST_TWO_TOGETHER.copy(), TEN.copy()
    successes[0], episodes[0] = 0, 0
    before = metrics.lifelong(FIRST_TWO_TOGETHER, TEN, CURVES_OF_OTHERS, together=2)
    after = metrics.lifelong(successes, episodes, CURVES_OF_OTHERS, together=2)
    assert (after.final, after.nbt, after.fwt, after.auc) == (before.final, before.nbt, before.fwt, before.auc)
    with pytest.raises(ValueError, match="not evaluated"):
        metrics.lifelong(successes, episodes, CURVES_OF_OTHERS)
    episodes[1, 0] = successes[1, 0] = 0
    with pytest.raises(ValueError, match="not evaluated"):
        metrics.lifelong(successes, episodes, CURVES_OF_OTHERS, together=2)


@pytest.mark.parametrize("curves", [(), CURVES_OF_OTHERS[:1], [CURVES_OF_OTHERS[0], ([10], [10])]])
def test_without_a_curve_of_every_other_task_there_is_no_area(curves: list[tuple[list[int], list[int]]]):
    figures = metrics.lifelong(FIRST_TWO_TOGETHER, TEN, curves, together=2)
    assert (figures.fwt, figures.auc) == (None, None)
    assert figures.nbt == pytest.approx(0.1)


def test_where_nothing_was_taught_after_the_first_tasks_nothing_was_forgotten_or_transferred():
    figures = metrics.lifelong(FIRST_TWO_TOGETHER[:2, :2], TEN[:2, :2], together=2)
    assert (figures.final, figures.learned) == (0.65, 0.65)
    assert (figures.nbt, figures.fwt, figures.auc) == (None, None, None)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=11))
def test_held_keeps_the_best_point_and_never_lowers_fwt(curve: list[float]):
    held = metrics.held(curve)
    assert held[-1] == max(curve)
    assert held.mean() >= np.mean(curve) - 1e-12
    first = int(np.argmax(curve))
    assert held[: first + 1].tolist() == curve[: first + 1]


@given(st.integers(0, 60), st.integers(0, 60))
def test_wilson_holds_the_rate_and_stays_within_bounds(a: int, b: int):
    good, tried = min(a, b), max(a, b)
    low, high = metrics.wilson(good, tried)
    assert 0 <= low <= high <= 1
    if tried:
        assert low <= good / tried <= high
        assert high - low > 0


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_treats_success_and_failure_alike(a: int, n: int):
    good = min(a, n)
    low, high = metrics.wilson([good, n - good], [n, n])
    assert low[0] == pytest.approx(1 - high[1])


@pytest.mark.parametrize(("good", "tried", "low", "high"), [(0, 10, 0.0, 0.2775), (15, 20, 0.5313, 0.8881)])
def test_wilson_agrees_with_published_values(good: int, tried: int, low: float, high: float):
    assert metrics.wilson(good, tried) == pytest.approx((low, high), abs=1e-4)


def test_wilson_narrows_with_more_episodes():
    low, high = metrics.wilson([9, 90, 900], [10, 100, 1000])
    assert (np.diff(high - low) < 0).all()


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_a_means_interval_holds_the_mean_within_its_bounds_and_ignores_the_seeds_order(values: list[float], order):
    interval = metrics.mean_interval(values, bounds=(-1.0, 1.0))
    assert interval is not None
    assert -1 <= interval.low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= interval.high <= 1
    order.shuffle(values)
    again = metrics.mean_interval(values, bounds=(-1.0, 1.0))
    assert again is not None
    assert (again.low, again.high) == pytest.approx((interval.low, interval.high))


def test_a_means_interval_agrees_with_tables_of_students_t():
    interval = metrics.mean_interval([1.0, 2.0, 3.0])
    assert interval is not None
    assert interval.high - 2.0 == pytest.approx(4.303 / np.sqrt(3), abs=1e-3)
    assert metrics.mean_interval([0.5, 0.5]) == metrics.Interval(0.5, 0.5)
    assert metrics.mean_interval([0.5]) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_of_few_seeds_cover_a_known_mean_as_often_as_they_say(seeds: int):
    chance = np.random.default_rng(7)
    intervals = [metrics.mean_interval(chance.normal(size=seeds)) for _ in range(1000)]
    covered = np.mean([i is not None and i.low <= 0 <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_paired_is_antisymmetric_and_counts_every_pair(seeds: int, tasks: int, seed: int):
    a, b = np.random.default_rng(seed).integers(0, 5, (2, seeds, tasks)) / 4
    one, other = metrics.paired(a, b), metrics.paired(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.wins + one.ties + one.losses == a.size
    assert one.over == ("seeds" if seeds > 1 else "tasks")


def test_paired_with_itself_is_a_tie_everywhere():
    rates = [[0.85, 0.8], [0.1, 0.3]]
    comparison = metrics.paired(rates, rates)
    assert (comparison.difference, comparison.ties, comparison.interval) == (0, 4, metrics.Interval(0, 0))


def test_pairs_are_compared_over_seeds_and_with_one_seed_over_tasks():
    a, b = [[1.0, 0.6], [0.5, 0.5]], [[0.0, 0.4], [0.5, 0.3]]
    assert metrics.paired(a, b).interval == metrics.mean_interval([0.6, 0.1], bounds=(-1, 1))
    assert metrics.paired(a[:1], b[:1]).interval == metrics.mean_interval([1.0, 0.6 - 0.4], bounds=(-1, 1))
    assert metrics.paired([[0.4]], [[0.1]]).interval is None


def test_trained_share_is_over_the_base():
    assert metrics.trained_share([1000, 80], 1000).tolist() == [1.0, 0.08]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.rates([3], [2]), "between 0"),
        (lambda: metrics.rates([-1], [2]), "between 0"),
        (lambda: metrics.rates([1, 2], [2]), "differ in shape"),
        (lambda: metrics.lifelong([[1, 2]], [[2, 2]]), "tasks, tasks"),
        (lambda: metrics.lifelong([[1, 0], [1, 0]], [[2, 0], [2, 0]]), "not evaluated"),
        (lambda: metrics.area_under_curve([[1.0]], []), "0 learning curves for 1"),
        (lambda: metrics.paired([[1.0]], [[1.0, 2.0]]), "seeds, tasks"),
        (lambda: metrics.trained_share([1], 0), "base"),
    ],
)
def test_counts_that_cannot_be_are_refused(call, words: str):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_cell_without_episodes_has_no_rate():
    assert np.isnan(metrics.rates([0], [0])).all()
    assert metrics.wilson(0, 0) == (0, 1)


def test_roughness_is_the_mean_length_of_the_second_difference():
    steady = np.linspace([-1.0, 0.0], [1.0, 0.5], 9)
    assert metrics.roughness([steady, np.zeros((5, 2))]) == pytest.approx(0, abs=1e-12)
    corner = [[0.0, 0.0], [0.3, 0.4], [0.0, 0.0]]  # its one second difference is (-0.6, -0.8)
    assert metrics.roughness([corner]) == pytest.approx(1.0)
    assert metrics.roughness([corner, steady[:3]]) == pytest.approx(0.5)  # over steps, not over episodes
    wildest = np.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]] * 3)
    assert metrics.roughness([wildest]) == pytest.approx(4 * 2)


def test_episodes_are_not_joined_and_short_ones_have_no_roughness():
    assert metrics.roughness([[[0.0]] * 4, [[1.0]] * 4]) == 0
    assert np.isnan(metrics.roughness([[[0.0], [1.0]], np.zeros((0, 1))]))
    assert np.isnan(metrics.roughness([]))
