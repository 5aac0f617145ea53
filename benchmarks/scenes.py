"""Which skill a scene belongs to: Meta-World's tasks told apart by the first observations of an episode.

    python -m benchmarks.scenes --demos demos --split test --out results/scenes/results.json
    python -m benchmarks.scenes --show results/scenes/results.json

A library of CW10's ten skills, each with the density of 5, 20 or 50 scripted demonstrations, looks at episodes of all 50
tasks. Nobody knows yet which skill is right, so the robot is moved in three ways: by the task's expert, not at all, and
by the expert of another skill. Settings were chosen with `--split validation`, the default; `--split test` is reported.
What is written are counts; `--show` prints the tables of docs/scenes.md, with Wilson's 95 % intervals.

The scene of a low-dimensional robot depends on the constants of its workspace alone, not on what the frozen base has
learned, so the base is not trained here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: small matrices gain nothing from threads

import numpy as np

from benchmarks.setting import LANGUAGE
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.provenance import commit, now, versions
from skilltokens.files import write_json
from skilltokens.metrics import wilson
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.skills import scene
from skilltokens.skills.scene import FIRST, SceneDensity, SceneJudge, scene_features
from skilltokens.suites.metaworld import CW10, MetaWorld
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, SkilltokensError, Split, Task

if TYPE_CHECKING:
    from skilltokens.suites.metaworld.environment import MetaWorldEnvironment

SCHEMA = "skilltokens.scenes/1"
DEMONSTRATIONS = (5, 20, 50)
"""Demonstrations a skill."""
ALL = 20
"""Demonstrations a skill in the library of all 50 tasks."""
MOVERS = {"expert": "the task's expert", "still": "nobody", "wrong": "another skill's expert"}
SEEN = (1, FIRST)
"""Observations that are judged."""
ROBOT = "observation.robot"
"""The robot's own state under a name that makes it a part of the scene, to see what that does."""
CONSTANTS = ("FIRST", "FEWEST", "DIRECTIONS", "FLOOR", "STILL", "DRIFT", "WORTH", "FALSE_VETO", "DOUBT")

Sights = dict[str, Array]
"""Episodes of one task: feature -> (episodes, FIRST, *shape)."""


