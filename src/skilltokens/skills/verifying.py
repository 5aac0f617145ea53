"""Whether a library is whole, as `git fsck` asks: every seal, shape and reference, and on request every action."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.assembling import standing
from skilltokens.skills.disk import MAKING, SKILLS
from skilltokens.skills.listed import LibraryList
from skilltokens.skills.proof import Comparison, compare, prove
from skilltokens.skills.records import Record
from skilltokens.skills.skill import Proof
from skilltokens.skills.state import labels_of
from skilltokens.types import LibraryError, Progress, Report, silent


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    subject: str
    """The skill, with its version where there are several; or the file, or the library."""
    sentence: str
    fault: bool
    """False: worth knowing, and nothing is wrong."""


def verify(folder: Path | str, *, actions: bool = False, report: Report = silent) -> list[Finding]:
    """Reads everything in a library's folder and says what is wrong; no finding that is a fault: it is whole.

    Args:
        actions: also replay each skill's proof, and compare its actions bit by bit with those where it was learned.
        report: told of progress.
    """
    try:
        library = ActingLibrary.open(folder)
        _ = library.base
    except LibraryError as problem:
        return [Finding(str(folder), str(problem), True)]
    findings = list(strays(library))
    again = (lambda record: _proof_again(library, record)) if actions else None
    return findings + skills_read(library, again, report)


def skills_read(library: LibraryList, again: Callable[[Record], Proof] | None, report: Report) -> list[Finding]:
    """What reading every version of every skill shows: seals and shapes, and the actions that were kept of it.

    Args:
        again: makes the proof of a skill once more; None: no actions are compared.
    """
    findings: list[Finding] = []
    records, labels = library.state.everything(), labels_of(library.state)
    for number, record in enumerate(records):
        label = labels[id(record)]
        report(Progress("verify", number, len(records), label))
        try:
            skill = library.skill_of(record)
            old, _ = skill.content.proof, skill.embeddings  # read, and checked against their seals and the base
            if again is None:
                continue
            if old is None:
                findings.append(Finding(label, "no actions were kept of it: nothing to compare with", False))
            else:
                findings.append(_judged(label, compare(old, again(record))))
        except LibraryError as problem:
            findings.append(Finding(label, str(problem), True))
    report(Progress("verify", len(records), len(records), ""))
    return findings


def _proof_again(library: ActingLibrary, record: Record) -> Proof:
    """The proof of a skill, from what it does now."""
    key = standing(library.find, library.skill_of(record)).key
    return prove(library.policy_of_record(record), key, library.features)


def _judged(label: str, result: Comparison) -> Finding:
    """What a proof that was made again says of a skill."""
    if result.same:
        where = f", kept on another machine ({result.elsewhere})" if result.elsewhere else ""
        return Finding(label, f"acts bit for bit as when it was learned{where}", False)
    if result.elsewhere:
        return Finding(
            label,
            f"its actions differ by at most {result.difference:.2g} from those kept on another machine "
            f"({result.elsewhere}): replay them there to prove them",
            result.difference > 1e-3,
        )
    return Finding(label, f"it acts otherwise than when it was learned (by {result.difference:.2g})", True)


def strays(library: LibraryList) -> Iterator[Finding]:
    """Files that nothing needs: of removed skills, dropped versions and undone changes, or left by killed writers."""
    needed = {record.file for record in library.state.everything()}
    for path in sorted((library.folder / SKILLS).iterdir()):
        if path.name not in needed:
            yield Finding(f"{SKILLS}/{path.name}", "no skill needs it: `prune` removes it", False)
    for path in sorted(library.folder.iterdir()):
        if ".tmp-" in path.name or path.name == MAKING:
            yield Finding(path.name, "a killed writer left it: the next writer removes it", False)
