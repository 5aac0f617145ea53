"""Parquet tables: rows by their number, one row group in memory at a time, and columns as arrays."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skilltokens.exchange.lerobot.sound import sound
from skilltokens.files import reading
from skilltokens.types import Array, DemonstrationError, nearest

MARK = b"skilltokens"
"""Key in the metadata of the tables that we export, so that it is noticed where meta/skilltokens.json is gone."""
MARKED = {MARK: b"1"}


class Table:
    """A Parquet file, open for reading. A context manager.

    Attributes:
        rows: how many it has.
        names: of its columns.
        is_ours: whether an export of ours wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(reading(path, DemonstrationError))
            with sound(path, "Parquet file"):
                # One thread: a row group is small, and pictures take most of the time.
                self._file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
                about = self._file.metadata
                counts = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
                self.names: list[str] = self._file.schema_arrow.names
                self.is_ours = MARK in (self._file.schema_arrow.metadata or {})
            self._starts = np.cumsum([0, *counts])
            self.rows = int(self._starts[-1])
            self._stack = stack.pop_all()
        self._group: tuple[int, tuple[str, ...], pa.Table] | None = None

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._group = None
        self._stack.close()

    def take(self, first: int, last: int, columns: Sequence[str]) -> pa.Table:
        """Rows `first` to `last` - 1 of some columns."""
        self.check(columns)
        if not 0 <= first <= last <= self.rows:
            raise DemonstrationError(f"{self.path} has {self.rows} rows where {last} are needed: get it again")
        parts = []
        for group in range(
            int(np.searchsorted(self._starts, first, side="right")) - 1,
            int(np.searchsorted(self._starts, last, side="left")),
        ):
            start = int(self._starts[group])
            whole = self._read(group, tuple(columns))
            parts.append(whole.slice(max(first - start, 0), min(last - start, len(whole)) - max(first - start, 0)))
        with sound(self.path, "Parquet file"):
            return pa.concat_tables(parts)

    def check(self, columns: Sequence[str]) -> None:
        """Raises DemonstrationError unless it has these columns, each once."""
        for name in columns:
            count = self.names.count(name)
            if count != 1:
                clause = nearest(name, self.names) if count == 0 else "write it again"
                raise DemonstrationError(f"{self.path} has {'no' if count == 0 else count} columns {name!r}: {clause}")

    def _read(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        if self._group is None or self._group[:2] != (group, columns):
            self._group = None  # one at a time
            with sound(self.path, "Parquet file"):
                table = self._file.read_row_group(group, columns=list(columns), use_threads=False).select(columns)
                if len(table) != self._starts[group + 1] - self._starts[group]:
                    raise ValueError("a row group has another number of rows than the file says")
            self._group = group, columns, table
        return self._group[2]


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a small table, all rows."""
    with Table(path) as table:
        return table.take(0, table.rows, columns)


def numbers(column: pa.ChunkedArray, dtype: str, shape: Sequence[int], where: str) -> Array:
    """A column as an array (rows, *shape) of the dtype that info.json declares.

    Args:
        where: the file and the column, for messages.

    Raises:
        DemonstrationError: values of another kind or number, or none.
    """
    rows, flat = len(column), _whole(column)
    for size in _levels(flat.type, shape, where):
        if flat.null_count:
            raise DemonstrationError(f"{where} lacks a value: repair it, or leave its episode out")
        if pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type):
            lengths = np.diff(flat.offsets.to_numpy())
            if (lengths != size).any():
                raise DemonstrationError(f"{where} has {lengths.max(initial=0)} numbers where {size} are declared")
        flat = flat.flatten()
    if flat.null_count:
        raise DemonstrationError(f"{where} lacks a value: repair it, or leave its episode out")
    values = flat.to_numpy(zero_copy_only=False)
    declared = np.dtype(dtype)
    kinds = {"u": "i"}
    if kinds.get(values.dtype.kind, values.dtype.kind) != kinds.get(declared.kind, declared.kind):
        raise DemonstrationError(f"{where} holds {values.dtype} where {dtype} is declared: correct one of them")
    if len(values) != rows * math.prod(shape):
        raise DemonstrationError(f"{where} holds {len(values)} numbers where {rows} x {list(shape)} are declared")
    if values.dtype == declared:
        return values.reshape(rows, *shape)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(declared)
    if declared.kind != "f" and (cast != values).any():
        raise DemonstrationError(f"{where} holds numbers that {dtype}, which is declared, has not: correct one of them")
    return cast.reshape(rows, *shape)


def _whole(column: pa.ChunkedArray) -> Any:
    """All chunks as one array. An extension type, such as those of Hugging Face's datasets, is what it is stored as."""
    flat: Any = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], flat.type)
    return flat.storage if isinstance(flat, pa.ExtensionArray) else flat


def _levels(kind: pa.DataType, shape: Sequence[int], where: str) -> list[int]:
    """The size of each list within lists of a column's type, from the outermost: those of the shape, or one for all."""
    sizes: list[int | None] = []
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size if pa.types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    needed = list(shape) if len(sizes) == len(shape) else [math.prod(shape)] if len(sizes) == 1 else []
    if len(sizes) != len(needed) or any(size not in (None, one) for size, one in zip(sizes, needed, strict=True)):
        if not sizes and math.prod(shape) == 1:
            return []
        raise DemonstrationError(f"{where} holds lists of {sizes} where the shape {list(shape)} is declared")
    return needed
