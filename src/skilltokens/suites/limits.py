"""What can be asked of a suite: so many different episodes, of such a length."""

from __future__ import annotations

from skilltokens.types import SettingError, Split, Suite


def check_episodes(suite: Suite, split: Split, episodes: int, horizon: int = 0) -> None:
    """Checks that a suite has so many different episodes, and allows their length (0: its own).

    Raises:
        SettingError: it does not.
    """
    count = getattr(suite, "episodes", None)
    most = None if count is None else count(split)
    if most is not None and episodes > most:
        raise SettingError(
            f"suite {suite.name!r} has {most} different episodes of the split {split!r}, not {episodes}: use {most} or "
            "fewer"
        )
    if horizon > suite.horizon:
        raise SettingError(
            f"a horizon of {horizon} steps is impossible: suite {suite.name!r} allows 1 to {suite.horizon}"
        )
    check_horizon(suite, horizon or suite.horizon)


def check_horizon(suite: Suite, horizon: int) -> None:
    """Checks that success can be seen within so many steps.

    Raises:
        SettingError: the environments say it at an episode's own end alone.
    """
    flag = getattr(suite, "flag", None)
    if getattr(flag, "last", False) and horizon < suite.horizon:
        raise SettingError(
            f"a horizon of {horizon} steps is impossible: suite {suite.name!r} says at the end of an episode alone "
            f"whether its task is done, so use its own {suite.horizon}"
        )
