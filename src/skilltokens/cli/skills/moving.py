"""Skills from and to other libraries of the same base, and libraries of older versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG, open_library

if TYPE_CHECKING:
    from skilltokens.skills.listed import LibraryList


@dataclass(frozen=True)
class ExportOptions:
    """Writes one skill, and what it builds on, into a file that another library of the same base imports.

    examples:
      skilltokens skills library export push
      skilltokens skills library export push@1 old-push.skill
    """

    name: tyro.conf.Positional[str]
    """The skill, or NAME@VERSION."""
    file: tyro.conf.Positional[Path] = Path()
    """The file to write, or a folder; left out: NAME.skill here."""


@dataclass(frozen=True)
class ImportOptions:
    """Adds the skill of an exported file; a skill that is there already stays as it is.

    examples:
      skilltokens skills library import push.skill
      skilltokens skills library import push.skill --name push-of-robot-2
      skilltokens skills library import push.skill --again
    """

    file: tyro.conf.Positional[Path]
    """The file that `export` wrote."""
    name: str = ""
    """Another name for the skill; empty: its own."""
    again: bool = False
    """It may become the next version of a skill of that name, which is then called; the older one is kept."""


@dataclass(frozen=True)
class MergeOptions:
    """Adds all skills of another library of the same base that are not there yet.

    examples:
      skilltokens skills library merge robot-2/library
      skilltokens skills library merge robot-2/library --again
    """

    other: tyro.conf.Positional[Path]
    """The other library's folder; it stays as it is."""
    again: bool = False
    """Skills of the same name become the next versions here; left out: such names are refused."""


@dataclass(frozen=True)
class UpgradeOptions:
    """Makes a library of an older version of skilltokens one of this version, in place; skills keep their bits.

    examples:
      skilltokens skills library upgrade
    """


def export(library: Path, words: Sequence[str]) -> int:
    options = parse(ExportOptions, words, f"{PROG} export")
    from skilltokens.cli.saying import say
    from skilltokens.skills.parcel import export_skill

    say(f"{options.name}: written to {export_skill(open_library(library), options.name, options.file)}")
    return 0


def import_(library: Path, words: Sequence[str]) -> int:
    options = parse(ImportOptions, words, f"{PROG} import")
    from skilltokens.cli.saying import say
    from skilltokens.skills.parcel import import_skill

    opened = open_library(library)
    record = import_skill(opened, options.file, name=options.name, again=options.again)
    say(f"{library}: {record.label} is there, called by {record.wordings[0]!r}")
    say_shared(opened, [record.name])
    return 0


def merge(library: Path, words: Sequence[str]) -> int:
    options = parse(MergeOptions, words, f"{PROG} merge")
    from skilltokens.cli.saying import say
    from skilltokens.skills.parcel import merge as add_all

    opened = open_library(library)
    names = add_all(opened, open_library(options.other), again=options.again)
    say(f"{library}: " + (f"added {', '.join(names)}" if names else f"all skills of {options.other} are there already"))
    say_shared(opened, names)
    return 0


def upgrade(library: Path, words: Sequence[str]) -> int:
    parse(UpgradeOptions, words, f"{PROG} upgrade")
    from skilltokens.cli.saying import say
    from skilltokens.skills.older import upgrade as make_new

    opened = make_new(library)
    say(f"{library}: {len(opened.names)} skills, of this version")
    return 0


def say_shared(library: LibraryList, names: Sequence[str]) -> None:
    """Says which instructions of these skills call others too."""
    from skilltokens.cli.saying import say
    from skilltokens.skills.telling import shared_words

    for text, name, other in shared_words(library.records, names):
        say(f"note: {text!r} is an instruction of {name} and of {other}: the newer one is called, so reword one")
