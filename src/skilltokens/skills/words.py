"""What the words of two sentences say beside their vectors: which they share, and whether one contradicts the other.

A sentence vector hardly tells "on the ramekin" from "next to the ramekin", "open" from "close" or "push" from "do not
push", and all of LIBERO-spatial's instructions are neighbours to it. Words do. They are brought to their stems, and the
commonest synonyms in commands to a robot to one word (English; other languages are compared as they are written).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skilltokens.types import Array

FEATURES = ("wording", "instruction", "unseen", "opposite", "negated", "relation", "things")
"""What `compare` tells of an instruction and a wording, column by column.

    wording       share of the wording's words that the instruction has too; rare words count more
    instruction   share of the instruction's words, of those that any wording has, that this wording has
    unseen        share of the instruction's words that no wording has
    opposite      how many words stand against their opposites (open, close)
    negated       1 where the instruction says not to
    relation      how many things stand elsewhere (on the box, next to the box)
    things        1 where no thing before the first relation is shared, and 1 where none after the last is
"""

_SYNONYMS = {
    "pick": "grab grasp take lift get fetch collect seize",
    "put": "place set lay move transfer drop rest stack store carry deposit bring",
    "push": "shove nudge slide shift scoot",
    "pull": "drag draw haul tug yank tow",
    "close": "shut",
    "hit": "strike bang pound whack beat knock",
    "next": "beside near by adjacent alongside neighbouring",
    "in": "into inside",
    "on": "onto upon",
    "around": "round past bypass",
    "turn": "switch rotate twist",
    "center": "centre middle central",
    "top": "upper uppermost highest",
    "back": "backward backwards",
    "goal": "target mark",
    "faucet": "tap",
    "stove": "cooker hob stovetop",
    "cabinet": "cupboard",
    "block": "cube",
    "puck": "disc",
    "side": "sideways",
}
_OPPOSITES = (
    "open/close on/off push/pull left/right insert/remove insert/unplug plug/unplug lock/unlock raise/lower lift/lower "
    "top/bottom top/center center/bottom front/back front/side above/below assemble/disassemble forward/back "
    "start/stop center/edge"
)
_EMPTY = (
    "a an the this that it its them there here please could can would will you your i we me my us to of and then so be "
    "is are was been do does for some just now hey hi hello ok okay robot thanks thank want need like d s m ve re ll "
    "should must have has let make sure at until where which who what one all go goes"
)
_COMMANDS = "pick put push pull close open turn hit press up down"
_RELATIONS = "on in next between under behind front above below over left right beneath"
_NEGATIONS = "not no never dont avoid without stop refrain nothing neither nor cannot except unless anything"
_PHRASES = (
    (r"n['\u2019]t\b", " not"),
    (r"\b(?:close|next|adjacent) to\b", "next"),
    (r"\bin between\b", "between"),
    (r"\b(?:to |at )?(?:in |on )?the front of\b|\bin front of\b", "front"),
    (r"\bon top of\b|\b(?:from )?atop\b", "on"),
)

_PHRASE = tuple((re.compile(pattern), word) for pattern, word in _PHRASES)
_CJK = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")  # a sign of Chinese or Japanese is a word
_ALIKE = 0.65
"""Two words of four letters or more that share this much of their letter pairs are one, mistyped."""


def stem(word: str) -> str:
    """An English word without the endings of its forms; of another language a little shorter, alike in all places."""
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
    elif len(word) > 4 and word.endswith(("ed", "ly")):
        word = word[:-2]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


_SAME = {stem(word): stem(first) for first, words in _SYNONYMS.items() for word in words.split()}
_VERBS = frozenset(stem(word) for word in _COMMANDS.split())
_SOURCES = frozenset(("from", "off", "out"))
_STOPS = _SOURCES | _VERBS
OPPOSITES = [(stem(a), stem(b)) for a, b in (pair.split("/") for pair in _OPPOSITES.split())]
EMPTY = frozenset(_EMPTY.split())
RELATIONS = frozenset(_RELATIONS.split())
NEGATIONS = frozenset(_NEGATIONS.split())


@dataclass(frozen=True)
class Said:
    """What the words of a sentence say.

    Attributes:
        words: those that mean something, in order.
        terms: each of them and each pair of neighbours.
        relations: thing -> how it is said to stand to others: on, in, next to.
        things: the things that are named before the first relation.
        places: the things that are named after the last one.
        denies: whether it says not to do something.
    """

    words: tuple[str, ...]
    terms: frozenset[str]
    relations: Mapping[str, frozenset[str]]
    things: frozenset[str]
    places: frozenset[str]
    denies: bool


@functools.lru_cache(maxsize=1 << 15)
def said(text: str) -> Said:
    """What the words of a text say."""
    text = text.lower()
    for pattern, word in _PHRASE:
        text = pattern.sub(word, text)
    stems = (stem(word) for word in _WORD.findall(text) if word not in EMPTY)
    return _parse(tuple(_SAME.get(word, word) for word in stems))


def _parse(words: tuple[str, ...]) -> Said:
    places = [i for i, word in enumerate(words) if word in RELATIONS]
    standing: dict[str, frozenset[str]] = {}
    for i in places:
        for word in _following(words, i):
            standing[word] = standing.get(word, frozenset()) | {words[i]}
    first = next((i for i, word in enumerate(words) if word in RELATIONS or word in _SOURCES), len(words))
    return Said(
        words,
        frozenset(words) | _pairs(words),
        standing,
        frozenset(words[:first]) - _VERBS,
        frozenset(_following(words, places[-1])) if places else frozenset(),
        not NEGATIONS.isdisjoint(words),
    )


def _following(words: Sequence[str], place: int) -> list[str]:
    """The two words at most, a thing and what it is like, that belong to the relation at that place."""
    following: list[str] = []
    for word in words[place + 1 : place + 3]:
        if word in RELATIONS or word in _STOPS:
            break
        following.append(word)
    return following


def _pairs(words: Sequence[str]) -> frozenset[str]:
    return frozenset(f"{a} {b}" for a, b in itertools.pairwise(words))


def compare(instruction: str, wordings: Sequence[str], owners: Sequence[int]) -> Array:
    """Compares an instruction with the wordings of some skills: an array (wordings, FEATURES).

    A word counts by how few of these skills have it: log((skills + 1) / skills that have it).

    Args:
        wordings: of the skills in question.
        owners: for each wording the number of its skill.
    """
    known = [said(wording) for wording in wordings]
    terms: dict[int, set[str]] = {}
    for one, owner in zip(known, owners, strict=True):
        terms.setdefault(owner, set()).update(one.terms)
    having, skills = Counter(itertools.chain.from_iterable(terms.values())), len(terms)
    weight = {term: math.log((skills + 1) / count) for term, count in having.items()}
    asked, surety, unseen = _understood(said(instruction), weight)
    total = sum(weight[term] * sure for term, sure in surety.items()) or 1.0
    against = _against(asked)
    rows = [(*_shares(one, weight, surety, total), unseen, *_conflicts(asked, against, one)) for one in known]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def _understood(asked: Said, weight: Mapping[str, float]) -> tuple[Said, dict[str, float], float]:
    """An instruction in the words of the wordings, mistyped ones mended; how sure each term is; the unseen share."""
    meant = [(word, 1.0) if word in weight else _alike(word, weight) for word in asked.words]
    surety: dict[str, float] = {}
    for word, sure in meant:
        if sure:
            surety[word] = max(sure, surety.get(word, 0.0))
    for (one, _), (other, _) in itertools.pairwise(meant):
        pair = f"{one} {other}"
        if pair in weight and one in surety and other in surety:
            surety[pair] = min(surety[one], surety[other])
    unseen = sum(not sure for _, sure in meant) / max(len(meant), 1)
    mended = _parse(tuple(word for word, _ in meant))
    # A word that is right as it stands may look like another one mistyped (bottom, bottle): its sense still counts.
    return dataclasses.replace(mended, words=mended.words + asked.words, denies=asked.denies), surety, unseen


def _alike(word: str, weight: Mapping[str, float]) -> tuple[str, float]:
    """The known word that is spelled most alike, and how alike; the word itself and 0 where none is."""
    if len(word) < 4:
        return word, 0.0
    letters, best = _letters(word), (word, 0.0)
    for other in weight:
        if len(other) >= 4 and abs(len(other) - len(word)) <= len(word) and " " not in other:
            theirs = _letters(other)
            alike = 2 * len(letters & theirs) / (len(letters) + len(theirs))
            if alike >= _ALIKE and (alike, other) > best[::-1]:
                best = (other, alike)
    return best


@functools.lru_cache(maxsize=1 << 14)
def _letters(word: str) -> frozenset[str]:
    """The pairs of letters of a word, its edges too."""
    edged = f"#{word}#"
    return frozenset(edged[i : i + 2] for i in range(len(edged) - 1))


def _shares(
    wording: Said, weight: Mapping[str, float], surety: Mapping[str, float], total: float
) -> tuple[float, float]:
    """The weighted share of a wording's terms that the instruction has, and of the instruction's that it has."""
    # Exact sums: the order of a set differs from process to process, and no last bit may depend on it.
    everything = math.fsum(weight[term] for term in wording.terms) or 1.0
    shared = math.fsum(weight[term] * surety[term] for term in wording.terms if term in surety)
    return shared / everything, shared / total


def _against(asked: Said) -> list[tuple[str, str]]:
    """The words of an instruction that have opposites which it has not, each with its opposite."""
    words = set(asked.words)
    pairs = (pair for one in OPPOSITES for pair in (one, one[::-1]))
    return [(word, other) for word, other in pairs if word in words and other not in words]


def _conflicts(asked: Said, against: Sequence[tuple[str, str]], wording: Said) -> tuple[float, float, float, float]:
    """The last four of FEATURES."""
    opposite = sum(other in wording.terms and word not in wording.terms for word, other in against)
    relation = sum(
        thing in wording.relations and relations.isdisjoint(wording.relations[thing])
        for thing, relations in asked.relations.items()
    )
    pairs = ((asked.things, wording.things), (asked.places, wording.places))
    things = sum(bool(one and other) and one.isdisjoint(other) for one, other in pairs)
    return opposite, float(asked.denies and not wording.denies), relation, things
