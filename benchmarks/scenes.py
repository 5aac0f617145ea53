"""Which skill a scene belongs to: tasks told apart by the first observations of an episode.

    python -m benchmarks.scenes --demos demos --split test --libero --out results/scenes/results.json
    python -m benchmarks.scenes --pictures --split test --out results/scenes/pictures.json
    python -m benchmarks.scenes --show results/scenes/results.json

A library of CW10's ten skills, each with the density of 5, 20 or 50 scripted demonstrations, looks at episodes of all
50 tasks of Meta-World. Nobody knows yet which skill is right, so the robot is moved in three ways (scene_sights.py).
Settings were chosen with `--split validation`, the default; `--split test` is reported. What is written are counts;
`--show` prints the tables of docs/scenes.md, with Wilson's 95 % intervals.

Scenes of vectors and sets depend on the constants of the workspace alone, not on what the frozen base has learned, so
the base is not trained here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: small matrices gain nothing from threads

import numpy as np

from benchmarks.scene_sights import CAMERA, Sights, libero_sights, metaworld_sights, noisy, pictured
from benchmarks.scene_tables import tables
from benchmarks.setting import LANGUAGE
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.provenance import commit, now, versions
from skilltokens.files import write_json
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import DemonstrationSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.skills import scene
from skilltokens.skills.scene import FIRST, SceneDensity, SceneJudge, scene_features
from skilltokens.suites.libero import Libero
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.suites.names import CW10
from skilltokens.types import ACTION, STATE, Array, Feature, SkilltokensError, Split, Suite

SCHEMA = "skilltokens.scenes/1"
DEMONSTRATIONS = (5, 20, 50)
"""Demonstrations a skill."""
PICTURES = (5, 20)
"""Demonstrations a skill where pictures are seen."""
ALL = 20
"""Demonstrations a skill where one number is enough."""
LIBERO, LIBERO_EPISODES = ("libero-object", "libero-spatial"), 10
"""Suites of ten tasks with a set of objects, and the episodes of each task."""
WAYS = (("still", 1), ("expert", FIRST), ("still", FIRST), ("wrong", FIRST))
"""Who moves the robot, and how many observations are judged. Nobody has moved it at the first one."""
SENSORS = ((0.003, 0.003), (0.01, 0.01), (0.0, 0.003), (0.0, 0.01))
"""Noise of the sensor in demonstrations and when a scene is judged, in metres (or parts of a quaternion)."""
ROBOT = "observation.robot"
"""The robot's own state under a name that makes it a part of the scene, to see what that does."""
CONSTANTS = ("FIRST", "GRID", "SHADES", "FEWEST", "DIRECTIONS", "FLOOR", "STILL", "DRIFT", "WORTH")
CONSTANTS += ("FALSE_VETO", "DOUBT")


