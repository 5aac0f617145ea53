"""Skill libraries of 1 to 10,000 skills: what a skill costs does not grow with the number of those before it.

    python -m benchmarks.libraries --out FILE.json --picture FILE.svg

The skills are real: parameter tokens of random numbers on the default base, ten wordings each, so that 10,000 of them
have 100,000 language keys. Times are processor times on one core. The ratios of `python -m benchmarks` compare the
largest library with a small one: adding a skill is good below 1.1, opening is good below 0.1 s, switching below 1 ms.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from benchmarks.setting import Bench, embedding, make_policy, make_store
from benchmarks.timing import QUICK, Effort, Row, row, spent, take_turns
from skilltokens.experiments.provenance import machine, now, versions
from skilltokens.files import write_bytes, write_json
from skilltokens.grow import learn_skill
from skilltokens.model.policy import Policy
from skilltokens.report.pictures import sheet
from skilltokens.report.svg import Plot, picture
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.proof import prove
from skilltokens.skills.ranking import Ranking, rank
from skilltokens.skills.skill import BASE, Proof, Rows, Skill
from skilltokens.suites.metaworld import MetaWorld

SIZES = (1, 10, 100, 1_000, 10_000)
WORDINGS = 10
MAP = "layers.0.q"
"""The linear map in which each skill has a row of its own: small, so that 10,000 fit everywhere."""
TRAIN = TrainSettings(first_iterations=3, iterations=3, warmup=1)


@dataclass(frozen=True)
class Size:
    """What one library costs. Seconds are of processor time, the median of several; bytes are of resident memory."""

    skills: int
    open_s: float
    add_s: float
    """One skill more, its proof and its commit."""
    select_s: float
    """The skill that a vector means, of all wordings, once their vectors are read."""
    first_select_s: float
    """The same the first time: all vectors are read and checked."""
    switch_s: float
    """An actor for another skill that was used before."""
    use_bytes: int
    """What opening and acting with one skill takes, in a process of its own."""
    learn_s: float
    """`learn_skill` with three steps, opening included, in a process of its own."""
    learn_bytes: int
    """How much more memory that takes at its peak than a process that has learned a skill in a small library; the
    pages of the vectors' file that it reads are counted, though the system may take them back."""
    disk_bytes: int


# ---------------------------------------------------------------- making


def make_skill(base: Policy, number: int, proof: Proof | None = None) -> Skill:
    """A skill of one parameter token, which reuses all rows of the base's map."""
    generator, linear_map = torch.Generator().manual_seed(number), base.maps()[MAP]
    key, value = (tensor for _, tensor in linear_map.named_parameters())
    tensors = {
        f"{MAP}.key": torch.randn(1, key.shape[1], generator=generator),
        f"{MAP}.value": torch.randn(1, value.shape[1], generator=generator),
    }
    words = tuple(f"do thing {number} in way {way}" for way in range(WORDINGS))
    rows = {MAP: Rows.of([(BASE, np.arange(len(key)))])}
    skill = Skill(f"skill-{number:05}", words, embedding(number, WORDINGS), tensors, rows)
    return skill if proof is None else skill.with_content(proof=proof)


def make_library(folder: Path, size: int) -> SkillLibrary:
    """A library of so many skills, in one commit. Their proofs are copies of one: making 10,000 takes ten minutes."""
    base, features = make_policy().requires_grad_(False), MetaWorld().features
    first = Skill("base", ("do nothing",), embedding(10**6))
    proof = prove(base, first.key, features)
    pairs = [(first, {}), *((make_skill(base, number, proof), {"seed": number}) for number in range(1, size))]
    return SkillLibrary.create(folder, base, pairs, features, "minilm")


class Adding:
    """Adds one skill more to a library each time it is called."""

    def __init__(self, library: SkillLibrary) -> None:
        self.library, self.number = library, 10**5

    def __call__(self) -> None:
        self.number += 1
        self.library.add(make_skill(self.library.base, self.number))


# ---------------------------------------------------------------- measuring


def run(bench: Bench) -> list[Row]:
    """The largest library beside a small one."""
    few, many = (1, 10) if bench.quick else (1, SIZES[-1])
    small, large = (make_library(bench.folder / str(size), size) for size in (few, many))
    names = {small: f"{few} skill", large: f"{many:,} skills"}
    return [
        _compared(bench, "add", {name: Adding(library) for library, name in names.items()}, "below 1.1"),
        _compared(
            bench,
            "open",
            {name: lambda library=library: SkillLibrary.open(library.folder) for library, name in names.items()},
            "below 0.1 s",
        ),
        _compared(bench, "switch", {name: _switching(library) for library, name in names.items()}, "below 1 ms"),
    ]


def _compared(bench: Bench, what: str, sides: dict[str, Callable[[], object]], good: str) -> Row:
    few, many = (f"{what}, {name}" for name in sides)
    return row(
        "libraries", take_turns(dict(zip((few, many), sides.values(), strict=True)), bench.effort), many, few, good
    )


def _switching(library: SkillLibrary) -> Callable[[], object]:
    """Acts by the newest skill and the first by turns."""
    names = [library.names[-1], library.names[0]]

    def switch() -> None:
        names.reverse()
        library.actor_of(names[0])

    return switch


