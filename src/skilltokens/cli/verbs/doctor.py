"""`skilltokens doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class DoctorOptions:
    """Says what is installed, what works, what is missing, and the command that fixes it.

    Each part is tried in a process of its own: torch multiplies, the sentence encoder embeds a sentence, a simulator
    resets and steps, MuJoCo draws a picture with each graphics backend. The exit status is 1 if learning, evaluating or
    reporting cannot work on this machine.

    examples:
      skilltokens doctor
    """


def main(words: Sequence[str]) -> int:
    parse(DoctorOptions, words, "skilltokens doctor")
    from skilltokens.cli.doctor import examine, healthy, show

    return 0 if healthy(show(examine())) else 1
