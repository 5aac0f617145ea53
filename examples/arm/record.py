"""Records demonstrations of the arm with LeRobot's own writer: python record.py FOLDER [EPISODES a task].

What the expert would do is stored, and a noisy action is executed, so that the demonstrations show how to recover.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from arm import CAMERAS, FPS, HORIZON, JOINTS, SIZE, TASKS, Arm
from lerobot.datasets.lerobot_dataset import LeRobotDataset

NOISE = 2.0
"""Degrees."""


def main(folder: Path, episodes: int) -> None:
    joints = {"dtype": "float32", "shape": (len(JOINTS),), "names": [f"{joint}.pos" for joint in JOINTS]}
    video = {"dtype": "video", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        repo_id="local/arm",
        root=folder,
        fps=FPS,
        robot_type="arm",
        features={
            "observation.state": joints,
            "action": joints,
            **{f"observation.images.{camera}": video for camera in CAMERAS},
        },
    )
    for number, (task, instruction) in enumerate(TASKS.items()):
        arm = Arm(task)
        for episode in range(episodes):
            record(dataset, arm, instruction, seed=1000 * number + episode)
        arm.close()
    dataset.finalize()


def record(dataset: LeRobotDataset, arm: Arm, instruction: str, seed: int) -> None:
    """One episode of the expert, until the ball is touched."""
    noise = np.random.default_rng(seed)
    observation, _ = arm.reset(seed=seed)
    for _ in range(HORIZON):
        action = arm.expert()
        pictures = {f"observation.images.{camera}": observation[camera] for camera in CAMERAS}
        frame = {"observation.state": observation["state"], "action": action.astype(np.float32), **pictures}
        dataset.add_frame({**frame, "task": instruction})
        observation, _, touched, _, _ = arm.step(action + noise.normal(0, NOISE, len(JOINTS)))
        if touched:
            break
    dataset.save_episode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 30)
