"""Which columns of a LeRobot data set become features of a store, under which names, and which do not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from skilltokens.demos.rules import OBSERVATION
from skilltokens.escaping import file_name
from skilltokens.exchange.lerobot.info import INFO, ROW, Column, Info
from skilltokens.types import ACTION, DemonstrationError, Feature

Kind = Literal["numbers", "image", "video"]
PICTURES = ("image", "video")
CHANNELS = (1, 3, 4)
"""Numbers of colours that a PNG may have: grey, RGB, and RGB with what shines through."""
DTYPES = {
    "float16": "float16", "float32": "float32", "float64": "float64", "bool": "bool", "uint8": "uint8",
    "int8": "int32", "int16": "int32", "int32": "int32", "int64": "int64", "uint16": "int32", "uint32": "int64",
}  # fmt: skip
"""LeRobot's dtype -> that of a store. Integers that a store does not have become wider ones."""
ACTIONS = {"bool": "float32", "uint8": "float32", "int32": "float64", "int64": "float64"}
"""The same of actions, which are floats in a store."""


@dataclass(frozen=True)
class Source:
    """Where a feature of a store comes from: a column of the data set, and how it is stored there."""

    column: str
    kind: Kind
    feature: Feature


@dataclass(frozen=True)
class Choice:
    """What is taken of a data set.

    Attributes:
        sources: feature of the store -> where it comes from.
        left: what is not taken, in words: the column's name, and why if it is no matter of course.
    """

    sources: Mapping[str, Source]
    left: tuple[str, ...]

    def settings(self, info: Info) -> dict[str, Any]:
        """What a later export needs to know, for a store's settings: fps, robot, names of entries and of columns."""
        names = {name: info.columns[source.column].names for name, source in self.sources.items()}
        about = {
            "robot": info.robot,
            "names": {name: words for name, words in names.items() if words and self.sources[name].kind == "numbers"},
            "columns": {name: source.column for name, source in self.sources.items() if source.column != name},
        }
        fps = int(info.fps) if info.fps == int(info.fps) else info.fps
        return {"fps": fps, **{name: value for name, value in about.items() if value}}


def choose(info: Info, images: bool) -> Choice:
    """The features that are taken of a data set that another program wrote.

    Raises:
        DemonstrationError: it has no actions, or no observation that can be taken.
    """
    sources: dict[str, Source] = {}
    left: list[str] = []
    for name, column in info.columns.items():
        if name in ROW:
            continue
        reason = _unfit(name, column, images)
        if reason is None:
            sources[_own_name(name, sources)] = _source(name, column)
        else:
            left.append(f"{name} ({reason})" if reason else name)
    if ACTION not in sources:
        reasons = [words for words in left if words.startswith(f"{ACTION} ")]
        raise DemonstrationError(
            f"{info.path} has no feature {ACTION!r} that can be taken{f': {reasons[0]}' if reasons else ''}: "
            "demonstrations need the actions taken"
        )
    if len(sources) == 1:
        raise DemonstrationError(
            f"{info.path} has no feature {OBSERVATION}<name> that can be taken (it has {', '.join(left) or 'none'})"
        )
    return Choice(sources, tuple(left))


def _unfit(name: str, column: Column, images: bool) -> str | None:
    """Why a column is not taken; empty if that goes without saying, None if it is taken."""
    if name != ACTION and not name.startswith(OBSERVATION):
        return ""
    if column.dtype in PICTURES:
        if column.is_depth:
            return "depth"
        if name == ACTION or len(column.shape) != 3:
            return f"{column.dtype} of shape {list(column.shape)}"
        return None if images else "--images"
    if column.dtype not in DTYPES:
        return column.dtype[:40]
    if name == ACTION and len(column.shape) > 1:
        return f"shape {list(column.shape)}"
    return None


def _source(name: str, column: Column) -> Source:
    if column.dtype in PICTURES:
        kind: Kind = "video" if column.dtype == "video" else "image"
        return Source(name, kind, Feature(_rows_first(column.shape, column.names), "uint8"))
    dtype = DTYPES[column.dtype]
    return Source(name, "numbers", Feature(column.shape, ACTIONS.get(dtype, dtype) if name == ACTION else dtype))


def _rows_first(shape: tuple[int, ...], names: Any) -> tuple[int, ...]:
    """A picture's shape as (height, width, colours): some data sets name the colours first."""
    first = str(names[0]).startswith("channel") if isinstance(names, list) and len(names) == 3 else False
    if first or (shape[0] in CHANNELS and shape[2] not in CHANNELS):
        return (*shape[1:], shape[0])
    return shape


def _own_name(name: str, taken: Mapping[str, Source]) -> str:
    """The name in a store, whose features name files: most names stay as they are."""
    rest = name.removeprefix(OBSERVATION)
    safe = (
        name if rest == name or re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", rest) else OBSERVATION + file_name(rest)[-100:]
    )
    if safe in taken:
        raise DemonstrationError(f"{INFO} has two features that a store would name {safe!r}: rename one of them")
    return safe


def lerobot_shape(shape: tuple[int, ...]) -> list[int]:
    """A feature's shape as LeRobot has it, where a number is a vector of one."""
    return list(shape) or [1]


def is_picture(feature: Feature) -> bool:
    """Whether it can be stored as pictures; other arrays of bytes are stored as numbers."""
    return feature.dtype == "uint8" and len(feature.shape) == 3 and feature.shape[2] in CHANNELS


def size_of(feature: Feature) -> int:
    """How many numbers it has a step."""
    return math.prod(feature.shape)