@dataclass
class Library:
    """Skills by name, their densities, and the base that they share."""

    base: Policy
    names: tuple[str, ...]
    densities: list[SceneDensity]

    def without(self, name: str) -> SceneJudge:
        """The judge of all skills but one."""
        return SceneJudge(
            self.base, [None if n == name else d for n, d in zip(self.names, self.densities, strict=True)]
        )


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where it cannot be measured (why is said on standard error)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scenes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--demos", type=Path, default=Path("demos"), help="folder of demonstrations; made if missing")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="states that are judged")
    parser.add_argument("--episodes", type=int, default=100, help="of each of CW10's tasks; half of it of the others")
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    parser.add_argument("--show", type=Path, help="print the tables of such a file, and measure nothing")
    options = parser.parse_args(words)
    try:
        if options.show is not None:
            print(tables(json.loads(options.show.read_text(encoding="utf-8"))))
            return 0
        content = measured(options.demos, options.split, options.episodes)
        if options.out is not None:
            write_json(options.out, content)
        print(tables(content))
    except (SkilltokensError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def measured(folder: Path, split: Split, episodes: int, tasks: Sequence[str] = ()) -> dict[str, Any]:
    """All counts. `tasks` are those that CW10's library is to be told apart from; the other 40 without it."""
    started, suite = now(), MetaWorld()
    others = tuple(tasks) or tuple(task.name for task in suite.tasks if task.name not in CW10)
    told = DemonstrationSettings(folder=str(folder), episodes=max(DEMONSTRATIONS))
    few = DemonstrationSettings(folder=str(folder / "others"), episodes=ALL)
    stores = stores_of(suite, CW10, told) | stores_of(suite, others, few)
    base = policy_of(STATE)
    seen = {name: sights(name, split, episodes if name in CW10 else episodes // 2) for name in (*CW10, *others)}
    figures = [
        counted(library_of(base, stores, CW10, number), seen, mover, steps) | {"demonstrations": number}
        for number in DEMONSTRATIONS
        for mover in MOVERS
        for steps in SEEN
    ]
    robot = library_of(policy_of(ROBOT), stores, CW10, ALL)
    every = library_of(base, stores, (*CW10, *others), ALL)
    return {
        "schema": SCHEMA,
        "command": f"python -m benchmarks.scenes --split {split} --episodes {episodes}",
        "started": started,
        "finished": now(),
        "commit": commit(),
        "versions": {**versions(), **suite.versions()},
        "settings": {name.lower(): getattr(scene, name) for name in CONSTANTS},
        "split": split,
        "seed": told.seed,
        "noise": told.noise,
        "digests": {name: store.digest for name, store in stores.items()},
        "skills": list(CW10),
        "episodes": {name: len(sight["still"][STATE]) for name, sight in seen.items()},
        "figures": figures,
        "with_robot": [counted(robot, seen, mover, FIRST) | {"demonstrations": ALL} for mover in MOVERS],
        "every": {"skills": list(every.names), **counted(every, seen, "still", 1), "demonstrations": ALL},
        "bytes": sum(tensor.nbytes for tensor in every.densities[0].tensors().values()),
        "milliseconds_of_1000_skills": {str(steps): judging(every, seen, steps) for steps in SEEN},
    }


def stores_of(suite: MetaWorld, names: Sequence[str], settings: DemonstrationSettings) -> dict[str, DemonstrationStore]:
    """Demonstrations of these tasks, made where they are missing."""
    known: dict[str, Task] = {task.name: task for task in suite.tasks}
    return dict(zip(names, demonstrations(suite, [known[name] for name in names], settings, workers=0), strict=True))


def policy_of(robot: str) -> Policy:
    """A policy for Meta-World's observations, whose own state is called `robot`."""
    suite = MetaWorld()
    features = {robot if name == STATE else name: feature for name, feature in suite.features.items()}
    scales = {robot if name == STATE else name: scale for name, scale in suite.scales.items()}
    return Policy(Shape.of(features, scales, LANGUAGE), PolicySettings())


def library_of(
    base: Policy, stores: dict[str, DemonstrationStore], names: Sequence[str], demonstrations: int
) -> Library:
    """A library of the first demonstrations of each task."""
    densities = []
    for name in names:
        episodes = [stores[name].episode(index).features for index in range(demonstrations)]
        densities.append(
            SceneDensity.of([scene_features(base, _named({n: a[:FIRST] for n, a in e.items()})) for e in episodes])
        )
    return Library(base, tuple(names), densities)


def _named(observation: dict[str, Array]) -> dict[str, Array]:
    return {**observation, ROBOT: observation[STATE]}


# ---------------------------------------------------------------- what is seen


def sights(task: str, split: Split, episodes: int) -> dict[str, Sights]:
    """The first observations of each episode of a task, for each of MOVERS."""
    from skilltokens.suites.metaworld.environment import MetaWorldEnvironment, expert

    movers: dict[str, Callable[[int], Any]] = {
        "expert": lambda index: expert(task),
        "still": lambda index: None,
        "wrong": lambda index: expert(_others(task)[index % len(_others(task))]),
    }
    with contextlib.closing(MetaWorldEnvironment(task)) as environment:
        return {
            name: _stacked([_watched(environment, split, index, mover(index)) for index in range(episodes)])
            for name, mover in movers.items()
        }


def _others(task: str) -> tuple[str, ...]:
    return tuple(name for name in CW10 if name != task)


def _watched(environment: MetaWorldEnvironment, split: Split, index: int, expert: Any) -> list[dict[str, Array]]:
    """The first observations of one episode, moved by an expert, or by nobody."""
    observed = [dict(environment.reset(split, index))]
    while len(observed) < FIRST:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experts warn of actions beyond [-1, 1]
            action = np.zeros(4) if expert is None else np.clip(expert.get_action(environment.raw), -1, 1)
        observed.append(dict(environment.step(action)[0]))
    return observed


def _stacked(episodes: list[list[dict[str, Array]]]) -> Sights:
    names = (STATE, ENVIRONMENT_STATE)
    return {name: np.stack([np.stack([seen[name] for seen in episode]) for episode in episodes]) for name in names}


# ---------------------------------------------------------------- counts


def counted(library: Library, seen: dict[str, dict[str, Sights]], mover: str, steps: int) -> dict[str, Any]:
    """What a library makes of all episodes that were moved in one way, from so many observations.

    `chosen` [i][j]: episodes of skill i's scene in which skill j is chosen, the last column none; `accepted` [i][j]:
    those that skill j does not refuse; `left_out` [i]: those that all skills but i refuse; `eleventh`: for a task that
    the library has not, the episodes that all of its skills refuse.
    """
    judge, many = SceneJudge(library.base, library.densities), len(library.names)
    chosen = np.zeros((many, many + 1), int)
    accepted = np.zeros((many, many), int)
    left_out = np.zeros(many, int)
    for i, name in enumerate(library.names):
        without = library.without(name)
        for observation in _episodes(seen[name][mover], steps):
            judgement = judge.judge(observation)
            chosen[i, many if judgement.best is None else judgement.best] += 1
            accepted[i] += judgement.accepted
            left_out[i] += without.judge(observation).best is None
    eleventh = {
        name: sum(judge.judge(observation).best is None for observation in _episodes(sight[mover], steps))
        for name, sight in seen.items()
        if name not in library.names
    }
    tables = {"chosen": chosen.tolist(), "accepted": accepted.tolist(), "left_out": left_out.tolist()}
    return {"mover": mover, "seen": steps, **tables, "eleventh": eleventh}


def _episodes(sight: Sights, steps: int) -> Iterator[dict[str, Array]]:
    for index in range(len(sight[STATE])):
        yield _named({name: values[index, :steps] for name, values in sight.items()})


def judging(library: Library, seen: dict[str, dict[str, Sights]], steps: int) -> float:
    """Milliseconds, the median of 20, that a library of 1,000 skills takes to judge one episode."""
    densities = [library.densities[i % len(library.densities)] for i in range(1000)]
    judge, times = SceneJudge(library.base, densities), []
    observation = next(_episodes(seen[CW10[0]]["still"], steps))
    for _ in range(20):
        start = time.perf_counter()
        judge.judge(observation)
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times)), 2)


