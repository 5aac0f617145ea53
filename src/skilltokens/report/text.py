"""Numbers as people read them, the same on the page and in RESULTS.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from skilltokens.escaping import markdown, terminal
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.metrics import Interval
from skilltokens.report.definitions import Kind

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: float | None, kind: Kind) -> str:
    """One figure; a dash where it is not defined. A rate of exactly 0 is written 0, a rounded one 0.000."""
    if value is None:
        return DASH
    if kind == "count":
        return f"{round(value):,}"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "minutes":
        return f"{value:.1f} min" if value < 100 else f"{value:.0f} min"
    return rate(value)


def rate(value: float | None) -> str:
    """A success rate or a difference of rates, to three decimals."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    return f"{abs(value):.3f}" if value > 0 else f"{MINUS}{abs(value):.3f}"


def span(interval: Interval | None, kind: Kind = "rate") -> str:
    """An interval, or nothing."""
    if interval is None:
        return ""
    return f"{number(interval.low, kind)} to {number(interval.high, kind)}"


def signed(value: float) -> str:
    """A difference with its sign."""
    return "0" if value == 0 else f"+{value:.3f}" if value > 0 else f"{MINUS}{-value:.3f}"


def plural(count: int, word: str) -> str:
    """`3 seeds`, `1 seed`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def commits(record: LifelongRecord | RewardRecord) -> list[str]:
    """The commits of a run: the one it began under, and those under which it was resumed."""
    resumed = record.resumed
    return list(
        dict.fromkeys(str(commit or "unknown")[:12] for commit in [record.commit, *(r.commit for r in resumed)])
    )


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers. Cells are Markdown: see `named`."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def named(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of plain text for `table`: what may be a name, every head and each first cell, is escaped."""
    return [markdown(cell) for cell in head], [[markdown(row[0]), *row[1:]] for row in rows]


def fenced(lines: Iterable[str]) -> str:
    """Commands as a block of Markdown code, one a line; no line ends the block, whatever it holds."""
    shown = "\n".join(terminal(line) for line in lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}sh\n{shown}\n{fence}"


def linked(words: str, target: str) -> str:
    """A link of Markdown to a path or a #place, which may hold spaces and brackets."""
    return f"[{markdown(words)}]({quote(target, safe='/#.')})"


def stacked(page: str) -> str:
    """Markdown whose tables have each interval in one line below its figure, so that columns stay narrow."""
    lines = [_stacked(line) if line.startswith("|") else line for line in page.split("\n")]
    return "\n".join(lines)


def _stacked(row: str) -> str:
    return re.sub(r" (\[[^]|]+\])(?!\()", lambda match: "<br>" + match[1].replace(" ", "\N{NO-BREAK SPACE}"), row)
