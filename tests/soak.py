"""The long form of the tests of damage and of kills: `make soak`, or python -m tests.soak [damage] [kills] [--count N].

    damage    altered and hostile files of every format, each read in a process with limits: 12,000 and more
    kills     commands that are killed at each of their operations on files, and given again

It prints how many there were and how they went, and stops at the first that is not as it must be.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.damage import EQUAL, OTHER, REFUSED, every_bit, survives, variants
from tests.formats import Format, formats
from tests.killing import Command, again, check_kills

OUTCOMES = (REFUSED, EQUAL, OTHER)
BITS = 1000
"""Bits of each single file that are flipped one by one, evenly spread, beside what is drawn by chance."""


def damage(place: Path, count: int) -> None:
    """Reads `count` and more damaged files of each format."""
    total: Counter[str] = Counter()
    print(f"{'format':36}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES) + f"{'seconds':>10}")
    for entry in formats(place / "formats"):
        start, counts = time.monotonic(), _outcomes(entry, place / "damaged", count)
        total += counts
        shown = "".join(f"{counts[outcome]:10}" for outcome in OUTCOMES)
        print(f"{entry.name:36}{shown}{time.monotonic() - start:10.0f}", flush=True)
    print(f"{'all':36}" + "".join(f"{total[outcome]:10}" for outcome in OUTCOMES) + f"   {total.total()} files")


def _outcomes(entry: Format, place: Path, count: int) -> Counter[str]:
    count = count // 5 if entry.costly else count
    damages = list(variants(entry.whole, random.Random(entry.name), count, entry.unsealed))
    if entry.whole.is_file() and not entry.unsealed and not entry.costly:
        damages += every_bit(entry.whole, max(1, 8 * entry.whole.stat().st_size // BITS))
    counts: Counter[str] = Counter()
    for (_, outcome), number in survives(entry.read, entry.said, entry.whole, place, damages).items():
        counts[outcome] += number
    return counts


# ---------------------------------------------------------------- kills

RUN = shlex.split(
    "--suite tests.toy:Toy --tasks reach-red reach-blue --policy.width 16 --policy.layers 1 --policy.history 2 "
    "--train.iterations 2 --train.first-iterations 2 --train.batch 2 --train.window 2 --method.rows-in all "
    "--evaluate.episodes 1 --evaluate.group 1 --evaluate.points 2 --evaluate.horizon 2 --evaluate.no-videos "
    "--demonstrations.episodes 2 --jobs 1"
)
REWARD = shlex.split(
    "--suite tests.toy:Toy --tasks between --jobs 1 --no-videos --adapt.steps 64 --adapt.points 1 --adapt.episodes 1 "
    "--adapt.horizon 0 --ppo.envs 2 --ppo.rollout 32 --ppo.batch 64"
)
LEARN = shlex.split(
    "--policy.width 16 --policy.layers 1 --policy.history 2 --train.iterations 2 --train.first-iterations 2 "
    "--train.batch 2 --train.window 2"
)


def commands(place: Path) -> dict[str, Callable[[Path], Command]]:
    """Commands that are killed: name -> the folder that one works in -> its words."""
    demos, library = str(place / "demos"), str(place / "library")
    make = ["demos", "make", "tests.toy:Toy", "--tasks", "reach-red", "reach-blue", "--episodes", "2"]
    assert again([*make, "--folder", demos]) == 0
    assert again(["learn", library, f"{demos}/toy/reach-red", *LEARN]) == 0
    run = ["run", "demo", *RUN, "--methods", "t2s", "--demonstrations.folder", demos]
    reward = ["run", "task-tokens-metaworld", *REWARD, "--methods", "token", "--library", library]
    return {
        "run": lambda folder: [*run, "--out", str(folder)],
        "run from reward": lambda folder: [*reward, "--out", str(folder)],
        "demos make": lambda folder: [*make, "--folder", str(folder)],
    }


def kills(place: Path, numbers: int | None) -> None:
    """Kills each command at each of its operations, or at so many."""
    for name, command in commands(place).items():
        start, deaths = time.monotonic(), check_kills(command, place / name.replace(" ", "-"), numbers)
        kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(d.split()[0] for d in deaths).items())
        print(f"{name:36}{len(deaths):6} kills ({kinds}) {time.monotonic() - start:.0f} s", flush=True)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", nargs="*", choices=["damage", "kills"], help="both where left out")
    parser.add_argument("--count", type=int, default=1000, help="damaged files of each format")
    parser.add_argument("--kills", type=int, default=None, help="operations of each command; all where left out")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        if not options.what or "damage" in options.what:
            damage(Path(folder), options.count)
        if not options.what or "kills" in options.what:
            kills(Path(folder), options.kills)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
