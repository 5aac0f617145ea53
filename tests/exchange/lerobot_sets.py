"""LeRobot data sets for the tests to import, and ways to alter them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.lerobot import export_lerobot
from skilltokens.exchange.lerobot.own import OWN
from skilltokens.exchange.lerobot.tables import MARK
from skilltokens.types import ACTION, STATE, Episode, Feature, Task

TINY = Path(__file__).parent / "data" / "lerobot-v3-tiny"
"""Written by lerobot 0.6.1: four episodes of 30 steps, two tasks, one camera as an AV1 video."""
CAMERA = "observation.images.front"
OPEN, CLOSE = Task("open-door", "open the door"), Task("close-door", "close the door")
INFO, TASKS, DATA, EPISODES, STATS = (
    "meta/info.json", "meta/tasks.parquet", "data/chunk-000/file-000.parquet",
    "meta/episodes/chunk-000/file-000.parquet", "meta/stats.json",
)  # fmt: skip
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"


def door_store(
    path: Path,
    task: Task = OPEN,
    lengths: tuple[int, ...] = (7, 5),
    *,
    seed: int = 0,
    side: int = 16,
    pictures: bool = True,
) -> DemonstrationStore:
    """A store of an arm with two joints, by default with a camera that sees a disc move."""
    random = np.random.default_rng(seed)

    def episode(steps: int) -> Episode:
        state = np.cumsum(random.normal(size=(steps, 2)), 0).astype(np.float32)
        seen = {STATE: state, ACTION: np.tanh(state)}
        if pictures:
            seen[CAMERA] = np.stack([disc(side, step, steps) for step in range(steps)])
        return Episode(seen)

    features = {STATE: Feature((2,)), ACTION: Feature((2,))}
    return write_store(
        path,
        (episode(steps) for steps in lengths),
        task=task,
        features={**features, CAMERA: Feature((side, side, 3), "uint8")} if pictures else features,
        source="human",
        suite="own",
    )


def disc(side: int, step: int, steps: int) -> np.ndarray:
    """A red disc on grey that goes from left to right, (side, side, 3) uint8."""
    rows, columns = np.mgrid[:side, :side]
    picture = np.full((side, side, 3), 90, np.uint8)
    inside = (rows - side / 2) ** 2 + (columns - side * (step + 0.5) / steps) ** 2 < (side / 4) ** 2
    picture[inside] = (200, 30, 40)
    return picture


def foreign(path: Path, stores: list[DemonstrationStore], **options: Any) -> Path:
    """A data set as another program would have written it: without what our exports hold besides."""
    export_lerobot(stores, path, fps=10, **options)
    (path / OWN).unlink()
    for file in path.rglob("*.parquet"):
        table = pq.read_table(file)
        kept = {key: value for key, value in (table.schema.metadata or {}).items() if key != MARK}
        rewritten(file, lambda old, kept=kept: old.replace_schema_metadata(kept))
    return path


def rewritten(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """A Parquet file, changed; its row groups have the rows that they had."""
    with pq.ParquetFile(file) as old:
        sizes = [old.metadata.row_group(number).num_rows for number in range(old.num_row_groups)]
    table, start = change(pq.read_table(file)), 0
    with pq.ParquetWriter(file, table.schema) as writer:
        for size in sizes:
            writer.write_table(table.slice(start, size))
            start += size


def replaced(file: Path, column: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """One column of a Parquet file, changed as a list of its values."""

    def apply(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(column)
        field = table.schema.field(index)
        return table.set_column(index, field, pa.array(change(table.column(column).to_pylist()), field.type))

    rewritten(file, apply)


def edited(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A JSON file, changed in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
