"""Which skill an instruction means, how sure that is, and which ones it could mean otherwise.

A skill's score is a weighted sum of a wording's cosine and of what the words say (`words.py`). All skills' scores, and
a constant for "none of them", become probabilities by a softmax: so two skills that are equally near are at
most half sure each, and an instruction that is far from all means none. The weights are fitted on held-out wordings
(`weights.json` says by which command), for English and MiniLM's cosines; docs/instructions.md has the figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np

from skilltokens.language import checked, normal
from skilltokens.skills.bare import bare
from skilltokens.skills.selection import TIE
from skilltokens.skills.words import FEATURES, compare
from skilltokens.types import Array, LanguageError

NEAREST = 32
"""So many skills, the nearest by their vectors, are compared word by word."""
WORDINGS = 8
"""So many wordings of each, the nearest ones."""


@dataclass(frozen=True)
class Weights:
    """What a score is made of.

    Attributes:
        features: name -> weight: the cosine, then the FEATURES of `words.py`.
        none: the score of "no skill".
        threshold: the confidence below which nothing is called, where the user sets none.
    """

    features: dict[str, float]
    none: float
    threshold: float

    def scores(self, cosines: Array, words: Array) -> Array:
        """Scores (n,) of wordings, from their cosines (n,) and `compare`'s columns (n, FEATURES)."""
        weights = np.array([self.features[name] for name in FEATURES])
        return self.features["cosine"] * np.asarray(cosines, np.float64) + words @ weights


@cache
def packaged_weights() -> Weights:
    """The weights that come with the package."""
    content = json.loads(resources.files("skilltokens.skills").joinpath("weights.json").read_text(encoding="utf-8"))
    return Weights(content["features"], content["none"], content["threshold"])


class Index:
    """The wordings of many skills and their vectors, to be searched.

    Args:
        names: of the skills, by number. Equal names are versions of one skill, of which the last is called.
        wordings: of all skills one after another (n).
        vectors: their unit vectors (n, language), float32; may be memory-mapped.
        owners: for each wording the number of its skill (n), never falling.
        live: for each wording whether it calls its skill (n); all do where left out. Those of a retired skill do not.

    Raises:
        ValueError: the sizes do not fit, or `owners` falls.
    """

    def __init__(
        self,
        names: Sequence[str],
        wordings: Sequence[str],
        vectors: Array,
        owners: Array,
        live: Array | None = None,
    ) -> None:
        self.names, self.wordings, self.vectors = names, wordings, vectors
        self.owners = np.asarray(owners, np.int64)
        self.silent = None if live is None else np.flatnonzero(~np.asarray(live, bool))
        sizes = {len(wordings), len(vectors), len(self.owners)} | (set() if live is None else {len(live)})
        if len(sizes) > 1 or (np.diff(self.owners) < 0).any() or (self.owners >= len(names)).any():
            raise ValueError("an index needs one vector, owner and mark for each wording, skill after skill")
        self.starts = np.flatnonzero(np.diff(self.owners, prepend=-1))

    @classmethod
    def of(cls, skills: Sequence[tuple[str, Sequence[str], Array]]) -> Index:
        """An index of skills: each one's name, wordings and their unit vectors (wordings, language)."""
        names, wordings, vectors = zip(*skills, strict=True)
        owners = np.repeat(np.arange(len(skills)), [len(own) for own in wordings])
        return cls(names, [text for own in wordings for text in own], np.concatenate(vectors), owners)

    @cached_property
    def numbers(self) -> bool:
        """Whether a wording has a digit: then numbers in an instruction mean something."""
        return re.search(r"\d", "\n".join(self.wordings)) is not None

    def nearest(self, vector: Array) -> tuple[Array, Array]:
        """The nearest wordings of the nearest skills that can be called: their places, skill by skill, and cosines."""
        cosines = np.asarray(self.vectors @ np.asarray(vector, np.float32))
        if self.silent is not None:
            cosines[self.silent] = -np.inf
        best = np.maximum.reduceat(cosines, self.starts) if len(self.starts) else np.zeros(0)
        kept = np.argpartition(-best, NEAREST)[:NEAREST] if len(best) > NEAREST else np.arange(len(best))
        ends = np.append(self.starts[1:], len(cosines))
        places: list[int] = []
        for skill in np.sort(kept[np.isfinite(best[kept])]).tolist():
            own = np.arange(int(self.starts[skill]), int(ends[skill]))
            own = own[np.isfinite(cosines[own])]
            places += sorted(own[np.argsort(-cosines[own], kind="stable")[:WORDINGS]].tolist())
        chosen = np.array(places, np.int64)
        return chosen, cosines[chosen]


@dataclass(frozen=True)
class Candidate:
    """A skill that an instruction may mean.

    Attributes:
        number: the skill's.
        name: the skill's.
        wording: its wording with the highest score.
        cosine: of that wording and the instruction.
        score: in natural logarithms of odds; only differences matter.
        probability: that it is the one that is meant.
    """

    number: int
    name: str
    wording: str
    cosine: float
    score: float
    probability: float


