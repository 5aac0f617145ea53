"""The files under meta/ that describe an export: info.json, stats.json and tasks.parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skilltokens.demos.store import DemonstrationStore
from skilltokens.exchange.lerobot import statistics
from skilltokens.exchange.lerobot.features import is_picture, lerobot_shape
from skilltokens.exchange.lerobot.filing import PARQUET
from skilltokens.exchange.lerobot.info import DATA_PATH, ROW, VERSION, VIDEO_PATH
from skilltokens.exchange.lerobot.plan import Plan
from skilltokens.exchange.lerobot.statistics import Stats
from skilltokens.exchange.lerobot.tables import MARKED
from skilltokens.types import Array


def whole_stats(
    stores: Sequence[DemonstrationStore],
    parts: Mapping[str, Sequence[Stats]],
    counts: Mapping[str, Array],
    fps: float,
    steps: int,
) -> dict[str, Stats]:
    """Statistics of the whole data set."""
    lengths = np.concatenate([np.diff(np.asarray(store.offsets)) for store in stores])
    frame = np.concatenate([np.arange(length) for length in lengths])
    rows = {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(steps),
        "task_index": np.repeat(np.arange(len(stores)), [store.steps for store in stores]),
    }
    stats: dict[str, Stats] = {}
    for name, mine in parts.items():
        if name in counts:
            stats[name] = statistics.of_levels(counts[name], steps)
        else:
            arrays = [rows[name]] if name in rows else [np.asarray(store[name]) for store in stores]
            stats[name] = statistics.of_whole(mine, arrays)
    return stats


def info_json(
    about: Plan, films: Mapping[str, Mapping[str, Any]], episodes: int, steps: int, tasks: int
) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for name, feature in about.features.items():
        picture = is_picture(feature)
        entry: dict[str, Any] = {
            "dtype": about.dtype(name),
            "shape": lerobot_shape(feature.shape),
            "names": ["height", "width", "channels"] if picture else about.names.get(name),
        }
        features[about.columns[name]] = {**entry, "info": films[name]} if name in films else entry
    for name in ROW:
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "fps": int(about.fps) if about.fps == int(about.fps) else about.fps,
        "features": features,
        "total_episodes": episodes,
        "total_frames": steps,
        "total_tasks": tasks,
        "chunks_size": about.sizes.chunk,
        "data_files_size_in_mb": max(1, round(about.sizes.data)),
        "video_files_size_in_mb": max(1, round(about.sizes.videos)),
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if about.videos else None,
        "robot_type": about.robot,
        "splits": {"train": f"0:{episodes}"},
    }


def write_tasks(path: Path, sentences: Sequence[str]) -> None:
    """The sentences are the index of a table of pandas, which the metadata says."""

    def column(name: str, kind: str, stored: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}

    index = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    about = {
        "index_columns": ["task"],
        "column_indexes": [{**index, "metadata": {"encoding": "UTF-8"}}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.3",
    }
    table = pa.table({"task_index": np.arange(len(sentences)), "task": list(sentences)})
    pq.write_table(table.replace_schema_metadata({b"pandas": json.dumps(about).encode(), **MARKED}), path, **PARQUET)
