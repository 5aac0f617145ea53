"""How often LIBERO's scripted experts succeed, task by task.

    python -m benchmarks.libero_experts --suite libero-goal --noise 0.1
    python -m benchmarks.libero_experts --suite libero-10 --tasks 3 9 --episodes 10

Episodes start from LIBERO's published states: the 30 of the split "validation", since experts are improved by what is
seen here, and with `--split test` the 20 that are reported on. An episode is a success where the goal holds within the
steps that a demonstration may take. Prints a Markdown table, each row as soon as its task is done; intervals are
Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: small matrices gain nothing from threads

import numpy as np

from skilltokens.metrics import wilson
from skilltokens.suites.libero import Libero
from skilltokens.suites.limits import check_episodes
from skilltokens.suites.seeding import episode_seed
from skilltokens.types import SkilltokensError, Split

if TYPE_CHECKING:
    from skilltokens.suites.libero.environment import LiberoEnvironment

HEADER = "| task | successes | success | 95 % interval | steps, median | steps, most |\n|---|---|---|---|---|---|"


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where a task could not be measured (why is said on standard error)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.libero_experts", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--suite", default="libero-goal")
    parser.add_argument("--tasks", nargs="*", default=[], help="names or numbers; all of the suite without it")
    parser.add_argument("--episodes", type=int, default=0, help="of each task; all of the split without it")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of the noise on six motions")
    options = parser.parse_args(words)
    try:
        suite = Libero(options.suite)
        episodes = options.episodes or suite.episodes(options.split) or 1
        check_episodes(suite, options.split, episodes)
        names = [task.name for task in suite.tasks]
        chosen = [names[int(word)] if word.isdigit() else word for word in options.tasks] or names
        print(HEADER, flush=True)
        good = sum(row(options.suite, name, options.split, episodes, options.noise) for name in chosen)
    except (SkilltokensError, IndexError) as problem:
        print(problem, file=sys.stderr)
        return 2
    print(f"| **all** | {cells(good, episodes * len(chosen))} | | |", flush=True)
    return 0


def row(suite: str, task: str, split: Split, episodes: int, noise: float) -> int:
    """Measures one task, prints its row and returns the number of successes."""
    from skilltokens.suites.libero.environment import LiberoEnvironment

    environment = LiberoEnvironment(suite, task)
    lengths = [attempt(environment, split, index, noise) for index in range(episodes)]
    environment.close()
    steps = [length for length in lengths if length]
    most = f"{np.median(steps):.0f} | {max(steps)}" if steps else "- | -"
    print(f"| {task} | {cells(len(steps), episodes)} | {most} |", flush=True)
    return len(steps)


def attempt(environment: LiberoEnvironment, split: Split, index: int, noise: float) -> int:
    """The steps that one episode took to succeed; 0 where it did not."""
    from skilltokens.suites.libero.demonstrate import limit
    from skilltokens.suites.libero.experts import expert

    generator = np.random.default_rng([episode_seed(environment.suite, environment.task, split, index), 1])
    environment.reset(split, index)
    actor = expert(environment, noise)
    for step in range(limit(environment.suite)):
        action = actor.act()
        action[:6] += noise * generator.standard_normal(6)
        if environment.step(action)[1]:
            return step + 1
    return 0


def cells(good: int, tried: int) -> str:
    """ "49 of 50 | 0.98 | 0.90 to 1.00"."""
    low, high = (float(bound) for bound in wilson(good, tried))
    return f"{good} of {tried} | {good / max(tried, 1):.2f} | {low:.2f} to {high:.2f}"


if __name__ == "__main__":
    sys.exit(main())
