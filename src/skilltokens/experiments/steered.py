"""What a run from reward steers: a library of the user's, or a body's behaviour model, made where it is missing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from skilltokens.behaviour.model import distil
from skilltokens.behaviour.motion import motion
from skilltokens.behaviour.tracking import tracking
from skilltokens.configuration import plain_as_before
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.settings import RewardSettings
from skilltokens.locking import locked
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite
from skilltokens.suites.bodies import body_of
from skilltokens.types import LibraryError, Progress, Report, RunError, silent

FOLDER = "model"
PATIENCE = 7 * 24 * 3600.0
"""Seconds to wait for another process that makes the same model, which is told all the while."""


@dataclass(frozen=True)
class Steered:
    """What the tasks of a run are learned on."""

    library: SkillLibrary
    motion: DemonstrationStore | None
    """The experts' motion, where the policy is a behaviour model."""


def steered_by(settings: RewardSettings, report: Report = silent) -> Steered:
    """The library that a run steers, made where it is a behaviour model that is missing.

    Raises:
        LibraryError: the library that is named is damaged, not there, or of another robot than the suite.
        RunError: there is a behaviour model that was made with other settings.
    """
    if not settings.library:
        return Steered(*behaviour_library(settings, report))
    if not os.path.exists(Path(settings.library)):
        raise LibraryError(
            f"there is no library at {settings.library}: name one with --library, or make that of Continual "
            "World's ten tasks by `skilltokens run metaworld-cw10 --method t2s`"
        )
    library, suite = SkillLibrary.open(settings.library), load_suite(settings.suite)
    library.check_features(suite.features, settings.suite)
    library.check_actions(suite)
    return Steered(library, None)


def behaviour_library(settings: RewardSettings, report: Report = silent) -> tuple[SkillLibrary, DemonstrationStore]:
    """The behaviour model of a body, made where it is missing: FOLDER/BODY/model; and the motion it was distilled from.

    Raises:
        RunError: there is one that was made with other settings.
    """
    home = Path(settings.motion.folder).expanduser() / settings.body
    complete = os.path.exists(home / "motion") and os.path.exists(home / FOLDER / "library.json")
    with contextlib.nullcontext() if complete else locked(home, RunError, wait=PATIENCE, report=report):
        return _behaviour_library(settings, home, report)


def _behaviour_library(settings: RewardSettings, home: Path, report: Report) -> tuple[SkillLibrary, DemonstrationStore]:
    """The same, in a folder that nobody else writes in where anything is missing there."""
    store = motion(body_of(settings.body), settings.motion, report)
    folder = home / FOLDER
    made_with = {
        "motion": dict(store.settings),
        "policy": plain_as_before(settings.policy),
        "train": plain_as_before(settings.train),
        "encoder": settings.encoder,
    }
    if not os.path.exists(folder / "library.json"):
        distil(
            folder,
            store,
            policy=settings.policy,
            train=settings.train,
            encoder=settings.encoder,
            notes={"made_with": made_with},
            report=report,
        )
    library = SkillLibrary.open(folder)
    if library.notes[0].get("made_with") != made_with:
        raise RunError(
            f"{folder} holds a behaviour model of other settings: move it away, or choose a folder with --motion.folder"
        )
    if "tracking" not in library.notes[0]:
        report(Progress("tracking", 0, 1, settings.body))
        some = range(0, store.episodes, store.episodes // 20 or 1)
        figures = tracking(library.base, library.instruction_vector(0), body_of(settings.body), store, some)
        library.note(library.names[0], {"tracking": figures})
    return library, store
