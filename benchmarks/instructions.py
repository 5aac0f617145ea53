"""`python -m benchmarks.instructions`: how often an instruction calls the right skill, a wrong one, or none.

Each way to choose is fitted, its threshold too, on the half of data/paraphrases.json that is for choosing, and on the
known wordings of Meta-World's 50 tasks, each asked for while it is unknown; and counted on the other half, on
Meta-World's held-out wordings and on LIBERO-PRO's. Writes results.json and the tables of docs/instructions.md, and with
--weights the weights that the package ships. The sentence vectors take a minute the first time and are cached.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from benchmarks.paraphrases import KINDS, Case, cases
from skilltokens.experiments.provenance import commit, now
from skilltokens.files import write_bytes, write_json
from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.metrics import wilson
from skilltokens.skills.bare import bare
from skilltokens.skills.ranking import Index, Ranking, Weights, ask
from skilltokens.skills.words import FEATURES, compare
from skilltokens.types import Array

SCHEMA = "skilltokens.instructions/1"
WEIGHTS = Path(__file__).parents[1] / "src" / "skilltokens" / "skills" / "weights.json"
COMMAND = "python -m benchmarks.instructions"
SHARE = {"left out": 0.1, "known": 2.0}
"""How much a case of a kind counts in the fit, where not 1: a skill left out is many cases, near-twins are few."""
JUDGED = ("paraphrase", "decorated", "negation", "absent", "known")
"""The kinds of cases over which the threshold is chosen."""
WRONG = 0.0075
"""The share of them that may call a wrong skill: less than the 1 % that is promised, since other cases add chance."""
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Other thresholds that a user might set."""
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
"""Between these the confidence is held against what came true."""
MARKS = ("<!-- tables of python -m benchmarks.instructions -->", "<!-- end of the tables -->")
"""Between these stand the tables on the page."""


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
    return {**found, "metaworld": found["cw10"], "libero-10": found["libero-goal"]}


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


def ask_package(half: Sequence[Case], encoder: LanguageEncoder, weights: Weights) -> dict[str, Any]:
    """The same counts by the package's own `rank`, at some thresholds, and how often it is right when how sure."""
    rankings: list[Ranking] = []
    for case in half:
        index = Index.of([(name, own, encoder(own)) for name, own in case.skills.items()])
        rankings.append(ask(case.text, encoder, index, weights=weights))
    seen = [Seen(case, [], np.zeros(0), np.zeros(0)) for case in half]
    sure = np.array([ranking.confidence for ranking in rankings])
    right = np.array([one.candidates[0].name == case.answer for one, case in zip(rankings, half, strict=True)])
    told = np.array([case.kind != "left out" for case in half])
    return {
        "package": count(seen, sure >= weights.threshold, right),
        "thresholds": [{"threshold": least, "kinds": count(seen, sure >= least, right)} for least in THRESHOLDS],
        "calibration": _calibration(sure[told], right[told]),
    }


def _calibration(sure: Array, right: Array) -> list[dict[str, Any]]:
    rows = []
    for low, high in itertools.pairwise(EDGES):
        own = (sure >= low) & ((sure < high) | (high == EDGES[-1]))
        mean = round(float(sure[own].mean()), 3) if own.any() else None
        rows.append(
            {"from": low, "to": high, "cases": int(own.sum()), "right": int(right[own].sum()), "confidence": mean}
        )
    return rows


def total(counts: Mapping[str, Mapping[str, int]]) -> tuple[int, int, int]:
    """Right, wrong and abstained cases over all libraries."""
    right, wrong, abstained = (sum(one[name] for one in counts.values()) for name in ("right", "wrong", "abstained"))
    return right, wrong, abstained


def tables(content: Mapping[str, Any]) -> str:
    """The tables of docs/instructions.md."""
    kinds = list(KINDS)
    ways = [("| way | " + " | ".join(kinds) + " |"), "|---" * (len(kinds) + 1) + "|"]
    for name, told in content["ways"].items():
        cells = (" / ".join(map(str, total(told["reporting"][kind]))) for kind in kinds)
        ways.append(f"| {name} | {' | '.join(cells)} |")
    own = ["| the package, by kind | library | right | wrong | abstained | wrong, 95 % interval |", "|---" * 6 + "|"]
    for kind in kinds:
        for library, found in content["package"][kind].items():
            own.append(_row(f"| {kind} | {library} |", (found["right"], found["wrong"], found["abstained"])))
    whole = np.sum([total(content["package"][kind]) for kind in kinds if kind != "left out"], axis=0).tolist()
    own.append(_row("| all but left out | |", whole))
    steps = ["| threshold | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for step in content["thresholds"]:
        cells = (" / ".join(map(str, total(step["kinds"][kind]))) for kind in kinds)
        steps.append(f"| {step['threshold']} | {' | '.join(cells)} |")
    sure = ["| confidence | cases | mean confidence | first is right |", "|---" * 4 + "|"]
    for row in content["calibration"]:
        share = f"{row['right'] / row['cases']:.2f}" if row["cases"] else "-"
        sure.append(f"| {row['from']} to {row['to']} | {row['cases']} | {row['confidence']} | {share} |")
    return "\n\n".join("\n".join(lines) for lines in (ways, own, steps, sure))


def _row(start: str, counts: Sequence[int]) -> str:
    right, wrong, abstained = counts
    low, high = wilson(wrong, right + wrong + abstained)
    return f"{start} {right} | {wrong} | {abstained} | {100 * float(low):.1f} to {100 * float(high):.1f} % |"


def write_page(path: Path, content: Mapping[str, Any]) -> None:
    """Puts the tables between the page's two marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    text = f"{before}{MARKS[0]}\n\n{tables(content)}\n\n{MARKS[1]}{after}"
    write_bytes(path, text.encode())


def main(words: Sequence[str] | None = None) -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/instructions/results.json"), help="where to write")
    parser.add_argument("--page", type=Path, default=Path("docs/instructions.md"), help="the page with the tables")
    parser.add_argument("--weights", action="store_true", help="write the fitted weights into the package too")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    encoder = load_encoder()
    halves = {half: cases(half) for half in ("choosing", "reporting")}
    maps = heads(halves["choosing"], encoder)
    content: dict[str, Any] = {"schema": SCHEMA, "command": COMMAND, "made": now(), "commit": commit(), "kinds": KINDS}
    content["ways"] = {}
    for name, way in WAYS.items():
        print(f"trying: {name}", file=sys.stderr, flush=True)
        content["ways"][name] = try_way(way, halves, encoder, maps)
    chosen = content["ways"][SHIPPED]
    weights = Weights(chosen["weights"], chosen["none"], chosen["threshold"])
    if options.weights:
        write_json(WEIGHTS, {"command": f"{COMMAND} --weights", **dataclasses.asdict(weights)})
    content |= ask_package(halves["reporting"], encoder, weights)
    write_json(options.out, content)
    write_page(options.page, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
