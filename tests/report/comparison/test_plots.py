"""Axes of a comparison's drawings."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from skilltokens.report.comparison.plots import _decades  # pyright: ignore[reportPrivateUsage]


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
