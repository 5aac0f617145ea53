"""Numbers as people read them, the same on the page and in RESULTS.md."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from skilltokens.escaping import markdown, terminal
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.metrics import Interval, Paired
from skilltokens.report.definitions import Kind
from skilltokens.types import natural

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
    if kind == "times":
        return f"{value:.3g} \N{MULTIPLICATION SIGN}"
    if kind == "megabytes":
        return f"{value:.3g} MB" if 0 < value < 100 else f"{value:,.0f} MB"
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


def spread(interval: Interval | None, over: str, kind: Kind = "rate") -> str:
    """An interval of differences; where all are alike it has no width, and words say so: `the same in every seed`.

    Args:
        over: what the interval is over, "seeds" or "tasks".
    """
    if interval is not None and interval.low == interval.high:
        return f"the same in every {over.removesuffix('s')}"
    return span(interval, kind)


def apart(paired: Paired) -> str:
    """A difference of success with its interval in brackets."""
    ends = spread(paired.interval, paired.over)
    return signed(paired.difference) + (f" [{ends}]" if ends else "")


ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names in at most `width` letters, cut so that different names stay different.

    What all of them begin and end with alike is left out first, then each is cut in the middle.
    """
    if all(len(name) <= width for name in names):
        return list(names)
    told_apart = _told_apart(names)
    attempts = [[_cut(name, width, round(width * share)) for name in told_apart] for share in (0.5, 0.67, 0.34, 0.8)]
    best = max(attempts, key=lambda attempt: len(set(attempt)))
    for short in dict.fromkeys(best):
        alike = [place for place, other in enumerate(best) if other == short]
        if len({names[place] for place in alike}) > 1:
            for place, apart in zip(alike, _told_apart([names[place] for place in alike]), strict=True):
                best[place] = _cut(apart, width, width // 2)
    return best


def abbreviations(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each name one for a page, and one for a phone."""
    return dict(zip(names, zip(shortened(names, 18), shortened(names, 11), strict=True), strict=True))


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin and end with, where those are long."""
    words = [re.findall(r"[^_\W]+|[_\W]+", name) for name in names]
    if len({tuple(one) for one in words}) < 2:
        return list(names)
    start = "".join(_shared(words))
    rests = [one[len(_shared(words)) :][::-1] for one in words]
    end = "".join(_shared(rests)[::-1])
    start, end = (part if len(part) > _LONG else "" for part in (start, end))
    return [
        (ELLIPSIS if start else "") + name[len(start) : len(name) - len(end)] + (ELLIPSIS if end else "")
        for name in names
    ]


def _shared(lists: Sequence[list[str]]) -> list[str]:
    """What all lists begin with."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*lists, strict=False))
    return [column[0] for column in columns]


_LONG = 5
"""Letters that names begin or end with alike: more are left out."""


def _cut(name: str, width: int, tail: int) -> str:
    if len(name) <= width:
        return name
    return name[: width - tail - 1] + ELLIPSIS + name[len(name) - tail :]


def either(values: Iterable[int] | Iterable[str]) -> str:
    """The different values that there are, in order: `4 or 10`."""
    return " or ".join(sorted({str(value) for value in values}, key=natural))


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
