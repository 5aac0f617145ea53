"""learn_attached(): one skill more beside a policy of another make, from one demonstration store.

The policy's own `forward(batch) -> loss | (loss, ...)` teaches it, through the one training loop. Nothing in the
library changes before the training is done.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from skilltokens.attached.batches import StoreBatches, steps_of
from skilltokens.attached.beside import SHARE
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.loading import Load
from skilltokens.attached.settings import NEAREST, AttachedSettings
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.statistics import measured
from skilltokens.configuration import Seed, check_number, check_settings, plain, plain_as_before
from skilltokens.demos import DemonstrationStore
from skilltokens.files import seal
from skilltokens.language import check_readable
from skilltokens.methods.attached.training import taught, tell_unused, training_of
from skilltokens.settings import TrainSettings
from skilltokens.skills.managing import check_name
from skilltokens.skills.selection import choose
from skilltokens.skills.takeover import check_takeover
from skilltokens.skills.worth import action_error
from skilltokens.suites import sentences_of
from skilltokens.train import fit
from skilltokens.types import NOTE, Progress, Report, SettingError, silent

SPARE = 10
"""A tenth of the demonstrations is kept aside to measure a skill, where there are at least so many."""


def learn_attached(
    library: AttachedLibrary,
    store: DemonstrationStore,
    *,
    name: str = "",
    wordings: Sequence[str] = (),
    settings: AttachedSettings | None = None,
    train: TrainSettings | None = None,
    seed: int = 0,
    again: bool = False,
    take_over: bool = False,
    aside: int | None = None,
    report: Report = silent,
) -> AttachedLibrary:
    """Learns the skill that a store shows and adds it to a library beside a foreign base; returns the library.

    The same call again finds the skill and changes nothing.

    Args:
        store: the demonstrations; of the features that the library's first store had.
        name: the skill's name; empty: the store's task.
        wordings: the instruction, then other ways to say it; empty: the store's.
        settings: the skill's form and rates.
        train: how to train; None is the default.
        seed: of new rows and of the batches.
        again: there may be a skill of that name: the new one is its next version.
        take_over: the skill may answer sentences that call other skills today.
        aside: how many of the last demonstrations are kept aside; None: a tenth, where there are ten or more.
        report: called of training steps, and of what is to be known before.

    Raises:
        DemonstrationError: the store was altered.
        LibraryError: the library or its base is damaged, has other features, has a skill of that name, or cannot be
            written; or the new skill would answer sentences of others.
        AttachError: the policy gives no loss, does not use what the skill trains, or changed its own numbers.
        LanguageError: a wording is empty, too long, or cannot be told from another skill's.
        SkilltokensError: the loss is not finite.
    """
    settings, train = settings or AttachedSettings(), train or TrainSettings()
    check_number("seed", seed, Seed)
    check_settings(settings, "method")
    check_settings(train, "train")
    name = name or store.task.name
    words = tuple(wordings) or (store.task.instruction, *store.task.wordings)
    notes = _notes(store, words, settings, train, seed)
    if name in library.names and library.state.newest(name).about().get("made_with") == notes["made_with"]:
        library.tidy()
        return library
    check_name(name, None if again else library)
    store.verify()
    library.check_features(store.features, str(store.path))
    check_words(library, name, words, take_over, report)
    kept = store.episodes // SPARE if aside is None else aside
    if not 0 <= kept < store.episodes:
        raise SettingError(f"{kept} of {store.episodes} demonstrations cannot be kept aside: leave one to learn from")
    tell_unused(train, report)
    torch.set_num_threads(train.threads)
    attached = library.attached
    attached.policy.to(train.device)
    part = store.part(0, store.episodes - kept)
    begin = _nearest(library, words[0], settings) if settings.start == NEAREST else settings.start
    skill = library.new(seed, settings.kind, settings.rows or None, begin)
    skill.statistics = measured(part, library.spreads)
    steps, names = steps_of(attached.root), library.features or None
    batches = StoreBatches(part, steps, words, skill.statistics, train.batch, attached.device, library.prepare, names)
    training = training_of(attached, skill, batches, skill.groups(settings.rate, settings.own_rate), train)
    with taught(attached, skill):
        for _ in fit(training, train, train.iterations, [1.0], seed, report=report):
            pass
        attached.check_called()
    skill.frozen()
    if begin:
        notes["start"] = begin
    notes |= _worth(library, skill, words[0], store, kept)
    attached.use(None)
    library.add(name, words, skill, notes, again=again, report=report)
    return library


@contextlib.contextmanager
def made_beside(
    folder: Path,
    base: str,
    store: DemonstrationStore,
    *,
    loader: str | Load = "",
    revision: str = "",
    targets: Sequence[str] | None = None,
    own: Sequence[str] | None = None,
    share: float = SHARE,
    wordings: Sequence[str] = (),
    encoder: str = "minilm",
) -> Iterator[AttachedLibrary]:
    """A new library beside a base, for the features of its first store; where its first skill fails, it goes again."""
    library = AttachedLibrary.create(
        folder,
        base,
        loader=loader,
        revision=revision,
        targets=targets,
        own=own,
        share=share,
        features=store.features,
        wordings=wordings,
        encoder=encoder,
    )
    try:
        yield library
    except BaseException:
        library.attached.detach()
        if len(library.names) == 1:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _notes(
    store: DemonstrationStore, words: tuple[str, ...], settings: AttachedSettings, train: TrainSettings, seed: int
) -> dict[str, Any]:
    """What the library says of how the skill was learned."""
    free = ("threads", "log_every")  # they change no number
    made_with = {
        "demonstrations": store.digest,
        "words": list(words),
        "method": plain(settings),
        "train": {key: value for key, value in plain_as_before(train).items() if key not in free},
        "seed": seed,
    }
    return {
        "demonstrations": {"source": store.source, "episodes": store.episodes, "digest": store.digest},
        "suite": store.suite,
        "task": store.task.name,
        "instruction": words[0],
        "said": [text for text in (store.task.instruction, *store.task.wordings) if text not in words],
        "method": f"attached-{settings.kind}",
        "iterations": train.iterations,
        "seed": seed,
        "made_with": seal(made_with),
    }


def check_words(library: AttachedLibrary, name: str, words: tuple[str, ...], take_over: bool, report: Report) -> None:
    """Whether sentences can call a new skill, without a word of other skills'.

    Raises:
        LibraryError: they would answer sentences of others, and need not be let (`take_over`).
        LanguageError: a sentence is empty, too long, or cannot be told from another skill's.
    """
    others = {record.name: record.wordings for record in library.records if record.name != name}
    sentences = (
        [] if take_over else check_readable(library.language(report), words, others, library.vectors_of(list(others)))
    )
    for sentence in [*sentences, *check_takeover(library, name, words, take_over, sentences_of)]:
        report(Progress(NOTE, 0, 1, sentence))


def _nearest(library: AttachedLibrary, words: str, settings: AttachedSettings) -> str:
    """The skill of the same kind and size whose wordings are nearest to an instruction; empty where there is none."""
    rows = settings.rows or library.attached.rows
    size = library.attached.size_of(rows)
    alike = [r for r in library.records if r.parameters == size and r.form == settings.kind and not r.retired]
    if not alike:
        return ""
    encoder = library.language()
    number, _ = choose(encoder([words])[0], [library.skill_of(record).embeddings for record in alike])
    return alike[number].name


def _worth(
    library: AttachedLibrary, skill: AttachedSkill, words: str, store: DemonstrationStore, aside: int
) -> dict[str, Any]:
    """The error of the new skill's actions on the demonstrations that were kept aside."""
    if not aside:
        return {}
    actor = library.actor_with(skill, words)
    return {"aside": plain(action_error(actor, store, range(store.episodes - aside, store.episodes)))}
