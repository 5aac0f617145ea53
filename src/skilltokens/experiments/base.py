"""The library that a run of protocol A+ begins from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilltokens.configuration import changes_of, flat, plain, settings_of
from skilltokens.experiments.pretraining import pretraining_of
from skilltokens.experiments.records import BaseLibrary
from skilltokens.experiments.settings import RunSettings
from skilltokens.language import recorded_encoder
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.head import HEAD, damaged
from skilltokens.skills.outline import outline
from skilltokens.types import SettingError, Suite, shortened

if TYPE_CHECKING:
    from skilltokens.skills.library import SkillLibrary


def with_base(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The settings with the policy and the sentence encoder of the library that the run begins from. Free of torch.

    A base that a recipe makes has its folder for `base` then; where it is not made yet, the policy is the recipe's. A
    `pretrain` that is not used is left out, so that run.json says nothing else than what was done.

    Raises:
        LibraryError: there is no library, or its library.json is damaged.
        SettingError: the settings ask for another policy or encoder than the library has, or for a recipe that makes no
            base.
    """
    ahead = pretraining_of(settings)
    if ahead is None:
        settings = dataclasses.replace(settings, pretrain="")
    else:
        settings = dataclasses.replace(settings, base=str(ahead.library))
    if settings.protocol != "A+" or not settings.base:  # a base that is in the way is refused by `check`
        return settings
    folder = Path(settings.base)
    if ahead is not None and not ahead.done:
        return _with_policy(settings, folder, ahead.settings.policy, ahead.settings.encoder)
    library = outline(folder)
    try:
        policy = settings_of(PolicySettings, library.settings)
    except SettingError as problem:
        raise damaged(folder / HEAD, str(problem)) from problem
    encoder = library.encoder
    if settings.encoder != encoder:  # else its user has named it
        recorded_encoder(encoder, f"library {folder}")
    return _with_policy(settings, folder, policy, encoder)


def _with_policy(settings: RunSettings[Any], folder: Path, policy: PolicySettings, encoder: str) -> RunSettings[Any]:
    """Raises SettingError where the settings ask for another policy or encoder than the library's."""
    usual = {field.name: field.default for field in dataclasses.fields(RunSettings)}
    if settings.policy not in (PolicySettings(), policy):
        changes = shortened(changes_of(flat(plain(policy)), flat(plain(settings.policy))))
        raise SettingError(
            f"the library {folder} keeps its own policy ({changes}): leave out --policy, or begin from a base that was "
            "learned with it, such as a run of multitask leaves in its folder library"
        )
    if settings.encoder not in (usual["encoder"], encoder):
        raise SettingError(f"the library {folder} keeps its own sentence encoder {encoder!r}: leave out --encoder")
    return dataclasses.replace(settings, policy=policy, encoder=encoder)


def open_base(settings: RunSettings[Any], suite: Suite) -> SkillLibrary | None:
    """The library that the run begins from, fit for its suite; None where it begins from none, or where that is still
    to be made.

    Raises:
        LibraryError: it is damaged, or of another robot.
    """
    ahead = pretraining_of(settings)
    if not settings.base or (ahead is not None and not ahead.done):
        return None
    from skilltokens.skills.library import SkillLibrary

    library = SkillLibrary.open(settings.base, settings.encoder)
    library.check_features(suite.features, f"suite {suite.name!r}")
    library.check_actions(suite)
    return library


def base_record(library: SkillLibrary) -> BaseLibrary:
    """What run.json keeps of the library."""
    return BaseLibrary(
        skills=library.names,
        parameters=library.parameters,
        fingerprints=library.fingerprints(),
    )
