"""Runs side by side: seeds grouped by method, the headline figures with intervals, paired comparisons, differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from skilltokens import metrics
from skilltokens.report.runs import Counts, Curve, Run

Kind = Literal["rate", "share", "count", "minutes"]

# What may differ between two runs of one group: it changes who is who, how fast it goes or what is shown, not what
# is measured.
_PER_RUN = ("seed", "train.threads", "train.device", "train.log_every", "evaluate.workers", "evaluate.films")


@dataclass(frozen=True)
class Definition:
    """One headline figure: how it is called, read, derived from a run, and explained."""

    key: str
    title: str
    short: str
    better: Literal["higher", "lower"]
    kind: Kind
    of: Callable[[Run], float | None]
    formula: str
    meaning: str


def _figure(name: str) -> Callable[[Run], float | None]:
    return lambda run: None if run.figures is None else getattr(run.figures, name)


def _held_fwt(run: Run) -> float | None:
    if run.figures is None or run.figures.fwt_of is None:
        return None
    lines = [metrics.rates(c.successes, c.episodes) for k in range(run.learned) if (c := run.curves.get(k)) is not None]
    return float(metrics.forward_transfer([metrics.held(line) for line in lines]).mean())


def _minutes(run: Run) -> float | None:
    seconds = run.content["timing"].get("train_s") or []
    return sum(seconds) / 60 if seconds else None


DEFINITIONS = (
    Definition(
        "final",
        "Final success",
        "final",
        "higher",
        "rate",
        _figure("final"),
        "mean over k of c[K, k]",
        "Success on all tasks after the last lesson: what the robot can do in the end.",
    ),
    Definition(
        "fwt",
        "FWT",
        "FWT",
        "higher",
        "rate",
        _figure("fwt"),
        "mean over k of FWT_k, FWT_k = mean over e of c[k, k, e]",
        "LIBERO's forward transfer: the area under the learning curve of each task, from before its lesson to the "
        "skill as it is kept. It rewards learning fast as well as learning well.",
    ),
    Definition(
        "learned",
        "Success when learned",
        "learned",
        "higher",
        "rate",
        _figure("learned"),
        "mean over k of c[k, k]",
        "Forward transfer as final success: each task right after its own lesson. Some papers call this FWT.",
    ),
    Definition(
        "nbt",
        "NBT",
        "NBT",
        "lower",
        "rate",
        _figure("nbt"),
        "mean over k < K of NBT_k, NBT_k = mean over t > k of (c[k, k] - c[t, k])",
        "Negative backward transfer: how much success each task loses while later ones are learned. 0 is no "
        "forgetting; below 0, later lessons helped.",
    ),
    Definition(
        "auc",
        "AUC",
        "AUC",
        "higher",
        "rate",
        _figure("auc"),
        "mean over k of AUC_k, AUC_k = (FWT_k + sum over t > k of c[t, k]) / (K - k + 1)",
        "LIBERO's summary of learning and keeping: success on each task averaged over its lesson and all that follow.",
    ),
    Definition(
        "held",
        "FWT, best point held",
        "FWT held",
        "higher",
        "rate",
        _held_fwt,
        "FWT with c[k, k, e] = max over e' of c[k, k, e'] from the best e on",
        "LIBERO's published code goes back to the checkpoint that did best on the very states it reports, and holds "
        "it. That flatters by chance; it stands here only to be put beside figures made in that way.",
    ),
    Definition(
        "trained",
        "Trained per new skill",
        "trained",
        "lower",
        "share",
        lambda run: run.new_skill_share,
        "mean over k > 1 of trained_k / base",
        "Parameters trained for a new skill, over those of the whole policy after the first lesson.",
    ),
    Definition(
        "stored",
        "Parameters stored",
        "stored",
        "lower",
        "count",
        lambda run: float(run.stored[-1]) if run.stored else None,
        "total after the last lesson",
        "Everything that must be kept to act on every skill learned so far.",
    ),
    Definition(
        "minutes",
        "Training time",
        "minutes",
        "lower",
        "minutes",
        _minutes,
        "sum over lessons",
        "Wall-clock minutes of training, all lessons together, on the machine named below.",
    ),
)
LIFELONG = frozenset({"fwt", "learned", "nbt", "auc", "held"})


@dataclass(frozen=True)
class Figure:
    """A headline figure of a group: the mean over seeds, each seed's value, and an interval.

    `basis` says what the interval is over: seeds (bootstrap), episodes (Wilson, one seed: other seeds may lie
    outside), or nothing.
    """

    value: float | None
    seeds: tuple[float, ...] = ()
    interval: metrics.Interval | None = None
    basis: Literal["seeds", "episodes", "none"] = "none"


@dataclass(frozen=True)
class Group:
    """All seeds of one method with one configuration."""

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def method(self) -> str:
        return self.first.method

    @property
    def joint(self) -> bool:
        return self.first.joint

    @cached_property
    def learned(self) -> int:
        """Lessons that every seed has done."""
        return min(run.learned for run in self.runs)

    @property
    def finished(self) -> bool:
        return all(run.finished for run in self.runs)

    def figure(self, definition: Definition) -> Figure:
        """The figure over the seeds that define it."""
        values = [value for run in self.runs if (value := definition.of(run)) is not None]
        if not values:
            return Figure(None)
        interval, basis = metrics.bootstrap(values), "seeds"
        if interval is None and definition.key == "final":
            last = self.first.learned - 1
            good, tried = (counts[last, : last + 1].sum() for counts in (self.first.successes, self.first.episodes))
            low, high = metrics.wilson(good, tried)
            interval, basis = metrics.Interval(float(low), float(high)), "episodes"
        if definition.kind in ("share", "count", "minutes") and len(set(values)) == 1:
            interval = None
        return Figure(float(np.mean(values)), tuple(values), interval, basis if interval else "none")

    @cached_property
    def cells(self) -> tuple[Counts, Counts, np.ndarray]:
        """Successes and episodes summed over seeds, and which cells are the same bits in every seed; (K, K) each."""
        good = np.sum([run.successes for run in self.runs], axis=0)
        tried = np.sum([run.episodes for run in self.runs], axis=0)
        return good, tried, np.all([run.same for run in self.runs], axis=0)

    def curve(self, task: int) -> Curve | None:
        """A task's learning curve summed over seeds, at the points that all seeds with a curve share."""
        curves = [run.curves[task] for run in self.runs if task in run.curves]
        if not curves:
            return None
        shared = sorted(set.intersection(*(set(curve.progress.tolist()) for curve in curves)))
        picked = [np.isin(curve.progress, shared) for curve in curves]
        return Curve(
            np.array(shared),
            np.sum([c.successes[p] for c, p in zip(curves, picked, strict=True)], axis=0),
            np.sum([c.episodes[p] for c, p in zip(curves, picked, strict=True)], axis=0),
        )


