"""The skill that lerobot-train teaches beside a policy: what it is called, its numbers, and where it goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lerobot_policy_skilltokens.bases import needed
from lerobot_policy_skilltokens.configuration_skilltokens_attached import SkilltokensAttachedConfig
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.skill import AttachedSkill
from skilltokens.attached.statistics import scale_of
from skilltokens.grow_attached import check_words
from skilltokens.skills.managing import check_name
from skilltokens.types import ACTION, DemonstrationError, Feature, Progress

READ = ("observation.", ACTION)
"""How the names begin of what policies may read."""


@dataclass
class Lesson:
    """A skill that is being taught."""

    name: str
    words: tuple[str, ...]
    skill: AttachedSkill
    notes: dict[str, Any]

    def add_to(self, library: AttachedLibrary) -> None:
        """Adds the skill as it is now to a library, as a further version where it is there."""
        library.add(self.name, self.words, self.skill, self.notes, again=self.name in library.names)


def lesson_of(
    library: AttachedLibrary,
    config: SkilltokensAttachedConfig,
    meta: Any,
    stats: Mapping[str, Mapping[str, Any]],
) -> Lesson:
    """The skill that a configuration names, to be taught on a data set.

    Args:
        meta: LeRobot's description of the data set.
        stats: its statistics.

    Raises:
        DemonstrationError: the data set lacks what the base reads, or shows several tasks and no wordings are given.
        LibraryError, LanguageError: the name or the sentences are taken, or impossible.
    """
    check_name(config.skill)
    sentences = [str(sentence) for sentence in meta.tasks.index]
    if not config.wordings and len(sentences) != 1:
        raise DemonstrationError(
            f"the data set shows {len(sentences)} tasks, and a skill is one: choose its sentences (--policy.wordings) "
            "or a data set of one task"
        )
    words = tuple(config.wordings) or tuple(sentences)
    check_data(library.features, meta.features)
    check_words(library, config.skill, words, config.take_over, _say)
    start = config.start
    if config.skill in library.names:
        start = config.skill
        _say(Progress("note", 0, 1, f"{config.skill!r} is in the library: it goes on from there, as its next version"))
    skill = library.new(config.seed, config.kind, config.rows or None, start)
    skill.statistics = statistics_of(library, stats)
    source = str(getattr(meta, "repo_id", ""))
    notes = {
        "demonstrations": {"source": source, "episodes": int(meta.total_episodes)},
        "task": config.skill,
        "instruction": words[0],
        "method": f"attached-{config.kind}",
        "seed": config.seed,
        **({"start": start} if start else {}),
    }
    return Lesson(config.skill, words, skill, notes)


def check_data(features: Mapping[str, Feature], given: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises DemonstrationError where a data set has not what a library's base reads."""
    for name, feature in features.items():
        shape = tuple(given[name]["shape"]) if name in given else None
        pictured = len(feature.shape) == 3
        if shape is None or (len(shape) != 3 if pictured else shape != feature.shape):
            raise DemonstrationError(
                f"the base reads {name!r} of shape {feature.shape}, which is {shape or 'absent'} in the data set (it "
                f"has {', '.join(sorted(name for name in given if name.startswith(READ)))}): teach it on data of the "
                "base's robot, under its names"
            )


def statistics_of(library: AttachedLibrary, stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Centers and units of a data set, as the base wants them, from the statistics that LeRobot keeps of it.

    Raises:
        DemonstrationError: they lack what the base needs.
    """
    numbers: dict[str, Tensor] = {}
    for name, spread in (library.spreads or {}).items():
        lacking = [part for part in needed(spread) if part not in stats.get(name, {})]
        if lacking:
            raise DemonstrationError(
                f"the data set's statistics of {name!r} have no {lacking[0]}, which the base needs: measure them again "
                "with LeRobot's augment_dataset_quantile_stats"
            )
        first, second = (np.asarray(stats[name][part], np.float64).reshape(-1) for part in needed(spread))
        middle = (first, second) if spread is None else ((first + second) / 2, (second - first) / 2)
        numbers |= scale_of(name, *middle)
    return numbers


def _say(news: Progress) -> None:
    if news.note:
        logging.info("%s", news.note)
