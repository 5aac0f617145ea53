"""Suites, tasks and sequences by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
from tests.toy import TASKS, Toy

from skilltokens.suites import load_suite, registry, sequence, sequence_names, suite_names, task_of
from skilltokens.suites.bodies import BODIES
from skilltokens.types import SettingError, SuiteError


def register(monkeypatch, *entries: tuple[str, str]) -> None:
    """Makes it look as if another package had these entry points."""
    points = [EntryPoint(name, value, registry.GROUP) for name, value in entries]

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == registry.GROUP
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_every_registered_suite_loads_under_its_name() -> None:
    for name, summary in suite_names().items():
        assert load_suite(name).name == name
        assert summary


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_suite("metawold"), "did you mean 'metaworld'"),
        (lambda: sequence("metaworld-cw100"), "did you mean 'metaworld-cw10'"),
        (lambda: task_of(Toy(), "reach-rot"), "did you mean 'reach-red'"),
    ],
)
def test_an_unknown_name_gets_the_nearest(call, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        call()


def test_a_task_is_found_by_its_name() -> None:
    assert task_of(Toy(), "between") is TASKS[2]


def test_the_bodies_are_those_of_their_suites() -> None:
    assert {body.name: body.title for body in BODIES.values()} == registry.BODIES


def test_every_sequence_has_tasks() -> None:
    assert all(sequence(name)[1] for name in sequence_names())


def test_another_packages_suite_is_found_and_listed(monkeypatch) -> None:
    register(monkeypatch, ("toy", "tests.toy:Toy"))
    assert load_suite("toy") == Toy()
    assert {"metaworld", "libero-goal", "libero-goal-lan", "toy"} <= set(suite_names())


def test_another_package_cannot_take_a_suites_name(monkeypatch) -> None:
    register(monkeypatch, ("metaworld", "tests.toy:Toy"))
    assert load_suite("metaworld").name == "metaworld"
    assert "Toy" not in suite_names()["metaworld"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:suite", "No module named 'no_such_module'"),
        ("tests.toy:Joy", "has no attribute 'Joy'"),
        ("tests.toy:TASKS", "is no Suite but a tuple"),
        ("tests.toy:ToyExpert", "missing 1 required positional argument"),
    ],
)
def test_a_suite_that_cannot_be_loaded_gets_one_sentence(monkeypatch, name: str, message: str) -> None:
    register(monkeypatch, ("bad", name))
    for way in ("bad", name):
        with pytest.raises(SuiteError, match=message) as caught:
            load_suite(way)
        assert "\n" not in str(caught.value)


def test_a_suite_can_be_named_by_its_module_in_the_current_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_robot_here.py").write_text("from tests.toy import Toy\nsuite = Toy(name='own')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load_suite("own_robot_here:suite").name == "own"
