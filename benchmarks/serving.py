"""A policy server under load: `python -m benchmarks.serving --out results/serving/load.json`.

The real command serves a library of the default policy, with Meta-World's shapes, to 1, 10 and 50 clients of one
process on this machine; each sends its next observation as soon as it has its answer. All clients together take the
steps that one robot takes in an hour at 30 Hz. Latency is what a client waits from sending to having its answer.
Nothing leaves the machine, and it ends by itself: by the number of steps, or by `--limit` seconds, whichever is first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.libraries import make_skill
from benchmarks.setting import make_policy
from skilltokens.experiments.provenance import commit, machine, now, versions
from skilltokens.files import write_json
from skilltokens.language import load_encoder
from skilltokens.serve.wire import pack
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import ACTION

SCHEMA = "skilltokens.serving/1"
HOUR = 108_000
"""Steps of one robot in an hour, at 30 Hz."""
CLIENTS = (1, 10, 50)
SHARES = {1: 0.05, 10: 0.25, 50: 0.7}
"""The part of the steps that goes to each number of clients."""
SKILLS = 8
READINGS = 200
"""Different observations that are sent."""


@dataclass(frozen=True)
class Load:
    """How one number of clients was served. Times in milliseconds."""

    clients: int
    requests: int
    seconds: float
    per_second: float
    median_ms: float
    p99_ms: float
    p999_ms: float
    most_ms: float
    processor_ms: float
    """What the server's processor worked for one request: other programs do not count."""
    memory_before_mb: float
    memory_after_mb: float
    """Resident memory of the server."""


def make_library(folder: Path) -> list[str]:
    """A library of random skills; returns their instructions."""
    tasks = MetaWorld().tasks[:SKILLS]
    encode, base = load_encoder(), make_policy().requires_grad_(False)
    first, *others = [Skill(task.name, (task.instruction,), encode([task.instruction])) for task in tasks]
    library = SkillLibrary.create(folder, base, first, MetaWorld().features, "minilm")
    for number, skill in enumerate(others):
        content = make_skill(base, number).content
        library.add(Skill(skill.name, skill.wordings, skill.embeddings, content.tensors, content.active))
    return [task.instruction for task in tasks]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[int, str]]:
    """The command in a process of its own; yields its number and the address."""
    command = [sys.executable, "-m", "skilltokens", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith("serving ")), "")
        place = re.search(r"ws://\S+:\d+", line)
        if place is None:
            raise SystemExit("the server did not start")
        try:
            yield process.pid, place[0]
        finally:
            process.send_signal(signal.SIGINT)
            print(process.stdout.read().strip(), file=sys.stderr)


def memory(process: int) -> float:
    """Resident megabytes of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident is not None
    return round(int(resident[1]) / 1000, 1)


def worked(process: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def robot(address: str, messages: Sequence[bytes], steps: int, until: float) -> list[float]:
    """The seconds that each of one client's steps took."""
    from websockets.asyncio.client import connect

    waited: list[float] = []
    async with connect(address, compression=None, max_size=None) as connection:
        await connection.recv()
        for step in range(steps):
            begun = time.perf_counter()
            if begun > until:
                break
            await connection.send(messages[step % len(messages)])
            answer = await connection.recv()
            waited.append(time.perf_counter() - begun)
            if isinstance(answer, str):
                raise SystemExit(f"the server refused a request: {answer}")
    return waited


async def robots(address: str, clients: int, steps: int, instructions: Sequence[str], limit: float) -> list[float]:
    """The seconds of all steps of so many clients, which call different skills."""
    until = time.perf_counter() + limit
    tasks = [
        robot(address, messages_of(number, instructions[number % len(instructions)]), steps // clients, until)
        for number in range(clients)
    ]
    return [seconds for waited in await asyncio.gather(*tasks) for seconds in waited]


def messages_of(number: int, instruction: str) -> list[bytes]:
    """Requests of one robot."""
    rng, features = np.random.default_rng(number), MetaWorld().features
    return [
        pack(
            {
                "prompt": instruction,
                **{n: rng.uniform(-0.5, 0.5, f.shape).astype(f.dtype) for n, f in features.items() if n != ACTION},
            }
        )
        for _ in range(READINGS)
    ]


def measure(steps: int, limit: float) -> list[Load]:
    """All numbers of clients, one after another, at the same server."""
    loads: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="skilltokens-serving-") as place:
        instructions = make_library(Path(place) / "library")
        with serving(Path(place) / "library") as (process, address):
            asyncio.run(robots(address, 1, 50, instructions, limit))
            for clients in CLIENTS:
                share, cap = max(clients, round(SHARES[clients] * steps)), SHARES[clients] * limit
                before, worked_before, begun = memory(process), worked(process), time.perf_counter()
                waited = asyncio.run(robots(address, clients, share, instructions, cap))
                spent = time.perf_counter() - begun, worked(process) - worked_before
                loads.append(load_of(clients, waited, *spent, before, memory(process)))
                print(loads[-1], file=sys.stderr)
    return loads


def load_of(
    clients: int, waited: Sequence[float], seconds: float, processor: float, before: float, after: float
) -> Load:
    """The figures of some steps."""
    ms = 1000 * np.asarray(waited)
    median, p99, p999 = (round(float(np.percentile(ms, share)), 3) for share in (50, 99, 99.9))
    rate = round(len(ms) / seconds, 1)
    most = round(float(ms.max()), 3)
    processor_ms = round(1000 * processor / len(ms), 3)
    return Load(clients, len(ms), round(seconds, 1), rate, median, p99, p999, most, processor_ms, before, after)


def table(loads: Sequence[Load]) -> str:
    """The figures in Markdown."""
    head = "| clients | requests | a second | median | 99th | 99.9th | processor | memory before, after |"
    rows = [
        f"| {one.clients} | {one.requests:,} | {one.per_second:,.0f} | {one.median_ms:.2f} ms | {one.p99_ms:.1f} ms | "
        f"{one.p999_ms:.1f} ms | {one.processor_ms:.2f} ms | "
        f"{one.memory_before_mb:.0f} MB, {one.memory_after_mb:.0f} MB |"
        for one in loads
    ]
    return "\n".join([head, "|---:|---:|---:|---:|---:|---:|---:|---:|", *rows])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description="A policy server under load.")
    parser.add_argument("--steps", type=int, default=HOUR, help="of all clients together (%(default)s)")
    parser.add_argument("--limit", type=float, default=300.0, help="the most seconds of load (%(default)s)")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(words)
    load, started = os.getloadavg()[0], now()
    loads = measure(options.steps, options.limit)
    print(table(loads))
    if options.out is not None:
        content = {"schema": SCHEMA, "started": started, "finished": now(), "commit": commit(), "versions": versions()}
        cores = os.cpu_count()
        content |= {"machine": machine_words(), "cores": cores, "load": [round(load, 1), round(os.getloadavg()[0], 1)]}
        write_json(options.out, {**content, "loads": [asdict(one) for one in loads]})


def machine_words() -> str:
    """The processor's name."""
    return machine().processor


if __name__ == "__main__":
    main()
