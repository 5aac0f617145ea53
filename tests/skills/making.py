"""Skills of random numbers on a small real base, in every form that a library holds: made in a moment, not trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tests.toy import Toy
from torch import Tensor

from skilltokens.language import load_encoder
from skilltokens.methods.base import generator_of
from skilltokens.model.lowrank import leaves, matrices
from skilltokens.model.pattention import Pattention
from skilltokens.model.policy import TASK_TOKEN, Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.model.task_token import TaskToken
from skilltokens.skills.acting import ActingLibrary
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import BASE, Rows, Skill, TaskTokenSpec
from skilltokens.types import ENVIRONMENT_STATE, STATE, Array, Feature

LANGUAGE = 24
ENCODER = "minilm"
"""What the libraries say of their vectors, which are of chance: nobody asks it here."""
SMALL = PolicySettings(width=16, layers=1, history=3)
HEAD = "head.map.weight"


def features() -> dict[str, Feature]:
    return dict(Toy().features)


def make_base(seed: int = 0, language: int = LANGUAGE) -> Policy:
    """A frozen base of some 5,000 numbers."""
    toy = Toy()
    return Policy(Shape.of(toy.features, toy.scales, language), SMALL, generator_of(seed, 0)).requires_grad_(False)


def vectors(texts: Sequence[str], language: int = LANGUAGE) -> Array:
    """A unit vector for each text, always the same for the same text."""
    seeds = [list(hashlib.sha256(text.encode()).digest()) for text in texts]
    rows = np.stack([np.random.default_rng(seed).standard_normal(language) for seed in seeds])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def said(texts: Sequence[str]) -> Array:
    """The vectors of MiniLM."""
    return load_encoder()(texts)


def first(name: str = "base", wordings: Sequence[str] = ()) -> Skill:
    """The skill that is the base itself."""
    texts = tuple(wordings) or (f"do {name}", f"please do {name}")
    return Skill(name, texts, vectors(texts))


def grown(base: Policy, name: str, reused: Sequence[Skill] = (), gates: bool = False, rows: int = 2) -> Skill:
    """A skill of rows, as T2S leaves one: it reuses rows of the base and of other skills, and has a head of its own."""
    draw = _draws(name)
    tensors: dict[str, Tensor] = {}
    active: dict[str, Rows] = {}
    for path, part in base.maps().items():
        assert isinstance(part, Pattention)
        own = [(skill.identity, np.arange(min(1, skill.rows(path)))) for skill in reused]
        active[path] = Rows.of([(BASE, np.arange(0, len(part.key), 2)), *own])
        tensors[f"{path}.key"] = draw(rows, part.key.shape[1])
        tensors[f"{path}.value"] = draw(rows, part.value.shape[1])
        if gates:
            tensors[f"{path}.gate"] = draw(len(active[path]))
    known = base.state_dict()
    tensors |= {n: draw(*known[n].shape) for n in known if n.startswith("head.")}
    return _skill(base, name, tensors, active)


def adapted(base: Policy, name: str) -> Skill:
    """A skill of low-rank adapters."""
    draw = _draws(name)
    tensors: dict[str, Tensor] = {}
    for path, leaf in leaves(base):
        for matrix in matrices(leaf):
            a, b = getattr(leaf, matrix).shape
            tensors |= {f"{path}.up.{matrix}": draw(a, 1), f"{path}.down.{matrix}": draw(1, b)}
    return _skill(base, name, tensors, {}, form="lora")


def whole(base: Policy, name: str) -> Skill:
    """A skill that is a policy of its own."""
    draw = _draws(name)
    tensors = {n: t + draw(*t.shape) for n, t in base.state_dict().items() if t.is_floating_point()}
    return _skill(base, name, {**base.state_dict(), **tensors}, {}, form="whole")


def steering(base: Policy, name: str, on: Skill) -> Skill:
    """A skill from reward: a task token that steers another skill."""
    draw, seen = _draws(name), {ENVIRONMENT_STATE: 4, STATE: 2}
    token = TaskToken(seen, base.settings.width, 1, (8,), torch.Generator().manual_seed(0), ())
    tensors = {
        f"{TASK_TOKEN}.{n}": t + draw(*t.shape) if t.is_floating_point() and not n.startswith("norm.") else t
        for n, t in token.state_dict().items()
    }
    return _skill(base, name, tensors, {}, token=TaskTokenSpec(on.identity, seen, 1, (8,)))


def _draws(name: str):
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))

    def draw(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

    return draw


def _skill(
    base: Policy,
    name: str,
    tensors: Mapping[str, Tensor],
    active: Mapping[str, Rows],
    form: str = "rows",
    token: TaskTokenSpec | None = None,
) -> Skill:
    texts = (f"do {name}", f"please do {name}")
    embeddings = vectors(texts, base.shape.language)
    return Skill(name, texts, embeddings, tensors, active, token, form)  # pyright: ignore[reportArgumentType]


def make_library(folder: Path) -> SkillLibrary:
    """A library with a skill of every form, which build on each other.

    base; push (rows); pull (rows of the base and of push, gates); turn (LoRA); copy (whole); steer (a token on pull).
    """
    base = make_base()
    library = SkillLibrary.create(folder, base, first(), features(), ENCODER, {"successes": 3, "episodes": 4})
    push = grown(base, "push")
    pull = grown(base, "pull", [push], gates=True)
    for skill in (push, pull, adapted(base, "turn"), whole(base, "copy"), steering(base, "steer", pull)):
        library.add(skill, {"seed": 7})
    return library


def fingerprints(library: ActingLibrary) -> dict[str, str]:
    """Of every skill's policy, older versions and kept ones included, by identity: equal ones act alike."""
    return {r.identity: library.policy_of_record(r).fingerprint() for r in library.state.everything()}


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder but the locks."""
    locks = (".lock", ".writer")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in locks)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