@dataclass(frozen=True)
class Ranking:
    """The skills that an instruction may mean.

    Attributes:
        instruction: as it was understood, without what is none.
        candidates: the best first, one for each name, `NEAREST` at most.
        confidence: the probability that the first is meant; 1 where the instruction is one of its wordings alone.
        margin: by how much the first's score is above the second's; infinite where there is one.
        threshold: the confidence below which none is called.
        tied: numbers of other skills that have the very wording of the first. The newest comes first.
    """

    instruction: str
    candidates: tuple[Candidate, ...]
    confidence: float
    margin: float
    threshold: float
    tied: tuple[int, ...] = ()

    @property
    def chosen(self) -> int | None:
        """The number of the skill to call; None where that is not sure enough."""
        return None if self.abstains else self.candidates[0].number

    @property
    def abstains(self) -> bool:
        """Whether no skill is to be called."""
        return not self.candidates or self.confidence < self.threshold

    def sentence(self) -> str:
        """What was decided, for people: the skill, or why there is none and which ones are nearest."""
        if not self.candidates:
            return f"no skill can be called by {self.instruction[:60]!r}: there is none"
        first, shown = self.candidates[0], self.candidates[:3]
        if not self.abstains:
            return f"{self.instruction[:60]!r} calls {first.name!r} (confidence {self.confidence:.2f})"
        nearest = ", ".join(f"{one.name!r} ({one.wording[:60]!r}, {one.probability:.2f})" for one in shown)
        return (
            f"no skill is sure enough for {self.instruction[:60]!r} ({self.confidence:.2f}, {self.threshold:.2f} is "
            f"needed): nearest are {nearest}; use one's own words, or a lower threshold"
        )


def ask(
    instruction: str,
    encoder: Callable[[Sequence[str]], Array],
    index: Index,
    threshold: float | None = None,
    weights: Weights | None = None,
) -> Ranking:
    """Ranks the skills for an instruction as somebody gave it: what is none of it is left out first (`bare`).

    Raises:
        LanguageError: the instruction is empty or too long, or the threshold is not in [0, 1].
    """
    text = bare(checked(instruction), index.numbers)
    _check_threshold(threshold)  # before the encoder is loaded
    return rank(text, encoder([text])[0], index, threshold, weights)


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise LanguageError(f"a threshold of {threshold} is no confidence: give a number from 0 to 1")


def rank(
    instruction: str,
    vector: Array,
    index: Index,
    threshold: float | None = None,
    weights: Weights | None = None,
) -> Ranking:
    """Ranks the skills for an instruction.

    An instruction that is a skill's wording, white space, letter case and final punctuation aside, means that skill for
    certain, unless another skill has the same wording.

    Args:
        instruction: without what is none (`bare`).
        vector: its unit vector (language,).
        index: the skills.
        threshold: the confidence in [0, 1] below which none is called; 0 calls one always.
        weights: those of the package where left out.

    Raises:
        LanguageError: the threshold is not in [0, 1].
    """
    weights = weights or packaged_weights()
    threshold = weights.threshold if threshold is None else threshold
    _check_threshold(threshold)
    places, cosines = index.nearest(vector)
    if not len(places):
        return Ranking(instruction, (), 0.0, 0.0, threshold)
    owners = index.owners[places]
    texts: list[str] = [index.wordings[int(place)] for place in places]
    scores = weights.scores(cosines, compare(instruction, texts, owners.tolist()))
    candidates = _candidates(index, owners, texts, cosines, scores, weights.none)
    words = normal(instruction)
    having = {owner for owner, text in zip(owners.tolist(), texts, strict=True) if normal(text) == words}
    exact = [one for one in candidates if one.number in having]
    if exact:
        first = max(exact, key=lambda one: one.number)
        candidates, confidence = [first, *(one for one in candidates if one is not first)], 1 / len(exact)
    else:
        first, confidence = candidates[0], candidates[0].probability
    alike = exact or [one for one in candidates if normal(one.wording) == normal(first.wording)]
    tied = tuple(one.number for one in alike if one is not first)
    margin = first.score - candidates[1].score if len(candidates) > 1 else float("inf")
    return Ranking(instruction, tuple(candidates), confidence, margin, threshold, tied)


def _candidates(
    index: Index, owners: Array, texts: Sequence[str], cosines: Array, scores: Array, none: float
) -> list[Candidate]:
    """One candidate for each name, the best first; of equal ones, and of one name's versions, the newest first."""
    best: dict[str, tuple[float, int, int]] = {}
    for place, (score, owner) in enumerate(zip(map(float, scores), map(int, owners), strict=True)):
        name = index.names[owner]
        known = best.get(name)
        if known is None or owner > known[1] or (owner == known[1] and score > known[0]):
            best[name] = (score, owner, place)
    rows: list[tuple[float, int, int, str]] = [(*row, name) for name, row in best.items()]
    rows.sort(key=lambda row: (-round(row[0] / TIE), -row[1]))
    top = max(none, *(row[0] for row in rows))
    odds = np.exp([*(row[0] - top for row in rows), none - top])
    probabilities = (odds / odds.sum()).tolist()
    return [
        Candidate(number, name, texts[place], float(cosines[place]), score, probability)
        for (score, number, place, name), probability in zip(rows, probabilities, strict=False)
    ]
