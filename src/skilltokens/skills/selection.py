"""Selection by sentence vectors alone: which skill is nearest to an instruction, and which rows a new skill reuses.

Both depend only on the instruction and the stored sentence vectors. `ranking.py` also looks at the words, says how sure
it is, and abstains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skilltokens.types import Array

TIE = 1e-6
"""Cosines that differ by less count as equal: the same sentence can differ by rounding."""

ROUNDING = 1e-5
"""More than a cosine can differ by rounding."""


def choose(embedding: Array, skills: Sequence[Array]) -> tuple[int, float]:
    """The skill whose nearest wording has the largest cosine with the instruction; of equal ones, the last learned.

    Args:
        embedding: unit vector (language,).
        skills: for each skill the unit vectors of its wordings, (wordings, language).
    Returns:
        The skill's number and that cosine.
    """
    starts = np.cumsum([0, *(len(wordings) for wordings in skills[:-1])])
    roughly = np.maximum.reduceat(np.concatenate(skills) @ embedding, starts)
    # The last bits of a product depend on the size of the matrix: the nearest are computed again, each skill alone.
    near = np.flatnonzero(roughly >= roughly.max() - ROUNDING)
    nearness = np.array([float((skills[i] @ embedding).max()) for i in near.tolist()])
    best = int(np.flatnonzero(nearness >= nearness.max() - TIE)[-1])
    return int(near[best]), float(nearness[best])


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
