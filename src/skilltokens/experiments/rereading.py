"""The settings of a run, read back out of its record. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skilltokens.configuration import flat, plain, settings_of, with_new_names
from skilltokens.experiments.records import LifelongRecord, RewardRecord
from skilltokens.experiments.settings import RewardSettings, RunSettings
from skilltokens.methods import method_settings, today
from skilltokens.types import SettingError


def lifelong_settings_in(record: LifelongRecord) -> RunSettings[Any]:
    """The settings that a lifelong run was made with; what an older file lacks has its default.

    Raises:
        SettingError: a setting, or a method, that this version does not have.
    """
    kind: Any = RunSettings
    return settings_of(kind[method_settings(record.method)], record.config)


def method_in(record: LifelongRecord) -> str:
    """What the method of a run is called today; see `methods.today`."""
    content = record.config.get("method")
    return today(record.method, content) if isinstance(content, Mapping) else record.method


def reward_settings_in(record: RewardRecord) -> RewardSettings:
    """The same of a run from reward."""
    ppo = record.config.get("ppo", {})
    if isinstance(ppo, Mapping):
        ppo = {"presence": 0.0, **ppo}  # before there was such a setting, tokens began loud
    return settings_of(RewardSettings, {**record.config, "ppo": ppo})


def config_of(record: LifelongRecord) -> dict[str, Any]:
    """The settings of a run on one level of dotted names, to be shown and compared.

    A run of another version, or of a method that is not installed here, keeps those that it wrote down.
    """
    try:
        return flat(plain(lifelong_settings_in(record)))
    except SettingError:
        usual = {name: value for name, value in flat(plain(RunSettings(None))).items() if name != "method"}
        return {**usual, **flat(with_new_names(record.config))}
