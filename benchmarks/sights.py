"""`python -m benchmarks.sights STORE`: what a trunk's features know of where a thing is, and what they cost.

STORE holds demonstrations of a LIBERO task from states, with the simulator's own (`skilltokens demos`). A few moments
of each episode are drawn, and ridge regression tells the thing's place on the table from the features of the front
camera. Its strength is chosen within the episodes that it learns from; the error is that on other episodes. A policy's
head is another reader than ridge regression, but what is not in the features no head can read. Prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from skilltokens.demos import DemonstrationStore
from skilltokens.methods.base import count, generator_of
from skilltokens.model.actor import Memory, PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.trunks.opening import open_trunk
from skilltokens.model.trunks.trunk import PIXELS, FrozenTrunk
from skilltokens.suites import load_suite
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.suites.libero.observation import names
from skilltokens.types import ACTION, ENVIRONMENT_STATE, SIMULATOR_STATE, SettingError

CAMERA = "observation.images.agentview"
MOMENTS = (0, 4, 8, 12)
"""Steps of each episode that are drawn: before a thing is gripped."""
FOLDS = 5
STRENGTHS = tuple(10.0**power for power in range(-3, 5))
"""Of the ridge, times the mean variance of the features."""
Numbers = NDArray[np.float64]


def drawn(store: DemonstrationStore, thing: str, episodes: int) -> tuple[NDArray[np.uint8], Numbers, NDArray[np.int64]]:
    """Pictures (n, height, width, 3) of the front camera, the thing's place on the table (n, 2) in mm, and of which
    episode each is.

    Raises:
        SettingError: there is no such thing, or the store keeps no states.
    """
    if thing not in names() or SIMULATOR_STATE not in store.private:
        raise SettingError(f"{store.path} keeps no states, or LIBERO has no thing {thing!r}: check both")
    name = names()[thing]
    pictures, places, owners = [], [], []
    with contextlib.closing(LiberoEnvironment(store.suite, store.task.name, images=True)) as environment:
        for episode in range(min(episodes, len(store))):
            for moment in MOMENTS:
                row = int(store.offsets[episode]) + moment
                slots = np.asarray(store[ENVIRONMENT_STATE][row])
                (slot,) = np.flatnonzero((np.abs(slots[:, 14:] - name).max(1) < 1e-5) & (slots[:, 0] > 0))[:1]
                seen = environment.restore(np.asarray(store[SIMULATOR_STATE][row], np.float64))
                pictures.append(seen[CAMERA])
                places.append(1000 * slots[slot, 1:3])
                owners.append(episode)
    return np.stack(pictures), np.stack(places).astype(np.float64), np.array(owners)


def readings(trunk: FrozenTrunk, pictures: NDArray[np.uint8]) -> dict[str, Numbers]:
    """The parts of the trunk's features, (n, numbers) each."""
    features = torch.cat([trunk.compute(picture) for picture in torch.from_numpy(pictures).split(1)]).double()
    quarters = features[..., : 4 * (trunk.fine + PIXELS)].unflatten(-1, (4, -1))
    parts = {
        "pixels": quarters[..., trunk.fine :],
        "fine": quarters[..., : trunk.fine],
        "coarse": features[..., 4 * (trunk.fine + PIXELS) :],
        "all": features,
    }
    return {name: part.flatten(1).numpy() for name, part in parts.items()}


def error(features: Numbers, places: Numbers, owners: NDArray[np.int64]) -> float:
    """The mean distance (mm) between a place and what ridge regression says, over episodes that it did not see."""
    folds = owners % FOLDS
    distances = []
    for fold in range(FOLDS):
        known, asked = folds != fold, folds == fold
        strength = _strength(features[known], places[known], owners[known] // FOLDS % 2)
        said = _ridge(features[known], places[known], features[asked], [strength])[0]
        distances.append(np.linalg.norm(said - places[asked], axis=1))
    return float(np.concatenate(distances).mean())


def _strength(features: Numbers, places: Numbers, halves: NDArray[np.int64]) -> float:
    """The strength with the least error between two halves of the episodes."""
    errors = np.zeros(len(STRENGTHS))
    for half in (0, 1):
        known, asked = halves != half, halves == half
        for i, said in enumerate(_ridge(features[known], places[known], features[asked], STRENGTHS)):
            errors[i] += np.linalg.norm(said - places[asked], axis=1).sum()
    return STRENGTHS[int(errors.argmin())]


def _ridge(known: Numbers, places: Numbers, asked: Numbers, strengths: Sequence[float]) -> list[Numbers]:
    """What ridge regression says of the places of other features, for each strength."""
    middle, mean = known.mean(0), places.mean(0)
    apart, others = known - middle, asked - middle
    kernel = apart @ apart.T
    unit = np.trace(kernel) / len(kernel)
    return [
        mean + others @ apart.T @ np.linalg.solve(kernel + strength * unit * np.eye(len(kernel)), places - mean)
        for strength in strengths
    ]


def milliseconds(pictures: NDArray[np.uint8]) -> Mapping[str, float]:
    """Processor time of a trunk for a picture, and of a whole action from two cameras without a trunk and with it."""
    suite = load_suite("libero-goal-images")
    trunk, one = open_trunk("lite0"), torch.from_numpy(pictures[:1])
    times = {"trunk, a picture": _timed(lambda: trunk.compute(one))}
    generator = np.random.default_rng(0)
    for name in ("none", "lite0"):
        shape = Shape.of(suite.features, suite.scales, 384)
        policy = Policy(shape, PolicySettings(history=4, trunk=name), generator_of(0, 0))
        actor = PolicyActor(policy, np.ones(384, np.float32) / 384**0.5)
        memory = actor.start(1)

        def act(actor: PolicyActor = actor, memory: Memory = memory) -> None:
            shades = {name: generator.random((1, *f.shape)) for name, f in suite.features.items() if name != ACTION}
            seen = {name: (255 * v).astype(np.uint8) if v.ndim == 4 else v for name, v in shades.items()}
            actor.act(seen, memory)

        times[f"action, {name} ({count(policy):,} parameters)"] = _timed(act)
    return times


def _timed(work: Callable[[], object], rounds: int = 20) -> float:
    for _ in range(3):
        work()
    start = time.process_time()
    for _ in range(rounds):
        work()
    return 1000 * (time.process_time() - start) / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--thing", default="wine bottle")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--trunks", nargs="+", default=["lite0", "lite0-random"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures, places, owners = drawn(DemonstrationStore.open(options.store), options.thing, options.episodes)
    table = Table("trunk", "what is read", "error (mm)", title=f"Where the {options.thing} is")
    nothing = np.linalg.norm(places - places.mean(0), axis=1).mean()
    table.add_row("-", "nothing", f"{nothing:.1f}")
    for number, name in enumerate(options.trunks):
        for part, features in readings(open_trunk(name), pictures).items():
            if part != "pixels" or number == 0:  # they are the same for every trunk
                label = "-" if part == "pixels" else name
                table.add_row(label, part, f"{error(features, places, owners):.1f}")
    console = Console()
    console.print(table)
    costs = Table("part", "ms", title="Processor time")
    for part, cost in milliseconds(pictures).items():
        costs.add_row(part, f"{cost:.1f}")
    console.print(costs)


if __name__ == "__main__":
    main()
