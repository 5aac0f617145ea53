"""The success flag of a Gymnasium environment: which key of `info` says that the task is done, and at which steps.

A flag is a truth value: True or False, 0 or 1, or an array of one of them. Whatever else a key holds (None, a text,
NaN, several numbers) says nothing, and the other key is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skilltokens.types import SuiteError, nearest

FLAGS = ("is_success", "success")
"""The keys of `info` that may say that the task is done, in the order in which they are looked at."""


def truth(value: Any) -> bool | None:
    """What a flag says; None where it is no truth value."""
    try:
        array = np.asarray(value)
    except Exception:  # whatever lies in somebody's dictionary
        return None
    if array.size != 1 or array.dtype.kind not in "biuf":
        return None
    number = array.reshape(()).item()
    return bool(number) if number in (0, 1) else None


@dataclass(frozen=True)
class Flag:
    """The flag that is read, and what else was seen of an environment."""

    name: str
    last: bool = False
    """Only the last step of an episode has it."""
    passed: Mapping[str, str] = field(default_factory=dict)
    """Keys before it that hold no truth value, and what they hold."""

    def read(self, info: Mapping[str, Any], ended: bool, where: str) -> bool:
        """Whether the task is done. Where the flag is left out before an episode's end, it is not.

        Args:
            ended: it was the episode's last step.
            where: the environment, for messages.

        Raises:
            SuiteError: the flag holds no truth value, or the episode's end has none.
        """
        value = info.get(self.name)
        if self.name not in info or (self.last and not ended and truth(value) is None):
            if not ended:
                return False
            known = nearest(self.name, [str(key) for key in info]) if info else "info is empty"
            raise SuiteError(f"{where} has no {self.name!r} in its info at the end of an episode: {known}")
        done = truth(value)
        if done is None:
            raise SuiteError(f"{where} gave info[{self.name!r}] = {shown(value)}: a flag is True or False, 0 or 1")
        return done

    def sentence(self, where: str) -> str:
        """What is worth saying of the choice; empty where the first key is read at every step."""
        parts = []
        if self.passed:
            others = " and ".join(f"{name!r} is {value}, no truth value" for name, value in self.passed.items())
            parts.append(f"info[{self.name!r}] says whether the task is done ({others})")
        if self.last:
            parts.append(
                f"info[{self.name!r}] is there at the last step of an episode alone: success is counted at its end"
            )
        return f"{where}: {'; '.join(parts)}" if parts else ""


def choose(info: Mapping[str, Any], last: bool) -> Flag | None:
    """The first of FLAGS that holds a truth value in the `info` of one step; None where none does."""
    passed: dict[str, str] = {}
    for name in FLAGS:
        if name in info:
            if truth(info[name]) is not None:
                return Flag(name, last, passed)
            passed[name] = shown(info[name])
    return None


def no_flag(info: Mapping[str, Any], where: str) -> SuiteError:
    """The sentence about an environment that says nothing of success, by the `info` of an episode's last step."""
    useless = ", ".join(f"info[{name!r}] = {shown(info[name])}" for name in FLAGS if name in info)
    seen = f"{useless} is no truth value" if useless else "its info has neither"
    return SuiteError(
        f"{where} has no success flag: {' or '.join(map(repr, FLAGS))} in its info must be True or False, at every "
        f"step or at the last of an episode, so that it can be counted how often the task is done ({seen})"
    )


def shown(value: Any) -> str:
    """A value as messages show it: short, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
