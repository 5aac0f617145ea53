"""`skilltokens skills LIBRARY ACTION`: looking after the skills of a library; the actions are in cli/skills/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from skilltokens.cli.actions import HELP, lines
from skilltokens.cli.skills import PROG, changing, choosing, looking, moving, proving
from skilltokens.types import SettingError, nearest

Action = Callable[[Path, Sequence[str]], int]

ACTIONS: dict[str, tuple[Action, type]] = {
    "list": (looking.list_, looking.ListOptions),
    "show": (looking.show, looking.ShowOptions),
    "select": (choosing.select, choosing.SelectOptions),
    "rename": (changing.rename, changing.RenameOptions),
    "reword": (changing.reword, changing.RewordOptions),
    "retire": (changing.retire, changing.RetireOptions),
    "restore": (changing.restore, changing.RestoreOptions),
    "remove": (changing.remove, changing.RemoveOptions),
    "drop": (changing.drop, changing.DropOptions),
    "export": (moving.export, moving.ExportOptions),
    "import": (moving.import_, moving.ImportOptions),
    "merge": (moving.merge, moving.MergeOptions),
    "diff": (looking.diff, looking.DiffOptions),
    "history": (looking.history, looking.HistoryOptions),
    "undo": (changing.undo, changing.UndoOptions),
    "prune": (changing.prune, changing.PruneOptions),
    "verify": (proving.verify, proving.VerifyOptions),
    "upgrade": (moving.upgrade, moving.UpgradeOptions),
}
"""Action -> its function, and its options, whose docstring is its help."""


def main(words: Sequence[str]) -> int:
    place, *rest = words or HELP[1:]
    if place in HELP or (rest and rest[0] in HELP and place not in ACTIONS):
        print(help_text(), end="")
        return 0
    if place in ACTIONS and not Path(place).is_dir():  # `skilltokens help skills rename`, or the order mistaken
        if rest and rest[-1] in HELP:
            return ACTIONS[place][0](Path(), HELP[1:])
        raise SettingError(f"the library comes first: skilltokens skills LIBRARY {' '.join(words)}")
    action, *rest = rest or ["list"]
    if action not in ACTIONS:
        raise SettingError(f"skilltokens skills has no action {action!r}: {nearest(action, list(ACTIONS))}")
    return ACTIONS[action][0](Path(place), rest)


def help_text() -> str:
    """What `skilltokens skills` prints."""
    return (
        f"usage: {PROG} [ACTION ...]\n\n"
        "Looks after the skills of a library, the folder that `skilltokens learn` makes. Alone, lists them.\n"
        "Every change is made whole or not at all, and is undone by `undo`.\n\n" + "\n".join(lines(ACTIONS)) + "\n\n"
        f"Each explains itself with examples: {PROG} ACTION --help\n"
        "The exit status is 0, 1 where `diff` or `verify` found something, 2 after a mistake.\n"
    )
