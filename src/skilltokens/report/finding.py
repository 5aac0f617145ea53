"""What the main comparisons come to: a few sentences and one table, methods by suites, all from the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from skilltokens.escaping import markdown
from skilltokens.metrics import Interval
from skilltokens.report import text
from skilltokens.report.definitions import DEFINITIONS
from skilltokens.report.published import SUITES, Published
from skilltokens.report.summary import Comparison, Group, Versus, versus

NAMES = {
    "t2s": "T2S",
    "t2s-rows": "T2S by rows alone",
    "t2s-paper": "T2S as its paper has it",
    "lora": "LoRA",
    "psec": "PSEC",
    "prompts": "prompt pool",
    "adapters": "adapters",
    "packnet": "PackNet",
    "er": "replay (ER)",
    "agem": "A-GEM",
    "ewc": "EWC",
    "l2": "L2",
    "lwf": "LwF",
    "slow_learner": "slow learner",
    "merge": "weight merging",
    "head_only": "a head a task",
    "nearest": "nearest skill",
    "sequential": "fine-tuning",
    "full_copy": "a full copy a task",
    "single_task": "one policy a task",
    "multitask": "all tasks at once",
    "expert": "the expert",
    "untrained": "untrained base",
}
"""How people call the methods, in the order of the table; methods of other names come after, by their labels."""
MAIN = Sequence[tuple[Published, Comparison]]
SPACE = "\N{NO-BREAK SPACE}"
_BY_KEY = {definition.key: definition for definition in DEFINITIONS}


def sentences(main: MAIN) -> str:
    """Who keeps every skill, whether T2S and LoRA can be told apart, and what fine-tuning forgets."""
    parts = []
    kept = [method for method in ("t2s", "lora") if _kept(main, method)]
    if kept:
        ends = _span([_value(group, "final") for method in kept for group in _groups(main, method)])
        verb = "keeps" if len(kept) == 1 else "keep"
        names = text.listed([NAMES[method] for method in kept])
        parts.append(
            f"**{names} {verb} every skill to the bit**: {ends} of the test episodes over all skills succeed after the "
            "last lesson."
        )
    if len(kept) == 2 and (pairs := _pairs(main)):
        apart = [markdown(title) for title, pair in pairs if not _holds_zero(pair)]
        parts.append(
            f"**These runs tell them apart** on {text.listed(apart)}."
            if apart
            else f"**From {_shown(main)} demonstrations a task these runs can't tell the two apart**: paired by seed "
            "and task, every 95 % interval of their difference holds 0, in final success and in FWT, the area under "
            "the learning curve."
        )
    if tuned := _groups(main, "sequential"):
        learned, ends = (_span([_value(group, key) for group in tuned]) for key in ("learned", "final"))
        parts.append(f"**Fine-tuning forgets**: {learned} when a skill is learned, {ends} over all of them in the end.")
    return " ".join(parts)


def suites_table(main: MAIN) -> str:
    """Final success of every method on every suite, with what is forgotten, trained and stored."""
    titles = [text.linked(_title(experiment), page_of(experiment)) for experiment, _ in main]
    rows = []
    for label in _labels(main):
        groups = [next((g for g in comparison.groups if name_of(g) == label), None) for _, comparison in main]
        present = [group for group in groups if group is not None]
        cells = ["" if group is None else _cell(group) for group in groups]
        rows.append([markdown(label), *cells, _forgotten(present), _share(present), _stored(present)])
    if pairs := dict(_pairs(main)):
        cells = [_difference(pairs.get(_title(experiment))) for experiment, _ in main]
        rows.append([f"{NAMES['t2s']} less {NAMES['lora']}", *cells, "", "", ""])
    return text.table(["success in %", *titles, "forgotten", "trained", "stored"], rows)


def basis(main: MAIN) -> str:
    """What the figures of the table are, in a few sentences."""
    runs = [run for _, comparison in main for group in comparison.groups for run in group.runs]
    demonstrations = [run.record.demonstrations for run in runs]
    tasks = _either(len(run.tasks) for run in runs)
    episodes = _either(int(n) for run in runs for n in run.episodes.ravel() if n)
    sources = _either(one.source for one in demonstrations)
    observations = _either(run.record.observations for run in runs)
    splits, choosers = _either(run.split for run in runs), _either(run.selected_by.replace("_", " ") for run in runs)
    proofs = [proved(group) for group in _groups(main, "t2s") + _groups(main, "lora")]
    same, later = (sum(proof[i] for proof in proofs) for i in (0, 1))
    words = (
        f"Success over all {tasks} tasks after the last lesson, in %, with its 95 % interval: {episodes} episodes a "
        f"task on {splits} states, {_shown(main)} {sources} demonstrations a task, {observations} observations, the "
        f"skill chosen by {choosers}. {_seeds(main)} *Forgotten* is NBT, the success lost on average while later "
        f"skills are learned{_but_miscalled(main)}{_by_the_end(main)}; *trained* is what is trained for a new skill, "
        "of the size of one policy; *stored* is in sizes of one policy."
    )
    if later:
        words += f" Of T2S and LoRA, {same:,} of {later:,} later tests of an old skill were proved the same bits."
    return words


def _but_miscalled(main: MAIN) -> str:
    """What is not counted as forgotten, where there is any."""
    if not any(group.miscalled.any() for _, comparison in main for group in comparison.groups):
        return ""
    return ", less what was lost where the words called another task's skill"


def _by_the_end(main: MAIN) -> str:
    """What stands for it where old tasks were not tested in between."""
    if not any(group.untested for _, comparison in main for group in comparison.groups):
        return ""
    return ", or what is lost by the end where old tasks were tested then alone"


def proved(group: Group) -> tuple[int, int]:
    """How many tests of a skill after later lessons were of the same bits as an earlier one, of how many."""
    lower = [(np.tril(run.same, -1), np.tril(run.episodes > 0, -1)) for run in group.runs if not run.joint]
    return sum(int(same.sum()) for same, _ in lower), sum(int(later.sum()) for _, later in lower)


def _either(values: Iterable[int] | Iterable[str]) -> str:
    """The values that there are, `4 or 10`."""
    return markdown(text.either(values))


def _shown(main: MAIN) -> str:
    """How many demonstrations of a task there are."""
    runs = [run for _, comparison in main for group in comparison.groups for run in group.runs]
    return _either(n for run in runs for n in run.record.demonstrations.episodes)


def _seeds(main: MAIN) -> str:
    """Which figures are means of several seeds."""
    several: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for experiment, comparison in main:
        counts = {group.label: len(group.runs) for group in comparison.groups}
        for count in sorted(set(counts.values()) - {1}):
            labels = tuple(label for label in NAMES if counts.get(label) == count)
            several.setdefault((count, labels), []).append(markdown(_title(experiment)))
    if not several:
        return "One seed each."
    parts = [
        f"{text.plural(count, 'seed')} of {text.listed([NAMES[label] for label in labels])} on {text.listed(titles)}"
        for (count, labels), titles in several.items()
    ]
    return f"There are {', '.join(parts)}, and one of everything else."


def page_of(experiment: Published) -> str:
    """Where an experiment's page is, as a link from the folder of RESULTS.md."""
    return f"{experiment.place}/README.md"


