"""Whether a library is whole, as `git fsck` asks: every seal, shape and reference, and on request every action."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.assembling import standing
from skilltokens.skills.disk import MAKING, SKILLS
from skilltokens.skills.listed import LibraryList
from skilltokens.skills.proof import Comparison, compare, prove
from skilltokens.skills.records import Record
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
    records, labels = library.state.everything(), labels_of(library.state)
    for number, record in enumerate(records):
        label = labels[id(record)]
        report(Progress("verify", number, len(records), label))
        try:
            skill = library.skill_of(record)
            _ = skill.content, skill.embeddings  # read, and checked against their seals and the base
            if actions:
                findings += _replayed(library, record, label)
        except LibraryError as problem:
            findings.append(Finding(label, str(problem), True))
    report(Progress("verify", len(records), len(records), ""))
    return findings


def _replayed(library: ActingLibrary, record: Record, label: str) -> Iterator[Finding]:
    """What the proof of one skill shows."""
    skill = library.skill_of(record)
    old = skill.content.proof
    if old is None:
        yield Finding(label, "no actions were kept of it: nothing to compare with", False)
        return
    new = prove(library.policy_of_record(record), standing(library.find, skill).key, library.features)
    yield judged(label, compare(old, new))


def judged(label: str, result: Comparison) -> Finding:
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
