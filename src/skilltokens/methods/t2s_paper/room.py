"""How many rows a skill uses and may train, and how many skills the pool holds: known before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skilltokens.methods.base import count, shorter_chunk
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import Policy
from skilltokens.types import SettingError


@dataclass(frozen=True)
class Room:
    """Args:
    base: whose maps are the pool.
    adopted: it is a library's (protocol A+).
    own: parameters of a skill's own head and encoders.
    """

    base: Policy
    settings: T2SPaperSettings
    adopted: bool
    own: int

    @property
    def maps(self) -> dict[str, Pattention]:
        """The linear maps by path, in the policy's order."""
        return {path: part for path, part in self.base.maps().items() if isinstance(part, Pattention)}

    def rows(self, path: str) -> int:
        """How many rows the base has in a map."""
        return len(self.maps[path].key)

    def spare(self, path: str) -> int:
        """How many unused rows a map must have beside those that a library's base used."""
        return round(self.settings.spare * self.rows(path))

    def block(self, path: str) -> int:
        """How many rows a map grows by; 0 where it does not grow."""
        return max(1, round(self.settings.grow * self.rows(path))) if self.settings.grow else 0

    def active(self, path: str) -> int:
        """K: how many rows of a map a skill uses."""
        pool = self.rows(path) + (self.spare(path) if self.adopted else 0)
        return max(1, round(self.settings.active * pool))

    def bound(self, path: str, mu: float | None = None) -> int:
        """How many specific rows a skill may have in a map by mu alone."""
        return int((self.settings.mu if mu is None else mu) * self.active(path) + 1e-9)

    def most(self) -> dict[str, int]:
        """How many specific rows a skill may have in each map: as mu says, and as the share of the policy allows, which
        goes to the maps in proportion to the base's rows.

        Raises:
            SettingError: not one in some map.
        """
        maps = self.maps
        cost = {path: part.key.shape[1] + part.value.shape[1] for path, part in maps.items()}
        left = int(self.settings.share * count(self.base)) - self.own
        unit = left / sum(self.rows(path) * cost[path] for path in maps)
        rows = {path: int(unit * self.rows(path)) for path in maps}
        if any(number < 1 for number in rows.values()):
            raise SettingError(
                f"method.share {self.settings.share} leaves no row for some map of this policy: raise it, widen the "
                f"policy, {shorter_chunk(self.base)}or set method.own-head or method.own-encoders to False"
            )
        left -= sum(rows[path] * cost[path] for path in maps)
        for path in sorted(maps, key=lambda p: -self.rows(p)):  # what rounding left: one row more, widest maps first
            if left >= cost[path]:
                rows[path], left = rows[path] + 1, left - cost[path]
        if any(self.bound(path) < 1 for path in maps):
            raise SettingError(
                f"method.mu {self.settings.mu} leaves no specific row in some map of this policy: raise it or "
                "method.active, or widen the policy"
            )
        return {path: min(rows[path], self.bound(path)) for path in maps}

    def check_holds(self, skills: int, free: Mapping[str, int]) -> None:
        """Whether a pool that does not grow holds so many more skills.

        Args:
            free: for each map the rows that are unused when the first of them begins.

        Raises:
            SettingError: it does not, and how many it holds.
        """
        most = self.most()
        holds = min(free[path] // most[path] for path in most)
        if holds >= skills or self.settings.grow:
            return
        fitting = (mu / 1000 for mu in range(999, 0, -1) if self._fits(mu / 1000, skills, free))
        lower = next(fitting, 0.0)
        advice = f"lower method.mu to {lower:g}" if lower else "widen the policy"
        raise SettingError(
            f"the pool is used up before the end: after {'the base' if self.adopted else 'the first lesson'} it holds "
            f"{holds} skills, and the run has {skills} more: {advice}, or let the pool grow with method.grow"
        )

    def _fits(self, mu: float, skills: int, free: Mapping[str, int]) -> bool:
        """Whether with this mu each of so many skills may have a row or more in every map."""
        return all(1 <= self.bound(path, mu) <= rows // skills for path, rows in free.items())
