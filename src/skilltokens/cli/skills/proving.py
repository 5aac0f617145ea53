"""Whether a library is whole, and its skills act as they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG
from skilltokens.types import LibraryError


@dataclass(frozen=True)
class VerifyOptions:
    """Reads every byte of the library and says what is wrong; the exit status is 1 where there is a fault.

    Every seal, shape and reference is checked. With --actions, each skill acts again on fixed observations, and its
    actions are compared bit by bit with those where it was learned.

    examples:
      skilltokens skills library verify
      skilltokens skills library verify --actions
    """

    actions: bool = False
    """Also prove that each skill acts bit for bit as when it was learned."""


def verify(library: Path, words: Sequence[str]) -> int:
    options = parse(VerifyOptions, words, f"{PROG} verify")
    if not library.is_dir():
        raise LibraryError(f"{library} is no folder: name a library's folder")
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.skills.proof import machine
    from skilltokens.skills.verifying import verify as findings_of

    with Single("verifying") as report:
        findings = findings_of(library, actions=options.actions, report=report)
    if options.actions:
        say(f"on this machine: {', '.join(machine().values())}")
    faults = sum(finding.fault for finding in findings)
    for finding in findings:
        say(f"{'FAULT' if finding.fault else 'note '}  {finding.subject}: {finding.sentence}")
    say(f"{library}: " + (f"{faults} fault{'s' * (faults != 1)}" if faults else "whole"))
    return 1 if faults else 0