# ---------------------------------------------------------------- tables


def tables(content: dict[str, Any]) -> str:
    """The tables of docs/scenes.md."""
    skills = content["skills"]
    parts = ["| demonstrations | moved by | seen | " + " | ".join(COLUMNS) + " |", "|---" * (3 + len(COLUMNS)) + "|"]
    parts += [_row(figure, content["episodes"], skills) for figure in content["figures"]]
    parts += ["", "| demonstrations | moved by | seen | " + " | ".join(COLUMNS) + " |"]
    parts += ["|---" * (3 + len(COLUMNS)) + "|"]
    parts += [_row(figure, content["episodes"], skills) for figure in content["with_robot"]]
    parts += ["", *_confusion(content), "", *_misses(content), "", *_every(content)]
    speed = ", ".join(f"{t} ms from {n}" for n, t in content["milliseconds_of_1000_skills"].items())
    return "\n".join([*parts, "", f"{content['bytes']} bytes a skill; 1,000 skills: {speed}"])


COLUMNS = ("right skill chosen", "right skill vetoed", "wrong skill vetoed", "an eleventh refused", "left out refused")


def _row(figure: dict[str, Any], episodes: dict[str, int], skills: list[str]) -> str:
    accepted, chosen = np.array(figure["accepted"]), np.array(figure["chosen"])
    tried = np.array([episodes[name] for name in skills])
    eleventh = figure["eleventh"]
    cells = [
        _share(int(chosen.diagonal().sum()), int(tried.sum())),
        _share(int((tried - accepted.diagonal()).sum()), int(tried.sum())),
        _share(int((tried[:, None] - accepted).sum() - (tried - accepted.diagonal()).sum()), 9 * int(tried.sum())),
        _share(sum(eleventh.values()), sum(episodes[name] for name in eleventh)),
        _share(sum(figure["left_out"]), int(tried.sum())),
    ]
    return f"| {figure['demonstrations']} | {MOVERS[figure['mover']]} | {figure['seen']} | {' | '.join(cells)} |"


def _confusion(content: dict[str, Any]) -> list[str]:
    """Pairs of CW10's skills that are taken for each other: scene, skill chosen or accepted, episodes."""
    lines = [
        "| demonstrations | scene of | the skill | chosen | not vetoed | episodes |",
        "|---|---|---|---:|---:|---:|",
    ]
    names = [*content["skills"], "none"]
    for figure in (f for f in content["figures"] if (f["mover"], f["seen"]) == ("still", 1)):
        for i, scene_of in enumerate(content["skills"]):
            for j, skill in enumerate(names):
                chosen = figure["chosen"][i][j]
                accepted = figure["accepted"][i][j] if skill != "none" else 0
                if i != j and chosen + accepted:
                    tried = content["episodes"][scene_of]
                    shown = accepted if skill != "none" else "-"
                    lines.append(
                        f"| {figure['demonstrations']} | {scene_of} | {skill} | {chosen} | {shown} | {tried} |"
                    )
    return lines


def _misses(content: dict[str, Any]) -> list[str]:
    """The eleventh tasks that are not always refused."""
    figures = [figure for figure in content["figures"] if (figure["mover"], figure["seen"]) == ("still", 1)]
    head = " | ".join(f"{figure['demonstrations']} demonstrations" for figure in figures)
    lines = [f"| eleventh task | {head} |", "|---" + "|---:" * len(figures) + "|"]
    for name in figures[0]["eleventh"]:
        tried, refused = content["episodes"][name], [figure["eleventh"][name] for figure in figures]
        if min(refused) < tried:
            lines.append(f"| {name} | {' | '.join(f'{number} of {tried}' for number in refused)} |")
    return lines


def _every(content: dict[str, Any]) -> list[str]:
    """A library of all 50 tasks."""
    every = content["every"]
    tried = np.array([content["episodes"][name] for name in every["skills"]])
    chosen, accepted = np.array(every["chosen"]), np.array(every["accepted"])
    own = (tried - accepted.diagonal()).sum()
    wrong = (tried[:, None] - accepted).sum() - own
    return [
        f"| all {len(tried)} tasks, {every['demonstrations']} demonstrations | share |",
        "|---|---|",
        f"| right skill chosen | {_share(int(chosen.diagonal()[: len(tried)].sum()), int(tried.sum()))} |",
        f"| right skill vetoed | {_share(int(own), int(tried.sum()))} |",
        f"| wrong skill vetoed | {_share(int(wrong), int(tried.sum()) * (len(tried) - 1))} |",
    ]


def _share(good: int, tried: int) -> str:
    """ "98.5 % [97.5, 99.1]"."""
    low, high = (100 * float(bound) for bound in wilson(good, tried))
    return f"{100 * good / max(tried, 1):.1f} % [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
