"""`skilltokens export`: one skill as a file that acts without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from skilltokens.cli.options import parse
from skilltokens.escaping import file_name
from skilltokens.skills.head import is_attached
from skilltokens.types import LibraryError


@dataclass(frozen=True)
class ExportOptions:
    """Writes one skill of a library into a folder, to act on a robot without torch.

    The folder holds the skill (skill.onnx or skill.npz), runner.py, which acts by it and needs NumPy alone (and
    onnxruntime for ONNX), and README.md. Actions are compared with torch's before anything is written; they differ by
    less than 1e-5, and README.md says by how much.

    examples:
      skilltokens export library --skill push
      skilltokens export library --skill push@2 --to numpy --out robot/push
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    skill: str
    """The skill's name, or an older version of it by NAME@VERSION."""
    to: Literal["onnx", "numpy"] = "onnx"
    """For ONNX Runtime, or for NumPy alone, where the skill looks at no pictures."""
    out: Path | None = None
    """The folder to write; left out: the skill's name, in the current folder. An export that is there is replaced."""


def main(words: Sequence[str]) -> int:
    options = parse(ExportOptions, words, "skilltokens export")
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.deploy.exporting import FILES, export_skill
    from skilltokens.skills.library import SkillLibrary
    from skilltokens.types import Progress

    if is_attached(options.library):
        raise LibraryError(
            f"{options.library} stands beside a policy of another make, whose own code is needed to act: serve it "
            "(`skilltokens serve`), or act in Python by `AttachedLibrary.actor`"
        )
    library = SkillLibrary.open(options.library)
    out = options.out or Path(file_name(options.skill))
    with Single("export") as report:
        report(Progress("export", 0, 1, options.skill))
        card = export_skill(library, options.skill, out, options.to)
    say(f"{out / FILES[options.to]}: {card.skill}, within {card.difference:.1e} of torch over {card.compared} steps")
    return 0
