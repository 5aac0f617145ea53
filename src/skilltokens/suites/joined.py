"""Several suites of one robot as one: for a policy that learns the tasks of all of them together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from skilltokens.types import Environment, Episode, Feature, Scale, Split, Suite, SuiteError, Task


class Joined:
    """The tasks of several suites, one suite after another; each is done and demonstrated by its own.

    Args:
        name: what the whole is called.
        parts: suites with the same observations, actions and constants, and with different names for their tasks.

    Raises:
        SuiteError: they are not such suites.
    """

    def __init__(self, name: str, parts: Sequence[Suite]) -> None:
        first, *others = self._parts = tuple(parts)
        for other in others:
            if dict(other.features) != dict(first.features) or dict(other.scales) != dict(first.scales):
                raise SuiteError(
                    f"suites {first.name!r} and {other.name!r} cannot be one: they have other observations or actions"
                )
        self.name = name
        self.tasks: tuple[Task, ...] = tuple(itertools.chain.from_iterable(part.tasks for part in parts))
        self._home = {task.name: part for part in parts for task in part.tasks}
        if len(self._home) < len(self.tasks):
            raise SuiteError(f"suites {', '.join(part.name for part in parts)} cannot be one: tasks share a name")
        self.features: Mapping[str, Feature] = first.features
        self.scales: Mapping[str, Scale] = first.scales
        self.horizon = min(part.horizon for part in parts)
        self.memory: int = max(getattr(part, "memory", 0) for part in parts)
        """Bytes that a process with one task needs at most; 0: not known."""
        # A suite's expert acts in an environment whatever its task: that of one suite acts in those of its kind.
        alike = all(type(other) is type(first) for other in others)
        for attribute in ("frequency", "action_units", *(("expert_in",) if alike else ())):
            if hasattr(first, attribute):
                setattr(self, attribute, getattr(first, attribute))

    def make(self, task: Task) -> Environment:
        """One simulator with `task` in it."""
        return self._home[task.name].make(task)

    def episodes(self, split: Split) -> int | None:
        """How many different episodes of the split every part has; None: no limit."""
        asked = [getattr(part, "episodes", None) for part in self._parts]
        counts = [count(split) for count in asked if count is not None]
        return min((count for count in counts if count is not None), default=None)

    def versions(self) -> dict[str, str]:
        """The versions of all parts."""
        return {name: version for part in self._parts for name, version in part.versions().items()}

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        """The demonstrations that the task's own suite makes."""
        return self._home[task.name].demonstrate(task, episodes, seed, noise)
