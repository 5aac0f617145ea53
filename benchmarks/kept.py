"""What was measured before, machine by machine: FOLDER/kept.json, and FOLDER/RESULTS.md, which is made of it.

`python -m benchmarks --keep` and `python -m benchmarks.peers --keep` compare their rows with those of the same machine,
name what has become slower, and then put their rows in their place. The rows of benchmarks that they left out, or could
not measure, and of other machines, stay; a benchmark without any row stands there as not measured, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.timing import Row
from skilltokens.escaping import markdown
from skilltokens.files import read_json, write_bytes, write_json
from skilltokens.report.text import table
from skilltokens.types import RunError

SCHEMA = "skilltokens.benchmarks-kept/1"
FILE, PAGE = "kept.json", "RESULTS.md"
HEAD = """# What was measured

Made by `make bench` and `make peers` from kept.json beside it: do not edit it. [What each ratio
means](../docs/speed.md): how many times as long as the reference something takes, the median of its turns with the
quartiles. *Load* is how many processes wanted a core before and after: above the number of cores the machine was busy,
and the times are too long. *Parameters* are those of ours / of the reference, where that is a peer.
"""
COLUMNS = ("benchmark", "ours", "reference", "ratio", "quartiles", "good", "ours takes", "load", "measured", "commit")
SIZES = "parameters"
"""The column of rows against peers."""
REASON = "not_measured"
"""The entry of a row that says why there are no figures."""


def machine_of(content: Mapping[str, Any]) -> str:
    """The machine of a run of the benchmarks: only on the same one are two ratios compared."""
    machine = content["machine"]
    name = f"{machine['processor']} ({machine['vectors']})"  # processors of one name may differ in what they can do
    return f"{name}, {machine['cores']} cores, {machine['threads']} torch threads"


def kept_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each machine; none where nothing was kept yet.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return {}
    machines = read_json(path, SCHEMA, RunError).get("machines")
    if not isinstance(machines, dict):
        raise RunError(f"{path} is damaged (it names no machines): restore it, or move it away")
    return machines


def slower(before: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[str]:
    """A sentence for each row whose quartiles lie above those of the same row before."""
    known = {_key(row): row for row in before}
    sentences = []
    for row in rows:
        old = known.get(_key(asdict(row)))
        if old is not None and row.low > old["high"]:
            sentences.append(
                f"{row.benchmark}: {row.ours} takes {row.ratio:.3g} times {row.reference} ({row.low:.3g} to "
                f"{row.high:.3g}), where it took {old['ratio']:.3g} ({old['low']:.3g} to {old['high']:.3g}) on "
                f"{old['measured']}"
            )
    return sentences


def keep(folder: Path, content: Mapping[str, Any], rows: Sequence[Row], command: str) -> list[str]:
    """Puts these rows in the place of the machine's old ones, writes both files, and says which rows are slower now.

    Args:
        content: of the run, as `--out` writes it.
        command: that measured them.

    Raises:
        RunError: what was kept is damaged, or a file cannot be written.
    """
    machines, machine = kept_in(folder), machine_of(content)
    before = machines.get(machine, [])
    load = f"{content['machine']['load']} to {content['load_after']}"
    versions = content["machine"]["versions"]
    about = {
        "load": load,
        "measured": content["finished"][:10],
        "commit": content["machine"]["commit"],
        "versions": {name: versions[name] for name in ("python", "torch", "numpy") if name in versions}
        | content.get("peers", {}),
        "command": command,
    }
    machines[machine] = _in_place(before, rows, content.get("failed", {}), about)
    write_json(folder / FILE, {"schema": SCHEMA, "machines": machines}, RunError)
    write_bytes(folder / PAGE, page(machines).encode(), RunError)
    return slower(before, rows)


def _in_place(
    before: Sequence[dict[str, Any]], rows: Sequence[Row], failed: Mapping[str, str], about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of a machine, new ones in the place of old ones. What failed and has no rows says that it was not
    measured."""
    measured = {row.benchmark for row in rows}
    reasons = {row["benchmark"] for row in before if REASON in row}
    rest = [row for row in before if row["benchmark"] not in measured | (reasons & set(failed))]
    known = {row["benchmark"] for row in rest}
    lacking = [
        {"benchmark": name, "ours": "", "reference": "", REASON: reason, **about}
        for name, reason in failed.items()
        if name not in known
    ]
    return [*rest, *({**asdict(row), **about} for row in rows), *lacking]


def page(machines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The text of RESULTS.md: a table for each machine."""
    parts = [HEAD]
    for machine, rows in machines.items():
        commands = dict.fromkeys(f"`{row['command']}`" for row in rows)
        versions = dict.fromkeys(
            ", ".join(f"{name} {value}" for name, value in row["versions"].items()) for row in rows
        )
        parts.append(f"## {markdown(machine)}\n\n{'; '.join(versions)}. By {', '.join(commands)}.\n")
        sizes = any(row.get("sizes") for row in rows)
        cells = [[*_cells(row), *([markdown(row.get("sizes", ""))] if sizes else [])] for row in rows]
        parts.append(table((*COLUMNS, *([SIZES] if sizes else [])), cells).replace("---:", "---") + "\n")
    return "\n".join(parts)


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["benchmark"], row["ours"], row["reference"]


def _cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of all columns but the last."""
    if REASON in row:
        words = [markdown(row["benchmark"]), f"not measured: {markdown(row[REASON])}", *[""] * 5]
        return [*words, row["load"], row["measured"], str(row["commit"] or "")[:8]]
    ratios = [f"{row['ratio']:.3g}", f"{row['low']:.3g} to {row['high']:.3g}"]
    commit = str(row["commit"] or "")[:8]
    words = [markdown(row[name]) for name in ("benchmark", "ours", "reference")]
    return [*words, *ratios, markdown(row["good"]), seconds(row["ours_s"]), row["load"], row["measured"], commit]


def seconds(value: float) -> str:
    """With a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"
