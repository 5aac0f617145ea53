"""The library, or the policy of another make, that a run of protocol A+ begins from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from skilltokens.configuration import changes_of, flat, plain, settings_of
from skilltokens.experiments.pretraining import pretraining_of
from skilltokens.experiments.records import BaseLibrary
from skilltokens.experiments.settings import RunSettings
from skilltokens.language import recorded_encoder
from skilltokens.methods import method_of, registration
from skilltokens.model.settings import PolicySettings
from skilltokens.skills.head import HEAD, damaged
from skilltokens.skills.outline import outline
from skilltokens.types import SettingError, Suite, shortened

if TYPE_CHECKING:
    from skilltokens.attached.base import OtherBase
    from skilltokens.attached.beside import Attached
    from skilltokens.skills.library import SkillLibrary

Base: TypeAlias = "SkillLibrary | OtherBase"
"""What a run of protocol A+ begins from."""


def with_base(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The settings with the policy and the sentence encoder of the library that the run begins from. Free of torch.

    A base that a recipe makes has its folder for `base` then; where it is not made yet, the policy is the recipe's. A
    `pretrain` that is not used is left out, so that run.json says nothing else than what was done.

    Raises:
        LibraryError: there is no library, or its library.json is damaged.
        SettingError: the settings ask for another policy or encoder than the library has, or for a recipe that makes no
            base.
    """
    if beside_another(settings):
        return dataclasses.replace(settings, pretrain="")
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


def beside_another(settings: RunSettings[Any]) -> bool:
    """Whether the run's method learns on a policy of another make.

    Raises:
        SettingError: it does and the settings name none, or ask for what only this package's own policies do; or it
            does not, and there is a loader.
    """
    name = method_of(settings.method)
    if not registration(name).beside:
        if settings.loader:
            raise SettingError(f"--loader is for methods on a policy of another make, and {name} is none: leave it out")
        return False
    if settings.protocol != "A+" or not settings.base:
        raise SettingError(f"{name} learns on a policy of another make: name it, --protocol A+ --base CHECKPOINT")
    for setting, value, usual in (
        ("evaluate.ahead", settings.evaluate.ahead, 1),
        ("cotrain.share", settings.cotrain.share, 0),
    ):
        if value != usual:
            raise SettingError(
                f"{setting} {value} is for this package's own policies, and {name} has none: leave it out"
            )
    return True


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


def open_base(settings: RunSettings[Any], suite: Suite) -> Base | None:
    """What the run begins from, fit for its suite; None where it begins from nothing, or where that is still to be
    made.

    Raises:
        LibraryError: it is damaged, not there, or of another robot.
    """
    if beside_another(settings):
        from skilltokens.attached.base import OtherBase

        other = OtherBase(settings.base, settings.loader)
        other.check()
        return other
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


def other_record(base: OtherBase, attached: Attached) -> BaseLibrary:
    """What run.json keeps of a policy of another make: its numbers as they were loaded, and its files."""
    from skilltokens.attached.loading import seal_of
    from skilltokens.attached.patterns import type_of

    return BaseLibrary(
        skills=[],
        parameters=attached.reach.size,
        fingerprints=[attached.base, seal_of(base.source)],
        type=type_of(attached.root),
        revision=base.source.revision,
        files=base.source.files,
    )
