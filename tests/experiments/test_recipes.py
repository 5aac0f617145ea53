"""Every recipe is possible as it stands, and is what docs/protocols.md says: tasks, demonstrations, its base."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from skilltokens.experiments.base import with_base
from skilltokens.experiments.checks import check_run
from skilltokens.experiments.costs import costs_of
from skilltokens.experiments.lessons import order_of, tasks_of
from skilltokens.experiments.lifelong_recipes import LIFELONG, TOGETHER
from skilltokens.experiments.pretraining import pretraining_of
from skilltokens.experiments.recipes import RECIPES, recipe
from skilltokens.experiments.settings import RunSettings
from skilltokens.suites import load_suite
from skilltokens.suites.names import CW10
from skilltokens.types import Suite

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without bases."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(name: str, method: str = "t2s", **changes: Any) -> tuple[RunSettings[Any], Suite]:
    settings = with_base(dataclasses.replace(recipe(name, method), **changes))
    return settings, load_suite(settings.suite)


@pytest.mark.parametrize("method", ["t2s", "multitask"])
@pytest.mark.parametrize("name", LIFELONG)
def test_every_recipe_is_possible_and_costs_something(name: str, method: str):
    settings, suite = plan(name, method)
    check_run(settings, suite)
    assert tasks_of(settings, suite)
    assert sum(cost.steps for cost in costs_of(settings)) > 0
    ahead = pretraining_of(settings)
    if ahead is not None:
        check_run(ahead.settings, load_suite(ahead.settings.suite))


def test_the_help_of_every_recipe_is_one_sentence_and_a_page_lists_it():
    page = (DOCS / "protocols.md").read_text()
    for name in LIFELONG:
        assert RECIPES[name].summary[-1] in ".:?"
        assert f"`{name}`" in page or f"run {name}" in page


@pytest.mark.parametrize(
    ("name", "protocol", "tasks", "together", "first", "later"),
    [
        ("metaworld-cw10", "A", 10, 1, 50, 50),
        ("metaworld-cw20", "A", 20, 1, 50, 50),
        ("metaworld-few", "A+", 10, 1, 5, 5),
        ("metaworld-cw10-b", "B", 10, 6, 50, 10),
        ("metaworld-50", "A", 50, 1, 10, 10),
        ("metaworld-recurring", "A", 40, 1, 50, 50),
        ("metaworld-40", "A", 40, 1, 20, 20),
        ("libero-few", "A+", 10, 1, 10, 10),
        ("libero-few-long", "A+", 10, 1, 10, 10),
        ("libero-goal-b", "B", 10, 6, 50, 10),
        ("libero-spatial-and-object", "A", 20, 1, 20, 20),
    ],
)
def test_the_streams_have_the_size_and_the_demonstrations_that_they_are_known_by(
    name: str, protocol: str, tasks: int, together: int, first: int, later: int
):
    settings, suite = plan(name)
    assert (settings.protocol, settings.first) == (protocol, together)
    assert len(order_of(settings, suite)) == tasks
    assert (settings.demonstrations.episodes, settings.later.episodes) == (first, later)


def test_a_base_has_none_of_the_tasks_that_are_learned_on_it():
    for name in ("metaworld-few", "libero-few", "libero-few-long"):
        settings, suite = plan(name)
        ahead = pretraining_of(settings)
        assert ahead is not None
        assert ahead.recipe in TOGETHER
        before = load_suite(ahead.settings.suite)
        assert not set(order_of(ahead.settings, before)) & set(order_of(settings, suite))
        assert (dict(before.features), dict(before.scales)) == (dict(suite.features), dict(suite.scales))
        assert ahead.settings.policy == settings.policy
        assert ahead.settings.demonstrations.folder == settings.demonstrations.folder
    assert costs_of(plan("metaworld-40", "multitask")[0])[0].steps == 8000
    assert RECIPES["metaworld-40"].learners == ("multitask",)


def test_one_option_makes_a_recipe_of_protocol_a_plus_one_from_scratch():
    settings, suite = plan("metaworld-few", protocol="A")
    assert (settings.base, settings.pretrain) == ("", "")
    assert order_of(settings, suite) == CW10
    assert [cost.steps for cost in costs_of(settings)] == [400] * 10
    assert [cost.steps for cost in costs_of(plan("metaworld-few")[0])] == [400] * 10


def test_on_a_base_early_points_are_tested_and_one_option_gives_them_to_any_recipe():
    early = (0.0, 0.1, 0.25, 0.5, 1.0)
    for name in ("libero-few", "libero-few-long"):
        settings, _ = plan(name)
        assert settings.evaluate.curve == early
        assert costs_of(settings)[0].points == 4
    usual = plan("metaworld-few")[0].evaluate
    assert (usual.curve, usual.episodes) == ((0.0, 0.25, 0.5, 0.75, 1.0), 20)
    assert dataclasses.replace(usual, at=early).curve == early


def test_seeded_orders_are_four_different_ones_of_the_same_tasks():
    orders = set()
    for seed in range(1, 5):
        settings, suite = plan("metaworld-cw10", order="shuffled", order_seed=seed)
        order = order_of(settings, suite)
        assert order == order_of(*plan("metaworld-cw10", "sequential", order="shuffled", order_seed=seed, seed=3))
        assert sorted(order) == sorted(CW10)
        orders.add(order)
    assert len(orders) == 4
    assert CW10 not in orders


def test_some_tasks_of_the_recurring_stream_come_often_and_some_seldom():
    order = order_of(*plan("metaworld-recurring"))
    counts = sorted((order.count(name) for name in set(order)), reverse=True)
    assert len(order) == 40
    assert counts[0] >= 3 * counts[-1]
