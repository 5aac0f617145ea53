"""learn_token(): one skill more in a library on disk, from the reward of one environment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec import UNSET
from torch import Tensor

from skilltokens.behaviour.adapt import Curve, adapt
from skilltokens.behaviour.agents import Agent, PolicyAgent
from skilltokens.behaviour.environments import challenge
from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.configuration import Seed, check_number, check_settings
from skilltokens.model.policy import TASK_TOKEN
from skilltokens.skills.library import SkillLibrary, check_name
from skilltokens.skills.selection import choose
from skilltokens.skills.skill import Skill, TaskTokenSpec
from skilltokens.suites.limits import check_episodes
from skilltokens.types import LibraryError, Report, nearest, silent


def learn_token(
    folder: Path | str,
    env: str,
    *,
    on: str = "",
    name: str = "",
    instruction: str = "",
    settings: AdaptSettings | None = None,
    ppo: PpoSettings | None = None,
    seed: int = 0,
    report: Report = silent,
    board: Path | None = None,
) -> tuple[SkillLibrary, Curve]:
    """Trains a task token that steers a frozen skill of the library, and adds it as a skill.

    Nothing in the library changes before the training is done, and then one file is added. Interrupted, the same call
    resumes from FOLDER/adapting/NAME.safetensors, which is removed at the end.

    Args:
        folder: the library.
        env: SUITE/TASK or a Gymnasium id; see suites/reward.py.
        on: the skill to steer; empty: the one that the instruction means, of those learned from demonstrations.
        name, instruction: of the new skill; empty: the task's.
        board: a folder for TensorBoard's files; None: none are written.

    Returns:
        The library, and what was measured on the way (behaviour/adapt.py).

    Raises:
        LibraryError: the library is damaged, has such a skill already or lacks the one to steer, or cannot be written.
        SettingError: an impossible setting; or the environment is unknown, lacks a success flag, or does not fit the
            policy.
        Diverged: numbers that are not finite; the last good state is kept.
    """
    settings, ppo = settings or AdaptSettings(), ppo or PpoSettings()
    check_number("seed", seed, Seed)
    check_settings(settings, "adapt")
    check_settings(ppo, "ppo")
    library = SkillLibrary.open(folder)
    task = challenge(env, instruction, settings.horizon)
    check_episodes(task.suite, settings.split, settings.episodes)
    name = name or task.task.name
    words = (instruction or task.task.instruction, *task.task.wordings * (not instruction))
    check_name(name, library)
    vectors = library.language(report)(words)
    number = steered(library, on, vectors[0])
    before = library.base.fingerprint()
    state = library.folder / "adapting" / f"{name}.safetensors"
    policy, vector = library.policy(number), library.instruction_vector(number)
    agent, curve = adapt(policy, vector, task, state, settings=settings, ppo=ppo, seed=seed, report=report, board=board)
    assert library.base.fingerprint() == before  # frozen, bit for bit
    tensors, spec = _task_token(agent, library.skills[number].identity)
    notes = {
        "environment": env,
        "steps": curve.steps[-1],
        "split": settings.split,
        "successes": curve.successes[-1],
        "episodes": curve.episodes,
        "seed": seed,
    }
    library.add(Skill(name, words, np.asarray(vectors), tensors, {}, spec), notes)
    state.unlink(missing_ok=True)
    if not any(state.parent.iterdir()):
        state.parent.rmdir()
    return library, curve


def _task_token(agent: Agent, on: str) -> tuple[dict[str, Tensor], TaskTokenSpec]:
    """An agent's task token as a library keeps it; `on` is the identity of the skill that it steers."""
    assert isinstance(agent, PolicyAgent)
    token = agent.policy.task_token
    assert token is not None
    tensors = {f"{TASK_TOKEN}.{key}": value.detach().clone() for key, value in token.state_dict().items()}
    return tensors, TaskTokenSpec(on, dict(token.features), token.tokens, token.hidden, token.pictures)


def steered(library: SkillLibrary, on: str, vector: np.ndarray) -> int:
    """The skill to steer: by its name, or the nearest of those that were learned from demonstrations.

    Raises:
        LibraryError: there is no such skill.
    """
    demonstrated = [i for i, record in enumerate(library.records) if record.steers is UNSET and not record.retired]
    if not on and demonstrated:
        return demonstrated[choose(vector, [library.skills[i].embeddings for i in demonstrated])[0]]
    names = [library.names[i] for i in demonstrated]
    for i, name in zip(demonstrated, names, strict=True):
        if name == on:
            return i
    raise LibraryError(f"{library.folder} has no skill {on!r} learned from demonstrations: {nearest(on, names)}")
