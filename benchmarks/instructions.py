"""`python -m benchmarks.instructions`: how often an instruction calls the right skill, a wrong one, or none.

Each way to choose is fitted, its threshold too, on the half of data/paraphrases.json that is for choosing, and on the
known wordings of Meta-World's 50 tasks, each asked for while it is unknown; and counted on the other half, on
Meta-World's held-out wordings and on LIBERO-PRO's. Writes results.json, and with --weights the weights that the package
ships. The sentence vectors take a minute the first time and are cached.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from skilltokens.experiments.provenance import commit, now
from skilltokens.files import write_json
from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.skills.bare import bare
from skilltokens.skills.ranking import Index, Weights, rank
from skilltokens.skills.words import FEATURES, compare
from skilltokens.suites.registry import load_suite
from skilltokens.types import Array

SCHEMA = "skilltokens.instructions/1"
DATA = Path(__file__).parent / "data" / "paraphrases.json"
WEIGHTS = Path(__file__).parents[1] / "src" / "skilltokens" / "skills" / "weights.json"
COMMAND = "python -m benchmarks.instructions"
SHARE = {"left out": 0.1, "known": 2.0}
"""How much a case of a kind counts in the fit, where not 1: a skill left out is many cases, near-twins are few."""
JUDGED = ("paraphrase", "decorated", "negation", "absent", "known")
"""The kinds of cases over which the threshold is chosen."""
WRONG = 0.0075
"""The share of them that may call a wrong skill: less than the 1 % that is promised, since other cases add chance."""
KINDS = {
    "paraphrase": "other words for a skill that is there",
    "decorated": "a skill's own words inside a prompt, with underscores, or before numbers",
    "lan": "LIBERO-PRO's paraphrases of LIBERO-spatial, -object and -goal",
    "held-out": "the two held-out wordings of each of Meta-World's 50 tasks, in a library of all 50",
    "negation": "an instruction not to do it",
    "absent": "a skill that is not there",
    "left out": "paraphrases of a skill that was taken out of its library, whose neighbours are there",
}


@dataclass(frozen=True)
class Case:
    """An instruction, the library that it is asked of, and the skill that it means, if any."""

    kind: str
    library: str
    text: str
    answer: str | None
    skills: Mapping[str, Sequence[str]]
    """Name -> known wordings."""


def libraries(content: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Library -> skill -> known wordings."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entry in content["libraries"].items():
        found[name] = {t.name: _known(t) for t in load_suite(entry["suite"]).tasks if t.name in entry["tasks"]}
    found["metaworld"] = {task.name: _known(task) for task in load_suite("metaworld").tasks}
    return found


def _known(task: Any) -> tuple[str, ...]:
    return (task.instruction, *task.wordings)


def cases(half: str) -> list[Case]:
    """All cases for "choosing" or "reporting"."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    known, found = libraries(content), []
    for name, entry in content["libraries"].items():
        skills = known[name]
        for task, texts in entry["tasks"].items():
            others = {other: own for other, own in skills.items() if other != task}
            for text in texts[half]:
                found += [Case("paraphrase", name, text, task, skills), Case("left out", name, text, None, others)]
            for frame in content["decorated"][half]:
                instruction = skills[task][0]
                text = frame.replace("{_}", instruction.replace(" ", "_")).replace("{}", instruction)
                found.append(Case("decorated", name, text, task, skills))
        found += [Case("negation", name, text, None, skills) for text in entry["negations"][half]]
        found += [Case("absent", name, text, None, skills) for text in entry["absent"][half]]
    return found + (_unknown(known["metaworld"]) if half == "choosing" else _held_out(known))


def _unknown(skills: Mapping[str, Sequence[str]]) -> list[Case]:
    """Each known wording of Meta-World's tasks, asked for while it is unknown, and while its skill is not there."""
    found = []
    for task, wordings in skills.items():
        others = {name: own for name, own in skills.items() if name != task}
        for text in wordings:
            rest = {**skills, task: [wording for wording in wordings if wording != text]}
            found += [Case("known", "metaworld", text, task, rest), Case("left out", "metaworld", text, None, others)]
    return found


