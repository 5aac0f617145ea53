"""What an export will hold: features, columns, fps, and whether these stores can be written at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from skilltokens.demos.store import DemonstrationStore
from skilltokens.exchange.lerobot import pictures
from skilltokens.exchange.lerobot.features import is_picture, lerobot_shape
from skilltokens.exchange.lerobot.filing import FileSizes
from skilltokens.exchange.lerobot.info import ROW
from skilltokens.exchange.lerobot.own import OWN
from skilltokens.exchange.lerobot.tables import MARKED
from skilltokens.files import shown
from skilltokens.types import DemonstrationError, Feature

_MOST_AXES = 5


@dataclass(frozen=True)
class Plan:
    """What is written: `columns` feature -> its name in the data set, `names` feature -> names of its entries."""

    features: Mapping[str, Feature]
    columns: Mapping[str, str]
    names: Mapping[str, Any]
    fps: float
    robot: str | None
    videos: tuple[str, ...]
    sizes: FileSizes

    @classmethod
    def of(
        cls,
        folder: Path,
        stores: Sequence[DemonstrationStore],
        features: Mapping[str, Feature],
        fps: float | None,
        robot: str | None,
        videos: bool,
        sizes: FileSizes,
    ) -> Plan:
        _check_stores(folder, stores, features)
        known = [store.settings.get("lerobot") for store in stores]
        settings: list[dict[str, Any]] = [entry if isinstance(entry, dict) else {} for entry in known]
        rate = fps if fps is not None else _one("fps", stores, settings)
        if rate is None:
            raise DemonstrationError(
                f"{stores[0].path} does not say how many steps a second were taken, and a LeRobot data set must: give "
                "it (--fps 30)"
            )
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1e6:
            raise DemonstrationError(f"{shown(rate)} steps a second are impossible: give another number (--fps 30)")
        columns = _one("columns", stores, settings) or {}
        names = _one("names", stores, settings) or {}
        kind = robot if robot is not None else _one("robot", stores, settings)
        shown_as = tuple(name for name, feature in features.items() if videos and is_picture(feature))
        if any(features[name].shape[2] != 3 for name in shown_as):
            raise DemonstrationError(f"{shown_as} must be RGB for videos: export them as PNG (without --videos)")
        if videos and not shown_as:
            raise DemonstrationError(f"{stores[0].path} has no pictures that could become videos: leave --videos out")
        return cls(
            features, {name: columns.get(name, name) for name in features}, names, rate, kind, shown_as, sizes
        )  # fmt: skip

    def dtype(self, name: str) -> str:
        """A feature's dtype in LeRobot's words."""
        if name in self.videos:
            return "video"
        return "image" if is_picture(self.features[name]) else self.features[name].dtype

    def schema(self) -> pa.Schema:
        """The columns of the rows."""
        fields = [
            (self.columns[name], _column_type(feature, self.dtype(name)))
            for name, feature in self.features.items()
            if name not in self.videos
        ]
        fields += [(name, pa.float32() if name == "timestamp" else pa.int64()) for name in ROW]
        return pa.schema(fields, metadata=MARKED)


def _check_stores(folder: Path, stores: Sequence[DemonstrationStore], features: Mapping[str, Feature]) -> None:
    """Raises DemonstrationError unless these stores can be exported to that folder."""
    for what, words in (
        ("task", [store.task.name for store in stores]),
        ("instruction", [store.task.instruction for store in stores]),
    ):
        for word in words:
            if words.count(word) > 1:
                raise DemonstrationError(
                    f"two of the stores have the {what} {shown(word)}, which tells tasks apart in LeRobot: export them "
                    "to folders of their own"
                )
    for name, feature in features.items():
        if len(feature.shape) > _MOST_AXES:
            raise DemonstrationError(
                f"{stores[0].path}: {name!r} has more axes than LeRobot's {_MOST_AXES}: reshape it"
            )
    if os.path.isfile(folder) or (os.path.isdir(folder) and any(folder.iterdir()) and not os.path.isfile(folder / OWN)):
        raise DemonstrationError(
            f"{folder} exists and was not written by `skilltokens demos export`: choose another path or remove it"
        )


def _one(name: str, stores: Sequence[DemonstrationStore], settings: Sequence[Mapping[str, Any]]) -> Any:
    """What all stores say of their recording; None where none says anything."""
    values = [entry.get(name) for entry in settings]
    for store, value in zip(stores, values, strict=True):
        if value != values[0]:
            raise DemonstrationError(
                f"{stores[0].path} and {store.path} differ in their {name} ({shown(values[0])} and {shown(value)})"
                + (f": give one (--{name})" if name in ("fps", "robot") else ": export them to folders of their own")
            )
    return values[0]


def _column_type(feature: Feature, dtype: str) -> pa.DataType:
    if dtype == "image":
        return pictures.COLUMN
    kind, shape = pa.from_numpy_dtype(feature.dtype), lerobot_shape(feature.shape)
    if shape == [1]:
        return kind
    if len(shape) == 1:
        return pa.list_(kind, shape[0])
    for _ in shape:
        kind = pa.list_(kind)
    return kind
