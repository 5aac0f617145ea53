"""Several suites as one: each task is that of its own suite, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.toy import TASKS, Toy

from skilltokens.suites import load_suite
from skilltokens.suites.conformance import check_suite
from skilltokens.suites.joined import Joined
from skilltokens.types import STATE, Feature, SuiteError


class Few(Toy):
    """A toy suite with few different episodes, on other tasks."""

    def __init__(self) -> None:
        super().__init__(tuple(replace(task) for task in TASKS[2:]), name="few", horizon=30)

    def episodes(self, split: str) -> int | None:
        return 7 if split == "test" else None


def joined() -> Joined:
    return Joined("both", [Toy(TASKS[:2]), Few()])


def test_a_joined_suite_keeps_the_protocol():
    suite = joined()
    check_suite(suite)
    assert [task.name for task in suite.tasks] == [task.name for task in TASKS]
    assert (suite.name, suite.horizon, suite.versions()) == ("both", 30, {"toy": "1"})
    assert (suite.episodes("test"), suite.episodes("train")) == (7, None)


def test_its_tasks_are_those_of_their_own_suites():
    suite = joined()
    for own, task in ((Toy(), TASKS[0]), (Few(), TASKS[3])):
        there, here = own.make(task).reset("test", 2), suite.make(task).reset("test", 2)
        assert all(np.array_equal(there[name], here[name]) for name in there)
        shown = zip(own.demonstrate(task, 2, 0, 0.1), suite.demonstrate(task, 2, 0, 0.1), strict=True)
        for one, other in shown:
            assert all(np.array_equal(one.features[name], other.features[name]) for name in one.features)


def test_suites_that_are_not_of_one_kind_are_refused():
    other = Toy(TASKS[2:], features={**Toy().features, STATE: Feature((3,))})
    with pytest.raises(SuiteError, match="other observations"):
        Joined("both", [Toy(TASKS[:2]), other])
    with pytest.raises(SuiteError, match="share a name"):
        Joined("both", [Toy(), Toy(TASKS[:1])])


def test_two_suites_of_libero_are_one_suite_too():
    suite = load_suite("libero-spatial-and-object")
    parts = [load_suite(name) for name in ("libero-spatial", "libero-object")]
    assert suite.tasks == (*parts[0].tasks, *parts[1].tasks)
    assert (suite.horizon, dict(suite.scales)) == (parts[0].horizon, dict(parts[0].scales))
    assert getattr(suite, "memory", 0) == getattr(parts[0], "memory", 0)
    assert getattr(suite, "frequency", 0) == 20.0
