"""Results of other programs, read into the records of our own runs: LeRobot's, LIBERO's, and a documented CSV.

A result holds little of what it came from. What it does not say stays unsaid (docs/compare.md), unless it is said
beside it: FILE:KEY=VALUE,KEY=VALUE, by the keys of facts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from skilltokens.experiments.foreign import csvfile, lerobot, libero
from skilltokens.experiments.records import LifelongRecord
from skilltokens.types import RunError

__all__ = ["NAMES", "SCHEMAS", "read_foreign"]

NAMES = ("eval_info.json", "result.pt")
"""Files of others that are looked for in a folder, by the names that their programs give them."""

SCHEMAS = (csvfile.SCHEMA, lerobot.SCHEMA, libero.SCHEMA)
"""What the records of others' results bear as their schema."""
_READERS: dict[str, Callable[[Path, Mapping[str, str]], list[LifelongRecord]]] = {
    ".json": lerobot.read,
    ".pt": libero.read,
    ".npz": libero.read,
    ".npy": libero.read,
    ".csv": csvfile.read,
}


def read_foreign(path: Path, said: Mapping[str, str]) -> list[LifelongRecord]:
    """The runs in a file of another program, which is told by its suffix.

    Args:
        said: what is said beside it, by the keys of facts.py; it goes before what the file says.

    Raises:
        RunError: it is missing, damaged, of no known format, has rates without the number of episodes, or contradicts
            itself.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise RunError(
            f"{path} is of no known format: give a run.json or its folder, LeRobot's eval_info.json, LIBERO's "
            "result.pt (or its S_conf_mat as .npy or .npz), or a .csv as docs/compare.md describes it"
        )
    return reader(path, said)
