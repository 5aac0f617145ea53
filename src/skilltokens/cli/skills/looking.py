"""Looking at a library: its skills, one of them, its history, and how it differs from another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG, open_library
from skilltokens.metrics import wilson

if TYPE_CHECKING:
    from skilltokens.skills.describing import Description
    from skilltokens.skills.known import Counts
    from skilltokens.skills.records import Record
    from skilltokens.skills.state import Event

LONGEST = 300
"""Letters that are shown of a note."""


@dataclass(frozen=True)
class ListOptions:
    """Shows the skills in the order learned: what calls them, their size, and how well they do.

    examples:
      skilltokens skills library list
      skilltokens skills library                        # the same
    """


@dataclass(frozen=True)
class ShowOptions:
    """Shows all that is known of one skill: words, rows reused and from whom, results, versions, history.

    Intervals are Wilson's, 95 %. "error aside" is the mean distance of the skill's actions from demonstrations that it
    was not taught on; "still" is what a policy reaches that always gives their mean action.

    examples:
      skilltokens skills library show push
      skilltokens skills library show push@1            # an older version
    """

    name: tyro.conf.Positional[str]
    """The skill, or NAME@VERSION."""


@dataclass(frozen=True)
class HistoryOptions:
    """Shows every change of the library, with its number and its time (UTC).

    examples:
      skilltokens skills library history
    """


@dataclass(frozen=True)
class DiffOptions:
    """Shows what another library has, lacks or has otherwise; the exit status is 1 where they differ.

    examples:
      skilltokens skills library diff robot-2/library
    """

    other: tyro.conf.Positional[Path]
    """The other library's folder."""


def list_(library: Path, words: Sequence[str]) -> int:
    parse(ListOptions, words, f"{PROG} list")
    from rich.box import SIMPLE
    from rich.table import Table

    from skilltokens.cli.saying import cells, say
    from skilltokens.cli.tables import output
    from skilltokens.skills.disk import Disk

    disk = Disk.open(library)
    base, state = disk.head.base.parameters, disk.state
    table = Table("skill", "instruction", "parameters", "success", "error aside", "", box=SIMPLE, pad_edge=False)
    versions: dict[str, int] = {}
    for old in state.older:
        versions[old.name] = versions.get(old.name, 0) + 1
    for record in state.skills.values():
        table.add_row(*cells(_row(record, base, versions.get(record.name, 0))))
    output().print(table)
    count = len(state.skills)
    say(
        f"{count} skill{'s' * (count != 1)} on a base of {base:,} parameters; "
        f"instructions are read by {disk.head.encoder}"
    )
    return 0


def _row(record: Record, base: int, older: int) -> tuple[str, ...]:
    from skilltokens.skills.known import aside, counts

    notes = record.about()
    error, more = aside(notes), len(record.wordings) - 1
    marks = ["retired"] * record.retired + [f"{older} older version{'s' * (older != 1)}"] * bool(older)
    return (
        record.label,
        record.wordings[0] + (f" (and {more} more)" if more else ""),
        "the base" if record.parameters == 0 else f"{record.parameters:,} ({record.parameters / base:.1%})",
        _success(counts(notes)),
        "" if error is None else f"{error.error:.3f}",
        ", ".join(marks),
    )


def _success(counted: Counts | None) -> str:
    if counted is None:
        return "not measured"
    low, high = (float(end) for end in wilson(*counted))
    return f"{counted.successes} of {counted.episodes} [{low:.2f}, {high:.2f}]"


def show(library: Path, words: Sequence[str]) -> int:
    options = parse(ShowOptions, words, f"{PROG} show")
    from skilltokens.cli.saying import say
    from skilltokens.skills.describing import describe

    for name, value in _lines(describe(open_library(library), options.name)):
        say(f"{name:<16}{value}")
    return 0


def _lines(skill: Description) -> Iterator[tuple[str, str]]:
    """What is shown of a skill: what it is about, and the text."""
    record = skill.record
    yield "skill", skill.label + " (retired: no instruction calls it)" * record.retired
    if skill.label != record.name:
        yield "", "an older version, which no instruction calls"
    elif record.version > 1:
        yield "version", str(record.version)
    yield "instruction", record.wordings[0]
    for text in record.wordings[1:]:
        yield "also called by", text
    yield "form", _FORMS[record.form] if not skill.is_base else "the base itself, with no parameters of its own"
    yield "parameters", f"{record.parameters:,}, {skill.share:.1%} of the base's"
    if skill.own_rows:
        yield "rows", f"{skill.own_rows:,} of its own"
    if skill.bends:
        yield "bend", f"{skill.bends:,} numbers that bend the base's rows"
    for source, count in skill.reused.items():
        yield "", f"{count:,} reused of {source}"
    if skill.steering is not None:
        token = skill.steering.token
        reads = ", ".join([*token.features, *token.pictures])
        yield (
            "steers",
            f"{skill.steering.on}, by {token.tokens} task token{'s' * (token.tokens != 1)} that read {reads}",
        )
    yield "needed by", ", ".join(skill.dependants) or "no other skill"
    yield "success", _success(skill.counts)
    if skill.aside is not None:
        still = "" if skill.aside.still is None else f" (still: {skill.aside.still:.3f})"
        of = "" if skill.aside.episodes is None else f", on {skill.aside.episodes} demonstrations"
        yield "error aside", f"{skill.aside.error:.3f}{still}{of}"
    yield from _notes(skill.notes)
    yield "identity", record.identity
    yield "file", f"skills/{record.file}, {record.bytes:,} bytes"
    yield "proved on", ", ".join(map(str, skill.proof.values())) or "no actions were kept of it"
    for old in skill.older:
        yield "older version", old
    for event in skill.changes:
        yield "history", _event(event)


_FORMS = {
    "rows": "rows (parameter tokens)",
    "lora": "low-rank adapters",
    "composed": "low-rank adapters, and networks that weigh earlier skills' adapters",
    "bottleneck": "bottleneck adapters",
    "prompted": "prompts",
    "whole": "a whole policy of its own",
}
_SHOWN_APART = ("successes", "episodes", "aside")


def _notes(notes: Any) -> Iterator[tuple[str, str]]:
    for name, value in notes.items():
        if name in _SHOWN_APART:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{name[:LONGEST]} ", text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def history(library: Path, words: Sequence[str]) -> int:
    parse(HistoryOptions, words, f"{PROG} history")
    from skilltokens.cli.saying import say
    from skilltokens.skills.disk import Disk
    from skilltokens.skills.state import history as events_of

    for event in events_of(Disk.open(library).changes):
        say(_event(event))
    return 0


def _event(event: Event) -> str:
    from skilltokens.skills.telling import told

    return f"{event.number:>4}  {event.change.at}  {told(event.change)}{' (undone)' * event.undone}"


def diff(library: Path, words: Sequence[str]) -> int:
    options = parse(DiffOptions, words, f"{PROG} diff")
    from skilltokens.cli.saying import say
    from skilltokens.skills.parcel import diff as differences

    lines = differences(open_library(library), open_library(options.other))
    for line in lines:
        say(f"{line.name}: {line.what}" if line.name else line.what)
    if not lines:
        say(f"{library} and {options.other} act alike and are called alike")
    return 1 if lines else 0