@dataclass(frozen=True)
class Comparison:
    """Groups that learned the same tasks in the same order from the same demonstrations, tested on the same states."""

    suite: str
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def first(self) -> Run:
        return self.groups[0].first


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Sorts runs into comparisons, groups by method and configuration, and seeds. Order: as the runs came in."""
    benches: dict[Any, list[Run]] = {}
    for run in runs:
        benches.setdefault(_bench(run), []).append(run)
    comparisons = []
    for bench in benches.values():
        grouped: dict[Any, list[Run]] = {}
        for run in bench:
            grouped.setdefault(_make(run), []).append(run)
        groups = _labelled([sorted(members, key=lambda run: run.seed) for members in grouped.values()])
        first = bench[0]
        comparisons.append(Comparison(first.suite, first.tasks, first.instructions, tuple(groups)))
    return comparisons


def _bench(run: Run) -> Any:
    """What two runs must share for their figures to stand in one table."""
    made = run.content["demonstrations"]
    return (
        run.suite,
        run.content["protocol"],
        run.content["observations"],
        run.tasks,
        made["source"],
        tuple(made["episodes"]),
        str(made.get("digest")),
        run.split,
    )


def _make(run: Run) -> Any:
    settings = {k: v for k, v in flat(run.content["config"]).items() if k not in _PER_RUN}
    return run.method, run.selected_by, tuple(sorted((k, repr(v)) for k, v in settings.items()))


def _labelled(members: list[list[Run]]) -> list[Group]:
    """Names each group by its method, and by the settings that tell it from others of the same method."""
    groups = []
    for runs in members:
        rivals = [other[0] for other in members if other[0].method == runs[0].method]
        apart = differences(rivals) if len(rivals) > 1 else {}
        mine = flat(runs[0].content["config"])
        marks = [f"{name.removeprefix('method.')}={shown(mine.get(name))}" for name in apart]
        if len({rival.selected_by for rival in rivals}) > 1:
            marks.append(f"by {runs[0].selected_by.replace('_', ' ')}")
        label = runs[0].method + (f" ({', '.join(marks[:3])}{', ...' if len(marks) > 3 else ''})" if marks else "")
        groups.append(Group(label, tuple(runs)))
    return groups


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as one level of dotted names."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings whose value is not the same in all runs, with each run's value (None where it has no such setting)."""
    configs = [{k: v for k, v in flat(run.content["config"]).items() if k not in _PER_RUN} for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    table = {name: [config.get(name) for config in configs] for name in names}
    return {name: row for name, row in table.items() if any(value != row[0] for value in row)}


def shown(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "none"
    return str(value)


@dataclass(frozen=True)
class Versus:
    """One method against another on the seeds and tasks that both have, by one figure's values per task."""

    a: Group
    b: Group
    seeds: tuple[int, ...]
    final: metrics.Paired
    fwt: metrics.Paired | None


def versus(a: Group, b: Group) -> Versus | None:
    """Compares two finished or equally far groups on the seeds that both have; None where there is no common seed."""
    seeds = sorted({run.seed for run in a.runs} & {run.seed for run in b.runs})
    mine = [next(run for run in a.runs if run.seed == seed).figures for seed in seeds]
    other = [next(run for run in b.runs if run.seed == seed).figures for seed in seeds]
    pairs = [(m, o) for m, o in zip(mine, other, strict=True) if m is not None and o is not None]
    if not pairs or len(pairs) < len(seeds) or len({len(f.final_of) for pair in pairs for f in pair}) > 1:
        return None
    final = metrics.paired([m.final_of for m, _ in pairs], [o.final_of for _, o in pairs])
    areas = [(m.fwt_of, o.fwt_of) for m, o in pairs if m.fwt_of is not None and o.fwt_of is not None]
    fwt = metrics.paired([m for m, _ in areas], [o for _, o in areas]) if len(areas) == len(pairs) else None
    return Versus(a, b, tuple(seeds), final, fwt)


def chosen(group: Group, held_out: bool) -> tuple[int, int]:
    """How many wordings (held out, or the others) chose the right skill, of how many, over all seeds."""
    entries = [e for run in group.runs for e in run.content.get("selection") or [] if e["held_out"] is held_out]
    return sum(e["chosen"] == e["task"] for e in entries), len(entries)