def _held_out(known: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Case]:
    found = []
    for library, kind in (("metaworld", "held-out"), *((f"libero-{n}", "lan") for n in ("spatial", "object", "goal"))):
        for task in load_suite(library).tasks:
            found += [Case(kind, library, text, task.name, known[library]) for text in task.held_out]
    return found


@dataclass(frozen=True)
class Way:
    """A way to choose a skill.

    Attributes:
        features: which of the scores' parts it uses.
        strips: whether what is no instruction is left out first.
        more: whether wordings that rules generate from the known ones are known too.
        head: whether vectors go through a linear map that was trained on the other libraries' paraphrases.
        abstains: whether it may call none.
    """

    features: tuple[str, ...] = ("cosine",)
    strips: bool = False
    more: bool = False
    head: bool = False
    abstains: bool = True


ALL = ("cosine", *FEATURES)
WAYS = {
    "nearest vector, as before": Way(abstains=False),
    "nearest vector, abstaining": Way(),
    "and what is no instruction left out": Way(strips=True),
    "and more wordings by rules": Way(strips=True, more=True),
    "and a contrastive head": Way(strips=True, head=True),
    "vector and shared words": Way(ALL[:4], strips=True),
    "vector and all that words say": Way(ALL, strips=True),
    "the same, nothing left out": Way(ALL),
    "the same, more wordings by rules": Way(ALL, strips=True, more=True),
    "the same, a contrastive head": Way(ALL, strips=True, head=True),
}
SHIPPED = "vector and all that words say"


def generated(wording: str) -> list[str]:
    """Other wordings of an instruction, by rules: without articles, with other verbs."""
    plain = " ".join(word for word in wording.split() if word not in ("the", "a", "an"))
    found = [plain, f"please {wording}"]
    for verbs in (("pick up", "grab", "take"), ("put", "place", "set"), ("push", "shove"), ("close", "shut")):
        for verb in verbs:
            if f" {verb} " in f" {wording} ":
                found += [f" {wording} ".replace(f" {verb} ", f" {other} ").strip() for other in verbs if other != verb]
    return [text for text in dict.fromkeys(found) if text != wording]


@dataclass(frozen=True)
class Seen:
    """What a way sees of a case: for each wording of the library its skill, and the parts of its score."""

    case: Case
    names: list[str]
    owners: Array
    parts: Array


def see(case: Case, way: Way, encode: Callable[[Sequence[str]], Array]) -> Seen:
    """The parts of the scores of all wordings."""
    text, wordings, owners = _texts(case, way)
    columns = np.column_stack([encode(wordings) @ encode([text])[0], _words(text, wordings, owners)])
    parts = columns[:, [ALL.index(name) for name in way.features]]
    return Seen(case, list(case.skills), np.array(owners), parts)


def _texts(case: Case, way: Way) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """The instruction, the wordings that are known, and the number of each one's skill."""
    known = [(text, number) for number, own in enumerate(case.skills.values()) for text in own]
    text = bare(case.text, any(letter.isdigit() for own, _ in known for letter in own)) if way.strips else case.text
    if way.more:
        known = [(one, number) for own, number in known for one in (own, *generated(own))]
    return text, tuple(one for one, _ in known), tuple(number for _, number in known)


@functools.lru_cache(maxsize=1 << 14)
def _words(text: str, wordings: tuple[str, ...], owners: tuple[int, ...]) -> Array:
    return compare(text, wordings, owners)


