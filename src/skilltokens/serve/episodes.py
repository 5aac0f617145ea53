"""Which skill acts for a robot, with which memory, and when an episode begins.

openpi's protocol has no episodes. Here one begins with a new connection, with another prompt, and with `reset: true` in
a request; vla-eval says it by messages. A refused request moves nothing: not the memory, not the episode.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skilltokens.attached.acting import AttachedActor
from skilltokens.attached.library import AttachedLibrary
from skilltokens.model.actor import PolicyActor
from skilltokens.serve.naming import Naming, renames
from skilltokens.serve.settings import ServeSettings
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.ranking import Ranking, ask
from skilltokens.skills.together import AheadActor
from skilltokens.types import ACTION, Array, Feature, NoSkillError, Report, ServeError, SettingError, silent

PROMPTS = 1024
"""Prompts whose skill is remembered, so that a new episode costs no sentence vector."""
RULE = "an episode begins with a new connection, with another prompt, and with `reset: true` in a request"


@dataclass(frozen=True)
class Step:
    """What a robot is to do.

    Attributes:
        actions: (n, A) float32, in the robot's own units, the first one first.
        skill: the name of the skill that acts.
        score: the confidence that the prompt means it, from 0 to 1.
        number: of this step in its episode, from 0.
        unused: names in the request that the skill does not read.
    """

    actions: Array
    skill: str
    score: float
    number: int
    unused: list[str]


class Repertoire:
    """A library that acts for many robots; to be used by one thread at a time.

    Raises:
        SettingError: a name in `settings.rename` is none, or the library's policy has no chunks and some are asked for.
    """

    def __init__(
        self, library: ActingLibrary | AttachedLibrary, settings: ServeSettings, report: Report = silent
    ) -> None:
        self.library, self.settings = library, settings
        self.features = library.features
        self.renamed = renames(settings.rename, self.features)
        most = library.longest
        if settings.chunk > most:
            raise SettingError(f"chunk {settings.chunk} is impossible: this library's policy predicts {most} at a time")
        self._language = library.language(report)
        self.rank = functools.lru_cache(PROMPTS)(self._rank)
        self.naming = functools.lru_cache(PROMPTS)(self._naming)

    def _rank(self, prompt: str) -> Ranking:
        embed = functools.partial(self._language, keep=False)
        return ask(prompt, embed, self.library.index, self.settings.threshold)

    def actor(self, name: str) -> PolicyActor | AttachedActor:
        """The actor of a skill; all robots share it, each with its own memory."""
        if isinstance(self.library, AttachedLibrary):
            return self.library.actor_of(name)
        return self.library.actor_of(name, self.settings.device, traced=True)

    def _naming(self, name: str) -> Naming:
        """What a skill reads. A task token may read features that are not the library's own."""
        actor = self.actor(name)
        if isinstance(actor, AttachedActor):
            return Naming({n: f for n, f in self.features.items() if n != ACTION}, self.features, self.renamed)
        token = actor.policy.task_token
        own = {n: Feature((width,)) for n, width in token.features.items()} if token is not None else {}
        known = {**own, **self.features}
        if strange := [n for n in actor.policy.seen if n not in known]:
            raise ServeError(f"skill {name!r} reads {strange[0]!r}, whose shape the library does not say")
        return Naming({n: known[n] for n in actor.policy.seen}, known, self.renamed)

    def actions(self, actor: AheadActor, observation: Mapping[str, Array], memory: Any, horizon: int) -> Array:
        """Actions (horizon, A) for observations (1, *shape); the memory moves on.

        Raises:
            ServeError: the policy gave an action that is not finite.
        """
        actions = actor.act(observation, memory) if horizon == 1 else actor.chunk(observation, memory, horizon)[0]
        if not np.isfinite(actions).all():
            raise ServeError("the policy's action is not finite: nothing was sent to the robot")
        return actions


@dataclass
class _Episode:
    prompt: str
    skill: str
    score: float
    actor: AheadActor
    memory: Any
    steps: int = 0


class Robot:
    """One robot: the episode that it is in, and the prompt that it gave last."""

    def __init__(self, repertoire: Repertoire, horizon: int | None = None) -> None:
        self.repertoire = repertoire
        self.horizon = horizon or repertoire.settings.chunk
        self.prompt = repertoire.settings.prompt or None
        self.episode: _Episode | None = None

    def end(self) -> None:
        """Ends the episode; the next request begins another one."""
        self.episode = None

    def step(self, prompt: str | None, entries: Mapping[Any, Any], reset: bool = False) -> Step:
        """The next actions.

        Args:
            prompt: the instruction; None: the last one.
            entries: the observation, by the names of the request.
            reset: begin an episode.

        Raises:
            NoSkillError: no skill is sure enough; the episode is over.
            ServeError: there is no prompt, or the observation does not fit.
            LanguageError: the prompt is empty or too long.
            LibraryError: the skill is damaged.
        """
        prompt = self.prompt if prompt is None else prompt
        if prompt is None:
            raise ServeError("the request has no `prompt`: say in a sentence what the robot shall do")
        episode = self.episode
        if episode is None or reset or prompt != episode.prompt:
            self.end()
            episode = self._begin(prompt)
        observation, unused = self.repertoire.naming(episode.skill).read(entries)
        actions = self.repertoire.actions(episode.actor, observation, episode.memory, self.horizon)
        self.episode, self.prompt = episode, prompt
        episode.steps += 1
        return Step(actions, episode.skill, episode.score, episode.steps - 1, unused)

    def _begin(self, prompt: str) -> _Episode:
        ranking = self.repertoire.rank(prompt)
        if ranking.chosen is None:
            raise NoSkillError(ranking.sentence())
        name = self.repertoire.library.names[ranking.chosen]
        actor = self.repertoire.actor(name)
        return _Episode(prompt, name, ranking.confidence, actor, actor.start(1))
