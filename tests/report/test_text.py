"""Names and numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.metrics import Interval, paired
from skilltokens.report.text import abbreviations, apart, number, shortened, spread

GOAL = (
    "open_the_middle_drawer_of_the_cabinet",
    "put_the_bowl_on_the_stove",
    "put_the_wine_bottle_on_top_of_the_cabinet",
    "open_the_top_drawer_and_put_the_bowl_inside",
    "put_the_bowl_on_top_of_the_cabinet",
    "put_the_bowl_on_the_plate",
    "put_the_wine_bottle_on_the_rack",
)
SPATIAL = tuple(
    f"pick_up_the_black_bowl_{place}_and_place_it_on_the_plate"
    for place in ("between_the_plate_and_the_ramekin", "next_to_the_ramekin", "next_to_the_plate", "from_table_center")
)
LONG = tuple(f"LIVING_ROOM_SCENE2_put_both_the_{what}_in_the_basket" for what in ("soup_and_sauce", "box_and_butter"))


@pytest.mark.parametrize("width", [11, 18])
@pytest.mark.parametrize("names", [GOAL, SPATIAL, LONG, GOAL + GOAL[:2]])
def test_names_that_begin_or_end_alike_stay_different_when_they_are_cut(names: tuple[str, ...], width: int):
    short = shortened(names, width)
    assert all(len(one) <= width for one in short)
    assert len(set(short)) == len(set(names))
    assert len(set(zip(names, short, strict=True))) == len(set(names))


def test_names_that_fit_are_left_whole():
    assert shortened(("push", "push-wall"), 9) == ["push", "push-wall"]
    assert abbreviations(("hammer",)) == {"hammer": ("hammer", "hammer")}


@given(st.lists(st.text(max_size=40), max_size=8), st.integers(8, 20))
def test_any_names_are_cut_to_their_width(names: list[str], width: int):
    assert all(len(short) <= width for short in shortened(names, width))


def test_an_interval_without_a_width_is_said_in_words():
    assert spread(Interval(0.0, 0.0), "seeds") == "the same in every seed"
    assert spread(Interval(0.1, 0.2), "tasks") == "0.100 to 0.200"
    assert spread(None, "tasks") == ""
    assert apart(paired([[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.4], [0.4, 0.5]])) == "+0.050 [the same in every seed]"
    assert apart(paired([[0.5]], [[0.25]])) == "+0.250"


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [(12.34, "megabytes", "12.3 MB"), (0.0, "megabytes", "0 MB"), (1234.5, "megabytes", "1,234 MB"),
     (2.0, "times", "2 \N{MULTIPLICATION SIGN}"), (1.5, "times", "1.5 \N{MULTIPLICATION SIGN}")],
)  # fmt: skip
def test_data_and_compute_are_written_with_their_units(value: float, kind: str, words: str):
    assert number(value, kind) == words  # pyright: ignore[reportArgumentType]  # one of Kind
