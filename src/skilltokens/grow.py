"""learn_skill(): one skill more in a library on disk, from one demonstration store. No suite, no simulator.

The same method (T2S) and the same training loop as in a run; what differs is that the skills learned before come from
files, and that the new one goes into a file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from skilltokens.configuration import Seed, check_number, check_settings
from skilltokens.demos import DemonstrationStore, workspace_statistics
from skilltokens.language import LanguageEncoder, load_encoder
from skilltokens.methods.base import Lesson, generator_of
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s.method import T2S
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings, check_training
from skilltokens.skills.library import SkillLibrary, check_name
from skilltokens.suites import load_suite, suite_names
from skilltokens.train import fit
from skilltokens.types import ACTION, Feature, LibraryError, Report, Scale, SettingError, silent


def learn_skill(
    folder: Path | str,
    store: DemonstrationStore,
    *,
    name: str = "",
    wordings: Sequence[str] = (),
    method: T2SSettings | None = None,
    train: TrainSettings | None = None,
    policy: PolicySettings | None = None,
    encoder: str = "minilm",
    seed: int = 0,
    report: Report = silent,
) -> SkillLibrary:
    """Learns the skill that a store shows and adds it to the library in `folder`; returns the library.

    Where there is no library yet, one is made, and this skill is its base: trained from scratch, and frozen for good.
    Observations are scaled by the constants of the store's suite where that is installed, else by statistics of this
    first store; later skills keep them. Nothing on disk changes before the training is done.

    Args:
        folder: the library.
        store: the demonstrations; of the library's own features.
        name: the skill's name, a file name; empty: the store's task.
        wordings: the instruction, then other ways to say it; empty: the store's.
        method, train: how to learn; None is the default.
        policy, encoder: of a new library; one that exists keeps its own.
        seed: of first weights, new rows and batches.
        report: called when the sentence encoder is loaded, and of training steps.

    Raises:
        DemonstrationError: the store was altered.
        LibraryError: the library is damaged, has other features, has a skill of that name, or cannot be written.
        LanguageError: a wording is empty or too long, or the encoder is missing.
        SettingError: a budget that leaves no row, or other impossible settings.
    """
    method, train = method or T2SSettings(), train or TrainSettings()
    name, folder = name or store.task.name, Path(folder)
    words = tuple(wordings) or (store.task.instruction, *store.task.wordings)
    library = SkillLibrary.open(folder) if (folder / "library.json").exists() else None
    policy = library.base.settings if library else policy or PolicySettings()
    check_number("seed", seed, Seed)
    for part, settings in (("method", method), ("policy", policy)):
        check_settings(settings, part)
    check_training(train, policy.history)
    if library is None:
        _check_new(folder, policy)
    torch.set_num_threads(train.threads)
    store.verify()
    check_name(name, library)  # before the training, not after
    if library is None:
        language = load_encoder(encoder, report=report)
        base = _first_policy(store, policy, language, seed)
    else:
        # A store may hold more than this library looks at, such as images.
        library.check_features({n: f for n, f in store.features.items() if n in library.features}, str(store.path))
        language, base = library.language(report), library.base
    learner = _learner(base, library, method, train, seed)
    lesson = Lesson(len(learner.skills), (name,), (store,), (words,), (language(words),), first=0)
    iterations = train.first_iterations if learner.begins_fresh(lesson) else train.iterations
    training = learner.begin(lesson)
    for _ in fit(training, train, iterations, [1.0], seed * 1_000_003 + lesson.index, report=report):
        pass
    learner.finish(lesson)
    notes = _notes(store, iterations, seed)
    if library is None:
        features = {name: store.features[name] for name in (*base.shape.scales, ACTION)}
        return SkillLibrary.create(folder, learner.base.cpu(), learner.skills[0], features, language.name, notes)
    library.add(learner.skills[-1].to("cpu"), notes)
    return library


def _notes(store: DemonstrationStore, iterations: int, seed: int) -> dict[str, Any]:
    """What the library says of how the skill was learned."""
    return {
        "demonstrations": {"source": store.source, "episodes": store.episodes, "digest": store.digest},
        "suite": store.suite,
        "iterations": iterations,
        "seed": seed,
    }


def _check_new(folder: Path, policy: PolicySettings) -> None:
    """Whether a library can be made there, and grow.

    Raises:
        LibraryError: there is a file, or a folder with other things in it.
        SettingError: no skill could be added to such a policy.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LibraryError(f"{folder} is no library and not empty: name a new folder, or one with a library in it")
    if policy.maps not in T2S.maps:
        raise SettingError(
            f"a library grows by policies of {' or '.join(T2S.maps)} maps, not {policy.maps}: set policy.maps"
        )


def _learner(base: Policy, library: SkillLibrary | None, method: T2SSettings, train: TrainSettings, seed: int) -> T2S:
    """The method as it stands after the library's skills, where it is to be trained; the library stays where it is."""
    learner = T2S(copy.deepcopy(base).to(train.device), method, train, seed)
    if library is not None:
        learner.adopt(library.base, library.skills)
    return learner


def _first_policy(store: DemonstrationStore, settings: PolicySettings, language: LanguageEncoder, seed: int) -> Policy:
    """A fresh policy that sees what the store's suite observes, or else the store's vectors and pictures."""
    features, scales = _observed(store)
    if not scales:
        raise SettingError(f"{store.path} has no observation that is a vector of numbers: a policy needs one")
    return Policy(
        Shape.of({**features, ACTION: store.features[ACTION]}, scales, language.dim), settings, generator_of(seed, 0)
    )


def _observed(store: DemonstrationStore) -> tuple[Mapping[str, Feature], Mapping[str, Scale]]:
    """Observations to learn from, and their constants: the suite's where the store has all of them, else statistics."""
    if store.suite in suite_names():
        suite = load_suite(store.suite)
        observed = {name: feature for name, feature in suite.features.items() if name != ACTION}
        if all(name in store.features and store.features[name].shape == observed[name].shape for name in observed):
            return observed, suite.scales
    measured = workspace_statistics([store])
    return {
        n: f for n, f in store.features.items() if n in measured or (len(f.shape) == 3 and f.dtype == "uint8")
    }, measured
