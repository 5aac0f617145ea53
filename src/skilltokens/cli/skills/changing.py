"""Changes of a library. Given twice, as after a kill, each changes once what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from skilltokens.cli.options import parse
from skilltokens.cli.skills import PROG, command, open_library
from skilltokens.types import SettingError


@dataclass(frozen=True)
class RenameOptions:
    """Gives a skill another name; its file, its actions and what calls it stay.

    examples:
      skilltokens skills library rename push shove
    """

    name: tyro.conf.Positional[str]
    """The skill."""
    to: tyro.conf.Positional[str]
    """Its new name: letters, digits, '-', '_' and '.'."""


@dataclass(frozen=True)
class RewordOptions:
    """Adds or removes sentences that call a skill; its actions stay.

    examples:
      skilltokens skills library reword push --add "shove the puck" "move the puck to the goal"
      skilltokens skills library reword push --remove "shove the puck"
    """

    name: tyro.conf.Positional[str]
    """The skill."""
    add: tuple[str, ...] = ()
    """Sentences that call it from now on."""
    remove: tuple[str, ...] = ()
    """Sentences that no longer do; one must be left."""
    encoder: str | None = None
    """The folder of the library's sentence encoder, where it was made with one: a library's own word is not trusted."""


@dataclass(frozen=True)
class RetireOptions:
    """Lets no instruction call a skill any more; it stays, and `restore` brings it back.

    examples:
      skilltokens skills library retire push
    """

    name: tyro.conf.Positional[str]
    """The skill."""


@dataclass(frozen=True)
class RestoreOptions:
    """Lets a retired skill be called again.

    examples:
      skilltokens skills library restore push
    """

    name: tyro.conf.Positional[str]
    """The skill."""


@dataclass(frozen=True)
class RemoveOptions:
    """Removes a skill and its older versions; what other skills build on is kept for them.

    `undo` brings it back, until `prune` removes the files.

    examples:
      skilltokens skills library remove push
    """

    name: tyro.conf.Positional[str]
    """The skill."""


@dataclass(frozen=True)
class DropOptions:
    """Removes an older version of a skill that was taught again.

    examples:
      skilltokens skills library drop push@1
    """

    version: tyro.conf.Positional[str]
    """The version, as NAME@VERSION."""


@dataclass(frozen=True)
class UndoOptions:
    """Undoes the last change that still stands; again, the one before.

    With a change's number it is undone once, however often the command is given.

    examples:
      skilltokens skills library undo
      skilltokens skills library undo 12                # only if change 12 is the last one
    """

    number: tyro.conf.Positional[int] = 0
    """The number of the change, as `history` shows it; left out: the last one."""


@dataclass(frozen=True)
class PruneOptions:
    """Removes the files that no skill needs any more; changes before it can then no more be undone.

    examples:
      skilltokens skills library prune
    """


def rename(library: Path, words: Sequence[str]) -> int:
    options = parse(RenameOptions, words, f"{PROG} rename")
    from skilltokens.cli.saying import say

    open_library(library).rename(options.name, options.to)
    say(f"{library}: {options.name} is called {options.to} now")
    return 0


def reword(library: Path, words: Sequence[str]) -> int:
    options = parse(RewordOptions, words, f"{PROG} reword")
    if not options.add and not options.remove:
        raise SettingError('nothing is to be changed: say --add "..." or --remove "..."')
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.types import NOTE, Progress

    opened = open_library(library, options.encoder)
    notes: list[str] = []
    with Single("rewording") as view:

        def report(news: Progress) -> None:
            notes.append(news.note) if news.stage == NOTE else view(news)

        opened.reword(options.name, options.add, options.remove, report)
    for note in notes:
        say(f"note: {note}")
    say(f"{library}: {options.name} is called by {', '.join(map(repr, opened.state.newest(options.name).wordings))}")
    return 0


def retire(library: Path, words: Sequence[str]) -> int:
    options = parse(RetireOptions, words, f"{PROG} retire")
    from skilltokens.cli.saying import say

    opened = open_library(library)
    opened.retire(options.name)
    say(f"{library}: {options.name} is retired; `{command(library, 'restore', options.name)}` brings it back")
    if all(record.retired for record in opened.records):
        say("note: all skills are retired, so no instruction calls any")
    return 0


def restore(library: Path, words: Sequence[str]) -> int:
    options = parse(RestoreOptions, words, f"{PROG} restore")
    from skilltokens.cli.saying import say
    from skilltokens.cli.skills.moving import say_shared

    opened = open_library(library)
    opened.restore(options.name)
    say(f"{library}: {options.name} is called by {opened.state.newest(options.name).wordings[0]!r} again")
    say_shared(opened, [options.name])
    return 0


def remove(library: Path, words: Sequence[str]) -> int:
    options = parse(RemoveOptions, words, f"{PROG} remove")
    from skilltokens.cli.saying import say

    needing = open_library(library).remove(options.name)
    say(f"{library}: {options.name} is removed")
    if needing:
        say(f"its content is kept for {', '.join(record.label for record in needing)}, which need it to act")
    say(f"`{command(library, 'undo')}` brings it back; `{command(library, 'prune')}` removes files that nothing needs")
    return 0


def drop(library: Path, words: Sequence[str]) -> int:
    options = parse(DropOptions, words, f"{PROG} drop")
    name, _, version = options.version.partition("@")
    if not version.isascii() or not version.isdigit():
        raise SettingError(f"{options.version!r} is no older version: say NAME@VERSION, as `{PROG} show NAME` has it")
    from skilltokens.cli.saying import say

    open_library(library).drop(name, int(version))
    say(f"{library}: {options.version} is dropped; `{command(library, 'undo')}` brings it back")
    return 0


def undo(library: Path, words: Sequence[str]) -> int:
    options = parse(UndoOptions, words, f"{PROG} undo")
    from skilltokens.cli.saying import say
    from skilltokens.skills.telling import told

    event = open_library(library).undo(options.number or None)
    say(f"{library}: change {event.number} is undone{' already' * event.undone}: {told(event.change)}")
    return 0


def prune(library: Path, words: Sequence[str]) -> int:
    parse(PruneOptions, words, f"{PROG} prune")
    from skilltokens.cli.saying import say

    gone = open_library(library).prune()
    for file in gone:
        say(f"removed skills/{file}")
    say(f"{library}: {len(gone)} file{'s' * (len(gone) != 1)} removed")
    return 0
