"""The estimate of what is left: told true by a run that goes at an even pace, and never absurd."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.cli.estimate import Estimate
from skilltokens.experiments.costs import Cost, costs
from skilltokens.experiments.lessons import groups_of
from skilltokens.experiments.recipes import recipe
from skilltokens.types import Progress


class Run:
    """A run whose steps and cells take a fixed time, telling its news to an estimate."""

    def __init__(self, plan: list[Cost], step: float, cell: float) -> None:
        self.plan, self.step, self.cell, self.now = plan, step, cell, 0.0
        self.told: list[tuple[float, Progress]] = []
        self.estimate = Estimate(plan, lambda news: self.told.append((self.now, news)), lambda: self.now)

    def play(self) -> float:
        for lesson, cost in enumerate(self.plan):
            stretch = cost.steps / max(cost.points, 1)
            for point in range(cost.points + 1):
                if point:
                    for part in range(5):
                        self.say("train", round((point - 0.8 + part / 5) * stretch), cost.steps, lesson)
                        self.now += self.step * stretch / 5
                    self.say("train", point * cost.steps // cost.points, cost.steps, lesson)
                if point < cost.points:
                    self.roll(lesson)
            for _ in range(cost.final):
                self.roll(lesson)
        return self.now

    def roll(self, lesson: int) -> None:
        self.say("evaluate", 0, 2, lesson)
        for done in (1, 2):
            self.now += self.cell / 2
            self.say("evaluate", done, 2, lesson)

    def say(self, stage: str, done: int, total: int, lesson: int) -> None:
        self.estimate(Progress(stage, done, total, "task", lesson=lesson))


def test_an_even_run_is_foretold():
    run = Run([Cost(500, 5, 1), Cost(300, 5, 2), Cost(300, 5, 3)], step=0.2, cell=12.0)
    end = run.play()
    late = [(at, news.figures["left"]) for at, news in run.told if at > end / 3]
    assert late
    for at, left in late:
        assert left == pytest.approx(end - at, abs=0.15 * end)
    assert run.told[-1][1].figures["left"] == pytest.approx(0, abs=0.5)


def test_the_share_done_grows_to_one():
    run = Run([Cost(200, 2, 1), Cost(100, 2, 1)], step=0.05, cell=3.0)
    run.play()
    shares = [news.figures["overall"] for _, news in run.told]
    assert shares[0] < 0.05
    assert shares[-1] == pytest.approx(1.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "evaluate", "variant", "video", "odd"]),
            st.integers(0, 50),
            st.integers(0, 50),
            st.sampled_from([0, 1, 2, 9, None]),
        )
    )
)
def test_whatever_the_news_the_figures_make_sense(news: list[tuple[str, int, int, int | None]]):
    reports: list[Progress] = []
    times = iter(range(10_000))
    estimate = Estimate([Cost(40, 1, 1), Cost(20, 1, 2)], reports.append, lambda: float(next(times)))
    for stage, done, total, lesson in news:
        estimate(Progress(stage, done, total, "task", lesson=lesson))
    assert len(reports) == len(news)
    for progress in reports:
        assert 0 <= progress.figures.get("overall", 0) <= 1
        assert progress.figures.get("left", 0) >= 0


def test_the_plan_follows_the_settings():
    settings = recipe("demo", "t2s")
    train, points = settings.train, settings.evaluate.points
    single, together = groups_of(3), groups_of(3, joint=True)
    first, later = train.first_iterations, train.iterations
    assert costs(settings, single, joint=False, keeps=True) == [
        Cost(first, points - 1, 1),
        Cost(later, points - 1, 1),
        Cost(later, points - 1, 1),
    ]
    assert [cost.final for cost in costs(settings, single, joint=False, keeps=False)] == [1, 2, 3]
    assert costs(settings, together, joint=True, keeps=False) == [Cost(first + 2 * later, 0, 3)]


def test_a_first_lesson_of_several_tasks_has_no_points_on_the_way():
    settings = recipe("demo", "t2s")
    train, points = settings.train, settings.evaluate.points
    groups = groups_of(4, first=2)
    assert costs(settings, groups, joint=False, keeps=True) == [
        Cost(train.first_iterations + train.iterations, 0, 2),
        Cost(train.iterations, points - 1, 1),
        Cost(train.iterations, points - 1, 1),
    ]
    assert [cost.final for cost in costs(settings, groups, joint=False, keeps=False)] == [2, 3, 4]


def test_a_run_that_begins_from_a_library_has_no_longer_first_lesson():
    settings = replace(recipe("demo", "t2s"), protocol="A+", base="library")
    assert settings.train.first_iterations != settings.train.iterations
    plan = costs(settings, groups_of(3), joint=False, keeps=True)
    assert [cost.steps for cost in plan] == [settings.train.iterations] * 3


def test_videos_at_the_end_do_not_set_the_share_back():
    said: list[Progress] = []
    Estimate([Cost(10, 1, 1)], said.append)(Progress("video", 1, 4, "push"))
    assert said[0].figures["overall"] > 0.97
    assert said[0].figures["left"] > 0


def test_variants_are_part_of_the_whole():
    settings = recipe("libero-goal", "t2s")
    plan = costs(settings, groups_of(2), joint=False, keeps=True)
    assert plan[-1] == Cost(0, 0, 2)
    said: list[Progress] = []
    times = iter(range(1000))
    estimate = Estimate(plan, said.append, lambda: float(next(times)))
    steps = settings.train.iterations
    estimate(Progress("train", steps, steps, "b (2/2)", lesson=1))
    for cell in range(2):
        for done in (0, 10, 20):
            estimate(Progress("variant", done, 20, f"libero-goal-lan/{cell}"))
    shares = [news.figures["overall"] for news in said]
    assert shares[1] > 0.8
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert said[-1].figures["left"] == pytest.approx(0.0)
