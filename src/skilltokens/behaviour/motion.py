"""Expert motion: what the behaviour model imitates.

For each body a few experts are trained by PPO to follow commands (a velocity; to leap on the way), and then move for
a while, on commands that change every few seconds. What is stored are episodes of states and clean actions, with
noise on the executed ones, and hindsight goals: where the body was, and how it moved, some steps later.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from skilltokens.behaviour.agents import MlpAgent
from skilltokens.behaviour.command import make_command
from skilltokens.behaviour.ppo import check_start, ppo
from skilltokens.behaviour.settings import MotionSettings
from skilltokens.configuration import plain
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.simulation.memory import STAGE
from skilltokens.suites.bodies.body import Body
from skilltokens.tensors import read_state, write_state
from skilltokens.types import (
    ACTION,
    ENVIRONMENT_STATE,
    SIMULATOR_STATE,
    STATE,
    Actor,
    Array,
    DemonstrationError,
    Episode,
    Feature,
    Progress,
    Report,
    RunError,
    SettingError,
    Task,
    silent,
)

INSTRUCTION = "move as the goals say"
UNUSED = {"policy_rate": 2e-4, "tokens": 1}
"""Settings of PPO that experts do not use, but which the files of experts and motion hold from the beginning."""
SHORT = 500
"""Episodes one after another that may end in a fall at once before the experts are given up."""


def expert(body: Body, leap: bool, settings: MotionSettings, folder: Path, report: Report = silent) -> Actor:
    """An expert of a body, trained, or taken from the folder where it was trained before; resumable.

    Raises:
        RunError: the folder's file is damaged, or of an expert that was trained with other settings.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    env = make_command(body, leap)
    widths = {name: env.observation_space[name].shape[0] for name in (STATE, ENVIRONMENT_STATE)}  # pyright: ignore
    actions = env.action_space.shape[0]  # pyright: ignore[reportOptionalSubscript]
    env.close()
    ppo_settings = settings.ppo.ppo()
    agent = MlpAgent(widths, actions, ppo_settings, generator)
    kind = "leaper" if leap else "runner"
    path = folder / f"{body.name}-{kind}.safetensors"
    part = min(settings.part, settings.steps)
    parts = math.ceil(settings.steps / part)
    made_with = _recipe(body, dataclasses.replace(settings, steps=0, part=part, motion_steps=0, kinds=(), noise=0.0))
    start = None
    if os.path.lexists(path):
        start = read_state(path, lambda note: report(Progress(STAGE, 0, 1, note)))
        alike = _alike(start[1].get("made_with"), made_with)
        if alike:
            check_start(start, agent, path)
        if not alike or start[1]["part"] > parts:
            raise RunError(
                f"{path} holds an expert that was trained longer, or with other settings: move it away, or choose "
                "another --motion.folder"
            )
    stops = [part * number for number in range(1, parts + 1)]

    def pass_on(news: Progress) -> None:
        report(Progress("expert", news.done, stops[-1], f"{body.name} {kind}", news.figures))

    make = functools.partial(make_command, body, leap)
    for stop in ppo(agent, make, ppo_settings, stops, settings.seed, start=start, report=pass_on):
        tensors, rest = stop.state()
        write_state(path, tensors, {**rest, "made_with": made_with})
    return agent.actor()


def motion(body: Body, settings: MotionSettings, report: Report = silent) -> DemonstrationStore:
    """The motion of a body's experts, made if it is not there: a store at FOLDER/BODY/motion.

    Raises:
        DemonstrationError: a damaged store, one made with other settings, or experts that fall again and again.
        RunError: an expert's file is damaged, or was made with other settings.
        SettingError: no kind of expert is named that the body has.
    """
    folder = Path(settings.folder).expanduser() / body.name
    path = folder / "motion"
    recipe = _recipe(body, settings)
    if os.path.exists(path):
        store = DemonstrationStore.open(path)
        if _alike(store.settings, recipe):
            store.verify()  # figures are made from it
            return store
        raise DemonstrationError(
            f"{path} holds motion that was made with other settings: move it and the experts beside it away, or choose "
            "another --motion.folder"
        )
    actors = {leap: expert(body, leap, settings, folder, report) for leap in _kinds(body, settings)}
    env = make_command(body, False)
    widths: Mapping[str, int] = env.unwrapped.widths  # pyright: ignore[reportAttributeAccessIssue]
    width = env.unwrapped.model.nq + env.unwrapped.model.nv  # pyright: ignore[reportAttributeAccessIssue]
    features = {name: Feature((n,)) for name, n in widths.items()}
    features |= {ACTION: Feature(env.action_space.shape or ()), SIMULATOR_STATE: Feature((width,))}
    env.close()
    return write_store(
        path,
        _episodes(body, actors, settings, report),
        task=Task("motion", INSTRUCTION),
        features=features,
        source="scripted",
        suite=body.name,
        settings=recipe,
    )


