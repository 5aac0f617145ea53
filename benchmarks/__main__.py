"""`python -m benchmarks`: runs the benchmarks, prints a table, and writes or keeps what was measured where asked to."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import (
    acting,
    attached,
    bodies,
    libero,
    libraries,
    loader,
    opening,
    pattention,
    pictures,
    rolling,
    selecting,
    startup,
    steering,
    training,
)
from benchmarks.kept import keep, seconds
from benchmarks.setting import Bench
from benchmarks.timing import QUICK, Effort, Row
from skilltokens.experiments.provenance import commit, machine, now, versions
from skilltokens.files import write_json
from skilltokens.types import SkilltokensError

Benchmark = Callable[[Bench], list[Row]]
BENCHMARKS: dict[str, Benchmark] = {
    "training": training.run,
    "pattention": pattention.run,
    "loader": loader.run,
    "rollout": rolling.run,
    "libero": libero.run,
    "bodies": bodies.run,
    "pictures": pictures.run,
    "acting": acting.run,
    "attached": attached.run,
    "opening": opening.run,
    "selecting": selecting.run,
    "libraries": libraries.run,
    "steering": steering.run,
    "startup": startup.run,
}
SCHEMA = "skilltokens.benchmarks/1"
HERE = Path(__file__).parent


def main(
    words: Sequence[str] | None = None,
    benchmarks: Mapping[str, Benchmark] = BENCHMARKS,
    program: str = "python -m benchmarks",
    peers: Callable[[], Mapping[str, str]] = dict,
) -> int:
    """Returns 0, or 2 where a benchmark could not run (each says why; the others still run).

    Args:
        benchmarks: that can be run, by name.
        program: that runs them, in words.
        peers: gives the versions of what they are measured against, once they have run.
    """
    parser = _parser(benchmarks, program)
    options = parser.parse_args(words)
    if options.keep and options.quick:
        parser.error("--keep is not for --quick, whose figures do not count: leave one out")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    effort = QUICK if options.quick else Effort(rounds=options.rounds)
    content: dict[str, Any] = {"schema": SCHEMA, "started": now(), "machine": surroundings(), "quick": options.quick}
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in options.only or benchmarks:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="skilltokens-bench-") as folder:
                rows += benchmarks[name](Bench(effort, Path(folder), options.quick))
        except SkilltokensError as problem:
            failed[name] = str(problem)
    content |= {"finished": now(), "load_after": _load(), "failed": failed, "peers": dict(peers())}
    content["rows"] = [dataclasses.asdict(row) for row in rows]
    show(content, rows)
    if options.out is not None:
        write_json(options.out, content)
    if options.keep:
        try:
            sentences = keep(HERE, content, rows, " ".join([program, *(words or sys.argv[1:])]))
        except SkilltokensError as problem:
            print(problem, file=sys.stderr)
            return 2
        for sentence in sentences:
            print(f"slower than before: {sentence}")
    return 2 if failed else 0


def surroundings() -> dict[str, Any]:
    """All that the figures may depend on."""
    return {
        **msgspec.structs.asdict(machine()),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "load": _load(),
        "versions": versions(),
        "commit": commit(),
    }


def show(content: dict[str, Any], rows: Sequence[Row]) -> None:
    """Prints the table and the machine."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title="How many times as long as the reference (median and quartiles of the ratio)")
    for name in ("benchmark", "ours", "reference"):
        table.add_column(name, overflow="fold")
    for name in ("ratio", "quartiles", "of least", "ours, time", "reference, time", "good"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.benchmark,
            row.ours,
            row.reference,
            f"{row.ratio:.3g}",
            f"{row.low:.3g} to {row.high:.3g}",
            f"{row.least:.3g}",
            seconds(row.ours_s),
            seconds(row.reference_s),
            row.good,
        )
    console.print(table)
    for row in rows:
        if row.sizes:
            console.print(f"{row.ours} / {row.reference}: parameters {row.sizes}", markup=False, highlight=False)
    machine = content["machine"]
    packages = ", ".join(f"{name} {machine['versions'][name]}" for name in ("python", "torch", "numpy"))
    packages = ", ".join([packages, *(f"{name} {version}" for name, version in content["peers"].items())])
    console.print(f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} torch threads; {packages}")
    console.print(f"Processes that wanted a core (1 min): {machine['load']} before, {content['load_after']} after.")
    if content["quick"]:
        console.print("Quick: this shows that the benchmarks run; the figures do not count.")
    for name, sentence in content["failed"].items():
        console.print(f"{name} was not measured: {sentence}", markup=False)


def _load() -> float | None:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _parser(benchmarks: Mapping[str, Benchmark], program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Speed as ratios; see docs/speed.md.")
    parser.add_argument("--only", nargs="+", choices=list(benchmarks), metavar="NAME", help=", ".join(benchmarks))
    parser.add_argument("--quick", action="store_true", help="see in seconds that everything runs")
    parser.add_argument("--rounds", type=_positive, default=Effort.rounds, help="turns for each side (%(default)s)")
    parser.add_argument("--threads", type=_positive, default=1, help="threads of torch (%(default)s)")
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows in benchmarks/, and name those that have become slower"
    )
    return parser


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number of 1 or more")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
