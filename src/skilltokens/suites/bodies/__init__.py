"""Bodies that move, as suites: one for each body, with the tasks that Task Tokens (arXiv 2503.22886) learns by reward.

    body.py          the bodies, and what their motion looks like as numbers
    moment.py        a body at one moment
    environment.py   a body with a task in it, as a Gymnasium environment
    goal.py          what every task is made of
    tasks.py         the tasks: what is observed, rewarded and called a success

`import skilltokens.suites.bodies` registers them with Gymnasium, as "skilltokens/HalfCheetah-Reach-v0".
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium

from skilltokens.suites.bodies.body import BODIES, Body, body_of
from skilltokens.suites.bodies.environment import BodyEnvironment
from skilltokens.suites.bodies.tasks import SECONDS, make_task, tasks_of
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.types import Scale, Task


def body_suite(name: str, **changes: Any) -> GymnasiumSuite:
    """The suite of one body.

    Args:
        changes: options of BodyEnvironment: gravity and friction (factors), command, picture.

    Raises:
        SettingError: there is no such body, or it cannot be seen in a picture.
    """
    body = body_of(name)
    tasks = [Task(task, kind.instruction) for task, kind in tasks_of(body).items()]
    env = make_body(name, tasks[0].name, **changes)
    spaces: Any = env.observation_space
    widths = {feature: space.shape[0] for feature, space in spaces.items() if len(space.shape) == 1}
    horizon = round(SECONDS / env.dt)
    env.close()
    return GymnasiumSuite(
        name,
        functools.partial(make_body, name, **{"render_mode": "rgb_array", **changes}),
        tasks,
        observation={feature: feature for feature in sorted(spaces)},
        horizon=horizon,
        scales={feature: Scale((0.0,) * width, (1.0,) * width) for feature, width in widths.items()},
    )


def make_body(body: str, task: str, **changes: Any) -> BodyEnvironment:
    """One environment of a body's task. It has no limit of steps of its own: the suite sets one.

    Raises:
        SettingError: there is no such body or task, or the body cannot be seen in a picture.
    """
    return BodyEnvironment(body_of(body), make_task(body_of(body), task), **changes)


def register() -> None:
    """Registers every body's tasks with Gymnasium, as "skilltokens/HalfCheetah-Reach-v0"."""
    for body in BODIES.values():
        for task in tasks_of(body):
            name = f"skilltokens/{body.title}-{task.capitalize()}-v0"
            if name not in gymnasium.registry:
                make = functools.partial(make_body, body.name, task)
                gymnasium.register(name, make, max_episode_steps=round(SECONDS / body.step))


register()

__all__ = ["BODIES", "Body", "body_of", "body_suite", "make_body"]
