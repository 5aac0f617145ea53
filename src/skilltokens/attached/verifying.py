"""Whether a library beside a foreign base is whole: every seal and shape, and on request the base and every action."""

from __future__ import annotations

from pathlib import Path

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import Load
from skilltokens.attached.proof import prove
from skilltokens.escaping import terminal
from skilltokens.skills.verifying import Finding, skills_read, strays
from skilltokens.types import Report, SkilltokensError, silent


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
        library.remembers = False
        if actions:
            _ = library.attached
    except SkilltokensError as problem:
        return [Finding(str(folder), str(problem), True)]
    findings = list(strays(library))
    if not actions:
        where = terminal(library.source.path)
        findings.append(Finding(where, "the base lies outside of the library: --actions compares it too", False))
    again = (lambda record: prove(library.actor_of_record(record), library.features)) if actions else None
    return findings + skills_read(library, again, report)
