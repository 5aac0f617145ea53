"""Selection by language: which skill an instruction means, and which earlier rows a new skill reuses.

Both depend only on the instruction and the stored sentence vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skilltokens.types import Array

TIE = 1e-6
"""Cosines that differ by less count as equal: the same sentence can differ by rounding."""


def choose(embedding: Array, skills: Sequence[Array]) -> tuple[int, float]:
    """The skill whose nearest wording has the largest cosine with the instruction; of equal ones, the last learned.

    Args:
        embedding: unit vector (language,).
        skills: for each skill the unit vectors of its wordings, (wordings, language).
    Returns:
        The skill's number and that cosine.
    """
    nearness = np.array([float((wordings @ embedding).max()) for wordings in skills])
    best = int(np.flatnonzero(nearness >= nearness.max() - TIE)[-1])
    return best, float(nearness[best])


def top_rows(embedding: Array, keys: Array, owners: Array, k: int) -> Array:
    """Top-K selection: the k rows whose language keys have the largest cosine with the instruction.

    Args:
        embedding: unit vector (language,).
        keys: unit vectors (skills, language): the language key of every row that a skill learned.
        owners: (rows,), for each row of a linear map the number of the skill that learned it.
        k: how many rows at most.
    Returns:
        Row numbers, nearest first. Rows with equal cosines keep their order, so those of the older skill come first.
    """
    nearness = (keys @ embedding)[owners]
    return np.argsort(-nearness, kind="stable")[:k]
