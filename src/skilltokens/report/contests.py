"""Published experiments that many methods took part in: their standing, drawings, and the page of the tournament."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from skilltokens.escaping import markdown
from skilltokens.report import text
from skilltokens.report.comparison import sheets
from skilltokens.report.comparison.curves import LIFE
from skilltokens.report.comparison.findings import findings
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.plots import drawings
from skilltokens.report.comparison.standing import ranked
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.comparison.writing import drawn
from skilltokens.report.finding import name_of, page_of
from skilltokens.report.published import Published
from skilltokens.report.sheets import Sheet, markdown_table

MANY = 5
"""Methods of one table: an experiment with more is shown in their order of success."""
TOURNAMENT, TOURNAMENT_PAGE = "metaworld-cw10-methods", "docs/tournament.md"
BESIDE = {"metaworld-few-demonstrations": "metaworld-few", "libero-goal-methods": "libero-goal"}
"""Experiments in whose tables and drawings the runs of another one stand as well: they ask the same with other
demonstrations, or of other methods."""
PLOTS = "comparison.svg"
IN_SIGHT = 12
"""Pairs of one table: of more, the page shows those of the method that leads, and folds the rest."""
COLUMNS = ("method", "seeds", "final", "fwt", "learned", "nbt", "lost", "trained", "stored_mb", "data", "passes")
"""The columns of RESULTS.md and README.md; an experiment's page has all."""


def is_contest(experiment: Published) -> bool:
    """Whether many methods took part; or few in a long life, with several numbers of demonstrations, or beside more."""
    if experiment.name in BESIDE:
        return True
    if any(len(c.groups) > MANY or (len(c.groups) > 1 and len(c.tasks) >= LIFE) for c in experiment.comparisons):
        return True
    return len(_demonstrations(experiment)) > 1 and any(len(one.groups) > 1 for one in experiment.comparisons)


def contests(published: Sequence[Published]) -> dict[str, Comparisons]:
    """The comparison of each experiment that is a contest, by its name."""
    by_name = {experiment.name: experiment for experiment in published}
    return {name: _comparison(one, by_name) for name, one in by_name.items() if is_contest(one)}


def _comparison(experiment: Published, others: dict[str, Published]) -> Comparisons:
    beside = others.get(BESIDE.get(experiment.name, ""))
    entered = [experiment, *([beside] if beside is not None else [])]
    runs = [run for one in entered for c in one.comparisons for group in c.groups for run in group.runs]
    return compare_runs(sorted(runs, key=lambda run: run.demonstrations or 0.0))


def _demonstrations(experiment: Published) -> set[tuple[int, ...]]:
    return {tuple(map(int, one.first.record.demonstrations.episodes)) for one in experiment.comparisons}


def summary(comparisons: Comparisons, plots: str) -> str:
    """What RESULTS.md says of a contest: who leads each table, its standing, and the drawings.

    Args:
        plots: the drawings, as a link from that page.
    """
    across = sheets.by_demonstrations(comparisons)
    blocks = [markdown_table(across)] if across is not None else []
    for table in comparisons.tables:
        if len(comparisons.tables) > 1:
            blocks.append(f"**{markdown(_difference(table))}**")
        blocks += [" ".join(findings(table, _called)), markdown_table(_narrow(sheets.standing(table)))]
        blocks += [markdown(usual)] if (usual := sheets.usual(table)) else []
    blocks += [sheets.BOLD, f"![{_caption(comparisons)}]({plots})"]
    return "\n\n".join(blocks)


def detail(comparisons: Comparisons) -> str:
    """What the page of a contest says of it besides: the drawings with their notes, and every pair."""
    blocks = ["## Method beside method", f"![{_caption(comparisons)}]({PLOTS})"]
    notes = [f"*{one.title}.* {markdown(one.note)}" for one in drawings(comparisons) if one.note]
    blocks.append("\n".join(f"- {note}" for note in notes))
    for table in comparisons.tables:
        several = f": {markdown(_difference(table))}" if len(comparisons.tables) > 1 else ""
        if table.pairs:
            blocks += [f"### Each pair{several}", *_pairs(table)]
    return "\n\n".join(blocks)


def _pairs(table: Table) -> list[str]:
    """The tests of each pair; of many, those of the method that leads stand in sight."""
    pairs = sheets.pairs(table)
    if len(pairs.rows) <= IN_SIGHT:
        return [markdown_table(pairs), markdown(pairs.note)]
    first = ranked(table)[0]
    return [
        f"Those of {_called(first)}, which leads:",
        markdown_table(sheets.pairs(table, first)),
        f"<details><summary>All {len(pairs.rows)} pairs</summary>",
        markdown_table(pairs),
        "</details>",
        markdown(pairs.note),
    ]


def picture(comparisons: Comparisons) -> str:
    """The drawings as a file."""
    return f"{drawn(comparisons, dark=True)}\n"


def tournament(experiment: Published, comparisons: Comparisons) -> str:
    """The page docs/tournament.md."""
    table = comparisons.tables[0]
    conditions = "\n".join(
        f"- **{markdown(name)}**: {markdown(value)}" for name, value in table.conditions.items() if value
    )
    command = text.fenced(
        [
            f"skilltokens run {table.contenders[0].group.first.record.recipe} --methods METHOD --out runs/METHOD",
            f"skilltokens compare {experiment.name} runs/METHOD --out all.json all.html",
            "skilltokens compare --check all.json",
        ]
    )
    blocks = [
        "# The tournament",
        f"Made from the runs of [{markdown(experiment.name)}](../{page_of(experiment)}) by `make results`: do not edit "
        "it. [How a comparison is made](compare.md).",
        " ".join(findings(table, _called)),
        f"![{_caption(comparisons)}](../{experiment.place}/{PLOTS})",
        "## Standing",
        markdown_table(sheets.standing(table)),
        markdown(f"{sheets.WHAT_THEY_ARE} {sheets.BOLD}"),
        "## Enter",
        "A run enters where all of this is equal; another is put apart, and the reason is said. Let your method "
        "(METHOD: [one of your own](adding-a-method.md) has a name too) learn the same stream, compare it with what is "
        "here, and hand on the JSON: it holds every run, and `--check` makes each figure again from its cells.",
        command,
        conditions,
        "## Task by task",
        markdown_table(sheets.tasks(table)),
    ]
    return text.stacked("\n\n".join(blocks)) + "\n"


def _called(one: Contender) -> Markup:
    return Markup(f"**{markdown(name_of(one.group))}**")  # Markdown, which nothing escapes again


def _difference(table: Table) -> str:
    """What tells a table from others of its experiment."""
    return f"{table.conditions.get('demonstrations', '')}, protocol {table.conditions.get('protocol', '')}"


def _caption(comparisons: Comparisons) -> str:
    titles = [one.title.lower() for one in drawings(comparisons) if one.picture]
    return markdown(f"Drawings: {text.listed(titles)}")


def _narrow(sheet: Sheet) -> Sheet:
    """The sheet with the columns that RESULTS.md has room for."""
    kept = [place for place, column in enumerate(sheet.columns) if column.key in COLUMNS]
    rows = tuple(tuple(row[place] for place in kept) for row in sheet.rows)
    return Sheet(sheet.title, "", tuple(sheet.columns[place] for place in kept), rows)
