"""What a pair comes to, in one sentence that names who is ahead, by how much, and how sure that is."""

from __future__ import annotations

from skilltokens.report import text
from skilltokens.report.comparison.model import Pair
from skilltokens.significance import ALPHA

LEAST = 0.001
"""p-values below this are written as such."""


def verdict(pair: Pair) -> str:
    """Who is ahead of a pair, whichever of both that is, or that they can't be told apart and what could be shown."""
    a, b = pair.a.label, pair.b.label
    first, second = (b, a) if pair.verdict.endswith("behind") else (a, b)
    amount, chance = size(pair, turned=first == b), _chance(pair)
    over = f"over {text.plural(len(pair.seeds), 'seed')}" if pair.final.over == "seeds" else "with one seed"
    if pair.verdict in ("ahead", "behind"):
        rest = "" if pair.final.over == "seeds" else ", so another training may end otherwise"
        return f"{first} leads {second} by {amount} {over}, {chance}{rest}"
    if pair.verdict != "open":
        return (
            f"these policies of {first} do better than those of {second}, by {amount} {over}, {chance}; but the seeds "
            "differ so much that other trainings may not"
        )
    apart = f"{text.signed(pair.difference)} {_interval(pair)} {over}, {chance}"
    return f"{a} and {b} can't be told apart: {apart}; {_resolution(pair)}"


def _chance(pair: Pair) -> str:
    words = chance_in(pair.corrected)
    return f"p {words}" if words.startswith("<") else f"p = {words}"


def _resolution(pair: Pair) -> str:
    """Which difference the episodes of a pair could show."""
    if pair.smallest is None:
        return "so few episodes would show no difference at all"
    count = f"{pair.episodes[0]:,} episodes each" if len(set(pair.episodes)) == 1 else "so many episodes"
    return f"a difference of {pair.smallest:.3f} or more would show in {count}"


def size(pair: Pair, turned: bool = False) -> str:
    """The difference with its interval, as A's or, turned, as B's lead."""
    sign = -1 if turned else 1
    low, high = (None, None) if pair.final.interval is None else (pair.final.interval.low, pair.final.interval.high)
    if low is None or high is None:
        return text.rate(sign * pair.difference)
    ends = sorted((sign * low, sign * high))
    return f"{text.rate(sign * pair.difference)} [{text.rate(ends[0])} to {text.rate(ends[1])}]"


def chance_in(p: float) -> str:
    """A p-value as people read it."""
    if p < LEAST:
        return f"< {LEAST:g}"
    return f"{p:.3f}" if p < 2 * ALPHA else f"{p:.2f}"


def test_in(pair: Pair) -> str:
    """The exact test of a pair by its name."""
    return "McNemar" if pair.paired else "Fisher"


def _interval(pair: Pair) -> str:
    return "" if pair.final.interval is None else f"[{text.span(pair.final.interval)}]"
