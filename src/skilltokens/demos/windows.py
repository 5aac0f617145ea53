"""Training windows: runs of `window` steps, copied from memory-mapped stores by one array of row numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skilltokens.demos.store import DemonstrationStore, same_features
from skilltokens.types import ACTION, Array, Feature, SettingError


def check_chunk(stores: Sequence[DemonstrationStore], chunk: int) -> None:
    """Raises SettingError where a policy predicts more actions at a time than any demonstration of a task has: it would
    learn to repeat the last one."""
    for store in stores:
        longest = int(np.diff(store.offsets).max())
        if chunk > longest:
            raise SettingError(
                f"policy.chunk {chunk} is longer than every demonstration of {store.task.name!r} ({longest} steps at "
                "most): lower it"
            )


@dataclass(frozen=True)
class Batch:
    """B windows of T steps, unscaled.

    Attributes:
        features: name -> (B, T, *shape); numbers and pictures in floats as float32, other pictures as they are stored.
            With a chunk of n > 1 the action is (B, T, n, A): of each step and of the n - 1 after it.
        mask: (B, T) bool; False where a window begins before the first step of its episode.
        store: (B,) int64, the number of the store that a window comes from.
    """

    features: dict[str, Array]
    mask: NDArray[np.bool_]
    store: NDArray[np.int64]


class Windows:
    """Samples windows from several stores with the same features.

    A window is `window` steps long and ends at a random step: first a store is chosen, all equally likely, then one of
    its steps. Steps before the start of the episode repeat its first step and are masked. A chunk that reaches past the
    end of the episode repeats its last action, as in Diffusion Policy (arXiv 2303.04137, its sampler's padding).
    """

    def __init__(
        self,
        stores: Sequence[DemonstrationStore],
        window: int,
        instead: Mapping[str, Sequence[Array]] | None = None,
        chunk: int = 1,
    ) -> None:
        """
        Args:
            instead: for a feature, arrays (steps, ...) that replace its own, one for each store.
            chunk: how many actions each step has, its own and the next ones.

        Raises:
            DemonstrationError: no store, or stores with different features.
            SettingError: `window` or `chunk` is less than 1.
        """
        for what, number in (("window", window), ("chunk", chunk)):
            if number < 1:
                raise SettingError(f"a {what} of {number} steps is impossible: use 1 or more")
        self.features: dict[str, Feature] = same_features(stores, alike=True)
        self.window = window
        self.stores = tuple(stores)
        # Plain arrays over the same mapped memory: indexing np.memmap costs an extra view each time.
        self._arrays = [{name: np.asarray(store[name]) for name in self.features} for store in stores]
        for name, arrays in (instead or {}).items():
            self.features[name] = Feature(arrays[0].shape[1:], str(arrays[0].dtype))
            for own, array in zip(self._arrays, arrays, strict=True):
                own[name] = array
        self._steps = np.array([store.steps for store in stores], dtype=np.int64)
        # All stores' steps get one common numbering, so one sorted search finds the episodes of a whole batch.
        self._base = np.concatenate([[0], np.cumsum(self._steps)[:-1]]).astype(np.int64)
        self._starts = np.concatenate(
            [base + np.asarray(store.offsets[:-1]) for base, store in zip(self._base, stores, strict=True)]
        )
        self._lasts = np.concatenate(
            [base + np.asarray(store.offsets[1:]) - 1 for base, store in zip(self._base, stores, strict=True)]
        )
        self._back = np.arange(-window + 1, 1, dtype=np.int64)
        self._ahead = np.arange(chunk, dtype=np.int64)

    def sample(self, batch: int, generator: np.random.Generator) -> Batch:
        """`batch` random windows; equal states of `generator` give equal windows."""
        if batch < 1:
            raise SettingError(f"a batch of {batch} windows is impossible: use 1 or more")
        store = generator.integers(len(self.stores), size=batch)
        return self.gather(store, generator.integers(self._steps[store]))

    def gather(self, store: NDArray[np.int64], step: NDArray[np.int64]) -> Batch:
        """The windows that end at the steps `step` (B,) of the stores `store` (B,); steps are numbered over a store."""
        episode = np.searchsorted(self._starts, self._base[store] + step, side="right") - 1
        start = self._starts[episode] - self._base[store]
        rows = step[:, None] + self._back
        mask = rows >= start[:, None]
        rows = np.maximum(rows, start[:, None])
        features = {name: self._take(name, store, rows) for name in self.features if name != ACTION}
        last = self._lasts[episode] - self._base[store]
        ahead = rows if len(self._ahead) == 1 else np.minimum(rows[:, :, None] + self._ahead, last[:, None, None])
        return Batch({**features, ACTION: self._take(ACTION, store, ahead)}, mask, store)

    def _take(self, name: str, store: NDArray[np.int64], rows: NDArray[np.int64]) -> Array:
        feature = self.features[name]
        stored = np.dtype(feature.dtype)
        dtype = np.dtype(np.float32) if stored.kind == "f" or len(feature.shape) < 3 else stored
        if len(self.stores) == 1:
            return self._arrays[0][name][rows].astype(dtype, copy=False)
        out = np.empty((*rows.shape, *feature.shape), dtype)
        for index in np.unique(store):
            windows = store == index
            out[windows] = self._arrays[index][name][rows[windows]]
        return out
