"""Whether a lifelong run is possible: told in one sentence before anything is made or written. Free of torch."""

from __future__ import annotations

from typing import Any

from skilltokens.configuration import check_settings
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_of, registration
from skilltokens.methods.shift import moved_in
from skilltokens.model.trunks.naming import NONE, check_installed
from skilltokens.simulation.driven import expert_in
from skilltokens.suites import in_context, load_suite, task_of
from skilltokens.suites.limits import check_episodes
from skilltokens.types import SettingError, Suite


def check_run(settings: RunSettings[Any], suite: Suite) -> None:
    """Checks all of a run's settings that can be judged without its method and its demonstrations.

    Raises:
        SettingError: one is impossible, or something in it does not exist: a device, a task, a variant, so many
            different episodes, an expert.
    """
    evaluation = settings.evaluate
    check_settings(settings)
    if settings.policy.trunk != NONE:
        check_installed(settings.policy.trunk)
        if not any(len(feature.shape) == 3 for feature in suite.features.values()):
            raise SettingError(
                f"policy.trunk {settings.policy.trunk!r} is for pictures, and suite {suite.name!r} has none: use none, "
                "or a suite with pictures"
            )
    moved_in(settings.train, suite)
    if registration(method_of(settings.method)).expert:
        expert_in(suite)
    check_episodes(suite, evaluation.split, evaluation.episodes, evaluation.horizon)
    for name in evaluation.variants:
        variant = load_suite(name)
        for task in settings.tasks or [task.name for task in suite.tasks]:
            in_context(variant, task_of(variant, task), settings.context)
        if dict(variant.features) != dict(suite.features):
            raise SettingError(
                f"suite {variant.name!r} cannot be in evaluate.variants: its observations or actions are not those of "
                f"{suite.name!r}"
            )
        check_episodes(variant, evaluation.split, evaluation.episodes, evaluation.horizon)
