"""Co-training: while a new skill is learned, windows of earlier tasks' demonstrations that look like its own.

No method but a setting of the run, so that every method can take it under the same ruler. What the settings do is in
`likeness.py` (which windows look like the new ones) and `rule.py` (what a training step makes of them). Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from skilltokens.configuration import Count, Share, ShareFrom0
from skilltokens.types import SettingError


@dataclass(frozen=True)
class CotrainSettings:
    """Earlier tasks' windows that look like the new task's, learned beside them under the new instruction."""

    share: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of a step's windows that are old ones, which come behind the whole new batch; 0: none, and nothing below
    matters."""
    score: Literal["nearest", "density", "any"] = "nearest"
    """nearest: windows whose steps are nearest to a new step's, in what is seen and the next actions. density: by a
    classifier's odds that a step is a new one. any: all alike."""
    retrieved: Share = 0.2
    """Share of the old windows that are drawn from, the best by the score; with score "any" all are."""
    ahead: Count = 8
    """Actions that are compared at a step: its own and the next ones."""
    alone: ShareFrom0 = 0.2
    """The last share of a lesson's training that learns from the new demonstrations alone."""
    folders: tuple[str, ...] = ()
    """Protocol A+: folders of stores in which the demonstrations of the base's tasks are looked for."""
    oracle: tuple[str, ...] = ()
    """NEW:OLD,OLD says which tasks' windows a new task may have; given, a task that is not named has none. Empty: each
    may have those of all earlier tasks."""

    def check(self, name: str = "cotrain") -> None:
        """Raises SettingError where an entry of `oracle` is not NEW:OLD,OLD."""
        self.sources(name)

    def sources(self, name: str = "cotrain") -> Mapping[str, tuple[str, ...]]:
        """For each new task that `oracle` names the tasks that its old windows come from."""
        sources: dict[str, tuple[str, ...]] = {}
        for entry in self.oracle:
            new, _, old = entry.partition(":")
            names = tuple(old.split(","))
            if not new or not all(names):
                raise SettingError(
                    f"{name}.oracle {entry!r} names no tasks: write NEW:OLD, or NEW:OLD,OLD, such as hammer:assembly"
                )
            if new in sources:
                raise SettingError(f"{name}.oracle names {new!r} twice: write all its tasks behind one, as NEW:OLD,OLD")
            sources[new] = names
        return sources
