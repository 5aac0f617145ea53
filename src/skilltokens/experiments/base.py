"""The library that a run of protocol A+ begins from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skilltokens.configuration import settings_of
from skilltokens.experiments.records import BaseLibrary
from skilltokens.experiments.settings import RunSettings
from skilltokens.files import LIBRARY_SCHEMA, read_json
from skilltokens.model.settings import PolicySettings
from skilltokens.types import LibraryError, SettingError, Suite

if TYPE_CHECKING:
    from skilltokens.skills.library import SkillLibrary


def with_base(settings: RunSettings[Any]) -> RunSettings[Any]:
    """The settings with the policy and the sentence encoder of the library that the run begins from. Free of torch.

    Raises:
        LibraryError: there is no library, or its library.json is damaged.
        SettingError: the settings ask for another policy or encoder than the library has.
    """
    if settings.protocol != "A+" or not settings.base:  # a base that is in the way is refused by `check`
        return settings
    folder = Path(settings.base)
    card = read_json(folder / "library.json", LIBRARY_SCHEMA, LibraryError)
    try:
        policy = settings_of(PolicySettings, card["policy"]["settings"])
        encoder = str(card["encoder"])
    except (LookupError, TypeError, SettingError) as problem:
        raise LibraryError(
            f"{folder}/library.json is damaged or altered ({problem}): restore it from a copy"
        ) from problem
    usual = {field.name: field.default for field in dataclasses.fields(RunSettings)}
    if settings.policy not in (PolicySettings(), policy):
        raise SettingError(f"the library {folder} keeps its own policy: leave out --policy with --base")
    if settings.encoder not in (usual["encoder"], encoder):
        raise SettingError(f"the library {folder} keeps its own sentence encoder {encoder!r}: leave out --encoder")
    return dataclasses.replace(settings, policy=policy, encoder=encoder)


def open_base(settings: RunSettings[Any], suite: Suite) -> SkillLibrary | None:
    """The library that the run begins from, fit for its suite; None where it begins from none.

    Raises:
        LibraryError: it is damaged, or of another robot.
    """
    if not settings.base:
        return None
    from skilltokens.skills.library import SkillLibrary

    library = SkillLibrary.open(settings.base)
    features = {name: feature for name, feature in suite.features.items() if name in library.features}
    library.check_features(features, f"suite {suite.name!r}")
    return library


def base_record(library: SkillLibrary) -> BaseLibrary:
    """What run.json keeps of the library."""
    return BaseLibrary(
        skills=[skill.name for skill in library.skills],
        parameters=library.parameters,
        fingerprints=library.fingerprints(),
    )
