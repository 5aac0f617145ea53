"""One action of a small state policy, by each way of acting: percentiles over many steps, on one core.

    python -m benchmarks.latency [--steps 20000]

The policy is Meta-World's default one, with numbers of chance. The ways take turns, a thousand steps each, so that what
else the machine does meets them alike. Writes results/latency/latency.json. The goal is 1,000 Hz: 1 ms at the 99.9th
percentile.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from benchmarks.setting import embedding, make_policy
from skilltokens.deploy import runner
from skilltokens.deploy.exporting import export_skill
from skilltokens.experiments.provenance import commit, machine, versions
from skilltokens.model.actor import PolicyActor
from skilltokens.model.traced import TracedActor
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill
from skilltokens.types import ACTION, Array, Feature

TURN = 1000
"""Steps of a turn: an episode."""


def main() -> None:
    parser = argparse.ArgumentParser(description="One action by each way of acting.")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of each way")
    parser.add_argument("--out", type=Path, default=Path("results/latency/latency.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    policy = make_policy().requires_grad_(False)
    features = {name: Feature((len(scale.unit),)) for name, scale in policy.shape.scales.items()}
    random = np.random.default_rng(0)
    seen = [
        {name: random.uniform(-0.1, 0.1, f.shape).astype(np.float32) for name, f in features.items()}
        for _ in range(TURN)
    ]
    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(Path(folder), policy, {**features, ACTION: Feature((policy.shape.actions,))}, seen[0])
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(max(1, options.steps // TURN)):
            for name, begin in ways.items():
                times[name] += _turn(begin(), seen)
    figures = {name: _figures(values) for name, values in times.items()}
    for name, row in figures.items():
        print(f"{name:8} {row['p50']:.3f} ms  99 % {row['p99']:.3f}  99.9 % {row['p99.9']:.3f}  most {row['most']:.3f}")
    content = {
        "ways": figures,
        "machine": msgspec.structs.asdict(machine()),
        "versions": versions(),
        "commit": commit(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


Act = Callable[[dict[str, Array]], Array]


def _ways(
    folder: Path, policy, features: dict[str, Feature], example: dict[str, Array]
) -> dict[str, Callable[[], Act]]:
    """Way of acting -> what begins an episode and returns what acts in it."""
    vector = embedding(0)
    library = SkillLibrary.create(folder / "library", policy, Skill("push", ("push",), vector), features, "minilm", {})
    eager = PolicyActor(policy, vector[0])
    traced = TracedActor(policy, vector[0])
    traced.act({name: value[None] for name, value in example.items()}, traced.start(1))
    assert traced.exact

    def in_torch(actor: PolicyActor) -> Act:
        memory = actor.start(1)
        return lambda seen: actor.act({name: value[None] for name, value in seen.items()}, memory)

    ways: dict[str, Callable[[], Act]] = {"torch": lambda: in_torch(eager), "traced": lambda: in_torch(traced)}
    for to in ("onnx", "numpy"):
        export_skill(library, "push", folder / to, to)
        skill = runner.Skill(folder / to / ("skill.onnx" if to == "onnx" else "skill.npz"))

        def begin(skill: runner.Skill = skill) -> Act:
            skill.begin()
            return skill.act

        ways[to] = begin
    return ways


def _turn(act: Act, seen: list[dict[str, Array]]) -> list[float]:
    """Milliseconds of each step."""
    times = []
    for observation in seen:
        start = time.perf_counter()
        act(observation)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _figures(times: list[float]) -> dict[str, float]:
    values = np.array(times)
    points = {"p50": 50, "p99": 99, "p99.9": 99.9}
    figures = {name: round(float(np.percentile(values, point)), 4) for name, point in points.items()}
    return {**figures, "most": round(float(values.max()), 4), "steps": len(times)}


if __name__ == "__main__":
    main()
