"""What to say of a library: its changes, in words, and instructions that two skills share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skilltokens.language import normal
from skilltokens.skills.records import (
    Add,
    Change,
    Drop,
    Note,
    Prune,
    Record,
    Remove,
    Rename,
    Retire,
    Reword,
    Undo,
)
from skilltokens.skills.state import Event

LISTED = 5
"""Names that a sentence has at most."""


def told(change: Change) -> str:
    """A change in a few words. Names and origins may be a stranger's: escape it for wherever it goes."""
    match change:
        case Add():
            again = [record.label for record in change.skills if record.version > 1]
            new = [record.label for record in change.skills if record.version == 1]
            parts = [f"added {_listed(new)}"] * bool(new) + [f"taught again: {_listed(again)}"] * bool(again)
            return ", ".join(parts) + (f" ({change.origin})" if change.origin else "")
        case Rename():
            return f"renamed {change.name} to {change.to}"
        case Reword():
            return f"reworded {change.name}: {', '.join(map(repr, change.wordings))}"
        case Retire():
            return f"{'retired' if change.retired else 'restored'} {change.name}"
        case Remove():
            return f"removed {change.name}"
        case Drop():
            return f"dropped {change.name}@{change.version}"
        case Note():
            return f"noted of {change.name}: {_listed(sorted(change.notes))}"
        case Undo():
            return f"undid change {change.number}"
        case Prune():
            return f"pruned {len(change.files)} file{'s' * (len(change.files) != 1)}"


def changes_of(events: Sequence[Event], name: str) -> list[Event]:
    """The changes of a skill that is there, by today's name, since it was first added; earlier names are followed.

    Args:
        events: a library's history.
    """
    return list(_backwards(events, name))[::-1]


def _backwards(events: Sequence[Event], name: str) -> Iterator[Event]:
    for event in reversed(events):
        change = event.change
        match change:
            case Add():
                own = [record.version for record in change.skills if record.name == name]
                if own:
                    yield event
                if 1 in own and not event.undone:  # an earlier skill of that name was another one
                    return
            case Rename():
                if change.to == name:
                    yield event
                    name = name if event.undone else change.name
                elif change.name == name and event.undone:
                    yield event
            case Undo() | Prune():
                pass
            case _:
                if change.name == name:
                    yield event


def shared_words(records: Sequence[Record], names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Wordings that call one of these skills and another one too, alike but for letter case and the like.

    Returns:
        The wording, the skill, and the other one; of equal words the newest skill is called.
    """
    owners: dict[str, list[str]] = {}
    for record in records:
        for text in () if record.retired else record.wordings:
            owners.setdefault(normal(text), []).append(record.name)
    own = [record for record in records if record.name in set(names) and not record.retired]
    return [
        (text, record.name, other)
        for record in own
        for text in record.wordings
        for other in dict.fromkeys(owners[normal(text)])
        if other != record.name
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