@dataclass
class Library:
    """Skills by name, their densities, and the base that they share."""

    base: Policy
    names: tuple[str, ...]
    densities: list[SceneDensity]

    def without(self, name: str) -> SceneJudge:
        """The judge of all skills but one."""
        others = [None if n == name else d for n, d in zip(self.names, self.densities, strict=True)]
        return SceneJudge(self.base, others)


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where it cannot be measured (why is said on standard error)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scenes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--demos", type=Path, default=Path("demos"), help="folder of demonstrations; made if missing")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="states that are judged")
    parser.add_argument("--episodes", type=int, default=100, help="of each of CW10's tasks; half of it of the others")
    parser.add_argument("--libero", action="store_true", help=f"measure {' and '.join(LIBERO)} too, on test states")
    parser.add_argument("--pictures", action="store_true", help="measure Meta-World's pictures instead")
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    parser.add_argument("--show", type=Path, help="print the tables of such a file, and measure nothing")
    options = parser.parse_args(words)
    try:
        if options.show is not None:
            print(tables(json.loads(options.show.read_text(encoding="utf-8"))))
            return 0
        if options.pictures:
            content = from_pictures(options.split)
        else:
            content = measured(options.demos, options.split, options.episodes)
        if options.libero:
            content["libero"] = [libero(name) for name in LIBERO]
            content["command"] += " --libero"
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            write_json(options.out, content)
        print(tables(content))
    except (SkilltokensError, OSError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def measured(folder: Path, split: Split, episodes: int, tasks: Sequence[str] = ()) -> dict[str, Any]:
    """All counts on Meta-World. `tasks` are those that CW10 is to be told apart from; the other 40 without it."""
    started, suite = now(), MetaWorld()
    others = tuple(tasks) or tuple(task.name for task in suite.tasks if task.name not in CW10)
    many = DemonstrationSettings(folder=str(folder), episodes=max(DEMONSTRATIONS))
    few = DemonstrationSettings(folder=str(folder / "others"), episodes=ALL)
    stores = stores_of(suite, CW10, many) | stores_of(suite, others, few)
    taught = {name: beginnings(store) for name, store in stores.items()}
    seen = {
        name: metaworld_sights(name, split, episodes if name in CW10 else episodes // 2) for name in (*CW10, *others)
    }
    base = policy_of(suite)
    figures = [
        {"demonstrations": number, **counted(library_of(base, taught, CW10, number), seen, mover, steps)}
        for number in DEMONSTRATIONS
        for mover, steps in WAYS
    ]
    robot = library_of(policy_of(suite, ROBOT), taught, CW10, ALL)
    every = library_of(base, taught, (*CW10, *others), ALL)
    return {
        **about(suite, f"--split {split} --episodes {episodes}", split, started),
        "seed": many.seed,
        "noise": many.noise,
        "digests": {name: store.digest for name, store in stores.items()},
        "figures": figures,
        "with_robot": [{"demonstrations": ALL, **counted(robot, seen, *way)} for way in WAYS],
        "sensors": [through_sensor(base, taught, seen, *deviations) for deviations in SENSORS],
        "every": {"demonstrations": ALL, **counted(every, seen, "still", 1)},
        "bytes": sum(tensor.nbytes for tensor in every.densities[0].tensors().values()),
        "milliseconds_of_1000_skills": {str(steps): judging(every, seen, steps) for steps in (1, FIRST)},
    }


def about(suite: Suite, options: str, split: Split, started: str) -> dict[str, Any]:
    """What every file says of how it was made."""
    return {
        "schema": SCHEMA,
        "command": f"python -m benchmarks.scenes {options}",
        "started": started,
        "finished": now(),
        "commit": commit(),
        "versions": {**versions(), **suite.versions()},
        "settings": {name.lower(): getattr(scene, name) for name in CONSTANTS},
        "split": split,
    }


def from_pictures(split: Split) -> dict[str, Any]:
    """The counts where the first picture is all that is seen; those of the split "train" are taught."""
    started, suite = now(), MetaWorld()
    names = [task.name for task in suite.tasks]
    taught = {name: pictured(name, "train", max(PICTURES)) for name in CW10}
    seen = {name: {"still": pictured(name, split, 20 if name in CW10 else 10)} for name in names}
    picture = Feature(taught[CW10[0]][CAMERA].shape[2:], "uint8")
    features = {CAMERA: picture, STATE: suite.features[STATE], ACTION: suite.features[ACTION]}
    base = Policy(Shape.of(features, {STATE: suite.scales[STATE]}, LANGUAGE), PolicySettings())
    libraries = {number: library_of(base, taught, CW10, number) for number in PICTURES}
    return {
        **about(suite, f"--pictures --split {split}", split, started),
        "figures": [{"demonstrations": n, **counted(known, seen, "still", 1)} for n, known in libraries.items()],
        "bytes": sum(tensor.nbytes for tensor in libraries[PICTURES[0]].densities[0].tensors().values()),
    }


def libero(name: str) -> dict[str, Any]:
    """The counts on a suite of LIBERO's."""
    suite = Libero(name)
    names = tuple(task.name for task in suite.tasks)
    seen = {task: libero_sights(name, task, ALL, LIBERO_EPISODES) for task in names}
    library = library_of(policy_of(suite), {task: sights.pop("taught") for task, sights in seen.items()}, names, ALL)
    figures = [{"demonstrations": ALL, **counted(library, seen, *way)} for way in WAYS]
    return {"suite": name, "versions": suite.versions(), "figures": figures}


def stores_of(suite: Suite, names: Sequence[str], settings: DemonstrationSettings) -> dict[str, DemonstrationStore]:
    """Demonstrations of these tasks, made where they are missing."""
    known = {task.name: task for task in suite.tasks}
    return dict(zip(names, demonstrations(suite, [known[name] for name in names], settings, workers=0), strict=True))


def beginnings(store: DemonstrationStore) -> Sights:
    """The first observations of each demonstration."""
    rows = store.offsets[:-1, None] + np.arange(FIRST)
    return {name: np.asarray(store[name])[rows] for name in store.features if name != ACTION}


def policy_of(suite: Suite, robot: str = STATE) -> Policy:
    """A policy for a suite's observations, in which the robot's own state is called `robot`."""
    features = {robot if name == STATE else name: feature for name, feature in suite.features.items()}
    scales = {robot if name == STATE else name: scale for name, scale in suite.scales.items()}
    return Policy(Shape.of(features, scales, LANGUAGE), PolicySettings())


def library_of(base: Policy, taught: dict[str, Sights], names: Sequence[str], demonstrations: int) -> Library:
    """A library of the first demonstrations of each task."""
    densities = []
    for name in names:
        first = [observation for _, observation in zip(range(demonstrations), episodes_of(taught[name]), strict=False)]
        densities.append(SceneDensity.of([scene_features(base, observation) for observation in first]))
    return Library(base, tuple(names), densities)


def episodes_of(sights: Sights, steps: int = FIRST) -> Iterator[dict[str, Array]]:
    """The first observations of each episode."""
    for index in range(len(next(iter(sights.values())))):
        observation = {name: values[index, :steps] for name, values in sights.items()}
        yield observation | ({ROBOT: observation[STATE]} if STATE in observation else {})


def counted(library: Library, seen: dict[str, dict[str, Sights]], mover: str, steps: int) -> dict[str, Any]:
    """What a library makes of all episodes that were moved in one way, from so many observations.

    `chosen` [i][j]: episodes of skill i's scene in which skill j is chosen, the last column none; `accepted` [i][j]:
    those that skill j does not refuse; `left_out` [i]: those that all skills but i refuse; `eleventh`: for a task that
    the library has not, the episodes that all of its skills refuse, and how many there were.
    """
    judge, many = SceneJudge(library.base, library.densities), len(library.names)
    chosen, accepted = np.zeros((many, many + 1), int), np.zeros((many, many), int)
    left_out = np.zeros(many, int)
    for i, name in enumerate(library.names):
        without = library.without(name)
        for observation in episodes_of(seen[name][mover], steps):
            judgement = judge.judge(observation)
            chosen[i, many if judgement.best is None else judgement.best] += 1
            accepted[i] += judgement.accepted
            left_out[i] += without.judge(observation).best is None
    eleventh = {}
    for name in sorted(seen.keys() - set(library.names)):
        best = [judge.judge(observation).best for observation in episodes_of(seen[name][mover], steps)]
        eleventh[name] = [best.count(None), len(best)]
    counts = {"chosen": chosen.tolist(), "accepted": accepted.tolist(), "left_out": left_out.tolist()}
    return {"mover": mover, "seen": steps, "skills": list(library.names), **counts, "eleventh": eleventh}


def through_sensor(
    base: Policy, taught: dict[str, Sights], seen: dict[str, dict[str, Sights]], teaching: float, judging: float
) -> dict[str, Any]:
    """The counts where a sensor adds noise of these standard deviations; nobody moves."""
    taught = {name: noisy(taught[name], teaching, seed) for seed, name in enumerate(CW10)}
    judged = {name: {"still": noisy(seen[name]["still"], judging, 100 + i)} for i, name in enumerate(seen)}
    counts = counted(library_of(base, taught, CW10, ALL), judged, "still", FIRST)
    return {"demonstrations": ALL, "teaching": teaching, "judging": judging, **counts}


def judging(library: Library, seen: dict[str, dict[str, Sights]], steps: int) -> float:
    """Milliseconds, the median of 20, that a library of 1,000 skills takes to judge one episode."""
    densities = [library.densities[i % len(library.densities)] for i in range(1000)]
    judge, times = SceneJudge(library.base, densities), []
    observation = next(episodes_of(seen[CW10[0]]["still"], steps))
    for _ in range(20):
        start = time.perf_counter()
        judge.judge(observation)
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times)), 2)


if __name__ == "__main__":
    sys.exit(main())
