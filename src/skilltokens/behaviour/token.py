"""learn_token(): one skill more in a library on disk, from the reward of one environment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from msgspec import UNSET
from torch import Tensor

from skilltokens.behaviour.adapt import Curve, adapt
from skilltokens.behaviour.agents import Agent, PolicyAgent
from skilltokens.behaviour.environments import challenge
from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.configuration import Seed, check_number, check_settings, plain, plain_as_before
from skilltokens.files import seal
from skilltokens.model.policy import TASK_TOKEN
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.managing import check_name
from skilltokens.skills.parcel import keep_apart
from skilltokens.skills.selection import choose
from skilltokens.skills.skill import Skill, TaskTokenSpec
from skilltokens.skills.takeover import check_takeover
from skilltokens.suites import sentences_of
from skilltokens.suites.limits import check_episodes
from skilltokens.suites.remarks import remarks_on
from skilltokens.types import NOTE, LibraryError, Progress, Report, SkilltokensError, nearest, silent


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
    again: bool = False,
    take_over: bool = False,
    report: Report = silent,
    board: Path | None = None,
) -> tuple[SkillLibrary, Curve]:
    """Trains a task token that steers a frozen skill of the library, and adds it as a skill.

    Nothing in the library changes before the training is done, and then one file is added. Interrupted, the same call
    resumes from FOLDER/adapting/NAME.safetensors, which is removed at the end; the same call after that finds the skill
    and changes nothing.

    Args:
        folder: the library.
        env: SUITE/TASK or a Gymnasium id; see suites/registry.py.
        on: the skill to steer; empty: the one that the instruction means, of those learned from demonstrations.
        name, instruction: of the new skill; empty: the task's.
        again: there may be a skill of that name: the new one is its next version.
        take_over: the skill may answer sentences that call other skills today.
        board: a folder for TensorBoard's files; None: none are written.

    Returns:
        The library, and what was measured on the way (behaviour/adapt.py).

    Raises:
        LibraryError: the library is damaged, has such a skill already or lacks the one to steer, or cannot be written;
            or the new skill would answer sentences of others.
        SettingError: an impossible setting; or the environment is unknown, or does not fit the policy.
        SuiteError: the environment lacks a success flag, raises, or gives something amiss.
        Diverged: numbers that are not finite; the last good state is kept.
    """
    settings, ppo = settings or AdaptSettings(), ppo or PpoSettings()
    check_number("seed", seed, Seed)
    check_settings(settings, "adapt")
    check_settings(ppo, "ppo")
    library = SkillLibrary.open(folder)
    task = challenge(env, instruction, settings.horizon)
    check_episodes(task.suite, settings.split, settings.episodes)
    for sentence in remarks_on(task.suite):
        report(Progress(NOTE, 0, 1, sentence))
    name = name or task.task.name
    words = (instruction or task.task.instruction, *task.task.wordings * (not instruction))
    vectors = library.language(report)(words)
    number = steered(library, on, vectors[0])
    state = library.folder / "adapting" / f"{name}.safetensors"
    made_with = _made_with(library.skills[number].identity, env, words, settings, ppo, seed)
    known = library.notes[library.names.index(name)] if name in library.names else {}
    if known.get("made_with") == made_with:  # the same command, killed behind its last write
        _forget(state)
        library.tidy()
        return library, Curve(**known["curve"])
    check_name(name, None if again else library)
    for sentence in check_takeover(library, name, words, take_over, sentences_of):
        report(Progress(NOTE, 0, 1, sentence))
    before = library.base.fingerprint()
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
        "made_with": made_with,
        "curve": asdict(curve),
    }
    skill = Skill(name, words, np.asarray(vectors), tensors, {}, spec)
    try:
        library.add(skill, notes, again=again, report=report)
    except SkilltokensError as problem:
        raise keep_apart(library, skill, notes, problem) from problem
    _forget(state)
    return library, curve


def _made_with(on: str, env: str, words: Sequence[str], settings: AdaptSettings, ppo: PpoSettings, seed: int) -> str:
    """SHA-256 of all that decides what is learned."""
    both = {"adapt": plain_as_before(settings), "ppo": plain(ppo)}
    return seal({"on": on, "env": env, "words": list(words), **both, "seed": seed})


def _forget(state: Path) -> None:
    """Removes what a training resumes from, and its folder where that is empty then."""
    state.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        state.parent.rmdir()


def _task_token(agent: Agent, on: str) -> tuple[dict[str, Tensor], TaskTokenSpec]:
    """An agent's task token as a library keeps it; `on` is the identity of the skill that it steers."""
    assert isinstance(agent, PolicyAgent)
    token = agent.policy.task_token
    assert token is not None
    tensors = {f"{TASK_TOKEN}.{key}": value.detach().clone() for key, value in token.state_dict().items()}
    sizes = dict(token.features), token.tokens, token.hidden, token.pictures, token.trunk
    return tensors, TaskTokenSpec(on, *sizes)


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