def name_of(group: Group) -> str:
    """How people call a group's method, and what its label says behind it."""
    return NAMES.get(group.method, group.method) + group.label.removeprefix(group.method)


def place_of(name: str) -> int:
    """Where a name stands among others: in the order of NAMES, those that it does not have behind."""
    order = list(NAMES.values())
    return next((n for n, known in enumerate(order) if name == known or name.startswith(f"{known} (")), len(order))


def _title(experiment: Published) -> str:
    return SUITES.get(experiment.name, experiment.name)


def _labels(main: MAIN) -> list[str]:
    labels = dict.fromkeys(name_of(group) for _, comparison in main for group in comparison.groups)
    return sorted(labels, key=place_of)


def _groups(main: MAIN, method: str) -> list[Group]:
    return [group for _, comparison in main for group in comparison.groups if group.label == method]


def _value(group: Group, key: str) -> float | None:
    return group.figure(_BY_KEY[key]).value


def _kept(main: MAIN, method: str) -> bool:
    """Whether nothing is lost in any seed, and every later test was of the same bits."""
    groups = _groups(main, method)
    lossless = all(not any(group.figure(_BY_KEY["nbt"]).seeds) for group in groups)
    return bool(groups) and lossless and all(same == later > 0 for same, later in map(proved, groups))


def _pairs(main: MAIN) -> list[tuple[str, Versus]]:
    """T2S against LoRA, by suite."""
    pairs = []
    for experiment, comparison in main:
        groups = {group.label: group for group in comparison.groups}
        pair = versus(groups["t2s"], groups["lora"]) if {"t2s", "lora"} <= set(groups) else None
        if pair is not None:
            pairs.append((_title(experiment), pair))
    return pairs


def _holds_zero(pair: Versus) -> bool:
    intervals = [paired.interval for paired in (pair.final, pair.fwt) if paired is not None]
    return all(interval is None or interval.low <= 0 <= interval.high for interval in intervals)


def _cell(group: Group) -> str:
    figure = group.figure(_BY_KEY["final"])
    if figure.value is None:
        return text.DASH
    return _percent(figure.value) + _below(figure.interval)


def _difference(pair: Versus | None) -> str:
    if pair is None:
        return ""
    sign = "+" if pair.final.difference > 0 else ""
    return f"{sign}{_percent(pair.final.difference)}{_below(pair.final.interval)}"


def _below(interval: Interval | None) -> str:
    """An interval in small print under its figure, kept in one line; nothing where all cells are alike."""
    if interval is None or interval.low == interval.high:
        return ""
    return f"<br><sub>{_percent(interval.low)} to {_percent(interval.high)}</sub>".replace(" ", SPACE)


def _forgotten(groups: Sequence[Group]) -> str:
    values = [value for group in groups if (value := lost(group)) is not None]
    if not values:
        return text.DASH
    return "0" if not any(values) else _span(values)


def lost(group: Group) -> float | None:
    """What is forgotten; where old tasks were tested at the end alone, what was lost by then."""
    return _value(group, "lost" if group.untested else "forgotten")


def _share(groups: Sequence[Group]) -> str:
    return _span([_value(group, "trained") for group in groups])


def _stored(groups: Sequence[Group]) -> str:
    times = sorted({round(run.stored[-1] / run.base, 1) for g in groups for run in g.runs if run.base and run.stored})
    return " to ".join(f"{value:g}" for value in dict.fromkeys((times[0], times[-1]))) if times else text.DASH


def _percent(value: float) -> str:
    """A rate in per cent, to one decimal where it is between nothing and all."""
    words = f"{100 * value:.1f}"
    return {"100.0": "100", "0.0": "0", "-0.0": "0"}.get(words, words).replace("-", text.MINUS)


def _span(values: Sequence[float | None]) -> str:
    """The least and the largest rate, in per cent."""
    known = [value for value in values if value is not None]
    if not known:
        return text.DASH
    ends = dict.fromkeys(_percent(value) for value in (min(known), max(known)))
    return SPACE.join([*" to ".join(ends).split(), "%"])
