"""learn_skill(): one skill more in a library on disk, from one demonstration store. No suite, no simulator.

The same methods and the same training loop as in a run; what differs is that the skills learned before come from files,
and that the new one goes into a file.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from skilltokens.configuration import Seed, check_number, check_settings, plain, plain_as_before
from skilltokens.demos import (
    DemonstrationStore,
    check_readings,
    in_own_units,
    outside,
    still_entries,
)
from skilltokens.demos.kinds import as_read, unseen
from skilltokens.demos.windows import check_chunk
from skilltokens.distributed import follows, leave, processes
from skilltokens.files import seal
from skilltokens.foundation import first_policy, observed
from skilltokens.language import LanguageEncoder, check_readable, load_encoder
from skilltokens.locking import locked
from skilltokens.methods import load_method, method_of, registration
from skilltokens.methods.base import Lesson
from skilltokens.methods.shift import Places, places_of
from skilltokens.methods.skilled import SkillMethod
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.model.policy import Policy
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings, check_training
from skilltokens.skills.disk import abandon, check_free
from skilltokens.skills.head import HEAD
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.managing import check_name
from skilltokens.skills.parcel import keep_apart
from skilltokens.skills.scene import SceneDensity
from skilltokens.skills.takeover import check_takeover
from skilltokens.skills.worth import action_error
from skilltokens.suites import load_suite, sentences_of, suite_names
from skilltokens.suites.remarks import doubt_of
from skilltokens.train import fit
from skilltokens.types import (
    ACTION,
    NOTE,
    Feature,
    LibraryError,
    Progress,
    Report,
    Scale,
    SettingError,
    SkilltokensError,
    silent,
)

SPARE = 10
"""A tenth of the demonstrations is kept aside to measure a skill, where there are at least so many."""


def learn_skill(
    folder: Path | str,
    store: DemonstrationStore,
    *,
    name: str = "",
    wordings: Sequence[str] = (),
    method: Any = None,
    train: TrainSettings | None = None,
    policy: PolicySettings | None = None,
    encoder: str | None = None,
    seed: int = 0,
    new: bool | None = None,
    again: bool = False,
    take_over: bool = False,
    aside: int | None = None,
    constants: Sequence[DemonstrationStore] = (),
    report: Report = silent,
) -> SkillLibrary:
    """Learns the skill that a store shows and adds it to the library in `folder`; returns the library.

    Where there is no library yet, one is made, and this skill is its base: trained from scratch, and frozen for good.
    Observations, and actions in the robot's own units, are scaled by the constants of the store's suite where that is
    installed, else by statistics of this first store; later skills keep them, and what of a later store they do not
    cover is reported. Nothing in the library changes before the training is done. The same call again finds the skill
    and changes nothing.

    Args:
        folder: the library.
        store: the demonstrations; of the library's own features.
        name: the skill's name, a file name; empty: the store's task.
        wordings: the instruction, then other ways to say it; empty: the store's.
        method: how to learn, settings of a method with a policy for each skill (T2SSettings, LoraSettings, ...); None:
            T2S.
        train: how to train; None is the default.
        policy, encoder: of a new library; one that exists keeps its own, whose encoder may be named where that is a
            folder: a library's own word is not trusted then.
        seed: of first weights, new rows and batches.
        new: True: there must be no library yet; False: there must be one; None: either.
        again: there may be a skill of that name: the new one is its next version, and is called from then on.
        take_over: the skill may answer sentences that call other skills today.
        aside: how many of the last demonstrations are kept aside, to measure the error of the skill's actions; None: a
            tenth, where there are ten or more.
        constants: further stores of the same robot that a new library's constants are measured on, beside `store`;
            given, they take the place of the suite's.
        report: called when the sentence encoder is loaded, of training steps, and of what is to be known before.

    Raises:
        DemonstrationError: the store was altered.
        LibraryError: the library is damaged, has other features, has a skill of that name, or cannot be written; or the
            new skill would answer sentences of others.
        LanguageError: a wording is empty, too long, or cannot be told from another skill's by the encoder.
        SettingError: a budget that leaves no row, or other impossible settings; constants for a library that has some.
    """
    method, train, folder = method or T2SSettings(), train or TrainSettings(), Path(folder)
    name = name or store.task.name
    words = tuple(wordings) or (store.task.instruction, *store.task.wordings)
    exists = (folder / HEAD).exists()
    if not exists and new is False:
        raise LibraryError(f"{folder} holds no skill library: name one that exists, or make a new one (--new)")
    with contextlib.ExitStack() as stack:
        library = SkillLibrary.open(folder, encoder) if exists else None
        policy = library.policy_settings if library else policy or PolicySettings()
        _check_settings(method, train, policy, seed)
        if library is None:
            if not follows():
                check_free(folder)
            for one in (store, *constants):
                one.verify()
            check_name(name)
            if not follows():
                stack.enter_context(_making(folder))
        torch.set_num_threads(train.threads)
        work = _Work(
            folder, library, store, name, words, method, train, policy, encoder or "minilm", seed, tuple(constants)
        )
        if work.done_already():
            assert library is not None
            if not follows():
                library.tidy()
            return library
        if library is not None and constants:
            raise SettingError(
                f"{folder} has constants already, which are fixed with a library's first skill: leave out constants, "
                "or make a new library"
            )
        if library is not None and new:
            raise LibraryError(
                f"{folder} holds a skill library already: add to it without --new, or name another folder"
            )
        return work.learn(again, take_over, aside, report)


@dataclasses.dataclass
class _Work:
    """One skill to be learned."""

    folder: Path
    library: SkillLibrary | None
    store: DemonstrationStore
    name: str
    words: tuple[str, ...]
    method: Any
    train: TrainSettings
    policy: PolicySettings
    encoder: str
    seed: int
    constants: tuple[DemonstrationStore, ...]

    @functools.cached_property
    def _observed(self) -> tuple[Mapping[str, Feature], Mapping[str, Scale]]:
        """What the first policy of these whole stores would observe, and its constants: measuring reads them twice."""
        return observed([self.store, *self.constants])

    def made_with(self) -> str:
        """SHA-256 of all that decides what is learned, but for the library's state."""
        free = ("threads", "log_every")  # they change no number
        train = {key: value for key, value in plain_as_before(self.train).items() if key not in free}
        content = {
            "demonstrations": self.store.digest,
            "words": list(self.words),
            "method": {"name": method_of(self.method), **plain_as_before(self.method)},
            "train": train,
            "seed": self.seed,
        }
        if self.constants:
            content["constants"] = [store.digest for store in self.constants]
        return seal(content)

    def done_already(self) -> bool:
        """Whether the library has the very skill: a command that was killed behind its last write is repeated."""
        if self.library is None or self.name not in self.library.names:
            return False
        return self.library.notes[self.library.names.index(self.name)].get("made_with") == self.made_with()

    def learn(self, again: bool, take_over: bool, aside: int | None, report: Report) -> SkillLibrary:
        store, library = self.store, self.library
        check_name(self.name, None if again else library)  # before the training, not after
        if library is not None:
            store.verify()
        self._check_features(report)
        language = load_encoder(self.encoder, report=report) if library is None else library.language(report)
        vectors = language(self.words)
        self._check_words(language, take_over, report)
        kept = _aside(store, aside)
        part = store.part(0, store.episodes - kept)
        self._check_constants(report)
        learner = _learner(self._base(part, language), library, self.method, self.train, self.seed)
        check_chunk([part], learner.base.settings.chunk)
        count = 0 if library is None else len(library.names)
        lesson = Lesson(
            count, (self.name,), (part,), (self.words,), (vectors,), 0, learner.base.settings.chunk, self._places()
        )
        fresh = learner.begins_fresh(lesson)
        iterations = self.train.first_iterations if fresh else self.train.iterations
        training = learner.begin(lesson)
        for _ in fit(training, self.train, iterations, [1.0], self.seed * 1_000_003 + lesson.index, report=report):
            pass
        leave()  # the first process alone keeps what was learned
        learner.finish(lesson)
        base, (skill,) = learner.library([lesson])
        skill = skill.to("cpu")
        notes = {**self._notes(iterations), **_worth(learner, store, kept)}
        density = SceneDensity.fit(base.cpu() if library is None else library.base, part)
        if density is not None:
            skill = skill.with_content(scene=density.tensors())
        if library is None:
            features = {name: as_read(name, store.features[name]) for name in (*base.shape.scales, ACTION)}
            return SkillLibrary.create(self.folder, base.cpu(), skill, features, language.name, notes)
        try:
            library.add(skill, notes, again=again, report=report)
        except SkilltokensError as problem:
            raise keep_apart(library, skill, notes, problem) from problem
        return library

    def _base(self, store: DemonstrationStore, language: LanguageEncoder) -> Policy:
        if self.library is not None:
            return self.library.base
        return first_policy([store, *self.constants], self.policy, language.dim, self.seed)

    def _places(self) -> Places:
        """What `train.shift` moves: what the settings name, else what the suite of the demonstrations says."""
        seen = self._observed[0] if self.library is None else self.library.features
        suite = load_suite(self.store.suite) if self.store.suite in suite_names() else None
        return places_of(self.train, seen, getattr(suite, "places", None), str(self.store.path))

    def _check_constants(self, report: Report) -> None:
        """What the library's constants do not cover, or are measured on too little for, is said before the training,
        and where the actions seem to be in other units than those of the store's suite."""
        if self.library is None:
            scales = self._observed[1]
            sentences = [*still_entries(self.store, scales), *in_own_units(self.store, scales)]
        else:
            shape = self.library.shape
            own = {} if shape.action is None else {ACTION: shape.action}
            sentences = outside(self.store, {**shape.scales, **own})
        doubt = doubt_of(self.store, replay=False)
        for sentence in [*([] if doubt is None else [doubt.sentence]), *sentences]:
            report(Progress(NOTE, 0, 1, sentence))

    def _check_features(self, report: Report) -> None:
        """The store can be learned from, and what of it the policy does not look at is said before."""
        store, library = self.store, self.library
        if library is None:
            looked_at = self._observed[0]
            note = unseen(store.features, looked_at, f"the suite {store.suite!r} does not observe it")
        else:
            looked_at = {name: feature for name, feature in library.features.items() if name != ACTION}
            note = library.check_features(store.features, str(store.path))
        for one in (store, *self.constants):
            check_readings(one, looked_at)
        if note is not None:
            report(Progress(NOTE, 0, 1, note))

    def _check_words(self, language: LanguageEncoder, take_over: bool, report: Report) -> None:
        """What the encoder cannot read is said, and whose sentences the skill would answer is asked for, before."""
        library = self.library
        others = {} if library is None else {r.name: r.wordings for r in library.records if r.name != self.name}
        if library is None or not take_over:
            known = None if library is None else library.vectors_of(list(others))
            for sentence in check_readable(language, self.words, others, known):
                report(Progress(NOTE, 0, 1, sentence))
        if library is not None:
            for sentence in check_takeover(library, self.name, self.words, take_over, sentences_of):
                report(Progress(NOTE, 0, 1, sentence))

    def _notes(self, iterations: int) -> dict[str, Any]:
        """What the library says of how the skill was learned."""
        store = self.store
        return {
            "demonstrations": {"source": store.source, "episodes": store.episodes, "digest": store.digest},
            "suite": store.suite,
            "task": store.task.name,
            "said": [text for text in (store.task.instruction, *store.task.wordings) if text not in self.words],
            "method": method_of(self.method),
            "iterations": iterations,
            "seed": self.seed,
            "made_with": self.made_with(),
            **({"processes": processes()} if processes() > 1 else {}),
        }


