"""What the budget of a skill buys: the rows that each map gets, how many of them are forked, the ranks of a bend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skilltokens.methods.base import count, shorter_chunk
from skilltokens.methods.grown import spread_ranks
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import Policy
from skilltokens.types import SettingError

ATTENTION = ("q", "k", "v", "o")
FEED_FORWARD = ("ffn",)


@dataclass(frozen=True)
class Part:
    """What a skill has in one map."""

    base: int
    """Rows of the base that it uses as they are, or bent."""
    rows: int
    """Rows of its own."""
    forked: int = 0
    """How many of these take the place of rows of the base."""
    ranks: tuple[int, int] = (0, 0)
    """Of its bend, for keys and values; 0: it has none."""


def grown_maps(base: Policy, rows_in: str) -> dict[str, Pattention]:
    """The maps that the setting `rows_in` names, by path. Of an odd number of layers both halves have the middle
    one."""
    layers = len(base.stack)
    first, last = range((layers + 1) // 2), range(layers // 2, layers)
    maps: dict[str, Pattention] = {}
    for path, part in base.maps().items():
        _, layer, name = path.split(".")
        named = {
            "all": True,
            "attention": name in ATTENTION,
            "feed-forward": name in FEED_FORWARD,
            "first": int(layer) in first,
            "last": int(layer) in last,
        }
        if named[rows_in] and isinstance(part, Pattention):
            maps[path] = part
    return maps


def check_mu(settings: T2SSettings, path: str, shared: int, new: int) -> None:
    """Raises SettingError where too large a share of a map's active rows would be new."""
    if new > settings.mu * (shared + new):
        raise SettingError(
            f"{new} of {shared + new} active rows in {path} would be new, more than method.mu {settings.mu} "
            "allows: lower method.share or raise method.mu"
        )


def own_shapes(base: Policy, path: str, part: Part) -> dict[str, tuple[int, int]]:
    """Names and shapes of a skill's own tensors in a map: its rows, and its bend where it has one."""
    linear_map = base.maps()[path]
    assert isinstance(linear_map, Pattention)
    widths = {"key": linear_map.key.shape[1], "value": linear_map.value.shape[1]}
    shapes = {f"{path}.{name}": (part.rows, width) for name, width in widths.items()}
    for (name, width), rank in zip(widths.items(), part.ranks, strict=True):
        if rank:
            shapes |= {f"{path}.bend.up.{name}": (part.base, rank), f"{path}.bend.down.{name}": (rank, width)}
    return shapes


def divide(base: Policy, settings: T2SSettings, spent: int) -> dict[str, Part]:
    """What each grown map gets: rows in proportion to the base's, and ranks that are the same for all.

    Args:
        spent: parameters of the skill's own head and encoders, which are paid first.

    Raises:
        SettingError: the budget leaves some map without a row, or without a rank of its bend.
    """
    maps = grown_maps(base, settings.rows_in)
    used = {path: _used(settings, part) for path, part in maps.items()}
    room = int(settings.share * count(base)) - spent - settings.reuse_skills * len(maps)
    if settings.gates:
        room -= sum(used.values())
    rows, left = _rows(base, settings, maps, room)
    forked = {path: min(round(settings.fork * rows[path]), used[path]) for path in maps}
    kept = {path: used[path] - forked[path] for path in maps}
    ranks = [0] * (2 * len(maps))
    if settings.bend:
        widths = [(path, width) for path, part in maps.items() for width in (part.key.shape[1], part.value.shape[1])]
        ranks = spread_ranks([(kept[path], width) for path, width in widths], left)
        if not ranks:
            raise SettingError(
                f"method.share {settings.share} and method.bend {settings.bend} leave no rank to bend the shared rows "
                f"by: raise one of them, {shorter_chunk(base)}or set method.own-encoders to False"
            )
    pairs = zip(maps, ranks[::2], ranks[1::2], strict=True)
    return {path: Part(kept[path], rows[path], forked[path], (key, value)) for path, key, value in pairs}


def _used(settings: T2SSettings, part: Pattention) -> int:
    """How many of the base's rows a skill uses, if it forks none."""
    return min(round(settings.base_rows * len(part.key)), len(part.key))


def _least_bend(settings: T2SSettings, maps: Mapping[str, Pattention]) -> int:
    """Parameters of a bend of rank 1 of all keys and values: no bend is smaller."""
    return sum(2 * _used(settings, part) + part.key.shape[1] + part.value.shape[1] for part in maps.values())


def _rows(base: Policy, settings: T2SSettings, maps: Mapping[str, Pattention], room: int) -> tuple[dict[str, int], int]:
    """How many rows each map gets of `room` parameters, and how many parameters are left."""
    if settings.bend == 1:
        return dict.fromkeys(maps, 0), room
    gated = settings.reuse if settings.gates else 0  # a reused row costs a gate
    sizes = {path: len(part.key) for path, part in maps.items()}
    cost = {path: part.key.shape[1] + part.value.shape[1] + gated for path, part in maps.items()}
    left = min(int(room * (1 - settings.bend)), room - _least_bend(settings, maps)) if settings.bend else room
    bends = room - left
    unit = left / sum(sizes[path] * cost[path] for path in sizes)
    rows = {path: int(unit * size) for path, size in sizes.items()}
    left -= sum(rows[path] * cost[path] for path in rows)
    for path in sorted(sizes, key=lambda p: -sizes[p]):  # what rounding left over: one row more, widest maps first
        if left >= cost[path]:
            rows[path], left = rows[path] + 1, left - cost[path]
    if any(number < 1 for number in rows.values()) and not settings.bend:
        raise SettingError(
            f"method.share {settings.share} leaves no row for some map of this policy: raise it, widen the "
            f"policy, {shorter_chunk(base)}or set method.own-head or method.own-encoders to False"
        )
    return rows, int(left) + bends
