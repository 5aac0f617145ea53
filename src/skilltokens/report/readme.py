"""The parts of README.md that are made from the runs, between its markers; `make results` fills them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skilltokens.escaping import markdown
from skilltokens.report import few, text
from skilltokens.report.comparison.model import Comparisons
from skilltokens.report.contests import PLOTS, TOURNAMENT, summary
from skilltokens.report.finding import basis, sentences, suites_table
from skilltokens.report.pictures import LEARNERS_SHOWN, REWARD_SHOWN
from skilltokens.report.published import Published, main_comparisons
from skilltokens.report.reward import needed
from skilltokens.report.reward_runs import GOOD, Row, rows_of, tasks_in
from skilltokens.types import RunError

BLOCKS = ("finding", "results", "methods", "few", "reward")
LEARNERS = ("token-goal", "finetune-goal", "mlp")
"""Of the learners in the picture, those whose steps are named."""


def filled(published: Sequence[Published], many: Mapping[str, Comparisons], readme: str) -> str:
    """The text of README.md with its parts as the runs have them; a part without markers is left out.

    Raises:
        RunError: it has no place for the results, a marker without its end, or no comparison to show.
    """
    if "<!-- results:begin -->" not in readme:
        raise RunError(
            "README.md has no <!-- results:begin --> ... <!-- results:end -->: put both lines where the results belong"
        )
    for name in BLOCKS:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, mark, rest = readme.partition(begin)
        _, closing, after = rest.partition(end)
        if mark and not closing:
            raise RunError(f"README.md has {begin} without {end}: put it behind the part")
        if mark:
            readme = f"{before}{begin}\n{block(published, many, name)}\n{end}{after}"
    return readme


def block(published: Sequence[Published], many: Mapping[str, Comparisons], name: str) -> str:
    """One of BLOCKS: what was found, methods by suites, all methods, few demonstrations, or learning from reward.

    Raises:
        RunError: there are no runs to make it of.
    """
    if name == "reward":
        return _reward(published)
    if name == "methods":
        contest = next((experiment for experiment in published if experiment.name == TOURNAMENT in many), None)
        return summary(many[TOURNAMENT], f"{contest.place}/{PLOTS}") if contest is not None else ""
    if name == "few":
        return few.table(many)
    main = main_comparisons(published)
    if not main:
        raise RunError("there is no run of learning from demonstrations: README.md shows them in its results")
    return (
        f"{sentences(main)} {few.sentence(many)}".strip()
        if name == "finding"
        else f"{suites_table(main)}\n\n{basis(main)}"
    )


def _reward(published: Sequence[Published]) -> str:
    """Steps until success held, of those in the picture that learn at all, in a sentence each."""
    experiment = next((e for e in published if e.name == REWARD_SHOWN and e.rewards), None)
    if experiment is None:
        raise RunError(f"there is no run of {REWARD_SHOWN}: README.md shows it")
    tasks = tasks_in(experiment.rewards)
    rows = {(row.label, task): row for task in tasks for row in rows_of(experiment.rewards, task)}
    lines = [
        f"- {LEARNERS_SHOWN[label]} (`{label}`, {_what([rows[label, task] for task in tasks])}): "
        + markdown(", ".join(f"{task} {needed(rows[label, task])}" for task in tasks))
        for label in LEARNERS
        if all((label, task) in rows for task in tasks)
    ]
    share = f"{100 * GOOD:.0f} %"
    head = (
        f"Environment steps until {share} of Walker2d's test episodes succeed, at two tests in a row (median of seeds):"
    )
    return "\n".join([head, "", *lines])


def _what(rows: Sequence[Row]) -> str:
    return f"{text.plural(len(rows[0].seeds), 'seed')}, {rows[0].trained:,} numbers trained"