class Packed:
    """Cases of different libraries as tensors of one size."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        wordings, self.skills = max(len(one.owners) for one in seen), max(len(one.names) for one in seen)
        self.parts = torch.zeros(len(seen), wordings, seen[0].parts.shape[1], dtype=torch.float64)
        self.owners = torch.full((len(seen), wordings), self.skills)
        self.answers = torch.full((len(seen),), self.skills)
        for row, one in enumerate(seen):
            self.parts[row, : len(one.owners)] = torch.from_numpy(one.parts)
            self.owners[row, : len(one.owners)] = torch.from_numpy(one.owners)
            if one.case.answer is not None:
                self.answers[row] = one.names.index(one.case.answer)

    def scores(self, weights: Tensor, none: Tensor) -> Tensor:
        """Scores (cases, skills + 1) of each skill's best wording, and of none in the last column."""
        best = torch.full((len(self.parts), self.skills + 1), -1e9, dtype=torch.float64)
        best = best.scatter_reduce(1, self.owners, self.parts @ weights, "amax")
        return torch.cat([best[:, :-1], none.expand(len(best), 1)], 1)


def fit(seen: Sequence[Seen], pull: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Weights and the score of none under which the right answers are likeliest; `pull` draws the weights to 0."""
    packed, share = Packed(seen), torch.tensor([SHARE.get(one.case.kind, 1.0) for one in seen], dtype=torch.float64)
    weights = torch.ones(packed.parts.shape[2], dtype=torch.float64, requires_grad=True)
    none = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, none], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = cross_entropy(packed.scores(weights, none), packed.answers, reduction="none")
        total = (share * each).sum() / share.sum() + pull * (weights**2).sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach(), none.detach()


def judge(seen: Sequence[Seen], weights: Tensor, none: Tensor) -> tuple[Array, Array]:
    """For each case the confidence in the best skill, and whether that is the right one."""
    packed = Packed(seen)
    confidence, first = packed.scores(weights, none).softmax(1)[:, :-1].max(1)
    return confidence.numpy(), (first == packed.answers).numpy()


def threshold(seen: Sequence[Seen], confidence: Array, right: Array) -> float:
    """The least confidence at which at most `WRONG` of the judged cases call a wrong skill."""
    judged = np.flatnonzero([one.case.kind in JUDGED for one in seen])
    order = judged[np.argsort(-confidence[judged], kind="stable")]
    wrong = np.cumsum(~right[order])
    allowed = int(np.searchsorted(wrong, WRONG * len(order), side="right"))
    if allowed == len(order):
        return 0.0
    return float(np.ceil(confidence[order[allowed]] * 1000 + 1e-9) / 1000)


def count(seen: Sequence[Seen], called: Array, right: Array) -> dict[str, dict[str, dict[str, int]]]:
    """Kind -> library -> right, wrong and abstained cases. Right is the right skill, or none where none is meant."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for one, calls, good in zip(seen, called.tolist(), right.tolist(), strict=True):
        library = found.setdefault(one.case.kind, {}).setdefault(
            one.case.library, dict.fromkeys(("right", "wrong", "abstained"), 0)
        )
        library["abstained" if not calls else "right" if good else "wrong"] += 1
    return found


def heads(half: Sequence[Case], encoder: LanguageEncoder) -> dict[str, Array]:
    """For each library a linear map (language, language), trained to bring paraphrases of the *other* ones near."""
    names = sorted({case.library for case in half if case.kind == "paraphrase"})
    found = {name: _head([other for other in names if other != name], half, encoder) for name in names}
    return {**found, "metaworld": found["cw10"]}


def _head(names: Sequence[str], half: Sequence[Case], encoder: LanguageEncoder, steps: int = 150) -> Array:
    sides = []
    for name in names:
        own = [case for case in half if case.kind == "paraphrase" and case.library == name]
        skills = list(own[0].skills)
        wordings = [(text, skills.index(skill)) for skill, texts in own[0].skills.items() for text in texts]
        keys, asked = (torch.from_numpy(encoder(texts)) for texts in ([t for t, _ in wordings], [c.text for c in own]))
        answers = torch.tensor([skills.index(case.answer or "") for case in own])
        sides.append((asked, keys, torch.tensor([owner for _, owner in wordings]), answers, len(skills)))
    still = torch.eye(encoder.dim)
    head = still.clone().requires_grad_()
    optimizer = torch.optim.Adam([head], 1e-3)
    for _ in range(steps):
        loss = 1e-2 * ((head - still) ** 2).sum()
        for asked, keys, owners, answers, skills in sides:
            cosines = normalize(asked @ head) @ normalize(keys @ head).T
            best = torch.full((len(asked), skills), -1.0).scatter_reduce(
                1, owners.expand(len(asked), -1), cosines, "amax"
            )
            loss = loss + cross_entropy(20 * best, answers) / len(sides)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.detach().numpy()


def try_way(
    way: Way, halves: Mapping[str, Sequence[Case]], encoder: LanguageEncoder, maps: Mapping[str, Array]
) -> dict[str, Any]:
    """Fits a way on the choosing half and counts it on both."""

    def encode(library: str) -> Callable[[Sequence[str]], Array]:
        if not way.head:
            return encoder
        return lambda texts: normalize(torch.from_numpy(encoder(texts) @ maps[library])).numpy()

    seen = {half: [see(case, way, encode(case.library)) for case in own] for half, own in halves.items()}
    weights, none = fit(seen["choosing"])
    confidence, right = judge(seen["choosing"], weights, none)
    least = threshold(seen["choosing"], confidence, right) if way.abstains else 0.0
    told: dict[str, Any] = {
        "way": dataclasses.asdict(way),
        "weights": {name: round(value, 3) for name, value in zip(way.features, weights.tolist(), strict=True)},
        "none": round(none.item(), 3),
        "threshold": least,
    }
    for half, own in seen.items():
        confidence, right = judge(own, weights, none)
        told[half] = count(own, confidence >= least, right)
    return told


def ask_package(
    half: Sequence[Case], encoder: LanguageEncoder, weights: Weights
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same counts by the package's own `rank`, and how sure it was against how often it was right."""
    found, sure = [], []
    for case in half:
        index = Index.of([(name, own, encoder(own)) for name, own in case.skills.items()])
        text = bare(case.text, index.numbers)
        ranking = rank(text, encoder([text])[0], index, weights=weights)
        found.append((case, ranking))
        sure.append((ranking.confidence, ranking.candidates[0].name == case.answer, case.kind))
    called = np.array([not ranking.abstains for _, ranking in found])
    right = np.array([first for _, first, _ in sure])
    empty = np.zeros((0, 0))
    seen = [Seen(case, [], empty, empty) for case, _ in found]
    return count(seen, called, right), _calibration([(c, r) for c, r, kind in sure if kind != "left out"])


def _calibration(sure: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
    rows = []
    for low, high in itertools.pairwise(edges):
        own = [(c, r) for c, r in sure if low <= c < high or c == high == 1.0]
        mean = float(np.mean([c for c, _ in own])) if own else 0.0
        rows.append(
            {"from": low, "to": high, "cases": len(own), "right": sum(r for _, r in own), "confidence": round(mean, 3)}
        )
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/instructions/results.json"), help="where to write")
    parser.add_argument("--weights", action="store_true", help="write the fitted weights into the package too")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    encoder = load_encoder()
    halves = {half: cases(half) for half in ("choosing", "reporting")}
    maps = heads(halves["choosing"], encoder)
    content: dict[str, Any] = {"schema": SCHEMA, "command": COMMAND, "made": now(), "commit": commit()}
    content["ways"] = {}
    for name, way in WAYS.items():
        print(f"trying: {name}", file=sys.stderr, flush=True)
        content["ways"][name] = try_way(way, halves, encoder, maps)
    chosen = content["ways"][SHIPPED]
    weights = Weights(chosen["weights"], chosen["none"], chosen["threshold"])
    if options.weights:
        write_json(WEIGHTS, {"command": f"{COMMAND} --weights", **dataclasses.asdict(weights)})
    content["package"], content["calibration"] = ask_package(halves["reporting"], encoder, weights)
    write_json(options.out, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
