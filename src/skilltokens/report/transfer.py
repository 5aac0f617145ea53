"""Which skill helps which: the page of the transfer matrices, results/transfer-matrix/README.md, and their drawings.

results/transfer-matrix/NAME.json    what `skilltokens transfer` left as matrix.json
results/transfer-matrix/about.md     words about them
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from skilltokens import metrics
from skilltokens.escaping import markdown
from skilltokens.experiments.records import Machine
from skilltokens.experiments.transfer.judging import (
    Matrix,
    Measure,
    Verdict,
    agreement,
    gains,
    measures,
    success,
    verdicts,
)
from skilltokens.experiments.transfer.record import TransferRecord, read_matrix
from skilltokens.report import text
from skilltokens.report.drawing import sheet
from skilltokens.report.svg import element, picture, tone

FOLDER = "transfer-matrix"
HEAD = ("rule", "rank correlation", "gain", "regret", "of the area: rank correlation", "gain", "regret", "as by words")
"""Of the table of rules."""
MEASURES: dict[Measure, str] = {"final": "success at the end", "area": "area under the learning curve"}
NOTE = (
    "A row is the skill that was started from, a column the task that was learned, a figure its success less that of "
    "learning it from the base, in percent. Rules choose among the skills of the other tasks. *Rank correlation*: "
    "Spearman's, of what a rule says of the skills with what they gave, the mean over tasks where either differs; "
    "*gain*: what the chosen skill gave over the base; *regret*: the best skill's gain less that; *as by words*: for "
    "how many tasks the rule chooses as the instruction does. Chance draws any of the skills."
)


def read_matrices(folder: Path) -> dict[str, TransferRecord]:
    """The matrices below results/, by name.

    Raises:
        RunError: one is damaged.
    """
    return {path.stem: read_matrix(path) for path in sorted((folder / FOLDER).glob("*.json"))}


def transfer_files(folder: Path) -> dict[Path, str]:
    """The text of the page and the drawings, by path; nothing where there are no matrices."""
    records, place = read_matrices(folder), folder / FOLDER
    if not records:
        return {}
    about = place / "about.md"
    words = about.read_text(encoding="utf-8").strip() if about.is_file() else ""
    files = {place / "README.md": page(records, words)}
    return files | {place / f"{name}.svg": f"{heat_map(record)}\n" for name, record in records.items()}


def page(records: dict[str, TransferRecord], about: str = "") -> str:
    """The page as text."""
    head = (
        "# Which skill helps which\n\nMade from the matrices beside it by `make results`: do not edit it. "
        "[All results](../../RESULTS.md), [how it is measured](../../docs/protocols.md#which-skill-helps-which).\n"
    )
    parts = [head, *([f"{about}\n"] if about else []), f"{NOTE}\n"]
    parts += [section(name, record) for name, record in records.items()]
    return text.stacked("\n".join(parts))


def section(name: str, record: TransferRecord) -> str:
    """One matrix: what it is, its rules, its drawing, every task's starts, the command and the machine."""
    blocks = [
        f"## {markdown(name)}",
        markdown(_what(record)),
        *_rules(record),
        f"![Gains of every pair of {markdown(name)}]({name}.svg)",
        starts_table(record),
        text.fenced([record.command or f"skilltokens transfer {record.recipe} --methods {record.method}"]),
        markdown(_made_on(record)),
    ]
    return "\n\n".join(blocks) + "\n"


def _rules(record: TransferRecord) -> list[str]:
    rows = rows_of(record)
    if not rows:
        return [f"{len(record.cells)} cells so far: rules are judged when all of them are there."]
    width = len(rows[0])
    return [text.table(*text.named(HEAD[: width - 1] + HEAD[-1:], rows))]


def rows_of(record: TransferRecord) -> list[list[str]]:
    """A row for each rule, as `HEAD` names the columns; without the area where cells have no curve."""
    kinds = measures([record])
    tables = {kind: verdicts(record, kind) for kind in kinds}
    rows = []
    for place, final in enumerate(tables["final"]):
        words = tables["final"][0]
        figures = [figure for kind in kinds for figure in _figures(tables[kind][place])]
        rows.append([final.rule, *figures, _agreement(final, words)])
    return rows


def _figures(verdict: Verdict) -> list[str]:
    known = verdict.correlations[~np.isnan(verdict.correlations)]
    interval = metrics.mean_interval(known, bounds=(-1.0, 1.0))
    ends = f" [{text.span(interval)}]" if interval is not None and verdict.rule != "chance" else ""
    correlation = text.DASH if verdict.correlation is None else f"{text.signed(verdict.correlation)}{ends}"
    return [correlation, text.signed(float(verdict.gains.mean())), text.rate(float(verdict.regrets.mean()))]


def _agreement(verdict: Verdict, words: Verdict) -> str:
    return text.DASH if verdict.rule == "chance" else f"{agreement(verdict, words)} of {len(verdict.chosen)}"


