"""Are demonstrated actions in the units that their suite's environments take? They pass every other check if not.

A suite takes actions in [-1, 1] and gives its simulator a share of the simulator's own range, such as 0.2 m/s. Actions
that were recorded in m/s lie in [-1, 1] as well, and are executed at a fifth. There are two ways to notice it.

*Replay.* Where an episode's initial state can be found again (the store keeps the simulator's state, the suite
demonstrated it, or somebody recorded it with `suite.make(task).reset("train", index)`), its first steps are executed
again, as they are and as the other units would have it. If only the other units move things as the demonstration did,
that is proof.

*The share of the range.* All actions lie within the simulator's own range, which is at most half of [-1, 1], and use
half of it and more. A demonstrator who is as slow as that looks the same, and may well be: 30 % of the range is no
mistake. So this is a note and never a fault, and a replay that succeeds withdraws it. The other way round, for suites
whose actions are in the simulator's own units (`scales["action"]`): all actions lie in [-1, 1] and reach its ends,
where the own range is twice as wide and more. Actions outside the range are clipped, which may be what the robot did,
too.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.suites.registry import task_of
from skilltokens.types import (
    ACTION,
    SIMULATOR_STATE,
    Array,
    Environment,
    Observation,
    Scale,
    SkilltokensError,
    Suite,
    is_over,
)

NARROW = 0.5
"""The half of an own range that is clearly less than that of [-1, 1]; 1 / NARROW is clearly more."""
STEPS = 8
"""Steps that are replayed."""
STARTS = 20
"""Initial states that are looked through for that of the first demonstration."""
SAME, OTHER = 0.1, 0.5
"""Shares of the demonstrated way by which a replay may miss it and be the same, or must miss it to be another: in
between there may be noise. The other units are proven where they miss it by a fifth at most of what these do."""

Start = Callable[[], Observation]


@dataclass(frozen=True)
class Doubt:
    """That actions may be in other units."""

    sentence: str
    proven: bool = False
    """A replay has shown it; else it is a note."""


def doubt_units(suite: Suite, store: DemonstrationStore, *, replay: bool | None = None) -> Doubt | None:
    """What speaks against a store's actions being in the units of the suite; None where nothing does.

    A suite says by an attribute `action_units: Scale` what its simulator's own range is; without one, only clipping is
    looked for.

    Args:
        replay: try that too, in this process; None: only where the range that is used gives a reason to; False: never.
    """
    note = _by_range(suite, *_used(store))
    if replay is False or (replay is None and note is None):
        return None if note is None else Doubt(f"{store.path}: {note}")
    verdict = None
    with contextlib.suppress(SkilltokensError):  # no simulator, another task: then nothing can be replayed
        verdict = _replay(suite, store)
    if verdict is not None:
        as_is, others = verdict
        if as_is <= SAME:
            return None
        if others <= SAME * min(1.0, as_is / OTHER):  # noise on what was executed cannot look like this
            return Doubt(f"{store.path}: {_proof(suite, as_is)}", proven=True)
        if note is None and as_is > OTHER:
            note = (
                f"replayed from the same initial state, the first demonstration's actions miss its way by {as_is:.0%}: "
                "are they in other units, or those of another step or controller?"
            )
    return None if note is None else Doubt(f"{store.path}: {note}")


def _used(store: DemonstrationStore) -> tuple[Array, Array]:
    """The least and the most of each action (A,)."""
    actions = store[ACTION]
    return np.asarray(actions.min(axis=0), np.float64), np.asarray(actions.max(axis=0), np.float64)


def _by_range(suite: Suite, low: Array, high: Array) -> str | None:
    """A sentence where the range (A,) to (A,) that is used is that of other units, or is clipped."""
    units, own = _own(suite), ACTION in suite.scales
    if units is None and own:
        return None  # no bounds to compare with
    center, unit = (np.zeros(len(low)), np.ones(len(low))) if units is None else _arrays(units)
    own_low, own_high, slack = center - unit, center + unit, 1e-3 * unit
    if own:
        first = _first((low < own_low - slack) | (high > own_high + slack))
        if first is not None:
            return f"{_reach(first, low, high)} and is clipped to {_range(first, own_low, own_high)}: {_advice(suite)}"
        wide = unit >= 1 / NARROW
        reached = np.maximum(np.abs(low), np.abs(high))
        if not wide.any() or (reached[wide] > 1.001).any():
            return None
        first = _first(wide & (reached >= 0.95))
        seen = "as one in [-1, 1] would, where the simulator takes {}"
    else:
        first = _first((low < -1.001) | (high > 1.001))
        if first is not None:
            return f"{_reach(first, low, high)} and is clipped to -1 to 1: {_advice(suite)}"
        narrow = unit <= NARROW
        inside = (low >= own_low - slack) & (high <= own_high + slack)
        if not inside[narrow].all():
            return None
        first = _first(narrow & (np.maximum(np.abs(low - center), np.abs(high - center)) >= NARROW * unit))
        seen = "of -1 to 1, which is within the simulator's own range of {}"
    if first is None:
        return None
    seen = seen.format(_range(first, own_low, own_high))
    return (
        f"{_reach(first, low, high)} {seen}: if they are in other units than the suite's, {_advice(suite)}; if the "
        "demonstrator was as slow as that, nothing is wrong"
    )


def _first(entries: Array) -> int | None:
    """The first entry that is true."""
    return int(entries.argmax()) if entries.any() else None


def _range(entry: int, low: Array, high: Array) -> str:
    return f"{low[entry]:.4g} to {high[entry]:.4g}"


def _reach(entry: int, low: Array, high: Array) -> str:
    return f"action {entry} reaches from {_range(entry, low, high)}"


def _advice(suite: Suite) -> str:
    if ACTION in suite.scales:
        return 'store what the environment was given, or make the suite without actions="own"'
    return "bring the actions to [-1, 1]" + ', or make the suite with actions="own"' * hasattr(suite, "units")


def _proof(suite: Suite, missed: float) -> str:
    others = "are shares in [-1, 1]" if ACTION in suite.scales else "are in the simulator's own units"
    return (
        f"its actions move things as demonstrated only if they {others}; as they are, they miss the way by "
        f"{missed:.0%}, replayed from the same initial state: {_advice(suite)}"
    )


def _own(suite: Suite) -> Scale | None:
    return getattr(suite, "action_units", None)


def _arrays(scale: Scale) -> tuple[Array, Array]:
    return np.array(scale.center, np.float64), np.array(scale.unit, np.float64)


def _replay(suite: Suite, store: DemonstrationStore) -> tuple[float, float] | None:
    """By which shares of the way the first demonstration is missed: by its actions as they are, and in the other units.

    None where its initial state is not found, or nothing moves in its first steps.
    """
    units = _own(suite)
    steps = min(STEPS, int(store.offsets[1]) - 1)
    if units is None or steps < 1:
        return None
    center, unit = _arrays(units)
    shown = {name: np.asarray(store[name][: steps + 1], np.float64) for name in _vectors(suite, store)}
    actions = np.asarray(store[ACTION][:steps], np.float64)
    others = (actions - center) / unit if ACTION not in suite.scales else center + unit * actions
    environment = suite.make(task_of(suite, store.task.name))
    try:
        start = _start(environment, store, shown)
        if start is None:
            return None
        return _missed(suite, environment, start, shown, actions), _missed(suite, environment, start, shown, others)
    except ZeroDivisionError:
        return None
    finally:
        environment.close()


def _vectors(suite: Suite, store: DemonstrationStore) -> list[str]:
    """The observations that a replay is compared by."""
    return [n for n in suite.scales if n != ACTION and n in store.features and len(store.features[n].shape) == 1]


def _start(environment: Environment, store: DemonstrationStore, shown: Mapping[str, Array]) -> Start | None:
    """How to begin where the store's first demonstration begins: by the simulator's state that the store keeps, or as
    one of the initial states of the split "train"."""
    resume: Callable[[Array], Observation] | None = getattr(environment, "resume", None)
    starts: list[Start] = []
    if SIMULATOR_STATE in store.private and resume is not None:
        starts.append(functools.partial(resume, np.asarray(store[SIMULATOR_STATE][0], np.float64)))
    else:
        seed = store.settings.get("seed", 0)
        first = 1_000_000 * seed if isinstance(seed, int) and seed >= 0 else 0
        starts += [functools.partial(environment.reset, "train", first + index) for index in range(STARTS)]
    for start in starts:
        seen = start()
        if shown and all(np.allclose(seen[name], rows[0], rtol=1e-4, atol=1e-5) for name, rows in shown.items()):
            return start
    return None


def _missed(suite: Suite, environment: Environment, start: Start, shown: Mapping[str, Array], actions: Array) -> float:
    """By which share of the demonstrated way the actions miss it, in units of the suite's scales."""
    observations: list[Observation] = [start()]
    for action in actions:
        if is_over(environment):
            break
        observations.append(environment.step(action)[0])
    way = miss = 0.0
    for name, rows in shown.items():
        unit = np.array(suite.scales[name].unit)
        seen = np.stack([np.asarray(observation[name], np.float64) for observation in observations])
        known = rows[: len(seen)]
        way += float(np.square((known - known[0]) / unit).sum())
        miss += float(np.square((seen - known) / unit).sum())
    if way < 1e-8:
        raise ZeroDivisionError("nothing moves")
    return float(np.sqrt(miss / way))
