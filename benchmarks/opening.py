"""Opening a demonstration store of a gigabyte against one of a megabyte.

Opening reads the header and the sizes of the files, never the data, so the ratio is 1 whatever the size. Good: below
1.2. The gigabyte is a sparse file: it takes no room on the disk.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.setting import STEPS, Bench, make_store
from benchmarks.timing import Row, row, take_turns
from skilltokens.demos.header import HEADER, OFFSETS
from skilltokens.demos.store import DemonstrationStore
from skilltokens.files import seal, write_json

MEGABYTE = 10**6


def run(bench: Bench) -> list[Row]:
    """One row."""
    small = make_store(bench.folder / "small", episodes=1)
    per_step = sum(store.nbytes for store in (small[name] for name in small.features)) // small.steps
    one = _enlarged(small, bench.folder / "megabyte", MEGABYTE // per_step // STEPS)
    thousand = _enlarged(small, bench.folder / "gigabyte", 1000 * MEGABYTE // per_step // STEPS)
    sides = {
        "open 1 GB": lambda: DemonstrationStore.open(thousand),
        "open 1 MB": lambda: DemonstrationStore.open(one),
    }
    return [row("opening", take_turns(sides, bench.effort), "open 1 GB", "open 1 MB", "below 1.2")]


def _enlarged(store: DemonstrationStore, folder: Path, episodes: int) -> Path:
    """A store with the same features and this many episodes of zeros, written as holes."""
    folder.mkdir()
    header = json.loads((store.path / HEADER).read_text())
    header |= {"episodes": episodes, "steps": episodes * STEPS}
    for name, feature in store.features.items():
        np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.dtype(feature.dtype), (header["steps"], *feature.shape)
        )
    np.save(folder / f"{OFFSETS}.npy", np.arange(episodes + 1, dtype=np.int64) * STEPS, allow_pickle=False)
    for name, entry in header["files"].items():
        entry["bytes"] = (folder / name).stat().st_size
    header["digest"] = seal(header)
    write_json(folder / HEADER, header)
    return folder
