"""The long form of the tests of damage and of kills: `make soak`, or python -m tests.soak [damage] [kills] [--count N].

    damage    altered and hostile files of every format, each read in a process with limits: 12,000 and more
    libraries those of skill libraries alone
    kills     commands that are killed at each of their operations on files, and given again
    instants  the same at random instants

It prints how many there were and how they went, and stops at the first that is not as it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.damage import EQUAL, OTHER, REFUSED, Variant, every_bit, survives, variants
from tests.formats import Format, formats
from tests.killing import Command, again, check_instants, check_kills
from tests.skills.making import make_library
from tests.skills.test_damage import imported, logs, said, swapped, used
from tests.skills.test_damage import words as words_of

from skilltokens import cli
from skilltokens.locking import LOCKS
from skilltokens.skills.disk import LOG
from skilltokens.skills.head import HEAD, read_head
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import export_skill
from skilltokens.skills.verifying import verify

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


def library_damage(place: Path, count: int) -> None:
    """The same of a skill library and of an exported skill: `count` and more of each kind of damage."""
    home = place / "libraries"
    whole = home / "whole"
    make_library(whole)
    exported = export_skill(SkillLibrary.open(whole), "pull", home / "pull.skill")
    kinds: dict[str, tuple[Path, Callable[[Path], dict[str, str]], list[Variant]]] = {
        "library: its files": (whole, used, list(variants(whole, random.Random(11), count))),
        "library: its list": (whole, used, list(logs(whole, random.Random(12), count))),
        "library: words of its skills": (whole, used, list(words_of(whole, random.Random(13), count))),
        "library: files swapped": (whole, used, list(swapped(whole, random.Random(14), count // 4))),
        "exported skill": (exported, imported(whole), list(variants(exported, random.Random(15), count))),
    }
    for name, (source, read, damages) in kinds.items():
        start, counts = time.monotonic(), Counter[str]()
        for (_, outcome), number in survives(read, said, source, place / "damaged", damages).items():
            counts[outcome] += number
        shown = "".join(f"{counts[outcome]:10}" for outcome in OUTCOMES)
        print(f"{name:36}{shown}{time.monotonic() - start:10.0f}", flush=True)


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


ADAPT = shlex.split(
    "--env tests.toy:Toy/between --adapt.steps 64 --adapt.points 1 --adapt.episodes 1 --adapt.horizon 0 --ppo.envs 2 "
    "--ppo.rollout 32 --ppo.batch 64"
)


@dataclass(frozen=True)
class Case:
    """A command that is killed: what it is, in which folder it works, and what must be the same after it."""

    command: Callable[[Path], Command]
    prepare: Callable[[Path], object] = lambda folder: None
    contents: Callable[[Path], Mapping[str, object]] | None = None


def told(words: Sequence[str]) -> None:
    """The command, in a process that has loaded it already."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        status = cli.main(list(words))
    if status:
        raise SystemExit(status)


def library_contents(folder: Path) -> dict[str, object]:
    """What a library says and does, but for times; it is whole, and nothing unfinished lies in it."""
    findings = verify(folder, actions=True)
    assert not [finding for finding in findings if finding.fault], findings
    library = SkillLibrary.open(folder)
    found: dict[str, object] = {f"policy {name}": library.policy_of(name).fingerprint() for name in library.names}
    found["log"] = [
        {key: value for key, value in json.loads(line).items() if key != "at"}
        for line in (folder / LOG).read_bytes()[: read_head(folder).changes.bytes].splitlines()
    ]
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (*LOCKS, HEAD, LOG):
            found[str(path.relative_to(folder))] = path.read_bytes()
    _without_seconds(found["log"])
    return found


def _without_seconds(log: Any) -> None:
    """Takes out of a log how long a training took."""
    for change in log:
        for record in change.get("skills", ()):
            record["notes"].get("curve", {}).pop("seconds", None)