@contextlib.contextmanager
def _making(folder: Path) -> Iterator[None]:
    """The lock of a library that is being made, for the whole training of its base: a second one would lose its own."""
    advice = "wait until its base is learned, then add to it, or name another folder"
    with locked(folder, LibraryError, advice=advice):
        try:
            yield
        except BaseException:
            abandon(folder)
            raise


def _aside(store: DemonstrationStore, aside: int | None) -> int:
    """How many demonstrations are kept aside.

    Raises:
        SettingError: none would be left to learn from.
    """
    count = store.episodes // SPARE if aside is None else aside
    if not 0 <= count < store.episodes:
        raise SettingError(f"{count} of {store.episodes} demonstrations cannot be kept aside: leave one to learn from")
    return count


def _worth(learner: SkillMethod, store: DemonstrationStore, aside: int) -> dict[str, Any]:
    """The error of the new skill's actions on the demonstrations that were kept aside."""
    if not aside:
        return {}
    entry = learner.entries[-1]
    actor = PolicyActor(entry.policy, entry.instruction)
    return {"aside": plain(action_error(actor, store, range(store.episodes - aside, store.episodes)))}


def _check_settings(method: Any, train: TrainSettings, policy: PolicySettings, seed: int) -> None:
    """Raises SettingError for settings that are impossible, or of a method that keeps no policy for each skill."""
    check_number("seed", seed, Seed)
    for part, settings in (("method", method), ("policy", policy)):
        check_settings(settings, part)
    check_training(train, policy.history)
    kind, name = load_method(method_of(method)), method_of(method)
    if registration(name).beside:
        raise SettingError(
            f"{name} is a method of `skilltokens run`: beside a policy of another make `learn` takes --base, and "
            "--attached.kind says what stands beside it"
        )
    if not issubclass(kind, SkillMethod):
        raise SettingError(f"a library keeps every skill, and {name} keeps one policy for all: use t2s or lora")
    if policy.maps not in kind.maps:
        raise SettingError(
            f"a library grows by policies of {' or '.join(kind.maps)} maps, not {policy.maps}: set policy.maps"
        )


def _learner(base: Policy, library: SkillLibrary | None, method: Any, train: TrainSettings, seed: int) -> SkillMethod:
    """The method as it stands after the library's skills, where it is to be trained; the library stays where it is."""
    kind = load_method(method_of(method))
    learner = kind(copy.deepcopy(base).to(train.device), method, train, seed)
    assert isinstance(learner, SkillMethod)
    if library is not None:
        learner.adopt(library.base, library.skills)
    return learner
