"""A builder of run.json files that look like real ones, for every method, finished or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.single_task import SingleTaskSettings

CW10 = (
    ("hammer", "hammer the nail into the board"),
    ("push-wall", "push the puck past the wall to the goal"),
    ("faucet-close", "turn the faucet off"),
    ("push-back", "push the puck backwards"),
    ("stick-pull", "pull the box with the stick"),
    ("handle-press-side", "press the handle down from the side"),
    ("push", "push the puck to the goal"),
    ("shelf-place", "put the puck on the shelf"),
    ("window-close", "close the window"),
    ("peg-unplug-side", "pull the peg out sideways"),
)
BASE = 152_904
SKILL = 11_776
RATE = {"t2s": 0.9, "lora": 0.87, "sequential": 0.86, "single_task": 0.9, "multitask": 0.93}
LAYERS = [f"layers.{i}.{m}" for i in range(3) for m in ("q", "k", "v", "o", "ff")]


def build_run(
    folder: Path,
    method: str = "t2s",
    seed: int = 0,
    *,
    tasks: int = 10,
    learned: int | None = None,
    points: int = 6,
    episodes: int = 20,
    films: bool = False,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Writes folder/run.json and returns it; `change` may alter the content before it is written."""
    chance = np.random.default_rng([seed, sum(map(ord, method))])
    joint = method == "multitask"
    done = tasks if learned is None else learned
    content: dict[str, Any] = {
        "schema": "skilltokens.run/1",
        "recipe": "metaworld-cw10",
        "method": method,
        "suite": "metaworld",
        "protocol": "A",
        "observations": "state",
        "seed": seed,
        "encoder": "minilm",
        "tasks": [{"name": name, "instruction": words} for name, words in CW10[:tasks]],
        "demonstrations": {"source": "scripted", "episodes": [30] * tasks, "digest": "5f" * 32},
        "evaluations": _evaluations(method, tasks, done, points, episodes, chance),
        "parameters": _parameters(method, tasks, done),
        "timing": _timing(joint, done),
        "config": _config(method, seed, tasks, points, episodes),
        "versions": {"skilltokens": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "metaworld": "3.1.1"},
        "commit": "0123abc",
        "started": "2025-11-21T10:00:00+00:00",
        "finished": "2025-11-21T10:38:00+00:00" if done == tasks else None,
        "learning": [
            {"iterations": list(range(50, 601, 50)), "loss": (0.4 * np.exp(-np.arange(12) / 3) + 0.01).tolist()}
        ]
        * (1 if joint else done),
    }
    if method in ("t2s", "lora"):
        content["gradients"] = [_gradients(k, chance) for k in range(done)]
        content["selection"] = _selection(done)
    if method == "t2s":
        content["reuse"] = [_reuse(k, chance) for k in range(done)]
    if films:
        content["films"] = {name: f"films/{name}.webp" for name, _ in CW10[:done]}
        for k, (name, _) in enumerate(CW10[:done]):
            _film(folder / "films" / f"{name}.webp", k)
    if change is not None:
        change(content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _evaluations(
    method: str, tasks: int, done: int, points: int, episodes: int, chance: np.random.Generator
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    hard = np.where(np.isin(np.arange(tasks), (4, 7)), 0.25, 0.0)

    def add(after: int, progress: float, task: int, successes: int, same_as: int | None = None) -> int:
        entry: dict[str, Any] = {"after": after, "progress": progress, "task": task, "split": "test"}
        entry |= {"selected_by": "instruction", "successes": int(successes), "episodes": episodes, "steps": 1800}
        entries.append(entry if same_as is None else entry | {"same_as": same_as})
        return len(entries) - 1

    if method == "multitask":
        for k in range(tasks if done == tasks else 0):
            add(tasks - 1, 1.0, k, chance.binomial(episodes, RATE[method] - hard[k]))
        return entries
    kept: dict[int, int] = {}
    for t in range(done):
        goal = RATE[method] - hard[t]
        start, index = (0.0 if points > 1 else 1.0), 0
        for progress in np.linspace(start, 1.0, points):
            rise = goal * min(1.0, 1.6 * progress) if method != "single_task" else goal * progress
            index = add(t, round(float(progress), 4), t, chance.binomial(episodes, rise))
        kept[t] = index
        for k in range(t):
            if method == "sequential":
                left = 0.5 if t == k + 1 else 0.05
                add(t, 1.0, k, chance.binomial(episodes, left * RATE[method]))
            else:
                add(t, 1.0, k, entries[kept[k]]["successes"], kept[k])
    return entries


def _parameters(method: str, tasks: int, done: int) -> dict[str, Any]:
    if method == "multitask":
        return {"base": BASE, "trained": [BASE] if done == tasks else [], "total": [BASE] if done == tasks else []}
    new = {"sequential": (BASE, 0), "single_task": (BASE, BASE)}.get(method, (SKILL, SKILL))
    return {
        "base": BASE if done else None,
        "trained": [BASE] + [new[0]] * (done - 1) if done else [],
        "total": [BASE + new[1] * k for k in range(done)],
    }


def _timing(joint: bool, done: int) -> dict[str, Any]:
    lessons = min(done, 1) if joint else done
    return {
        "train_s": [410.0] * lessons if joint else [44.0] + [28.5] * (lessons - 1) if lessons else [],
        "evaluate_s": [31.0] * lessons,
        "machine": "2 cores, Example CPU at 2.5 GHz, 24 GiB, no GPU",
    }


def _config(method: str, seed: int, tasks: int, points: int, episodes: int) -> dict[str, Any]:
    kinds = {"sequential": SequentialSettings(), "multitask": MultitaskSettings(), "single_task": SingleTaskSettings()}
    settings = RunSettings(method=kinds.get(method), tasks=tuple(name for name, _ in CW10[:tasks]), seed=seed)
    config = asdict(settings)
    config["evaluate"] |= {"points": points, "episodes": episodes}
    if config["method"] is None:
        config["method"] = {"rate": 0.01, "mu": 0.08} if method == "t2s" else {"rate": 0.01, "rank": 4}
    return config


def _gradients(k: int, chance: np.random.Generator) -> dict[str, Any]:
    steps = [*range(0, 600, 50), 599]
    if k == 0:
        return {"iterations": steps, "layers": {}}
    fall = 0.08 * np.exp(-np.arange(13) / 5)
    return {
        "iterations": steps,
        "layers": {
            layer: {
                "shared": [0.0] * 13,
                "specific": (fall * np.exp(0.3 * chance.standard_normal(13))).tolist(),
            }
            for layer in LAYERS
        },
    }


def _reuse(k: int, chance: np.random.Generator) -> dict[str, Any]:
    if k == 0:
        return {"base": 1536, "new": 0, "from": {}}
    rows = {CW10[j][0]: int(n) for j, n in zip(range(1, k), chance.integers(0, 48, k), strict=False) if n > 12}
    return {"base": 1410 + int(chance.integers(0, 126)), "new": 118, "from": rows}


def _selection(done: int) -> list[dict[str, Any]]:
    return [
        {
            "task": k,
            "wording": f"wording {w} of {CW10[k][0]}",
            "held_out": w == 2,
            "chosen": 6 if (k, w) == (1, 2) and done > 6 else k,
            "cosine": 0.9 - 0.1 * w,
        }
        for k in range(done)
        for w in range(3)
    ]


def _film(path: Path, k: int) -> None:
    frames = []
    for t in range(12):
        frame = Image.new("RGB", (160, 120), (214, 206, 192))
        draw = ImageDraw.Draw(frame)
        draw.rectangle((0, 70, 160, 120), fill=(168, 146, 118))
        x, y = 20 + 9 * t, 40 + 10 * np.sin(t / 2 + k)
        draw.line((80, 0, x, y), fill=(150, 30, 40), width=7)
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=(40, 44, 52))
        draw.rectangle((112, 78, 132, 98), fill=((40 * k) % 255, 120, 200 - 15 * k))
        frames.append(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=90, loop=0, quality=60)


@pytest.fixture
def build() -> Callable[..., Path]:
    return build_run


@pytest.fixture(scope="session")
def build_once() -> Callable[..., Path]:
    """The same, for fixtures that live longer than one test."""
    return build_run
