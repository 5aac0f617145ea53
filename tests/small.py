"""Small real parts for the tests of the core: lessons of the toy suite, policies of a few thousand numbers."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tests.toy import TASKS, Toy

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.language import load_encoder
from skilltokens.methods import load_method, method_of
from skilltokens.methods.adapters import AdaptersSettings
from skilltokens.methods.base import Lesson, Method, Training, generator_of
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.psec import PsecSettings
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.train import Record, fit
from skilltokens.types import Array, Scale, Task

LANGUAGE = 24
POLICY = PolicySettings(width=32, layers=2)
TRAIN = TrainSettings(iterations=4, first_iterations=4, batch=8, window=12, warmup=2, log_every=1)

EVERYWHERE = T2SSettings(start="base", bend=0.0)
"""T2S in its plain form: new rows in every map, nothing copied."""
SkillSettings = T2SSettings | T2SPaperSettings | LoraSettings | PsecSettings | AdaptersSettings
"""Settings of the methods with a budget for each skill."""
SKILL_METHODS: dict[str, SkillSettings] = {
    "t2s": T2SSettings(),
    "t2s plain": EVERYWHERE,
    "t2s reuse": replace(EVERYWHERE, reuse=1.0),
    "t2s gates": replace(EVERYWHERE, reuse=1.0, gates=True),
    "t2s nearest": replace(EVERYWHERE, start="nearest", near=-1.0, reuse=1.0),
    "t2s copy": replace(EVERYWHERE, start="copy", near=-1.0, reuse=1.0, gates=True),
    "t2s bend": replace(EVERYWHERE, start="copy", near=-1.0, bend=1.0),
    "t2s skills": replace(EVERYWHERE, start="copy", near=-1.0, reuse_skills=3),
    "t2s rows alone": replace(EVERYWHERE, own_head=False, own_encoders=False),
    "t2s-paper": T2SPaperSettings(mu=0.5, keys="random"),
    "lora": LoraSettings(),
    "psec": PsecSettings(),
    "adapters": AdaptersSettings(),
}
"""Every way to learn a skill beside frozen ones, in the default budget."""


def words(texts: Sequence[str]) -> NDArray[np.float32]:
    """A sentence encoder in three lines: each word is a fixed random vector, a text their sum, (n, LANGUAGE)."""

    def vector(word: str) -> NDArray[np.float64]:
        return np.random.default_rng(list(hashlib.sha256(word.encode()).digest())).standard_normal(LANGUAGE)

    vectors = [sum((vector(word) for word in text.split()), np.zeros(LANGUAGE)) for text in texts]
    return np.stack(vectors).astype(np.float32)


ENCODER = load_encoder(words)


def make_stores(
    folder: Path, tasks: Sequence[Task] = TASKS, episodes: int = 4, suite: Toy | None = None
) -> list[DemonstrationStore]:
    toy = suite or Toy()
    return [
        write_store(
            folder / task.name,
            toy.demonstrate(task, episodes, 0, 0.1),
            task=task,
            features=toy.features,
            source="scripted",
            suite=toy.name,
            versions=toy.versions(),
        )
        for task in tasks
    ]


def lessons(stores: Sequence[DemonstrationStore], joint: bool = False) -> list[Lesson]:
    return lessons_of([store.task for store in stores], stores, ENCODER, groups_of(len(stores), joint=joint))


def more_lessons(store: DemonstrationStore, number: int) -> list[Lesson]:
    """Any number of lessons with sentences of their own, all on one store."""
    tasks = [Task(f"skill-{i:03}", f"do thing {i:03}", (f"please do thing {i:03}",)) for i in range(number)]
    return lessons_of(tasks, [store] * number, ENCODER, groups_of(number))


def make_policy(settings: PolicySettings = POLICY, seed: int = 0) -> Policy:
    toy = Toy()
    return Policy(Shape.of(toy.features, toy.scales, LANGUAGE), settings, generator_of(seed, 0))


def wide_policy() -> Policy:
    """The default policy as it is on Meta-World with MiniLM."""
    from skilltokens.suites.metaworld import MetaWorld

    suite = MetaWorld()
    scales: dict[str, Scale] = dict(suite.scales)
    return Policy(Shape.of(suite.features, scales, 384), PolicySettings(), generator_of(0, 0))


def make_method(settings: SkillSettings, policy: Policy | None = None, train: TrainSettings = TRAIN) -> SkillMethod:
    method = load_method(method_of(settings))(policy or make_policy(), settings, train, seed=0)
    assert isinstance(method, SkillMethod)
    return method


def train(training: Training, settings: TrainSettings = TRAIN, seed: int = 0) -> Record:
    """The whole of a training; what it wrote down."""
    *_, last = fit(training, settings, settings.iterations, [1.0], seed)
    return last.record


def teach(method: Method, lesson: Lesson, settings: TrainSettings = TRAIN) -> Training:
    """One lesson from its beginning to its end."""
    training = method.begin(lesson)
    train(training, settings, lesson.index)
    method.finish(lesson)
    return training


def observations(store: DemonstrationStore, steps: int, batch: int = 3) -> list[dict[str, Array]]:
    """Raw observations of `batch` episodes in lock-step, started at different places of a store."""
    rows = [np.arange(batch) * 7 + step for step in range(steps)]
    return [{name: np.asarray(store[name][row % store.steps]) for name in Toy().scales} for row in rows]


def act(policy: Policy, embedding: Array, seen: Sequence[dict[str, Array]]) -> NDArray[np.float32]:
    """Actions (steps, batch, A) of a policy, started afresh."""
    actor = PolicyActor(policy, embedding)
    memory = actor.start(len(next(iter(seen[0].values()))))
    return np.stack([actor.act(observation, memory) for observation in seen])


def called(method: Method, lesson: Lesson, seen: Sequence[dict[str, Array]]) -> NDArray[np.float32]:
    """Actions of whatever policy the lesson's instruction calls."""
    choice = method.choose(lesson.embeddings[0][0])
    return act(choice.policy, choice.embedding, seen)


def numbers(policy: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every number of a module."""
    return {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}


def changed(before: dict[str, torch.Tensor], policy: torch.nn.Module) -> list[str]:
    """Tensors that are no longer the same bits."""
    after = policy.state_dict()
    assert before.keys() == after.keys()
    return [name for name in before if not torch.equal(before[name], after[name])]


def variants(**choices: Sequence[object]) -> list[PolicySettings]:
    """Narrow policies of every combination of these settings."""
    narrow = PolicySettings(width=16, layers=2, history=4)
    return [
        replace(narrow, **dict(zip(choices, values, strict=True)))  # pyright: ignore[reportArgumentType]
        for values in itertools.product(*choices.values())
    ]
