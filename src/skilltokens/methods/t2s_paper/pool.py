"""The pool of one linear map: whose each row is, its key, and which rows an instruction activates.

A pool is nothing that is kept: it follows from the seed and from the rows that each skill before activated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from skilltokens.skills.selection import top_rows
from skilltokens.types import Array

FREE, BASE_ROW = -1, -2
"""In the place of the number of the skill whose a row is: never used before; the base's."""


@dataclass(frozen=True, eq=False)
class Use:
    """The rows of the pool that a skill uses in one map."""

    rows: Array
    """(n,) int64: the shared ones by their owners, then the specific ones; each in rising order."""
    specific: int
    """How many of them are specific."""
    amount: Array | None = None
    """(n,) float32 from 0 to 1: how active each is on the skill's demonstrations; None: not measured."""

    @property
    def shared_rows(self) -> Array:
        """Rows that an earlier skill was trained with."""
        return self.rows[: len(self.rows) - self.specific]

    @property
    def specific_rows(self) -> Array:
        """Rows that are this skill's own."""
        return self.rows[len(self.rows) - self.specific :]


@dataclass(eq=False)
class Pool:
    """The rows of one linear map.

    Args:
        seed: seeds the keys, with the number of the map.
        language: width of a key.
        base: how many rows the base has; they come first.
    """

    seed: tuple[int, int]
    language: int
    base: int
    keys: Array = field(init=False)
    """Unit vectors (rows, language) float32."""
    owner: Array = field(init=False)
    """(rows,) int64: the number of the skill whose a row is, `BASE_ROW` or `FREE`."""
    place: Array = field(init=False)
    """(rows,) int64: where a row lies among its owner's; of a free one among the base's, -1 where it lies nowhere."""

    def __post_init__(self) -> None:
        self.keys = np.zeros((0, self.language), np.float32)
        self.owner = self.place = np.zeros(0, np.int64)
        self.blocks = 0
        self.add(self.base)
        self.place = np.arange(self.base)

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def free(self) -> int:
        """How many rows were never used."""
        return int((self.owner == FREE).sum())

    def add(self, rows: int) -> None:
        """More free rows, with keys drawn at random: each block of rows has a stream of its own."""
        drawn = np.random.default_rng([*self.seed, self.blocks]).standard_normal((rows, self.language))
        self.blocks += 1
        self.keys = np.concatenate([self.keys, _unit(drawn)])
        self.owner = np.concatenate([self.owner, np.full(rows, FREE)])
        self.place = np.concatenate([self.place, np.full(rows, -1)])

    def grow(self, block: int, rows: int, free: int) -> None:
        """Adds blocks until there are so many rows, and so many free ones."""
        while block and (len(self) < rows or self.free < free):
            self.add(block)

    def pick(self, instruction: Array, number: int, most: int, among: int | None = None) -> Use:
        """The Top-K of an instruction: the rows with the nearest keys; beyond so many free ones the next used ones.

        Args:
            instruction: unit vector (language,).
            number: K.
            most: how many of them may be free.
            among: the first so many rows of the pool alone; None: all.
        """
        keys = self.keys[:among]
        order = top_rows(instruction, keys, np.arange(len(keys)), len(keys))
        free = self.owner[order] == FREE
        chosen = order[~free | (np.cumsum(free) <= most)][:number]
        is_free = self.owner[chosen] == FREE
        shared, specific = np.sort(chosen[~is_free]), np.sort(chosen[is_free])
        shared = shared[np.argsort(self.owner[shared], kind="stable")]
        return Use(np.concatenate([shared, specific]), len(specific))

    def claim(self, use: Use, owner: int) -> None:
        """The specific rows of a use are a skill's from here on; `BASE_ROW`: they stay where the base has them."""
        self.owner[use.specific_rows] = owner
        if owner != BASE_ROW:
            self.place[use.specific_rows] = np.arange(use.specific)

    def pull(self, rows: Array, instruction: Array, steps: Array | float) -> None:
        """Moves the keys of rows towards an instruction, k <- (1 - step) k + step e, and back to length 1."""
        steps = np.broadcast_to(np.asarray(steps, np.float32), len(rows))[:, None]
        self.keys[rows] = _unit((1 - steps) * self.keys[rows] + steps * instruction)

    def by_owner(self, rows: Array) -> Iterator[tuple[int, Array]]:
        """Used rows by whose they are, in the order of the owners: (owner, their places among its rows)."""
        for owner in np.unique(self.owner[rows]):
            yield int(owner), self.place[rows][self.owner[rows] == owner]


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
