"""A library of 50 skills beside a policy of another make against one of 2: opening, switching, acting, memory, disk.

    python -m benchmarks.attached --out FILE.json

The policy is a plain perceptron of 1.6 million parameters, a skill has 16 rows beside each of its six inner maps and a
head of its own. Both libraries are used by two skills, the last ones. Good: opening (the base loaded and compared),
switching, acting and memory below 1.2 times those of 2 skills, a switch below a millisecond, on disk the skills' files.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.setting import Bench, embedding
from benchmarks.timing import QUICK, Effort, Row, row, take_turns
from skilltokens.attached.library import AttachedLibrary
from skilltokens.experiments.provenance import machine, now, versions
from skilltokens.files import write_json
from skilltokens.skills.adding import added
from skilltokens.skills.skill import Skill
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import ACTION, Array

FEW, MANY = 2, 50
WIDTH, CHUNK = 512, 10
FEATURES = MetaWorld().features
READ = {name: feature.shape[0] for name, feature in FEATURES.items() if name != ACTION}


class Perceptron(nn.Module):
    """The policy: all readings in, a chunk of actions out."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(type="perceptron", action_delta_indices=list(range(CHUNK)), n_action_steps=1)
        self.enter = nn.Linear(sum(READ.values()), WIDTH)
        self.inner = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(6))
        self.actions = FEATURES[ACTION].shape[0]
        self.head = nn.Linear(WIDTH, CHUNK * self.actions)

    def predict_action_chunk(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.enter(torch.cat([batch[name] for name in READ], -1))
        for inner in self.inner:
            x = x + nn.functional.gelu(inner(x))
        return self.head(x).unflatten(-1, (CHUNK, self.actions))


def load(folder: Path) -> Perceptron:
    policy = Perceptron()
    policy.load_state_dict(load_file(folder / "model.safetensors"))
    return policy


def make_base(folder: Path) -> Path:
    folder.mkdir(parents=True)
    save_file(Perceptron().state_dict(), folder / "model.safetensors")
    return folder


def make_library(folder: Path, base: Path, size: int) -> AttachedLibrary:
    """A library of so many skills of random numbers, in one commit."""
    library = AttachedLibrary.create(
        folder, base, loader=load, targets=["inner.*"], own=["head"], features=FEATURES, share=0.3
    )
    entries: list[tuple[Skill, dict[str, Any]]] = []
    for number in range(size):
        numbers = library.new(number)
        for parameter in numbers.trained().values():
            nn.init.normal_(parameter, std=0.02)
        words = (f"do thing {number}",)
        entries.append((Skill(f"skill-{number:02}", words, embedding(number), numbers.tensors(), form="rows"), {}))
    library.change(lambda disk: added(library, disk, entries))
    library.attached.detach()
    return library


def opened(folder: Path) -> AttachedLibrary:
    """The library, its base loaded and compared with what the skills stand on."""
    library = AttachedLibrary.open(folder, loader=load)
    _ = library.attached
    return library


class Switching:
    """Makes one of the last two skills of a library the active one, and then the other."""

    def __init__(self, folder: Path) -> None:
        self.library = opened(folder)
        self.skills = [self.library.numbers(name) for name in self.library.names[-2:]]

    def __call__(self) -> None:
        for skill in self.skills:
            self.library.attached.use(skill)


class Acting:
    """An action of each of the last two skills, which take turns."""

    def __init__(self, folder: Path) -> None:
        self.library = opened(folder)
        self.seen: dict[str, Array] = {name: np.zeros((1, size), np.float32) for name, size in READ.items()}
        self.actors = [self.library.actor_of(name) for name in self.library.names[-2:]]

    def __call__(self) -> None:
        for actor in self.actors:
            actor.act(self.seen, actor.start(1))


# ---------------------------------------------------------------- measuring


def run(bench: Bench) -> list[Row]:
    """A row each for opening, switching and acting; seconds are those of one opening, switch or action."""
    return measured(bench.folder / "attached", bench.effort, 4 if bench.quick else MANY)


def measured(folder: Path, effort: Effort, many: int) -> list[Row]:
    """The same in a folder, which then holds the libraries."""
    base = make_base(folder / "base")
    small, large = (make_library(folder / str(size), base, size).folder for size in (FEW, many))
    rows: list[Row] = []
    kinds: Sequence[tuple[str, Callable[[Path], Callable[[], object]], float, str]] = (
        ("open", lambda place: lambda: _closed(opened(place)), 1.0, "below 1.2"),
        ("switch", Switching, 2.0, "below 1.2, and a switch below 1 ms"),
        ("act", Acting, 2.0, "below 1.2"),
    )
    for what, side, units, good in kinds:
        ours, reference = (f"{what}, {size} skills" for size in (many, FEW))
        times = take_turns({ours: side(large), reference: side(small)}, effort)
        rows.append(row("attached", times, ours, reference, good, units=(units, units)))
    return rows


def _closed(library: AttachedLibrary) -> None:
    library.attached.detach()


@dataclass(frozen=True)
class Room:
    """What a library takes: resident memory of a process that uses two skills of it, and bytes on disk."""

    skills: int
    use_bytes: int
    disk_bytes: int
    skill_bytes: int
    """Those of the skills' own files."""


def room(folder: Path, size: int) -> Room:
    files = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    used = [_in_process(folder) for _ in range(3)]
    skills = sum(size for path, size in files.items() if path.parent.name == "skills")
    return Room(size, int(statistics.median(used)), sum(files.values()), skills)


def _in_process(folder: Path) -> int:
    words = [sys.executable, "-m", "benchmarks.attached", "--child", str(folder)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def child(folder: Path) -> int:
    """Resident bytes that opening a library and acting by two of its skills takes, where the code is loaded already."""
    torch.set_num_threads(1)
    acting = Acting(folder.with_name(str(FEW)))
    acting()
    before = _resident()
    another = Acting(folder)
    another()
    return _resident() - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.child:
        print(child(options.child))
        return 0
    torch.set_num_threads(1)
    torch.manual_seed(0)
    many = 4 if options.quick else MANY
    with tempfile.TemporaryDirectory() as place:
        rows = measured(Path(place), QUICK if options.quick else Effort(), many)
        rooms = [room(Path(place) / str(size), size) for size in (FEW, many)]
    content = {"started": now(), "machine": asdict_of(machine()), "versions": versions()}
    content |= {"rows": [asdict(one) for one in rows], "rooms": [asdict(one) for one in rooms]}
    print(json.dumps({"rows": content["rows"], "rooms": content["rooms"]}, indent=1))
    if options.out:
        write_json(options.out, content)
    return 0


def asdict_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


if __name__ == "__main__":
    sys.exit(main())
