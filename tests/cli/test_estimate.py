"""The estimate of what is left: told true by a run that goes at an even pace, and never absurd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.cli.estimate import Estimate, Lesson, lessons
from skilltokens.experiments.recipes import recipe
from skilltokens.types import Progress


class Run:
    """A run whose steps and cells take a fixed time, telling its news to an estimate."""

    def __init__(self, plan: list[Lesson], step: float, cell: float) -> None:
        self.plan, self.step, self.cell, self.now = plan, step, cell, 0.0
        self.told: list[tuple[float, Progress]] = []
        self.estimate = Estimate(plan, lambda news: self.told.append((self.now, news)), lambda: self.now)

    def play(self) -> float:
        for number, lesson in enumerate(self.plan, 1):
            note = f"task ({number}/{len(self.plan)})"
            for point in range(lesson.points + 1):
                if point:
                    for _ in range(5):
                        self.say(
                            "train", round((point - 0.8 + _ / 5) * lesson.steps / lesson.points), lesson.steps, note
                        )
                        self.now += self.step * lesson.steps / lesson.points / 5
                    self.say("train", point * lesson.steps // lesson.points, lesson.steps, note)
                if point < lesson.points:
                    self.roll(note)
            for _ in range(lesson.final):
                self.roll(note)
        return self.now

    def roll(self, note: str) -> None:
        self.say("evaluate", 0, 2, note)
        for done in (1, 2):
            self.now += self.cell / 2
            self.say("evaluate", done, 2, note)

    def say(self, stage: str, done: int, total: int, note: str) -> None:
        self.estimate(Progress(stage, done, total, note))


def test_an_even_run_is_foretold():
    run = Run([Lesson(500, 5, 1), Lesson(300, 5, 2), Lesson(300, 5, 3)], step=0.2, cell=12.0)
    end = run.play()
    late = [(at, news.figures["left"]) for at, news in run.told if at > end / 3]
    assert late
    for at, left in late:
        assert left == pytest.approx(end - at, abs=0.15 * end)
    assert run.told[-1][1].figures["left"] == pytest.approx(0, abs=0.5)


def test_the_share_done_grows_to_one():
    run = Run([Lesson(200, 2, 1), Lesson(100, 2, 1)], step=0.05, cell=3.0)
    run.play()
    shares = [news.figures["overall"] for _, news in run.told]
    assert shares[0] < 0.05
    assert shares[-1] == pytest.approx(1.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "evaluate", "variant", "film", "odd"]),
            st.integers(0, 50),
            st.integers(0, 50),
            st.sampled_from(["a (1/2)", "b (2/2)", "c (3/2)", "(0/2)", "nothing", ""]),
        )
    )
)
def test_whatever_the_news_the_figures_make_sense(news: list[tuple[str, int, int, str]]):
    told: list[Progress] = []
    times = iter(range(10_000))
    estimate = Estimate([Lesson(40, 1, 1), Lesson(20, 1, 2)], told.append, lambda: float(next(times)))
    for stage, done, total, note in news:
        estimate(Progress(stage, done, total, note))
    assert len(told) == len(news)
    for each in told:
        assert 0 <= each.figures.get("overall", 0) <= 1
        assert each.figures.get("left", 0) >= 0


def test_the_plan_follows_the_settings():
    settings = recipe("demo", "t2s")
    train, points = settings.train, settings.evaluate.points
    assert lessons(settings, 3, joint=False, keeps=True) == [
        Lesson(train.first_iterations, points - 1, 1),
        Lesson(train.iterations, points - 1, 1),
        Lesson(train.iterations, points - 1, 1),
    ]
    assert [lesson.final for lesson in lessons(settings, 3, joint=False, keeps=False)] == [1, 2, 3]
    assert lessons(settings, 3, joint=True, keeps=False) == [
        Lesson(train.first_iterations + 2 * train.iterations, 0, 3)
    ]


def test_films_at_the_end_do_not_set_the_share_back():
    said: list[Progress] = []
    Estimate([Lesson(10, 1, 1)], said.append)(Progress("film", 1, 4, "push"))
    assert said[0].figures["overall"] > 0.97
    assert said[0].figures["left"] > 0


def test_variants_are_part_of_the_whole():
    settings = recipe("libero-goal", "t2s")
    plan = lessons(settings, 2, joint=False, keeps=True)
    assert plan[-1] == Lesson(0, 0, 2)
    said: list[Progress] = []
    times = iter(range(1000))
    estimate = Estimate(plan, said.append, lambda: float(next(times)))
    steps = settings.train.iterations
    estimate(Progress("train", steps, steps, "b (2/2)"))
    for cell in range(2):
        for done in (0, 10, 20):
            estimate(Progress("variant", done, 20, f"libero-goal-lan/{cell}"))
    shares = [news.figures["overall"] for news in said]
    assert shares[1] > 0.8
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert said[-1].figures["left"] == pytest.approx(0.0)
