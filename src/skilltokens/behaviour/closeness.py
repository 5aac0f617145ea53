"""How close to the experts' motion a learner moves: by its nearest neighbours, and by a discriminator.

Both look at the body's own state (no place, no heading) in units of the motion's deviation. They see what a task
cannot avoid as well: who has to turn over to succeed will be far. So they compare learners on one task.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

from skilltokens.demos import DemonstrationStore
from skilltokens.model.task_token import mlp
from skilltokens.simulation.pool import Pool
from skilltokens.simulation.rollout import play
from skilltokens.suites.bodies import Body
from skilltokens.types import STATE, Actor, Array, Observation, Split, Suite, Task

SAMPLE = 20_000
"""Steps of motion that neighbours are looked for in."""


class Recorder:
    """An actor that remembers the body's states that it saw; rows repeat after an episode's end."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.states = actor, []

    def start(self, batch: int) -> Any:
        self.states.append([])
        return self.actor.start(batch)

    def act(self, observation: Observation, memory: Any) -> Array:
        self.states[-1].append(np.array(observation[STATE]))
        return self.actor.act(observation, memory)


def visited(
    actor: Actor, suite: Suite, task: Task, split: Split, episodes: int, group: int = 10, horizon: int | None = None
) -> Array:
    """The body's states (N, S) in the first episodes of a split, until they end or the body falls."""
    recorder, states = Recorder(actor), []
    with Pool(suite) as pool:
        for first in range(0, episodes, group):
            indices = range(first, min(first + group, episodes))
            recorder.states.clear()
            endings = play(recorder, pool, task, split, indices, group=group, horizon=horizon)
            steps = np.stack(recorder.states[-1])
            states += [steps[: endings[index].outcome.steps, index % group] for index in indices]
    return np.concatenate(states)


def speeds(states: Array, body: Body) -> float:
    """The mean speed on the ground, in m/s, while it moves: of those states above a tenth of the body's fastest."""
    first = 1 + (2 if body.planar else 3)  # behind height and up stand the joints, behind those the velocities
    width = states.shape[1]
    joints = (width - first - (3 if body.planar else 6)) // 2
    ground = states[:, first + joints :][:, : 1 if body.planar else 2]
    speed = np.linalg.norm(ground, axis=1)
    moving = speed[speed > 0.1 * body.speeds[1]]
    return round(float(moving.mean()), 3) if len(moving) else 0.0


def closeness(states: Array, motion: DemonstrationStore, seed: int = 0) -> dict[str, float]:
    """Two measures of how unlike the motion these states are.

    Returns:
        "neighbour": the mean distance to the nearest state of motion, over that of held-out motion (1: as close as the
        motion to itself). "discriminator": the accuracy of a small classifier on held-out states, .5 being none.
    """
    generator = np.random.default_rng([seed, 3])
    theirs = np.asarray(motion[STATE])
    theirs = theirs[generator.permutation(len(theirs))[: SAMPLE + 4000]]
    states = states[generator.permutation(len(states))[:4000]]
    unit, held_out = theirs.std(0) + 1e-6, min(4000, len(theirs) // 4)
    held, kept = theirs[:held_out] / unit, theirs[held_out:] / unit
    tree, mine = KDTree(kept), states / unit
    distance = float(tree.query(mine)[0].mean()) / float(tree.query(held)[0].mean())
    return {"neighbour": round(distance, 3), "discriminator": round(_discrimination(mine, held, seed), 3)}


def _discrimination(mine: Array, theirs: Array, seed: int) -> float:
    """The accuracy of an MLP that tells two sets of states apart, on the half that it did not learn from."""
    n = min(len(mine), len(theirs))
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(np.concatenate([mine[:n], theirs[:n]]), dtype=torch.float32)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    y = torch.cat([torch.ones(n), torch.zeros(n)])
    order = torch.randperm(2 * n, generator=generator)
    train, test = order[:n], order[n:]
    net = mlp((x.shape[1], 64, 64, 1), generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3)
    for _ in range(300):
        rows = train[torch.randint(n, (256,), generator=generator)]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return float(((net(x[test])[:, 0] > 0) == (y[test] > 0.5)).float().mean())
