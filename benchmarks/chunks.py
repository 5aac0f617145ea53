"""Acting ahead: what a look at every n-th step costs in success, and what it gives in smoothness and speed.

    python -m benchmarks.chunks --suite metaworld --libraries runs/one/library runs/eight/library --out FILE
    python -m benchmarks.chunks --show results/chunks/metaworld.json results/chunks/libero-goal.json

Each library is called by the tasks' instructions, on the same initial states. One whose policy predicts n actions
(`policy.chunk`) acts 1, 4, ... up to n steps ahead (`--ahead`). Success and steps are counted, roughness is
`metrics.roughness` of the actions that were executed, and a step's time is processor time at batch 1 with one thread,
without a simulator. Settings are chosen with `--split validation`; `--split test` is reported. The same command goes on
where it was stopped: what stands in FILE is not measured again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import Effort, take_turns
from skilltokens.experiments.provenance import commit, machine, now, versions
from skilltokens.files import read_json, write_json
from skilltokens.metrics import roughness, wilson
from skilltokens.model.ahead import Ahead, Plan
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import evaluate
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite
from skilltokens.types import ACTION, Array, Feature, Observation, RunError, Suite, Task

SCHEMA = "skilltokens.chunks/1"
COMMAND = "python -m benchmarks.chunks"
GROUP = 10
"""Episodes that act in one batch."""
STEPS = 200
"""Steps of an episode that is timed."""


class Recorded:
    """An actor whose actions are written down: for each group of episodes, in the order begun, (steps, group, A)."""

    def __init__(self, actor: Ahead) -> None:
        self.actor, self.groups = actor, list[list[Array]]()

    def start(self, batch: int) -> Plan:
        self.groups.append([])
        return self.actor.start(batch)

    def act(self, observation: Observation, memory: Plan) -> Array:
        actions = self.actor.act(observation, memory)
        self.groups[-1].append(actions.copy())
        return actions


def measured(actor: Ahead, suite: Suite, task: Task, options: argparse.Namespace, pool: Pool) -> dict[str, Any]:
    """Counts of one task's episodes, and how rough their actions were."""
    recorded, indices = Recorded(actor), range(options.episodes)
    horizon = options.horizon or None
    outcomes = evaluate(recorded, suite, task, options.split, indices, group=GROUP, pool=pool, horizon=horizon)
    episodes = [
        np.stack(recorded.groups[i // GROUP])[: outcome.steps, i % GROUP]
        for i, outcome in zip(indices, outcomes, strict=True)
    ]
    rough = roughness(episodes)
    return {
        "successes": sum(outcome.success for outcome in outcomes),
        "episodes": len(outcomes),
        "steps": sum(outcome.steps for outcome in outcomes),
        "roughness": None if math.isnan(rough) else round(rough, 4),
    }


def microseconds(actors: Mapping[int, Ahead], features: Mapping[str, Feature], effort: Effort) -> dict[int, float]:
    """Processor time of one step at batch 1, by actions a look."""
    draw = np.random.default_rng(0)
    seen: dict[str, Array] = {
        name: draw.uniform(-0.1, 0.1, (1, *feature.shape)).astype(feature.dtype)
        for name, feature in features.items()
        if name != ACTION
    }

    def episode(actor: Ahead) -> None:
        plan = actor.start(1)
        for _ in range(STEPS):
            actor.act(seen, plan)

    sides = {str(n): (lambda actor=actor: episode(actor)) for n, actor in actors.items()}
    times = take_turns(sides, effort)
    return {n: round(statistics.median(times[str(n)]) / STEPS * 1e6, 1) for n in actors}


def rows_of(
    folder: Path, suite: Suite, options: argparse.Namespace, pool: Pool, done: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What was measured of one library, for each number of actions a look, but for the rows that are done."""
    library = SkillLibrary.open(folder)
    chunk = library.policy_settings.chunk
    tasks = [task for task in suite.tasks if task.name in library.names]
    known = [row["ahead"] for row in done if row["library"] == str(folder)]
    looks = [n for n in options.ahead if n <= chunk and n not in known]
    if not looks:
        return
    actors = {n: {task.name: Ahead(library.actor(task.instruction, threshold=0.0), n) for task in tasks} for n in looks}
    first = tasks[0].name
    timed = {n: actors[n][first] for n in looks}
    times = microseconds(timed, library.features, Effort(9, 0.05 if options.quick else 0.5))
    for n in looks:
        print(f"{folder}: {n} of {chunk} actions a look", file=sys.stderr, flush=True)
        counts = {task.name: measured(actors[n][task.name], suite, task, options, pool) for task in tasks}
        yield {"library": str(folder), "chunk": chunk, "ahead": n, "microseconds": times[n], "tasks": counts}


def table(contents: Sequence[Mapping[str, Any]]) -> str:
    """The table of docs/method.md: one row for each suite, chunk and number of actions a look, libraries together."""
    lines = [
        "| suite | trained to predict | actions a look | success | steps an episode | roughness | steps a second |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for content in contents:
        groups: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for row in content["rows"]:
            groups.setdefault((row["chunk"], row["ahead"]), []).append(row)
        for (chunk, ahead), rows in sorted(groups.items()):
            cells = [cell for row in rows for cell in row["tasks"].values()]
            good, tried, steps = (sum(cell[key] for cell in cells) for key in ("successes", "episodes", "steps"))
            low, high = (float(end) for end in wilson(good, tried))
            rough = statistics.mean(cell["roughness"] for cell in cells if cell["roughness"] is not None)
            speed = 1e6 / statistics.mean(row["microseconds"] for row in rows)
            lines.append(
                f"| {content['suite']} | {chunk} | {ahead} | {good} of {tried} ({low:.2f} to {high:.2f}) | "
                f"{steps / tried:.0f} | {rough:.3f} | {speed:,.0f} |"
            )
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--show", type=Path, nargs="+", help="print the table of these files, and measure nothing")
    parser.add_argument("--suite", default="metaworld")
    parser.add_argument("--libraries", type=Path, nargs="+", default=[])
    parser.add_argument("--ahead", type=int, nargs="+", default=[1, 4, 8], help="actions a look")
    parser.add_argument("--episodes", type=int, default=20, help="of each task")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--horizon", type=int, default=0, help="the most steps of an episode; 0: the suite's own")
    parser.add_argument("--quick", action="store_true", help="see that it runs; the times do not count")
    parser.add_argument("--out", type=Path, default=Path("chunks.json"), help="where to write")
    options = parser.parse_args(words)
    if options.show:
        print(table([read_json(path, (SCHEMA,), RunError) for path in options.show]), end="")
        return 0
    torch.set_num_threads(1)
    suite = load_suite(options.suite)
    kept = read_json(options.out, (SCHEMA,), RunError) if options.out.exists() else {}
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "command": " ".join([COMMAND, *(sys.argv[1:] if words is None else words)]),
        "made": now(),
        "commit": commit(),
        "machine": {name: getattr(machine(), name) for name in ("system", "processor", "cores")},
        "versions": {**versions(), **suite.versions()},
        "suite": suite.name,
        "split": options.split,
        "rows": kept.get("rows", []),
    }
    if any(kept.get(name, content[name]) != content[name] for name in ("suite", "split")):
        parser.error(f"{options.out} is of another suite or split: name another file with --out")
    with Pool(suite) as pool:
        for folder in options.libraries:
            for row in rows_of(folder, suite, options, pool, content["rows"]):
                content["rows"].append(row)
                write_json(options.out, content)
    print(table([content]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
