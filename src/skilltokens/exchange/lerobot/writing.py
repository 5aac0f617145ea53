"""A LeRobot data set from stores, written an episode at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skilltokens.demos.store import DemonstrationStore, same_features
from skilltokens.exchange.lerobot import pictures, statistics
from skilltokens.exchange.lerobot.describing import info_json, whole_stats, write_tasks
from skilltokens.exchange.lerobot.episodes import EPISODES, TASKS
from skilltokens.exchange.lerobot.features import is_picture
from skilltokens.exchange.lerobot.filing import PARQUET, EpisodeFiles, Files, FileSizes, Films
from skilltokens.exchange.lerobot.info import INFO
from skilltokens.exchange.lerobot.own import write_own
from skilltokens.exchange.lerobot.plan import Plan
from skilltokens.exchange.lerobot.rows import STATS, private_file
from skilltokens.exchange.lerobot.statistics import Stats
from skilltokens.exchange.lerobot.tables import MARKED
from skilltokens.files import replacing
from skilltokens.types import Array, DemonstrationError, Feature, Progress, Report, silent


def export_lerobot(
    stores: Sequence[DemonstrationStore],
    folder: str | Path,
    *,
    fps: float | None = None,
    robot: str | None = None,
    videos: bool = False,
    sizes: FileSizes | None = None,
    report: Report = silent,
) -> None:
    """Writes stores with the same features into one LeRobot data set (version 3), a task for each.

    Numbers stay as they are. Pictures become PNG, which loses nothing: an import gives the stores back, down to their
    digests. As videos they are smaller, and lossy. Private features lie in files that LeRobot does not look at.

    Args:
        folder: the data set's folder. An export of ours there is replaced when the new one is whole.
        fps: steps a second; None takes what the stores were imported with.
        robot: LeRobot's `robot_type`; None as `fps`, or none.
        videos: pictures as videos.
        sizes: of the files; None: LeRobot's own.

    Raises:
        DemonstrationError: stores with different features, the same task or the same instruction; no fps is known; the
            folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    features = same_features(stores)
    about = Plan.of(folder, stores, features, fps, robot, videos, sizes or FileSizes())
    for store in stores:
        store.verify()  # what is written gets digests of its own, which must not cover altered numbers
    with replacing(folder, DemonstrationError) as fresh:
        (fresh / "meta").mkdir(parents=True)
        write_tasks(fresh / TASKS, [store.task.instruction for store in stores])
        _write_episodes(fresh, stores, about, report)
        for number, store in enumerate(stores):
            if store.private:
                _write_private(fresh / private_file(number), store)
        write_own(fresh, stores, about.columns)


def _write_episodes(fresh: Path, stores: Sequence[DemonstrationStore], about: Plan, report: Report) -> None:
    """Writes all rows, videos, what is said of the episodes, stats.json and info.json."""
    total = sum(store.episodes for store in stores)
    first, done = 0, 0
    parts: dict[str, list[Stats]] = {}
    counts = {name: np.zeros((feature.shape[2], 256), np.int64) for name, feature in _pictures(about).items()}
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(Files(fresh / "data", about.schema(), about.sizes))
        entries = stack.enter_context(EpisodeFiles(fresh / EPISODES, about.sizes))
        films = {
            name: stack.enter_context(Films(fresh, about.columns[name], about.features[name], about.fps, about.sizes))
            for name in about.videos
        }
        for number, store in enumerate(stores):
            for episode in store:
                report(Progress("export", done, total, store.task.name))
                steps = len(episode)
                rows = _rows(steps, about.fps, done, first, number)
                arrays = {name: np.asarray(episode.features[name]) for name in about.features}
                file = data.write(_table(arrays, rows, about))
                entry: dict[str, Any] = {
                    "episode_index": done,
                    "tasks": [store.task.instruction],
                    "length": steps,
                    **{f"data/{name}": value for name, value in about.sizes.place(file).items()},
                    "dataset_from_index": first,
                    "dataset_to_index": first + steps,
                }
                for name, film in films.items():
                    entry |= film.write(arrays[name])
                stats = _statistics(arrays, rows, counts)
                for name, part in stats.items():
                    parts.setdefault(name, []).append(part)
                entries.write(entry, {about.columns.get(name, name): part for name, part in stats.items()})
                first, done = first + steps, done + 1
    whole = whole_stats(stores, parts, counts, about.fps, first)
    whole = {about.columns.get(name, name): part for name, part in whole.items()}
    lists = {name: {word: array.tolist() for word, array in part.items()} for name, part in whole.items()}
    (fresh / STATS).write_text(json.dumps(lists, indent=4))
    films_about = {name: film.about for name, film in films.items()}
    (fresh / INFO).write_text(json.dumps(info_json(about, films_about, done, first, len(stores)), indent=4))


def _rows(steps: int, fps: float, episode: int, first: int, task: int) -> dict[str, Array]:
    index = np.arange(steps)
    return {
        "timestamp": (index / fps).astype(np.float32),
        "frame_index": index,
        "episode_index": np.full(steps, episode),
        "index": first + index,
        "task_index": np.full(steps, task),
    }


def _table(arrays: Mapping[str, Array], rows: Mapping[str, Array], about: Plan) -> pa.Table:
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if name not in about.videos:
            picture = about.dtype(name) == "image"
            columns[about.columns[name]] = pictures.encoded(array) if picture else _column(array)
    return pa.table({**columns, **{name: pa.array(array) for name, array in rows.items()}}, schema=about.schema())


def _column(array: Array) -> pa.Array:
    """An array (steps, *shape) as a column: numbers, lists of one length, or lists within lists."""
    shape = array.shape[1:]
    column = pa.array(np.ascontiguousarray(array).reshape(-1))
    if shape in ((), (1,)):
        return column
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(column, shape[0])
    for size in reversed(shape):
        column = pa.ListArray.from_arrays(np.arange(0, len(column) + 1, size, dtype=np.int32), column)
    return column


def _pictures(about: Plan) -> dict[str, Feature]:
    return {name: feature for name, feature in about.features.items() if is_picture(feature)}


def _statistics(
    arrays: Mapping[str, Array], rows: Mapping[str, Array], counts: Mapping[str, Array]
) -> dict[str, Stats]:
    """Statistics of an episode; the levels of its pictures are added to `counts`."""
    stats: dict[str, Stats] = {}
    for name, array in {**arrays, **rows}.items():
        if name in counts:
            mine = statistics.levels(array)
            counts[name][...] += mine
            stats[name] = statistics.of_levels(mine, len(array))
        else:
            stats[name] = statistics.of_numbers(array)
    return stats


def _write_private(path: Path, store: DemonstrationStore) -> None:
    """The private features of a store, a row group an episode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = [(name, _private_type(feature)) for name, feature in store.private.items()]
    schema = pa.schema(fields, metadata=MARKED)
    with path.open("wb") as file, pq.ParquetWriter(file, schema, **PARQUET) as writer:
        for rows in _episodes(store):
            columns = {
                name: _private_column(np.asarray(store[name][rows]), feature) for name, feature in store.private.items()
            }
            writer.write_table(pa.table(columns, schema=schema))


def _private_type(feature: Feature) -> pa.DataType:
    return pa.list_(pa.from_numpy_dtype(feature.dtype), int(np.prod(feature.shape)))


def _private_column(array: Array, feature: Feature) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), int(np.prod(feature.shape)))


def _episodes(store: DemonstrationStore) -> Iterator[slice]:
    for start, stop in zip(store.offsets[:-1], store.offsets[1:], strict=True):
        yield slice(int(start), int(stop))