def cases(place: Path) -> dict[str, Case]:
    """Commands that are killed, by name."""
    demos, base, grown = str(place / "demos"), place / "base", place / "grown"
    make = ["demos", "make", "tests.toy:Toy", "--tasks", "reach-red", "reach-blue", "--episodes", "2"]
    red, blue = f"{demos}/toy/reach-red", f"{demos}/toy/reach-blue"
    method = ["--method.share", "0.2"]
    for words in (
        [*make, "--folder", demos],
        ["learn", str(base), red, "--new", *LEARN],
        ["learn", str(grown), red, "--new", *LEARN],
        ["learn", str(grown), blue, *LEARN, *method],
        ["skills", str(grown), "export", "reach-blue", str(place / "blue.skill")],
    ):
        assert again(words) == 0, words
    run = ["run", "demo", *RUN, "--methods", "t2s", "--demonstrations.folder", demos]
    reward = ["run", "task-tokens-metaworld", *REWARD, "--methods", "token", "--library", str(base)]

    def on(library: Path, words: Callable[[str], list[str]]) -> Case:
        def fill(folder: Path) -> None:
            shutil.copytree(library, folder, dirs_exist_ok=True)

        return Case(lambda folder: functools.partial(told, words(str(folder))), fill, library_contents)

    first = Case(
        lambda folder: functools.partial(told, ["learn", str(folder), red, "--new", *LEARN]), contents=library_contents
    )
    return {
        "learn, the first": first,
        "learn": on(base, lambda folder: ["learn", folder, blue, *LEARN, *method]),
        "adapt": on(base, lambda folder: ["adapt", folder, *ADAPT]),
        "import": on(base, lambda folder: ["skills", folder, "import", str(place / "blue.skill")]),
        "remove": on(grown, lambda folder: ["skills", folder, "remove", "reach-blue"]),
        "merge": on(base, lambda folder: ["skills", folder, "merge", str(grown)]),
        "run": Case(lambda folder: [*run, "--out", str(folder)]),
        "run from reward": Case(lambda folder: [*reward, "--out", str(folder)]),
        "demos make": Case(lambda folder: [*make, "--folder", str(folder)]),
    }


def kills(place: Path, numbers: int | None, only: Sequence[str]) -> None:
    """Kills each command at each of its operations, or at so many."""
    for name, case in cases(place).items():
        if only and name not in only:
            continue
        start, spot = time.monotonic(), place / name.replace(" ", "-").replace(",", "")
        deaths = check_kills(case.command, spot, numbers, case.contents, case.prepare)
        kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(d.split()[0] for d in deaths).items())
        print(f"{name:36}{len(deaths):6} kills ({kinds}) {time.monotonic() - start:.0f} s", flush=True)


def instants(place: Path, count: int, only: Sequence[str]) -> None:
    """Kills each command at random instants, `count` in all."""
    chosen = {name: case for name, case in cases(place).items() if not only or name in only}
    for number, (name, case) in enumerate(chosen.items()):
        share = count // len(chosen) + (number < count % len(chosen))
        start, spot = time.monotonic(), place / f"instants-{number}"
        died = check_instants(case.command, spot, share, case.contents, case.prepare)
        print(f"{name:36}{died:6} of {share} died before their end, {time.monotonic() - start:.0f} s", flush=True)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "what", nargs="*", choices=["damage", "libraries", "kills", "instants"], help="all where left out"
    )
    parser.add_argument("--count", type=int, default=1000, help="damaged files of each format")
    parser.add_argument("--kills", type=int, default=None, help="operations of each command; all where left out")
    parser.add_argument("--instants", type=int, default=100, help="random instants, of all commands together")
    parser.add_argument(
        "--only", nargs="*", default=(), help="commands by name, such as learn adapt 'learn, the first'"
    )
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        if not options.what or "damage" in options.what:
            damage(Path(folder), options.count)
            library_damage(Path(folder), options.count)
        if "libraries" in options.what:
            library_damage(Path(folder), options.count)
        if not options.what or "kills" in options.what:
            kills(Path(folder) / "kills", options.kills, options.only)
        if not options.what or "instants" in options.what:
            instants(Path(folder) / "instants", options.instants, options.only)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
