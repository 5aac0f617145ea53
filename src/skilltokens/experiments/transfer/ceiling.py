"""The ceiling of every rule that chooses a neighbour: each task from its best start in hindsight, as a grid."""

from __future__ import annotations

import json
from pathlib import Path

from skilltokens.experiments.transfer.judging import best_starts
from skilltokens.experiments.transfer.record import TransferRecord
from skilltokens.files import write_bytes
from skilltokens.methods import method_settings
from skilltokens.types import RunError

FILE = "best.toml"


def write_ceiling(folder: Path, library: Path, record: TransferRecord) -> Path:
    """Writes FOLDER/best.toml, a grid of one run, and returns its path.

    Args:
        library: holds the skills that the matrix' cells start from; the run begins from it.

    Raises:
        RunError: it cannot be written.
    """
    path = folder / FILE
    write_bytes(path, ceiling(library, record).encode(), RunError)
    return path


def ceiling(library: Path, record: TransferRecord) -> str:
    """The text of the grid. The starts were chosen on validation states; the run is tested on test states."""
    starts = best_starts(record)
    return (
        "# The best start of each task in hindsight, by the transfer matrix beside this file.\n"
        "#\n"
        f"#   skilltokens grid {FILE}\n"
        "\n"
        f"name = {json.dumps(f'best-start-{record.method}')}\n"
        f"recipe = {json.dumps(record.recipe)}\n"
        f"methods = [{json.dumps(record.method)}]\n"
        f"seeds = {record.seed}\n"
        "\n"
        "[settings]\n"
        f"base = {json.dumps(str(library))}\n"
        f"tasks = {json.dumps([task.name for task in record.tasks])}\n"
        f'method.start = "{method_settings(record.method).COPIES}"\n'
        'method.neighbour = "named"\n'
        f"method.named = {json.dumps(starts)}\n"
    )
