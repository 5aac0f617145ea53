"""Whether a library beside a foreign base is whole: every seal and shape, and on request the base and every action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import Load
from skilltokens.attached.proof import prove
from skilltokens.escaping import terminal
from skilltokens.skills.proof import compare
from skilltokens.skills.records import Record
from skilltokens.skills.state import labels_of
from skilltokens.skills.verifying import Finding, judged, strays
from skilltokens.types import LibraryError, Progress, Report, SkilltokensError, silent


def verify(
    folder: Path | str,
    *,
    actions: bool = False,
    loader: str | Load | None = None,
    base: str | Path | None = None,
    report: Report = silent,
) -> list[Finding]:
    """Reads everything in a library's folder and says what is wrong; no finding that is a fault: it is whole.

    Args:
        actions: also load the base, compare its files and numbers, and replay each skill's proof.
        loader, base: as for `AttachedLibrary.open`.
        report: told of progress.
    """
    try:
        library = AttachedLibrary.open(folder, loader=loader, base=base)
        if actions:
            _ = library.attached
    except SkilltokensError as problem:
        return [Finding(str(folder), str(problem), True)]
    findings = list(strays(library))
    if not actions:
        where = terminal(library.source.path)
        findings.append(Finding(where, "the base lies outside of the library: --actions compares it too", False))
    records, labels = library.state.everything(), labels_of(library.state)
    for number, record in enumerate(records):
        label = labels[id(record)]
        report(Progress("verify", number, len(records), label))
        try:
            skill = library.skill_of(record)
            _ = skill.content, skill.embeddings  # read, and checked against their seals
            if actions:
                findings += _replayed(library, record, label)
        except LibraryError as problem:
            findings.append(Finding(label, str(problem), True))
    report(Progress("verify", len(records), len(records), ""))
    return findings


def _replayed(library: AttachedLibrary, record: Record, label: str) -> Iterator[Finding]:
    """What the proof of one skill shows."""
    old = library.skill_of(record).content.proof
    if old is None:
        yield Finding(label, "no actions were kept of it: nothing to compare with", False)
        return
    actor = library.actor_of_record(record)
    yield judged(label, compare(old, prove(actor, library.features)))
