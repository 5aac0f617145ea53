"""How long several runs still take: learned from what runs of the same kind took, never from nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.cli.remaining import Expected, Remaining, in_words
from skilltokens.types import Progress


def news(overall: float, left: float | None = None) -> Progress:
    return Progress("train", 0, 1, figures={"overall": overall, **({} if left is None else {"left": left})})


class Hand:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_runs_take_turns_on_the_cores_there_are():
    runs = [Expected(name, "demo t2s", 10.0) for name in "abcde"]
    assert Remaining(list(runs), 1).left() == 50
    assert Remaining(list(runs), 2).left() == 30
    assert Remaining(list(runs), 9).left() == 10
    assert Remaining([Expected("a", "k", 10.0, done=0.9)], 1).left() == pytest.approx(1)
    assert Remaining([], 2).left() == 0


def test_each_kind_is_judged_by_its_own_runs_and_the_others_by_all():
    runs = [
        Expected("a", "slow", 10.0),
        Expected("b", "slow", 20.0),
        Expected("c", "quick", 10.0),
        Expected("d", "?", 10.0),
    ]
    estimate = Remaining(runs, 1)
    assert estimate.guessed
    estimate.took(Expected("earlier", "slow", 5.0), 50.0)
    assert not estimate.guessed
    assert estimate.left() == 10 * 10 + 20 * 10 + 2 * 10 * 10
    estimate.took(Expected("other", "quick", 5.0), 5.0)
    assert estimate.left() == 100 + 200 + 10 + 10 * 5.5


def test_a_run_at_work_tells_the_time_of_the_others():
    estimate = Remaining([Expected("a", "k", 10.0), Expected("b", "k", 20.0)], 1, clock=Hand())
    estimate.update("a", Progress("start", 0, 1))
    assert estimate.left() == 30
    estimate.update("a", news(0.25, left=300.0))  # 400 s in all, so b takes 800
    assert estimate.left() == 300 + 800
    assert estimate.counts == "0 done, 1 run, 1 wait"
    assert estimate.share == pytest.approx(100 / 1200)


def test_what_it_took_in_the_end_comes_first():
    clock = Hand()
    estimate = Remaining([Expected("a", "k", 10.0), Expected("b", "k", 10.0)], 1, before=3, clock=clock)
    estimate.update("a", news(0.5, left=100.0))
    clock.now = 70.0
    estimate.finish("a", failed=False)
    assert estimate.left() == 70
    assert estimate.counts == "4 done, 1 wait"


def test_a_run_that_was_resumed_is_no_shorter_for_it():
    clock = Hand()
    estimate = Remaining([Expected("a", "k", 10.0, done=0.5), Expected("b", "k", 10.0)], 1, clock=clock)
    estimate.update("a", news(0.6))
    clock.now = 40.0
    estimate.finish("a", failed=False)
    assert estimate.left() == pytest.approx(80), "half of it took 40 s"


def test_a_run_that_failed_teaches_nothing():
    clock = Hand()
    estimate = Remaining([Expected("a", "k", 10.0), Expected("b", "k", 10.0)], 1, clock=clock)
    estimate.update("a", Progress("start", 0, 1))
    clock.now = 1000.0
    estimate.finish("a", failed=True)
    assert estimate.left() == 10
    assert estimate.counts == "0 done, 1 wait, 1 failed"
    assert estimate.runs_on


def test_where_nothing_is_known_nothing_is_told():
    clock = Hand()
    estimate = Remaining([Expected("a", "reward", None), Expected("b", "reward", None)], 1, clock=clock)
    assert estimate.left() is None
    assert not estimate.guessed
    estimate.update("a", news(0.0))
    clock.now = 30.0
    estimate.update("a", news(0.5))
    assert estimate.left() == pytest.approx(30 + 60)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "a time that is not known yet"),
        (41.3, "about 41 s"),
        (61, "about 1 min"),
        (3599, "about 1 h 0 min"),
        (12_000, "about 3 h 20 min"),
    ],
)
def test_it_is_said_no_more_exactly_than_it_is_known(seconds: float | None, text: str):
    assert in_words(seconds) == text


Steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["news", "done", "failed"]),
        st.floats(0, 1),
        st.none() | st.floats(0, 1e6),
    )
)


@given(Steps, st.integers(1, 4), st.sampled_from([None, 1.0, 50.0]))
def test_whatever_happens_the_figures_make_sense(
    steps: list[tuple[str, str, float, float | None]], at_once: int, guess: float | None
):
    clock = Hand()
    estimate = Remaining([Expected(name, name, guess) for name in "abc"], at_once, clock=clock)
    ended: set[str] = set()
    actions: dict[str, Callable[[str, float, float | None], None]] = {
        "news": lambda name, share, left: estimate.update(name, news(share, left)),
        "done": lambda name, share, left: estimate.finish(name, failed=False),
        "failed": lambda name, share, left: estimate.finish(name, failed=True),
    }
    for name, what, share, left in steps:
        clock.now += 1.0
        if name not in ended:
            actions[what](name, share, left)
        if what != "news":
            ended.add(name)
        seconds = estimate.left()
        assert seconds is None or seconds >= 0
        assert 0 <= estimate.share <= 1 + 1e-9
    assert estimate.runs_on == (ended != set("abc"))
