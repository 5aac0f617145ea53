"""Writes docs/gallery.md: a video of one demonstration of each task, drawn from the simulator's states in its store.

    python -m skilltokens.report.gallery libero-spatial libero-object libero-goal --folder demos

Every task needs a store at FOLDER/SUITE/TASK with those states (`skilltokens demos make SUITE`), and its suite's
environments need a method `restore` that puts one of them back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skilltokens.demos import DemonstrationStore
from skilltokens.escaping import file_name, markdown, shell, terminal
from skilltokens.files import write_bytes
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import store_path
from skilltokens.simulation.video import write_video
from skilltokens.suites import load_suite
from skilltokens.types import SIMULATOR_STATE, DemonstrationError, SkilltokensError, Suite, Task

EVERY, FPS = 3, 15
"""Steps between two frames, and frames a second: a robot of 20 steps a second is shown 2.25 times as fast."""
LIMIT = 180_000
"""Bytes of a video at most: thirty videos stay below 6 MB."""
COLUMNS = 3
"""Videos side by side in a table."""


@dataclass(frozen=True)
class Recording:
    """The video of one demonstration. `path` is relative to the page."""

    task: Task
    path: str
    steps: int


def record_demonstration(suite: Suite, task: Task, store: DemonstrationStore, index: int, path: Path) -> int:
    """Writes a video of demonstration `index` of a store to `path`; returns the number of its steps.

    Raises:
        DemonstrationError: the store keeps no states of the simulator.
        SuiteError: the states are of another scene, or this machine cannot render.
    """
    if SIMULATOR_STATE not in store.private:
        raise DemonstrationError(
            f"{store.path} does not keep {SIMULATOR_STATE}, which a video is drawn from: make it again"
        )
    states = store[SIMULATOR_STATE][int(store.offsets[index]) : int(store.offsets[index + 1])]
    environment: Any = suite.make(task)
    frames = []
    for state in [*states[:-1:EVERY], states[-1]]:
        environment.restore(np.asarray(state))
        frames.append(environment.render())
    environment.close()
    write_video(path, frames, True, FPS, LIMIT)
    return len(states)


def write_gallery(suites: Sequence[str], demos: Path, out: Path) -> Path:
    """Writes a video of the first demonstration of every task of these suites into OUT/gallery, and OUT/gallery.md.

    Raises:
        SkilltokensError: a suite or one of its stores is missing, or a video cannot be made or written.
    """
    sections = []
    for name in suites:
        suite, recordings = load_suite(name), []
        for task in suite.tasks:
            store = DemonstrationStore.open(store_path(suite, task, DemonstrationSettings(folder=str(demos))))
            store.verify()
            path = f"gallery/{file_name(name)}/{file_name(task.name)}.webp"
            steps = record_demonstration(suite, task, store, 0, out / path)
            recordings.append(Recording(task, path, steps))
            print(f"{path}: {(out / path).stat().st_size / 1000:.0f} kB", file=sys.stderr)
        sections.append(_section(name, recordings))
    page = out / "gallery.md"
    write_bytes(page, (_head(suites) + "\n".join(sections)).encode())
    return page


def _head(suites: Sequence[str]) -> str:
    return f"""# Gallery

One demonstration of every task by its scripted expert, {EVERY * FPS / 20:g} times as fast as it was; the last picture
is held. The expert's actions are disturbed on the way, as in all demonstrations that are learned from, and it recovers.
`python -m skilltokens.report.gallery {shell(*suites)}` makes this page.

"""


def _section(name: str, recordings: Sequence[Recording]) -> str:
    """The table of a suite's videos."""
    lines = [f"## {markdown(name)}\n", "| " * COLUMNS + "|", "|:---:" * COLUMNS + "|"]
    for start in range(0, len(recordings), COLUMNS):
        row = recordings[start : start + COLUMNS]
        cells = [
            f"![{markdown(one.task.name)}]({one.path})<br>{markdown(one.task.instruction)}<br>{one.steps} steps"
            for one in row
        ]
        lines.append("| " + " | ".join(cells + [""] * (COLUMNS - len(row))) + " |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m skilltokens.report.gallery", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("suites", nargs="+", help="suites by name")
    parser.add_argument("--folder", type=Path, default=Path("demos"), help="where the demonstrations are")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where gallery.md and gallery/ go")
    arguments = parser.parse_args(words)
    try:
        print(write_gallery(arguments.suites, arguments.folder, arguments.out))
    except SkilltokensError as problem:
        print(f"gallery: {terminal(str(problem))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
