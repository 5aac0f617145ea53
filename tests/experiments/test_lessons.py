"""Which tasks a run teaches, in which order, and which of them together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from tests.toy import Toy

from skilltokens.experiments.lessons import groups_of, order_of
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.types import SettingError

ALL = ("reach-red", "reach-blue", "between", "avoid-red")


def order(**settings: Any) -> tuple[str, ...]:
    return order_of(RunSettings(method=T2SSettings(), suite="tests.toy:Toy", **settings), Toy())


def test_tasks_come_as_they_are_given_or_as_the_suite_has_them():
    assert order() == ALL
    assert order(tasks=ALL[::-1]) == ALL[::-1]
    assert order(tasks=ALL[::-1], lessons=2) == ("avoid-red", "between")
    assert order(tasks=("between",) * 3) == ("between",) * 3


def test_a_shuffle_teaches_each_task_once_in_an_order_of_its_own_seed_alone():
    orders = {seed: order(order="shuffled", order_seed=seed) for seed in range(8)}
    assert all(sorted(names) == sorted(ALL) for names in orders.values())
    assert len(set(orders.values())) > 3
    again = RunSettings(
        method=SequentialSettings(), suite="tests.toy:Toy", order="shuffled", order_seed=3, seed=7, encoder="other"
    )
    assert order_of(again, Toy()) == orders[3]
    assert order(order="shuffled", order_seed=3, lessons=2) == orders[3][:2]


def test_a_power_law_draws_some_tasks_often_and_most_seldom():
    names = order(order="power-law", lessons=2000, order_seed=5)
    assert names == order(order="power-law", lessons=2000, order_seed=5)
    assert names != order(order="power-law", lessons=2000, order_seed=6)
    counts = [count for _, count in Counter(names).most_common()]
    weights = [1 / rank for rank in range(1, 5)]
    expected = [2000 * weight / sum(weights) for weight in weights]
    assert counts == pytest.approx(expected, rel=0.2)
    assert len(set(order(order="power-law", lessons=50, exponent=50.0))) == 1
    even = Counter(order(order="power-law", lessons=2000, exponent=0.0))
    assert max(even.values()) < 1.2 * min(even.values())


@pytest.mark.parametrize("kind", ["given", "shuffled"])
def test_a_stream_longer_than_its_tasks_is_refused_where_none_comes_twice(kind: str):
    assert len(order(order=kind, lessons=4)) == 4
    with pytest.raises(SettingError, match=r"--lessons 5 is more than the 4 tasks, .* or --order power-law"):
        order(order=kind, lessons=5)


@pytest.mark.parametrize("settings", [{}, {"tasks": ALL[:2]}, {"lessons": 2}, {"order": "shuffled", "lessons": 1}])
def test_more_tasks_together_than_there_are_are_refused(settings: dict[str, Any]):
    count = len(order(**settings))
    assert len(order(protocol="B", first=count, **settings)) == count
    with pytest.raises(SettingError, match=f"--first {count + 1} is more than the {count} tasks of the run"):
        order(protocol="B", first=count + 1, **settings)


def test_the_first_tasks_make_one_lesson_and_each_other_one_its_own():
    assert groups_of(3) == [range(1), range(1, 2), range(2, 3)]
    assert groups_of(4, 2) == [range(2), range(2, 3), range(3, 4)]
    assert groups_of(3, 3) == [range(3)]
    assert groups_of(1) == [range(1)]
    assert groups_of(4, 2, joint=True) == groups_of(4, joint=True) == [range(4)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "A+"}, "name its folder with --base"),
        ({"base": "library"}, r"is for protocol A\+: add --protocol A\+"),
        ({"protocol": "B", "base": "library", "first": 2}, r"is for protocol A\+"),
        ({"protocol": "B"}, "say how many with --first"),
        ({"first": 2}, "--first 2 is for protocol B: add --protocol B"),
        ({"protocol": "B", "first": 2, "order": "power-law", "lessons": 4}, "use --order given or shuffled"),
        ({"order": "power-law"}, "say how many lessons with --lessons"),
    ],
)
def test_settings_of_another_protocol_are_refused(settings: dict[str, Any], words: str):
    plain = RunSettings(method=T2SSettings())
    plain.check()
    with pytest.raises(SettingError, match=words):
        dataclasses.replace(plain, **settings).check()