def _kinds(body: Body, settings: MotionSettings) -> tuple[bool, ...]:
    """Whether to leap: bodies that move freely have runners only."""
    leaps = tuple(kind == "leaper" for kind in settings.kinds if body.planar or kind == "runner")
    if not leaps:
        raise SettingError(f"motion.kinds names no expert for {body.name}: name runner{', leaper' * body.planar}")
    return leaps


def _recipe(body: Body, settings: MotionSettings) -> dict[str, Any]:
    """The body, and the settings that change numbers, as JSON has them.

    UNUSED stays in it, with the values of the published runs: the digest of the motion covers all of it.
    """
    recipe = {"body": plain(body), **plain(settings)}
    recipe["ppo"] |= {**UNUSED, **({"policy_rate": 3e-4} if body.name == "ant" else {})}
    del recipe["folder"], recipe["body"]["title"], recipe["ppo"]["workers"]
    return recipe


def _alike(old: Any, new: dict[str, Any]) -> bool:
    """Whether two recipes are the same, but for what experts never used."""
    if not isinstance(old, dict) or not isinstance(old.get("ppo"), dict):
        return False
    return {**old, "ppo": {**old["ppo"], **UNUSED}} == {**new, "ppo": {**new["ppo"], **UNUSED}}


def _episodes(body: Body, actors: Mapping[bool, Actor], settings: MotionSettings, report: Report) -> Iterator[Episode]:
    """Episodes by turns of each expert, with noise between none and `settings.noise`, until there are enough steps."""
    generator, done, short = np.random.default_rng([settings.seed, 11]), 0, 0
    environments = {leap: make_command(body, leap) for leap in actors}
    try:
        while done < settings.motion_steps:
            for leap, env in environments.items():
                noise = float(generator.uniform(0, settings.noise))
                episode = _episode(env, actors[leap], noise, generator)
                if episode is None:
                    short += 1
                    if short > SHORT:
                        raise DemonstrationError(
                            f"the experts of {body.name} fell at once in {short} episodes one after another: train "
                            "them longer (--motion.steps), after moving away what they have learned so far"
                        )
                    continue
                short, done = 0, done + len(episode)
                report(Progress("motion", min(done, settings.motion_steps), settings.motion_steps, body.name))
                yield episode
    finally:
        for env in environments.values():
            env.close()


def _episode(
    env: gymnasium.Env[Any, Any], actor: Actor, noise: float, generator: np.random.Generator
) -> Episode | None:
    """One episode; None where the body falls at once, which would teach falling."""
    observation, _ = env.reset(seed=int(generator.integers(2**31)))
    inner: Any = env.unwrapped
    memory, over, terminated = actor.start(1), False, False
    states, actions = [], []
    while not over:
        action = actor.act({name: value[None] for name, value in observation.items()}, memory)[0]
        states.append(np.concatenate([inner.now.qpos, inner.now.qvel]))
        actions.append(action)
        noisy = action + noise * generator.standard_normal(action.shape)  # clipped where it is executed
        observation, _, terminated, truncated, _ = env.step(noisy)
        over = terminated or truncated
    rows = np.stack(states)
    if terminated:  # the last moments of a fall are nobody's wish
        rows, actions = rows[:-25], actions[:-25]
    if len(rows) <= 60:
        return None
    qpos, qvel, moves = rows[:, : inner.model.nq], rows[:, inner.model.nq :], np.reshape(actions, (len(rows), -1))
    body: Body = inner.body
    features: dict[str, Array] = {STATE: body.state(qpos, qvel), **body.goals(qpos, qvel, inner.dt)}
    features |= {ACTION: moves.astype(np.float32), SIMULATOR_STATE: np.hstack([qpos, qvel]).astype(np.float32)}
    return Episode(features)
