"""A method of another package runs by its name through the loops, and resumes bit for bit."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from tests.methods.interrupted import check_interrupted, run_of
from tests.methods.plugged import Plugged, PluggedSettings
from tests.small import TRAIN, lessons, make_policy, teach

from skilltokens import methods
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.reading import read_lifelong


def test_a_method_of_another_package_is_interrupted_and_ends_with_the_same_bits(
    toy_demos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    entry = EntryPoint("plugged", "tests.methods.plugged:registration", "skilltokens.methods")
    monkeypatch.setattr(methods, "entry_points", lambda **_: [entry])
    assert methods.load_method("plugged") is Plugged
    check_interrupted(run_of(PluggedSettings(), toy_demos), tmp_path)
    record = read_lifelong(tmp_path / "cut")
    assert record.method == "plugged"
    drawn = [figure for flow in record.gradients for figure in flow.layers["all"]["drawn"]]
    assert len(set(drawn)) > 30


def test_what_a_rule_puts_back_keeps_every_bit(toy_stores: list[DemonstrationStore]):
    method = Plugged(make_policy(), PluggedSettings(), TRAIN, 0)
    before = [parameter.detach().clone() for parameter in method.base.head.parameters()]
    for lesson in lessons(toy_stores[:2]):
        teach(method, lesson)
    assert all(torch.equal(*pair) for pair in zip(before, method.base.head.parameters(), strict=True))
    assert float(method.kept["lessons"]) == 2
