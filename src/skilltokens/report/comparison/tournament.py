"""A comparison as one sealed JSON file with all its runs, which others enter by comparing it with theirs.

docs/formats.md describes the file. It holds each run's conditions, costs and cells, so that every figure in it can be
computed again; what is only to look at (losses, gradients, videos) stays in run.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from skilltokens.experiments.foreign import SCHEMAS
from skilltokens.experiments.reading import LIFELONG, lifelong_in
from skilltokens.files import COMPARISON_SCHEMA, SEAL, check_seal, read_json, seal, sealed, write_bytes
from skilltokens.files import digest as digest_of_file
from skilltokens.report.comparison.figures import differences, figures_of
from skilltokens.report.comparison.missing import missing_cells
from skilltokens.report.comparison.tables import compare_runs
from skilltokens.report.runs import Run, run_of
from skilltokens.types import RunError

LEFT_OUT = ("learning", "gradients", "reuse", "starts", "films", "state")
"""Keys of run.json that no figure depends on."""
SHOWN = 60
"""Letters of a value in a message."""


def write_tournament(runs: Sequence[Run], out: Path, assume_equal: bool = False) -> None:
    """Writes a comparison of `runs` with all its figures; those without a test yet are left out.

    Raises:
        RunError: the runs cannot be compared, or `out` cannot be written.
    """
    content = sealed(
        {
            "schema": COMPARISON_SCHEMA,
            "assume_equal": assume_equal,
            "runs": [_entry(run) for run in runs if run.learned],
            "tables": figures_of(compare_runs(runs, assume_equal)),
        }
    )
    write_bytes(out, _lines(content).encode(), RunError)


def read_tournament(path: Path) -> list[Run]:
    """The runs of a comparison.

    Raises:
        RunError: it is missing, truncated or altered.
    """
    content = read_json(path, COMPARISON_SCHEMA, RunError)
    check_seal(content, path, RunError)
    runs = content.get("runs")
    if not isinstance(runs, list) or not runs:
        raise RunError(f"{path} holds no run: compare some with --out {path.name}")
    return [_run(entry, number, path) for number, entry in enumerate(runs)]


def check_tournament(path: Path) -> list[str]:
    """One sentence for each fault of a comparison: seals that are broken, runs that are altered or lack cells, figures
    that are not what the cells say. Empty where there is none.

    Raises:
        RunError: there is no such file, or it is no comparison.
    """
    content = read_json(path, COMPARISON_SCHEMA, RunError)
    faults = [] if content.get(SEAL) == seal(content) else ["the digest of the file is not that of its content"]
    entries = content.get("runs")
    runs: list[Run] = []
    unread = False
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            run = _run(entry, number, path)
        except RunError as problem:
            unread = True
            faults.append(str(problem))
            continue
        if entry.get(SEAL) != seal(entry):
            faults.append(f"{run.path}: its digest is not that of its content")
        faults += [f"{run.path}: {sentence}" for sentence in (*missing_cells(run), *_other_bits(run))]
        runs.append(run)
    if unread:
        return [*faults, "the figures can't be computed again before every run can be read"]
    return faults + list(_figure_faults(runs, content))


def _figure_faults(runs: Sequence[Run], content: dict[str, Any]) -> Iterator[str]:
    """What is said of the runs and does not follow from their cells."""
    try:
        right = figures_of(compare_runs(runs, content.get("assume_equal") is True))
    except RunError as problem:
        yield str(problem)
        return
    # As the file would hold them: a figure that JSON turns into another kind is no fault.
    for place, said, value in differences(content.get("tables"), json.loads(json.dumps(right)), "tables"):
        yield f"{place} is {_short(said)}, and its cells say {_short(value)}"


def _other_bits(run: Run) -> Iterator[str]:
    """Cells that claim the same bits as an earlier one with another digest of its policy."""
    cells = run.record.cells
    for i, cell in enumerate(cells):
        if cell.same_as is not None and cells[cell.same_as].policy != cell.policy:
            yield f"cell {i} claims the same bits as cell {cell.same_as}, and their policies' digests differ"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _entry(run: Run) -> dict[str, Any]:
    """A run as the file holds it: where it came from, and its record without what no figure needs."""
    content = msgspec.to_builtins(run.record)
    record = {key: value for key, value in content.items() if key not in LEFT_OUT}
    record["evaluations"] = [{k: v for k, v in cell.items() if k != "actions"} for cell in content["evaluations"]]
    source = digest_of_file(run.path, RunError) if os.path.isfile(run.path) else ""
    return sealed({"file": "/".join(run.path.parts[-2:]), "source": source, "record": record})


def _run(entry: Any, number: int, path: Path) -> Run:
    """One run of a comparison, at a path that names it in messages.

    Raises:
        RunError: it is no run, or altered.
    """
    record = entry.get("record") if isinstance(entry, dict) else None
    name = entry.get("file") if isinstance(entry, dict) else None
    place = path / (name if isinstance(name, str) and name else f"run {number + 1}")
    if not isinstance(record, dict) or record.get("schema") not in (*LIFELONG, *SCHEMAS):
        raise RunError(f"{place} is no run that can be compared: restore {path.name}, or write it again")
    return run_of(lifelong_in(record, place), place)


def _lines(content: dict[str, Any]) -> str:
    """JSON with a line for each run and each table, so that versions of it can be compared."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
