"""`skilltokens doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class DoctorOptions:
    """Says what is installed, what works, what is missing, and the command that fixes it.

    Every part is really tried, in a process of its own: torch multiplies, the language encoder embeds a sentence,
    Meta-World resets and steps, MuJoCo draws a frame through each graphics backend. Ends with status 1 when learning,
    evaluating or reporting cannot work here.

    examples:
      skilltokens doctor
    """


def main(words: Sequence[str]) -> int:
    parse(DoctorOptions, words, "skilltokens doctor")
    from skilltokens.cli.doctor import examine, healthy, show

    return 0 if healthy(show(examine())) else 1