def starts_table(record: TransferRecord) -> str:
    """For each task: success from the base, from the best other skill, and from those that the rules choose."""
    pairs, base = success(record)
    names = [task.name for task in record.tasks]
    rules = [verdict for verdict in verdicts(record) if verdict.rule != "chance"]
    rows = []
    for task, name in enumerate(names):
        others = np.delete(np.arange(len(names)), task)
        known = others[~np.isnan(pairs[others, task])]
        best = int(known[pairs[known, task].argmax()]) if len(known) else None
        cells = [] if best is None else [_start(names[best], pairs[best, task])]
        cells += [_start(names[int(v.chosen[task])], pairs[int(v.chosen[task]), task]) for v in rules]
        own = text.DASH if np.isnan(base[task]) else text.rate(float(base[task]))
        rows.append([f"{task + 1} {name}", own, *(cells or [text.DASH])])
    return text.table(*text.named(["task", "from the base", "best other skill", *(v.rule for v in rules)], rows))


def _start(name: str, rate: float) -> str:
    return f"{text.rate(float(rate))} {markdown(name)}"


def heat_map(record: TransferRecord) -> Markup:
    """Gains of every pair, a panel for each measure."""
    kinds = measures([record])
    panels = [(MEASURES[kind].capitalize(), _panel(record, gains(record, kind))) for kind in kinds]
    names = {0: "more than from the base", 1: "less"}
    return sheet(f"Which skill helps which: {record.method}", names, panels, _size(record), columns=len(kinds))


def _size(record: TransferRecord) -> tuple[int, int]:
    count = len(record.tasks)
    return 110 + 25 * count, 24 + 22 * count


def _panel(record: TransferRecord, gain: Matrix) -> Markup:
    names = [task.name for task in record.tasks]
    shown, parts, phrases = text.shortened(names, 16), [], []
    across, down = 25.0, 22.0
    for task in range(len(names)):
        x = 110 + across * (task + 0.5)
        parts.append(element("text", str(task + 1), element("title", names[task]), class_="mid", x=x, y=14))
    for start, name in enumerate(shown):
        y = 20 + down * start
        parts.append(element("text", f"{start + 1} {name}", class_="name end", x=104, y=y + 14.5))
        for task in range(len(names)):
            value = float(gain[start, task])
            parts.append(_square(110 + across * task, y, across, down, value, f"{names[start]} to {names[task]}"))
        row = ", ".join(text.DASH if np.isnan(v) else text.signed(float(v)) for v in gain[start])
        phrases.append(f"{names[start]} {row}")
    return picture(*_size(record), f"Gains by start: {'; '.join(phrases)}.", *parts)


def _square(x: float, y: float, width: float, height: float, value: float, what: str) -> Markup:
    """One cell, as dark as its gain is large; a dot where it is not there yet."""
    if np.isnan(value):
        return element("text", "·", class_="mid", x=x + width / 2, y=y + height / 2 + 4)
    opacity = round(min(abs(value) * 2, 1.0) * 0.8 + 0.04, 3) if value else 0.0
    box = {"x": x + 0.5, "y": y + 0.5, "width": width - 1, "height": height - 1}
    percent = round(100 * value)
    figure = "0" if percent == 0 else f"+{percent}" if percent > 0 else f"{text.MINUS}{-percent}"
    return element(
        "g",
        element("title", f"{what}: {text.signed(value)}"),
        element("rect", class_="paper", **box),
        element("rect", class_="fill", fill_opacity=f"{opacity:g}", **box),
        element("text", figure, class_="mid name", x=x + width / 2, y=y + height / 2 + 4),
        class_=tone(0 if value >= 0 else 1),
    )


def _what(record: TransferRecord) -> str:
    skills = 0 if record.base is None else len(record.base.skills) - len(record.tasks)
    episodes = sorted({cell.episodes for cell in record.cells})
    learned = text.either(record.demonstrations.episodes)
    held = f"; loss on {text.either(record.held_out.episodes)} others" if record.held_out.episodes else ""
    return (
        f"{text.plural(len(record.tasks), 'task')} of {record.suite}, each learned by {record.method} from the skill "
        f"of each, on a base of {text.plural(skills, 'task')}, from {learned} {record.demonstrations.source} "
        f"demonstrations{held}; success on {record.split} states, {text.either(episodes)} episodes a cell, seed "
        f"{record.seed}."
    )


def _made_on(record: TransferRecord) -> str:
    machine = record.machine or Machine()
    hours = text.duration(sum(cell.seconds for cell in record.cells))
    commits = list(
        dict.fromkeys(str(c or "unknown")[:12] for c in (record.commit, *(r.commit for r in record.resumed)))
    )
    return (
        f"On {machine.system}, {machine.processor}, {machine.cores} cores, in {hours}. Commit {text.listed(commits)}."
    )


def summary(records: dict[str, TransferRecord], folder: str = "results") -> str:
    """What RESULTS.md says: for each matrix how well the rules know which skill helps."""
    rows = []
    for name, record in records.items():
        for verdict in verdicts(record):
            figures = [text.DASH if verdict.correlation is None else text.signed(verdict.correlation)]
            rows.append([name, markdown(verdict.rule), *figures, text.rate(float(verdict.regrets.mean()))])
    head = ["matrix", "rule that chooses the start", "rank correlation", "regret"]
    blocks = ["## Which skill helps which", text.table(*text.named(head, rows)) if rows else ""]
    blocks.append(text.linked("Every pair, commands and machine", f"{folder}/{FOLDER}/README.md"))
    return "\n\n".join(block for block in blocks if block) + "\n"