def measure(folder: Path, size: int, effort: Effort) -> Size:
    """Makes a library and measures it."""
    library = make_library(folder / "library", size)
    disk = sum(path.stat().st_size for path in library.folder.rglob("*") if path.is_file())
    used, learned = (_in_process(library.folder, what, folder) for what in ("use", "learn"))
    vector, start = embedding(size // 2)[0], spent()
    _selected(library, vector)
    first_select = spent() - start
    sides = {
        "open": lambda: SkillLibrary.open(library.folder),
        "add": Adding(SkillLibrary.open(library.folder)),
        "select": lambda: _selected(library, vector),
        "switch": _switching(library),
    }
    times = {name: statistics.median(values) for name, values in take_turns(sides, effort).items()}
    return Size(
        skills=size,
        open_s=times["open"],
        add_s=times["add"],
        select_s=times["select"],
        first_select_s=first_select,
        switch_s=times["switch"],
        use_bytes=used["bytes"],
        learn_s=learned["seconds"],
        learn_bytes=learned["bytes"],
        disk_bytes=disk,
    )


def _selected(library: SkillLibrary, vector: Any) -> Ranking:
    """What a sentence means; the sentence encoder's own time, some milliseconds, does not count."""
    return rank("move the block to the left", vector, library.index)


def _in_process(library: Path, what: str, folder: Path) -> dict[str, Any]:
    """Seconds and bytes of a fresh process that opens a library and uses or grows it."""
    words = [sys.executable, "-m", "benchmarks.libraries", "--child", what, str(library), str(folder / "store")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def child(what: str, library: Path, store: Path) -> dict[str, float]:
    """What `_in_process` asks for; the library stays as it is where it is only used."""
    torch.set_num_threads(1)
    known = make_library(store.with_name(f"known-{what}"), 2)
    SkillLibrary.open(known.folder).actor_of(known.names[-1]).start(1)  # all that is loaded once is there
    demonstrations = make_store(store, 2) if what == "learn" else None
    if demonstrations is not None:  # the training loop's own code and memory, too
        learn_skill(known.folder, demonstrations, name="new", wordings=["open the drawer"], train=TRAIN)
    _forget_peak()
    before, start = _resident(), spent()
    if demonstrations is None:
        opened = SkillLibrary.open(library)
        opened.actor_of(opened.names[-1]).start(1)
        return {"seconds": spent() - start, "bytes": _resident() - before}
    learn_skill(library, demonstrations, name="new", wordings=["close the drawer"], train=TRAIN)
    return {"seconds": spent() - start, "bytes": _peak() - before}


def _forget_peak() -> None:
    """From here on `_peak` is of what follows (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most resident memory so far. `getrusage` would count what the parent process had, too."""
    (line,) = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ---------------------------------------------------------------- telling

PANELS: tuple[tuple[str, str, float, str], ...] = (
    ("Opening", "open_s", 1e3, "ms"),
    ("Adding one more", "add_s", 1e3, "ms"),
    ("Selecting", "select_s", 1e3, "ms"),
    ("Memory of using one", "use_bytes", 1e-6, "MB"),
)


def drawing(sizes: Sequence[Size]) -> str:
    """The costs over the sizes, as an SVG."""
    panels = [(f"{title}, {unit}", _panel(sizes, key, scale, unit)) for title, key, scale, unit in PANELS]
    return str(sheet("What a library costs, by the number of its skills", {0: "skills"}, panels, (180, 140))) + "\n"


def _panel(sizes: Sequence[Size], key: str, scale: float, unit: str) -> Markup:
    values = [getattr(size, key) * scale for size in sizes]
    top = 10 ** math.floor(math.log10(max(*values, 1e-3)))
    top *= next(factor for factor in (1, 2, 5, 10) if factor * top >= max(values))
    across = [math.log10(size.skills) for size in sizes]
    plot = Plot(34, 8, 172, 112, (0.0, 0.0), (max(across[-1], 1.0), top))
    feet = [(x, f"{size.skills:,}") for x, size in zip(across, sizes, strict=True)][::2]
    titles = [f"{size.skills:,} skills: {value:.3g} {unit}" for size, value in zip(sizes, values, strict=True)]
    rules = plot.rules([(0, "0"), (top / 2, f"{top / 2:g}"), (top, f"{top:g}")])
    return picture(180, 140, "; ".join(titles), rules, plot.feet(feet), plot.series(0, across, values, titles))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.libraries", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of skills (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures do not count")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--picture", type=Path, help="an SVG of them")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.child is not None:
        what, library, store = options.child
        print(json.dumps(child(what, Path(library), Path(store))))
        return 0
    torch.set_num_threads(1)
    effort, started = QUICK if options.quick else Effort(rounds=options.rounds), now()
    sizes: list[Size] = []
    for number in options.sizes:
        with tempfile.TemporaryDirectory(prefix="skilltokens-bench-") as folder:
            begun = time.monotonic()
            sizes.append(measure(Path(folder), number, effort))
            print(json.dumps({**asdict(sizes[-1]), "seconds": round(time.monotonic() - begun)}), flush=True)
    if options.out is not None:
        about = {"schema": "skilltokens.benchmarks.libraries/1", "started": started, "finished": now()}
        where = {"versions": versions(), "processor": machine().processor, "cores": machine().cores}
        write_json(options.out, {**about, **where, "quick": options.quick, "sizes": [asdict(size) for size in sizes]})
    if options.picture is not None:
        write_bytes(options.picture, drawing(sizes).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
