"""The rollout loop on the real simulator, with Meta-World's own expert and a torch network as policies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from skilltokens.simulation.rollout import Pool, evaluate, play, record_video
from skilltokens.simulation.video import LIMIT
from skilltokens.suites.metaworld import MetaWorld
from skilltokens.types import ENVIRONMENT_STATE, STATE, Actor, Array, Observation, Outcome, Task

pytestmark = pytest.mark.filterwarnings("ignore:Constant:UserWarning")  # the experts ask for more than they get

SUITE = MetaWorld()
TASKS = {task.name: task for task in SUITE.tasks}


class Expert:
    """The scripted expert of one task, seeing what a policy sees."""

    def __init__(self, task: Task):
        from skilltokens.suites.metaworld.environment import expert

        self.make = partial(expert, task.name)

    def start(self, batch: int) -> list[Any]:
        return [self.make() for _ in range(batch)]

    def act(self, observation: Observation, memory: list[Any]) -> Array:
        objects = observation[ENVIRONMENT_STATE].astype(np.float64)
        before = np.zeros((len(objects), 18))
        raw = np.concatenate([observation[STATE], objects[:, :14], before, objects[:, 14:]], axis=1)
        return np.clip([policy.get_action(row) for policy, row in zip(memory, raw, strict=True)], -1, 1)


class Network:
    """A random network that pushes things around."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # small products on two threads take ten times as long where the cores are busy
        generator = torch.Generator().manual_seed(0)
        self.maps = [torch.randn(size, generator=generator) / size[0] ** 0.5 for size in ((21, 256), (256, 4))]

    def start(self, batch: int) -> None:
        return None

    def act(self, observation: Observation, memory: None) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(np.concatenate([observation[STATE], observation[ENVIRONMENT_STATE]], axis=1))
            return torch.sin(torch.sin(10 * x @ self.maps[0]) @ self.maps[1]).numpy()


def bits(actor: Actor, pool: Pool, task: Task, indices: Sequence[int]) -> dict[int, tuple[Outcome, bytes, bytes]]:
    endings = play(actor, pool, task, "test", indices, group=3, horizon=80)
    return {
        index: (end.outcome, end.observation[STATE].tobytes(), end.observation[ENVIRONMENT_STATE].tobytes())
        for index, end in endings.items()
    }


def test_an_episode_is_the_same_alone_after_others_beside_others_and_in_any_process() -> None:
    task, other = TASKS["push"], TASKS["handle-press-side"]
    actors = Expert(task), Network()
    with Pool(SUITE) as pool:
        together = [bits(actor, pool, task, range(6)) for actor in actors]
        for actor, all_six in zip(actors, together, strict=True):
            assert bits(actor, pool, task, [5, 1, 0]) == {index: all_six[index] for index in (0, 1, 5)}
        bits(Network(), pool, other, [2])
        for actor, all_six in zip(actors, together, strict=True):
            assert bits(actor, pool, task, [4]) == {4: all_six[4]}
    with Pool(SUITE, 2) as pool:
        for actor, all_six in zip(actors, together, strict=True):
            assert bits(actor, pool, task, [3, 2, 1, 0, 4, 5]) == all_six


def test_the_expert_is_counted_as_successful_and_recorded(tmp_path: Path) -> None:
    task = TASKS["window-close"]
    outcomes = evaluate(Expert(task), SUITE, task, "validation", range(4))
    assert all(outcome.success and outcome.steps < 200 for outcome in outcomes)
    path = tmp_path / "video.webp"
    assert record_video(Expert(task), SUITE, task, "validation", 2, path) == outcomes[2]
    assert path.stat().st_size < LIMIT
    with Image.open(path) as image:
        assert image.size == (160, 160)
        assert getattr(image, "n_frames", 1) == len(range(0, outcomes[2].steps, 3)) + 2
