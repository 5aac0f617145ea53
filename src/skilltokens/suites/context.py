"""Where a task takes place, said in its instruction: what tells two tasks with the same words apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from skilltokens.types import SettingError, Suite, Task

Context = Literal["none", "scene"]
"""What an instruction says besides what is to be done: nothing, or the scene that it is to be done in."""


def scene_of(suite: Suite, task: Task) -> str:
    """The words that a suite has for a task's scene, such as "in kitchen scene 3"; empty where it has none."""
    ask: Callable[[Task], str] | None = getattr(suite, "scene", None)
    return "" if ask is None else ask(task).strip()


def in_context(suite: Suite, task: Task, context: Context) -> Task:
    """The task with its context behind the instruction and every other wording, held-out ones too; the name stays.

    Raises:
        SettingError: the suite has no words for the task's scene.
    """
    if context == "none":
        return task
    scene = scene_of(suite, task)
    if not scene:
        raise SettingError(
            f"suite {suite.name!r} names no scene of task {task.name!r}, so --context scene is impossible: leave it "
            "out, or choose a suite with scenes, such as libero-90 or libero-10"
        )
    return replace(
        task,
        instruction=f"{task.instruction} {scene}",
        wordings=tuple(f"{text} {scene}" for text in task.wordings),
        held_out=tuple(f"{text} {scene}" for text in task.held_out),
    )
