"""Which earlier skill a new one starts from: rules that choose by words, by demonstrations, or by a name.

    instruction   the skill whose wordings are nearest to the new instruction
    data          the skill whose policy, given its own instruction, has the least cloning loss on the new
                  demonstrations; the base is asked once more with the new instruction, since a base of many tasks
                  may do what it was never shown
    named         the one that the settings name

Asking a skill by data costs one forward pass over WINDOWS windows; of a large library the MOST nearest by instruction
are asked. The windows are spread evenly over the demonstrations, so that nothing is drawn: the same skills and
demonstrations give the same choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from skilltokens.methods.examples import Examples, Source, imitation
from skilltokens.methods.start.choosing import BASE_ITSELF
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.types import Array, DemonstrationError

if TYPE_CHECKING:
    from skilltokens.methods.base import Lesson

WINDOWS, GROUP = 256, 64
"""Windows of the new demonstrations that every skill is asked about, and how many go through the policy at once."""
MOST = 64
"""Skills that are asked about data at most."""
KEPT = 5
"""Scores that are kept of a choice: the best."""


@dataclass(frozen=True)
class Score:
    """How a rule judges one candidate: a cosine, where more is better, or a cloning loss, where less is."""

    skill: str
    """Its name; "base" for the base with the new instruction."""
    number: int | None
    """Its place among all skills, a library's first; None for the base with the new instruction."""
    score: float


@dataclass(frozen=True)
class Neighbour:
    """What a new skill starts from, by which rule, and what else there was to choose from."""

    rule: str
    number: int | None
    """Its place among all skills, a library's first; None: the base itself."""
    name: str
    """Its name; "base" for the base itself."""
    scores: tuple[Score, ...] = ()
    """Of the best KEPT candidates, the best first."""
    asked: int = 0
    """How many candidates were judged."""
    by_instruction: str = ""
    """What the rule by instruction chooses."""


@dataclass(frozen=True)
class Candidate:
    """A policy that a new skill may start from, and the instruction that it acts by (language,)."""

    skill: str
    number: int | None
    policy: Policy
    instruction: Array


def cosines(embedding: Array, wordings: Sequence[Array]) -> NDArray[np.float64]:
    """The cosine of an instruction (language,) with the nearest wording of each skill (wordings, language)."""
    return np.array([float((own @ embedding).max()) for own in wordings], np.float64)


def asked_about_data(embedding: Array, wordings: Sequence[Array], most: int = MOST) -> list[int]:
    """The skills that are asked about data, in the order learned: all, or of many the nearest by instruction."""
    nearness = cosines(embedding, wordings)
    return sorted(np.argsort(-nearness, kind="stable")[:most].tolist())


def cloning_losses(candidates: Sequence[Candidate], lesson: Lesson, train: TrainSettings) -> list[float]:
    """The loss of each candidate, given its own instruction, on a lesson's demonstrations: less is nearer.

    Args:
        candidates: their pictures, where there are any, are seen by one frozen trunk.
        train: the window's length, the precision and the device.

    Raises:
        DemonstrationError: the demonstrations are gone.
    """
    check_there(lesson)
    source = Source(lesson, train.quiet(), candidates[0].policy)
    groups = list(_spread(source, len(source)))
    return [mean_loss(one.policy, one.instruction, groups, train) for one in candidates]


def check_there(lesson: Lesson) -> None:
    """Raises DemonstrationError where the demonstrations that a rule needs are not there, or not any more."""
    places = [str(store.path) for store in lesson.stores if not os.path.isdir(store.path)]
    if places or not lesson.stores:
        where = f"at {places[0]} " if places else ""
        raise DemonstrationError(
            f"a neighbour by data needs the demonstrations of {lesson.names[0]}, which are not {where}any more: make "
            "them again, or use --method.neighbour instruction"
        )


def _spread(source: Source, windows: int, first: int = 0) -> Iterator[Examples]:
    """WINDOWS windows spread evenly over those from `first` on, in groups; a short source gives some of them twice."""
    numbers = np.linspace(first, windows - 1, WINDOWS).round().astype(np.int64)
    for start in range(0, WINDOWS, GROUP):
        examples = source.at(numbers[start : start + GROUP], np.random.default_rng(0))
        yield replace(examples, stride=None)


@torch.no_grad()
def mean_loss(policy: Policy, instruction: Array, groups: Sequence[Examples], train: TrainSettings) -> float:
    """The mean loss of a policy on groups of windows of one size, given one instruction (language,)."""
    quiet, nothing = train.quiet(), np.random.default_rng(0)
    word = torch.as_tensor(np.array(instruction, np.float32))
    losses = []
    for examples in groups:
        words = word.to(examples.words.device).expand_as(examples.words)
        losses.append(float(imitation(policy, replace(examples, words=words), quiet, nothing)))
    return float(np.mean(losses))


def held_out(lesson: Lesson, train: TrainSettings, policy: Policy, episodes: int) -> list[Examples]:
    """Windows spread over the demonstrations of a lesson's store behind the first `episodes`, in groups."""
    source = Source(lesson, train.quiet(), policy)
    return list(_spread(source, len(source), int(lesson.stores[0].offsets[episodes])))


def least(candidates: Sequence[Candidate], losses: Sequence[float], by_instruction: str) -> Neighbour:
    """The choice by data: the least loss, of equal ones that of the older skill."""
    scores = [Score(one.skill, one.number, loss) for one, loss in zip(candidates, losses, strict=True)]
    best = sorted(scores, key=lambda score: score.score)[:KEPT]
    return Neighbour("data", best[0].number, best[0].skill, tuple(best), len(scores), by_instruction)


def by_words(number: int, names: Sequence[str], nearness: NDArray[np.float64]) -> Neighbour:
    """The choice by instruction, with the cosines of the nearest skills."""
    order = [int(i) for i in np.argsort(-nearness, kind="stable")[:KEPT]]
    scores = tuple(Score(names[i], i, float(nearness[i])) for i in order)
    return Neighbour("instruction", number, names[number], scores, len(names), names[number])


def by_name(number: int | None, names: Sequence[str], by_instruction: str) -> Neighbour:
    """The choice by a name."""
    return Neighbour("named", number, BASE_ITSELF if number is None else names[number], by_instruction=by_instruction)


def noted(neighbour: Neighbour) -> Mapping[str, object]:
    """A choice as run.json has it."""
    return {
        "rule": neighbour.rule,
        "skill": neighbour.name,
        "number": neighbour.number,
        "asked": neighbour.asked,
        "by_instruction": neighbour.by_instruction,
        "scores": [
            {"skill": one.skill, "number": one.number, "score": round(one.score, 6)} for one in neighbour.scores
        ],
    }
