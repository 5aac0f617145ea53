"""Whether a library is whole, and its skills act as they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG
from skilltokens.types import LibraryError, Report, SettingError

if TYPE_CHECKING:
    from skilltokens.skills.verifying import Finding


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
    base: str = ""
    """Of a library beside a policy of another make: where the base is now; left out: where the library says."""
    loader: str = ""
    """Of such a library: who makes a policy of the base, MODULE:FUNCTION; --actions needs it."""


def _findings(library: Path, options: VerifyOptions, report: Report) -> list[Finding]:
    from skilltokens.skills.head import is_attached

    if is_attached(library):
        from skilltokens.attached.verifying import verify as attached_findings

        place = {"base": options.base or None, "loader": options.loader or None}
        return attached_findings(library, actions=options.actions, report=report, **place)
    if options.base or options.loader:
        raise SettingError(f"{library} has a base of its own: leave out --base and --loader")
    from skilltokens.skills.verifying import verify as own_findings

    return own_findings(library, actions=options.actions, report=report)


def verify(library: Path, words: Sequence[str]) -> int:
    options = parse(VerifyOptions, words, f"{PROG} verify")
    if not library.is_dir():
        raise LibraryError(f"{library} is no folder: name a library's folder")
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.skills.proof import machine

    with Single("verifying") as report:
        findings = _findings(library, options, report)
    if options.actions:
        say(f"on this machine: {', '.join(machine().values())}")
    faults = sum(finding.fault for finding in findings)
    for finding in findings:
        say(f"{'FAULT' if finding.fault else 'note '}  {finding.subject}: {finding.sentence}")
    say(f"{library}: " + (f"{faults} fault{'s' * (faults != 1)}" if faults else "whole"))
    return 1 if faults else 0
