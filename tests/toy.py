"""A robot small enough for tests: a point on a table with a red and a blue marker.

The observation names both markers' places and never says which of them counts: only the instruction does. The
four tasks move the point to four different places of the same scene, so a policy that learns one of them and
is then fine-tuned on another must forget the first, and a policy without the instruction cannot do both. A
transformer of width 32 with 2 layers learns a task from 100 demonstrations (0.1 s to make) in about a hundred
iterations of 32 windows at a rate of 3e-3: 19 of 20 episodes, and 0 to 5 of 20 on the other tasks. With 30
demonstrations it over-fits: 10 of 20.

Everything is pure NumPy, seeded, picklable and importable by spawned processes (`from tests.toy import Toy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, Array, Episode, Feature, Observation, Scale, Split, Task

TASKS = (
    Task("reach-red", "go to the red marker", ("move to the red mark", "reach the red marker"), ("drive over to red",)),
    Task("reach-blue", "go to the blue marker", ("move to the blue mark",), ("drive over to blue",)),
    Task("between", "stop halfway between both markers", ("go to the middle of the marks",), ("park in between",)),
    Task("avoid-red", "flee to the opposite side of red", ("mirror the red marker",), ("stay far from red",)),
)
GOALS = {"reach-red": (1.0, 0.0), "reach-blue": (0.0, 1.0), "between": (0.5, 0.5), "avoid-red": (-1.0, 0.0)}
"""Task -> weights of red and blue in the place to reach."""
NEAR = 0.12
"""Distance from the goal, in table units, below which the task is done."""
PACE = 0.1
"""Table units that the point moves in a step at most, on each axis."""
GAIN = 3.0
"""The expert's step for one table unit of distance, before clipping."""
_SPLITS = {"train": 0, "validation": 1, "test": 2}


@dataclass
class Toy:
    """The suite. `tasks` may be a part of TASKS."""

    tasks: tuple[Task, ...] = TASKS
    name: str = "toy"
    horizon: int = 40
    features: Mapping[str, Feature] = field(
        default_factory=lambda: {STATE: Feature((2,)), ENVIRONMENT_STATE: Feature((4,)), ACTION: Feature((2,))}
    )
    """State: place (2). Environment: places of red (2) and blue (2). Action: a step, 1 being `PACE` units (2)."""
    scales: Mapping[str, Scale] = field(
        default_factory=lambda: {
            STATE: Scale((0.0,) * 2, (0.5,) * 2),
            ENVIRONMENT_STATE: Scale((0.0,) * 4, (0.5,) * 4),
        }
    )

    def make(self, task: Task) -> Table:
        return Table(task, self.horizon)

    def versions(self) -> dict[str, str]:
        return {"toy": "1"}

    def expert_in(self, environment: Table) -> Callable[[], Array]:
        return environment.expert

    def demonstrate(self, task: Task, episodes: int, seed: int, noise: float) -> Iterator[Episode]:
        table = self.make(task)
        written = index = 0
        while written < episodes:
            episode = _demonstration(table, seed, index, noise, self.horizon)
            index += 1
            if episode is not None:
                written += 1
                yield episode


class Table:
    """The simulator of one task. Like a real one it cannot be stepped past its end."""

    def __init__(self, task: Task, horizon: int):
        self.horizon = horizon
        self.weights = GOALS[task.name]
        self.number = list(GOALS).index(task.name)
        self.closed = False

    def reset(self, split: Split, index: int) -> Observation:
        random = np.random.default_rng([_SPLITS[split], self.number, index])
        while True:
            self.place, self.red, self.blue = random.uniform(-0.9, 0.9, (3, 2))
            if min(np.linalg.norm(self.red - self.blue), np.linalg.norm(self.goal - self.place)) > 0.4:
                break
        self.steps, self.done = 0, False
        return self._observation()

    def step(self, action: Array) -> tuple[Observation, bool]:
        if self.done or self.steps >= self.horizon:
            raise RuntimeError("stepped past the end of the episode")
        self.place = np.clip(self.place + PACE * np.clip(np.asarray(action, np.float64), -1, 1), -1, 1)
        self.steps += 1
        self.done = bool(np.linalg.norm(self.place - self.goal) < NEAR)
        return self._observation(), self.done

    def render(self) -> NDArray[np.uint8]:
        picture = np.full((96, 96, 3), 235, np.uint8)
        for place, colour in ((self.red, (200, 40, 40)), (self.blue, (40, 60, 200)), (self.place, (20, 20, 20))):
            x, y = np.round((place + 1) * 45 + 2).astype(int)
            picture[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = colour
        return picture

    def close(self) -> None:
        self.closed = True

    @property
    def goal(self) -> NDArray[np.float64]:
        return self.weights[0] * self.red + self.weights[1] * self.blue

    def expert(self) -> NDArray[np.float64]:
        """The step that a scripted expert would take now."""
        return np.clip(GAIN * (self.goal - self.place), -1, 1)

    def _observation(self) -> Observation:
        return {
            STATE: self.place.astype(np.float32),
            ENVIRONMENT_STATE: np.concatenate([self.red, self.blue]).astype(np.float32),
        }


def _demonstration(table: Table, seed: int, index: int, noise: float, horizon: int) -> Episode | None:
    """One expert episode, or None where it was not successful in time."""
    random = np.random.default_rng([seed, table.number, index])
    observation = table.reset("train", 100_000 * seed + index)
    steps: list[Mapping[str, Array]] = []
    for _ in range(horizon):
        action = np.clip(table.expert() + noise * random.standard_normal(2), -1, 1).astype(np.float32)
        steps.append({**observation, ACTION: action})
        observation, success = table.step(action)
        if success:
            return Episode({name: np.stack([step[name] for step in steps]) for name in steps[0]})
    return None


class ToyExpert:
    """An actor that reads the goal from the observation: it solves a task always."""

    def __init__(self, task: Task):
        self.weights = GOALS[task.name]

    def start(self, batch: int) -> list[int]:
        return [0]

    def act(self, observation: Observation, memory: list[int]) -> Array:
        memory[0] += 1
        state, markers = observation[STATE], observation[ENVIRONMENT_STATE]
        goal = self.weights[0] * markers[:, :2] + self.weights[1] * markers[:, 2:]
        return np.clip(GAIN * (goal - state), -1, 1)


class Still:
    """Gives the same action always, which may be a bad one."""

    def __init__(self, value: float = 0.0, width: int = 2, after: int = 0):
        self.value, self.width, self.after = value, width, after

    def start(self, batch: int) -> list[int]:
        return [0]

    def act(self, observation: Observation, memory: list[int]) -> Array:
        memory[0] += 1
        value = self.value if memory[0] > self.after else 0.0
        return np.full((len(observation[STATE]), self.width), value, np.float32)


def paraphrased() -> Toy:
    """The same tasks, called by their held-out wordings; `tests.toy:paraphrased`."""
    return Toy(tuple(replace(task, instruction=task.held_out[0], held_out=()) for task in TASKS), name="toy-lan")
