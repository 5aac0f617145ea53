"""Tables of figures, and how they are written: Markdown, LaTeX, CSV and JSON.

A figure has its number, which CSV and JSON hold to the last digit, and the words that people read.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skilltokens.escaping import latex, markdown, terminal
from skilltokens.metrics import Interval
from skilltokens.report import text
from skilltokens.report.definitions import Kind

SCHEMA = "skilltokens.tables/1"
_FITTING = 7
"""More columns than these are made smaller, to fit a page."""


@dataclass(frozen=True)
class Entry:
    """One cell: a name, or a figure with its interval. `best` marks those that are not told from the best.

    `code` is what CSV and JSON call a name, where that is not what people call it.
    """

    words: str
    value: float | None = None
    interval: Interval | None = None
    kind: Kind = "rate"
    best: bool = False
    code: str = ""


@dataclass(frozen=True)
class Column:
    """A column: what CSV and JSON call it, and its head."""

    key: str
    title: str
    number: bool = True
    """Whether its cells are figures; names otherwise."""


@dataclass(frozen=True)
class Sheet:
    """A table with what is to be known about it. Each row has an entry for every column."""

    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]


def name(words: str, code: str = "") -> Entry:
    """A cell that is a name."""
    return Entry(words, code=code)


def figure(value: float | None, kind: Kind, interval: Interval | None = None, best: bool = False) -> Entry:
    """A cell that is a figure; a dash where there is none."""
    return Entry(text.number(value, kind), value, interval, kind, best)


def difference(value: float | None, interval: Interval | None) -> Entry:
    """A cell that is a difference of rates, written with its sign."""
    return Entry(text.DASH if value is None else text.signed(value), value, interval)


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """Each table under its title, its note below."""
    return "\n".join(_markdown(sheet) for sheet in sheets)


def _markdown(sheet: Sheet) -> str:
    note = f"\n{markdown(sheet.note)}\n" if sheet.note else ""
    return f"## {markdown(sheet.title)}\n\n{markdown_table(sheet)}\n{note}"


def markdown_table(sheet: Sheet) -> str:
    """A table in Markdown without its title and note."""
    head = [markdown(column.title) for column in sheet.columns]
    rule = ["---:" if column.number else "---" for column in sheet.columns]
    rows = [
        [_spoken(e) if column.number else markdown(e.words) for column, e in zip(sheet.columns, row, strict=True)]
        for row in sheet.rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))


def to_latex(sheets: Sequence[Sheet]) -> str:
    """A `table` of booktabs for each, ready to be put into a paper."""
    return "% Tables by skilltokens. They need \\usepackage{booktabs,graphicx}.\n" + "\n".join(map(_latex, sheets))


def _latex(sheet: Sheet) -> str:
    columns = "".join("r" if column.number else "l" for column in sheet.columns)
    head = " & ".join(latex(column.title) for column in sheet.columns)
    rows = [" & ".join(_typeset(entry) for entry in row) + r" \\" for row in sheet.rows]
    caption = f"{latex(sheet.title)}. {latex(sheet.note)}".strip()
    wide = len(sheet.columns) > _FITTING
    lines = [
        *(r"\begin{table}", r"\centering", rf"\caption{{{caption}}}"),
        *((r"\resizebox{\linewidth}{!}{%",) if wide else ()),
        *(rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head + r" \\", r"\midrule", *rows, r"\bottomrule"),
        *(r"\end{tabular}" + "}" * wide, r"\end{table}", ""),
    ]
    return "\n".join(lines)


def _typeset(entry: Entry) -> str:
    words = _bold(latex(entry.words), entry, r"\textbf{{{}}}")
    if entry.interval is None:
        return words
    low, high = (latex(text.number(end, entry.kind)) for end in (entry.interval.low, entry.interval.high))
    return rf"{words} {{\scriptsize [{low}, {high}]}}"


def to_csv(sheets: Sequence[Sheet]) -> str:
    """One table of all rows: figures in full, each interval in two columns, KEY_low and KEY_high.

    What a table has no column for is empty in its rows; the first column says which table, where there are several.
    """
    records = [_record(sheet, row) for sheet in sheets for row in sheet.rows]
    heads = dict.fromkeys(key for record in records for key in record)
    if len(sheets) < 2:
        heads.pop("table", None)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(heads), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _record(sheet: Sheet, row: Sequence[Entry]) -> dict[str, str | float | None]:
    record: dict[str, str | float | None] = {"table": _cell(sheet.title)}
    for column, entry in zip(sheet.columns, row, strict=True):
        whole = entry.kind == "count" and entry.value is not None and float(entry.value).is_integer()
        number = int(entry.value) if whole and entry.value is not None else entry.value
        record[column.key] = number if column.number else _cell(entry.code or entry.words)
        if any(other[sheet.columns.index(column)].interval is not None for other in sheet.rows):
            ends = entry.interval
            record |= {f"{column.key}_low": ends and ends.low, f"{column.key}_high": ends and ends.high}
    return record


def _cell(words: str) -> str:
    """Text that no program for tables takes for a formula."""
    words = terminal(words)
    return f"'{words}" if words.startswith(("=", "+", "-", "@")) else words


def to_json(sheets: Sequence[Sheet]) -> str:
    """Every table with its figures in full."""
    tables = [
        {
            "title": sheet.title,
            "note": sheet.note,
            "rows": [
                {column.key: _plain(column, entry) for column, entry in zip(sheet.columns, row, strict=True)}
                for row in sheet.rows
            ],
        }
        for sheet in sheets
    ]
    return json.dumps({"schema": SCHEMA, "tables": tables}, indent=2, allow_nan=False) + "\n"


def _plain(column: Column, entry: Entry) -> Any:
    if not column.number:
        return entry.code or entry.words
    if entry.interval is None:
        return entry.value
    return {"value": entry.value, "low": entry.interval.low, "high": entry.interval.high}


def _spoken(entry: Entry) -> str:
    """A figure with its interval in brackets."""
    ends = f" [{text.span(entry.interval, entry.kind)}]" if entry.interval is not None else ""
    return _bold(entry.words + ends, entry, "**{}**")


def _bold(words: str, entry: Entry, form: str) -> str:
    return form.format(words) if entry.best else words


WRITERS: Mapping[str, Callable[[Sequence[Sheet]], str]] = {
    ".csv": to_csv,
    ".md": to_markdown,
    ".tex": to_latex,
    ".json": to_json,
}
"""How tables are written, by the suffix of the file."""
