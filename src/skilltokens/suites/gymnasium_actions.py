"""Actions of a suite of Gymnasium environments -> what the environment itself is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box

from skilltokens.types import Array, Scale, SuiteError

Units = Literal["normalised", "own"]
"""Actions are shares of the environment's range, in [-1, 1], or in the environment's own units."""


@dataclass(frozen=True)
class ActionRange:
    """The box of an environment's actions, and the units that a suite's actions are in."""

    low: Array
    high: Array
    """(A,), in float64."""
    dtype: Any
    """What the environment takes."""
    units: Units

    @classmethod
    def of(cls, space: Any, units: Units, where: str) -> ActionRange:
        """That of an action space.

        Raises:
            SuiteError: it is no vector, or has no bounds to take shares of.
        """
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise SuiteError(
                f"{where} has the action space {space} where a bounded vector is needed: a policy's action is a vector "
                "of numbers"
            )
        if units == "normalised" and not space.is_bounded():
            raise SuiteError(
                f"{where} has the action space {space} where a bounded vector is needed: bound it "
                "(gymnasium.wrappers.RescaleAction, or low and high of its Box), or make it a GymnasiumSuite with "
                'actions="own" and demonstrations'
            )
        if (space.low >= space.high).any():
            raise SuiteError(f"{where} has an action whose bounds are one number ({space}): leave it out")
        return cls(space.low.astype(np.float64), space.high.astype(np.float64), space.dtype, units)

    @property
    def bounded(self) -> bool:
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    @property
    def scale(self) -> Scale | None:
        """The middle and the half of the box; None where an action has no bounds."""
        if not self.bounded:
            return None
        return Scale(tuple(((self.low + self.high) / 2).tolist()), tuple(((self.high - self.low) / 2).tolist()))

    def executed(self, action: Array) -> Array:
        """What the environment is given for an action (A,) of the suite: clipped, in its own units and kind."""
        values = np.asarray(action, dtype=np.float64)
        if self.units == "own":
            return self._cast(np.clip(values, self.low, self.high))
        share = (np.clip(values, -1, 1) + 1) / 2
        return self._cast(self.low + share * (self.high - self.low))

    def suites_own(self) -> tuple[Array | float, Array | float, Array | float]:
        """The bounds of the suite's actions, and what is one unit of them: where noise of 1 reaches."""
        if self.units == "normalised":
            return -1.0, 1.0, 1.0
        return self.low, self.high, (self.high - self.low) / 2 if self.bounded else 1.0

    def idle(self) -> Array:
        """An action in the middle of the box, 0 where it has no bounds."""
        with np.errstate(invalid="ignore"):
            middle = (self.low + self.high) / 2
        return self._cast(np.clip(np.where(np.isfinite(middle), middle, 0.0), self.low, self.high))

    def _cast(self, values: Array) -> Array:
        return (np.rint(values) if np.dtype(self.dtype).kind in "iu" else values).astype(self.dtype)
