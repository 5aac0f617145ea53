"""Fair tuning: every method gets the same number of trials, on validation states. Free of torch.

What a method's trials change is declared beside its settings (`Registration.trials`); the first trial is always the
recipe as it is, so that no method needs a wish of its own to be tuned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from skilltokens.configuration import check_settings, settings_of
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_of, registration
from skilltokens.types import SettingError

FACTORS = (0.5, 2.0, 0.25)
"""What the learning rate is multiplied by in the trials of a method that declares none."""
EVALUATION: Mapping[str, Any] = {
    "split": "validation",
    "points": 1,
    "at": (),
    "old": "end",
    "variants": (),
    "videos": False,
    "wordings": False,
}
"""How every trial is evaluated: once, at its end, on states that are never reported."""


def as_trial(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The same settings, evaluated as trials are."""
    return dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, **EVALUATION))


def changes_of(chosen: Any, count: int) -> list[dict[str, Any]]:
    """What each of `count` trials of a method changes in its settings; the first changes nothing.

    Args:
        chosen: the method's settings in the recipe.

    Raises:
        SettingError: the method has another number of settings to try, or what it declares is not possible.
    """
    name = method_of(chosen)
    changes: list[dict[str, Any]] = [{}, *(dict(change) for change in _declared(name, chosen))]
    if count > len(changes):
        settings = "1 setting" if len(changes) == 1 else f"{len(changes)} settings"
        raise SettingError(
            f"method {name} has {settings} to try, not {count}: every method gets the same number of trials, so use "
            f"--trials {len(changes)} or fewer"
        )
    tried = [changed(name, chosen, change) for change in changes[:count]]
    for number, settings in enumerate(tried):
        if settings in tried[:number]:
            raise SettingError(
                f"trials {tried.index(settings)} and {number} of method {name} are the same ({changes[number]}): leave "
                "out the --method option that trials vary"
            )
    return changes[:count]


def changed(name: str, chosen: Any, change: Mapping[str, Any]) -> Any:
    """A method's settings with a trial's changes.

    Raises:
        SettingError: the method has no such setting, or not with such a value.
    """
    known = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(chosen)}
    try:
        settings = settings_of(type(chosen), {**known, **change})
        check_settings(settings, "method")
    except SettingError as problem:
        raise SettingError(f"a trial of method {name} is impossible, {dict(change)}: {problem}") from problem
    return settings


def _declared(name: str, chosen: Any) -> tuple[Mapping[str, Any], ...]:
    trials = registration(name).trials
    if trials:
        return trials
    rate = getattr(chosen, "rate", None)
    if not isinstance(rate, int | float):
        return ()
    return tuple({"rate": rate * factor} for factor in FACTORS)
