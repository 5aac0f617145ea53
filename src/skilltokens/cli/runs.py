"""The runs under a folder as a table: what each is, how far it is, what came out, and what sets it apart."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skilltokens.configuration import flat, with_new_names
from skilltokens.experiments.grid import KEPT, read_kept
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.experiments.rereading import config_of, method_in
from skilltokens.experiments.settings import FREE, FREE_FROM_REWARD
from skilltokens.experiments.states import state_of
from skilltokens.files import shown
from skilltokens.types import RunError, natural

HEADS = ("method", "seed", "settings", "state", "final", "age", "tag", "folder")
ELSEWHERE = ("seed", "learner", *FREE, *FREE_FROM_REWARD)
"""Settings that set no run apart: they stand elsewhere in the table, or change no number."""
LONGEST = 32
"""Characters of a value in the table."""


@dataclass(frozen=True)
class Listed:
    """A run, or a cell of a grid that has not begun."""

    folder: Path
    state: str
    method: str
    seed: int
    tag: str = ""
    record: LifelongRecord | RewardRecord | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Its settings on one level, with its recipe; empty where it has not begun."""
        if self.record is None:
            return {}
        record = self.record
        settings = config_of(record) if isinstance(record, LifelongRecord) else flat(with_new_names(record.config))
        return {"recipe": self.record.recipe or "", **{n: v for n, v in settings.items() if not isinstance(v, dict)}}


def runs_below(folder: Path) -> list[Listed]:
    """Every run in or below a folder, and the cells of its grids that have not begun; in the order of their folders.

    Raises:
        RunError: there is none.
    """
    runs: dict[Path, Listed] = {}
    for path in Path(folder).rglob("run.json"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            runs[path.parent] = _listed(path.parent)
    for path in Path(folder).rglob(KEPT):
        for cell in _cells(path.parent):
            runs.setdefault(cell.folder, cell)
            run = runs[cell.folder]
            if cell.state.startswith("failed") and run.state.startswith("stopped"):
                runs[cell.folder] = Listed(run.folder, cell.state, run.method, run.seed, run.tag, run.record)
    if not runs:
        raise RunError(f"{shown(Path(folder))} holds no runs: name a folder such as runs or runs/demo")
    return sorted(runs.values(), key=lambda run: natural(str(run.folder)))


def _listed(folder: Path) -> Listed:
    try:
        state = state_of(folder)
    except RunError as problem:
        return Listed(folder, f"damaged: {problem}", "?", 0)
    record = state.record
    assert record is not None
    method = method_in(record) if isinstance(record, LifelongRecord) else record.learner
    return Listed(folder, state.words, method, record.seed, record.tag, record)


def _cells(folder: Path) -> list[Listed]:
    """The cells that a grid's folder names; none where that is damaged: the grid itself says so."""
    try:
        cells = read_kept(folder)["cells"]
    except RunError:
        return []
    listed = []
    for cell in cells:
        if isinstance(cell, dict) and isinstance(name := cell.get("name"), str) and os.path.basename(name) == name:
            state = f"failed: {cell.get('failure', '')}" if cell.get("state") == "failed" else "waiting"
            listed.append(Listed(folder / name, state, str(cell.get("method")), int(cell.get("seed") or 0)))
    return listed


def rows(runs: Sequence[Listed], now: datetime.datetime) -> list[list[str]]:
    """The table's rows, as HEADS says."""
    apart = _apart(runs)
    return [
        [
            run.method,
            str(run.seed),
            " ".join(f"{name}={_value(run.config[name])}" for name in apart(run) if name in run.config),
            run.state,
            _final(run),
            _age(run, now),
            run.tag,
            str(run.folder),
        ]
        for run in runs
    ]


def _apart(runs: Sequence[Listed]) -> Callable[[Listed], list[str]]:
    """Says of a run the settings that set it apart: between recipes only the recipe, and of a method's own settings
    those that differ among its runs."""
    configs = [(run, run.config) for run in runs if run.record is not None]
    several = len({config["recipe"] for _, config in configs}) > 1
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run, config in configs:
        for method in ("", run.method):
            own = {name: value for name, value in config.items() if name.startswith("method") == bool(method)}
            groups.setdefault((config["recipe"], method), []).append(own)

    def apart(run: Listed) -> list[str]:
        recipe = run.config.get("recipe", "")
        names = ["recipe"] if several else []
        for group in (groups.get((recipe, method), []) for method in ("", run.method)):
            names += [name for name in (group[0] if group else ()) if _differs(name, group)]
        return names

    return apart


def _differs(name: str, configs: Sequence[dict[str, Any]]) -> bool:
    return name not in ELSEWHERE and any(config.get(name) != configs[0][name] for config in configs)


def _value(value: Any) -> str:
    if isinstance(value, list):
        text = ",".join(map(str, value))
        return text if len(text) <= LONGEST else f"({len(value)} of them)"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _final(run: Listed) -> str:
    """The mean success at the end, of a run that is done."""
    if run.record is None or not run.record.finished:
        return "-"
    if isinstance(run.record, RewardRecord):
        successes = sum(result.successes[-1] for result in run.record.results)
        episodes = sum(result.episodes for result in run.record.results)
        return f"{successes / episodes:.2f}" if episodes else "-"
    from skilltokens.report.runs import read_run

    figures = read_run(run.folder).figures
    return "-" if figures is None else f"{figures.final:.2f}"


def _age(run: Listed, now: datetime.datetime) -> str:
    """Since it ended, or else since it began."""
    if run.record is None:
        return ""
    try:
        seconds = (now - datetime.datetime.fromisoformat(run.record.finished or run.record.started)).total_seconds()
    except (ValueError, TypeError):  # a time that somebody wrote otherwise
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
