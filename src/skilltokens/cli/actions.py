"""Verbs that have actions of their own, such as `skilltokens hub push`: one list says which, and helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from skilltokens.types import SettingError, nearest

HELP = ("-h", "--help")
Actions = Mapping[str, tuple[Callable[..., int], type]]
"""Action -> its function, and its options, whose docstring is its help."""


def lines(actions: Actions) -> list[str]:
    """A line of help for each action: its name, and the first line of its options' docstring."""
    return [f"  {name:<10}{(options.__doc__ or '').partition(chr(10))[0]}" for name, (_, options) in actions.items()]


def dispatch(prog: str, about: str, actions: Actions, words: Sequence[str]) -> int:
    """Runs the action that the first word names, with the others; or prints which there are.

    Raises:
        SettingError: there is no such action.
    """
    action, *rest = words or HELP[1:]
    if action in HELP:
        print(f"usage: {prog} ACTION ...\n\n{about}\n")
        print(*lines(actions), f"\nEach explains itself with examples: {prog} ACTION --help", sep="\n")
        return 0
    if action not in actions:
        raise SettingError(f"{prog} has no action {action!r}: {nearest(action, list(actions))}")
    return actions[action][0](rest)
