"""Axes of a comparison's drawings."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.report.comparison.conftest import put

from skilltokens.report.comparison import curves
from skilltokens.report.comparison.plots import (
    _decades,  # pyright: ignore[reportPrivateUsage]
    drawings,
)
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.runs import read_run


@given(st.floats(0.1, 1e9), st.floats(1, 1e6))
@example(26500.0, 1.007)  # methods of one budget, which train all but equally much
@example(100.0, 1.0)
def test_a_logarithmic_axis_has_two_to_five_ticks_with_names_of_their_own(least: float, ratio: float):
    low, high = math.log10(least) - 0.1, math.log10(least * ratio) + 0.1
    ticks, names = zip(*_decades(low, high), strict=True)
    assert 2 <= len(ticks) <= 5
    assert all(low <= tick <= high for tick in ticks)
    assert list(ticks) == sorted(set(ticks))
    assert len(set(names)) == len(names)


def test_a_long_life_has_the_cost_of_its_lessons_drawn_and_a_short_one_has_not(
    build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def late(content: dict[str, dict[str, list[float]]]) -> None:
        content["timing"]["train_s"] = [30.0, 10.0, 10.0, 10.0, 70.0, 10.0]  # one lesson beside other work

    paths = [put(build, tmp_path, "t2s", 0, change=late), put(build, tmp_path, "sequential", 0)]
    comparisons = compare_runs([read_run(path) for path in paths])
    assert "Cost of a lesson" not in [one.title for one in drawings(comparisons)]
    monkeypatch.setattr(curves, "LIFE", 6)
    (cost,) = [one for one in drawings(comparisons) if one.title == "Cost of a lesson"]
    assert "t2s 10, 10, 10" in cost.picture


@pytest.mark.parametrize(("other", "seconds"), [([20.0] * 6, 20), ([None, *[20.0] * 5], 30)])
def test_the_processor_s_time_is_drawn_where_all_files_say_it(
    build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: list[float | None], seconds: int
):
    def said(times: list[float | None]) -> Callable[[dict[str, dict[str, list[float | None]]]], None]:
        def change(content: dict[str, dict[str, list[float | None]]]) -> None:
            content["timing"] |= {"train_s": [30.0] * 6, "train_cpu_s": times}

        return change

    monkeypatch.setattr(curves, "LIFE", 6)
    times: dict[str, list[float | None]] = {"t2s": [20.0] * 6, "sequential": other}
    paths = [put(build, tmp_path, method, 0, change=said(own)) for method, own in times.items()]
    (cost,) = [one for one in drawings(compare_runs([read_run(path) for path in paths])) if "lesson" in one.title]
    for method in times:
        assert f"{method} {seconds}, {seconds}, {seconds}" in cost.picture
