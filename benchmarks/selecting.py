"""Choosing a skill among 100,000 wordings against one product of the matrix of their vectors with the instruction's.

The product reads every vector once and is the physical limit; the ranking adds the best of each skill, and a comparison
of the words of the nearest 32. Good: below 1.5, and below 20 ms on one core.
"""

from __future__ import annotations

import numpy as np

from benchmarks.setting import LANGUAGE, Bench
from benchmarks.timing import Row, row, take_turns
from skilltokens.skills.ranking import Index, rank

WORDINGS = 100_000
EACH = 4
"""Wordings of a skill."""
_VERBS = ("push", "pull", "lift", "open", "close", "turn", "press", "slide", "put", "take")
_THINGS = ("puck", "drawer", "window", "box", "bowl", "plate", "cup", "lid", "door", "nut", "peg", "lever", "dial")


def run(bench: Bench) -> list[Row]:
    """One row."""
    index = make_index(WORDINGS if not bench.quick else 1000)
    # An instruction near some wordings: the ranking's second stage has its usual work.
    vector, text = index.vectors[17], "please push the blue puck next to the door on the plate"
    sides = {"rank": lambda: rank(text, vector, index), "product": lambda: index.vectors @ vector}
    times = take_turns(sides, bench.effort)
    return [row("selecting", times, "rank", "product", "below 1.5, and rank below 20 ms")]


def make_index(wordings: int) -> Index:
    """An index of random vectors and of sentences such as robots get."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((wordings, LANGUAGE), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    verbs, things = rng.integers(len(_VERBS), size=wordings), rng.integers(len(_THINGS), size=(wordings, 2))
    texts = [
        f"{_VERBS[verb]} the {_THINGS[one]} {number} next to the {_THINGS[other]}"
        for number, (verb, (one, other)) in enumerate(zip(verbs.tolist(), things.tolist(), strict=True))
    ]
    owners = np.arange(wordings) // EACH
    return Index([f"skill-{number}" for number in range(int(owners[-1]) + 1)], texts, vectors, owners)
