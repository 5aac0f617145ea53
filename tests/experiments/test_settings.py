"""Settings as data: written plainly and read back, every number with its range, old names and mistakes told apart."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import skilltokens
from skilltokens.behaviour.settings import ExpertPpoSettings, PpoSettings
from skilltokens.configuration import Infinite, check_settings, plain, plain_as_before, settings_of, with_new_names
from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import read_record
from skilltokens.experiments.repeating import recipe_in
from skilltokens.experiments.settings import RewardSettings, RunSettings
from skilltokens.methods import METHODS, method_settings, today
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SRowsSettings, T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.types import RunError, SettingError

RESULTS = Path(__file__).parents[2] / "results"
BOUNDS = (Ge, Gt, Le, Lt)
ANY_FINITE = {
    *("FullCopySettings.near", "LoraSettings.near", "T2SSettings.near"),
    *("CommonPpoSettings.log_std", "PpoSettings.presence"),
    *("RewardSettings.gravity", "RewardSettings.friction", "RewardSettings.noise", "RewardSettings.commands"),
}
"""Numbers that may be any finite one; every other number of a settings class has a range beside it."""


def run_settings(method: str) -> Any:
    """The type of the settings of a method's runs."""
    kind: Any = RunSettings
    return kind[method_settings(method)]


def settings_classes() -> Iterator[type[Any]]:
    """Every dataclass of settings in the package."""
    for info in pkgutil.walk_packages(skilltokens.__path__, "skilltokens."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, kind in vars(module).items():
            if dataclasses.is_dataclass(kind) and name.endswith("Settings") and kind.__module__ == info.name:
                yield typing.cast(type[Any], kind)


CLASSES = sorted(settings_classes(), key=lambda kind: kind.__name__)


def parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and its metadata; of a tuple those of what it holds."""
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    if get_origin(hint) is tuple:
        inner, more = parts(get_args(hint)[0])
        return inner, metadata + more
    return hint, metadata


def numbers_of(kind: type[Any]) -> dict[str, tuple[type, tuple[Any, ...]]]:
    """The fields of a class that are numbers, or tuples of them: each one's type and metadata."""
    hints = {name: parts(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return {name: pair for name, pair in hints.items() if pair[0] in (int, float)}


def full_name(kind: type[Any], name: str) -> str:
    """A field behind the class that declares it, which its subclasses have it from."""
    owner = next(base for base in reversed(kind.__mro__) if name in vars(base).get("__annotations__", {}))
    return f"{owner.__name__}.{name}"


RANGED = [
    (kind, name, bound)
    for kind in CLASSES
    for name, (_, metadata) in numbers_of(kind).items()
    for bound in metadata
    if isinstance(bound, BOUNDS)
]


def test_all_settings_classes_are_found():
    names = {kind.__name__ for kind in CLASSES}
    assert {"RunSettings", "RewardSettings", "TrainSettings", "PolicySettings", "PpoSettings"} <= names
    assert {method_settings(method).__name__ for method in METHODS} <= names


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_number_has_a_range_beside_it(kind: type[Any]):
    for name, (_, metadata) in numbers_of(kind).items():
        ranged = any(isinstance(bound, BOUNDS) for bound in metadata)
        assert ranged != (full_name(kind, name) in ANY_FINITE), full_name(kind, name)


def test_only_numbers_that_are_there_may_be_any():
    assert {full_name(kind, name) for kind in CLASSES for name in numbers_of(kind)} >= ANY_FINITE


def usual(kind: type[Any]) -> Any:
    return kind(method=T2SSettings()) if kind is RunSettings else kind()


def beyond(kind: type[Any], name: str, bound: Any) -> float:
    """The number of the field's type that is nearest beyond a bound."""
    (limit,) = limits((bound,), *BOUNDS)
    if isinstance(bound, Gt | Lt):
        return limit
    away = -1 if isinstance(bound, Ge) else 1
    return limit + away if numbers_of(kind)[name][0] is int else math.nextafter(limit, away * math.inf)


@pytest.mark.parametrize(
    ("kind", "name", "bound"), RANGED, ids=[f"{kind.__name__}.{name} {bound}" for kind, name, bound in RANGED]
)
def test_a_number_beyond_its_range_is_refused_by_its_name(kind: type[Any], name: str, bound: Any):
    value: Any = beyond(kind, name, bound)
    if isinstance(getattr(usual(kind), name), tuple):
        value = (value,)
    with pytest.raises(SettingError, match=rf"part\.{name} \S+ is impossible: use a? ?") as refusal:
        check_settings(dataclasses.replace(usual(kind), **{name: value}), "part")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(kind: type[Any], value: float):
    for name, (number, metadata) in numbers_of(kind).items():
        if number is float and not (value == math.inf and Infinite in metadata):
            wrong: Any = (value,) if isinstance(getattr(usual(kind), name), tuple) else value
            with pytest.raises(SettingError, match=f"^{name} "):
                check_settings(dataclasses.replace(usual(kind), **{name: wrong}))


# ---------------------------------------------------------------- written and read back


def any_of(hint: Any, method: type[Any]) -> st.SearchStrategy[Any]:
    """Values of a field's type, within its range."""
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    if isinstance(hint, typing.TypeVar):
        return any_settings(method, method)
    if dataclasses.is_dataclass(hint):
        return any_settings(typing.cast(type[Any], hint), method)
    if get_origin(hint) is tuple:
        return st.lists(any_of(get_args(hint)[0], method), max_size=3).map(tuple)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint in (int, float):
        return any_number(hint, metadata)
    return {bool: st.booleans(), str: st.text(max_size=6)}[hint]


def any_number(kind: type, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    low, high = max(limits(metadata, Ge, Gt), default=None), min(limits(metadata, Le, Lt), default=None)
    if kind is int:
        return st.integers(-(2**40) if low is None else low, 2**40 if high is None else high)
    return st.floats(
        low,
        high,
        allow_nan=False,
        allow_infinity=False,
        exclude_min=bool(limits(metadata, Gt)),
        exclude_max=bool(limits(metadata, Lt)),
    )


def limits(metadata: tuple[Any, ...], *kinds: type) -> list[Any]:
    """The numbers that bounds of these kinds name."""
    return [getattr(bound, kind.__name__.lower()) for bound in metadata for kind in kinds if isinstance(bound, kind)]


def any_settings(kind: type[Any], method: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field.name: any_of(hints[field.name], method) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("method", METHODS)
@examples(max_examples=20)  # of each; what is not the method's own is the same for all
@given(data=st.data())
def test_a_methods_settings_are_read_back_as_they_were(method: str, data: st.DataObject):
    settings = data.draw(any_settings(RunSettings, method_settings(method)))
    content = plain(settings)
    assert settings_of(run_settings(method), content) == settings
    assert plain(settings_of(run_settings(method), json.loads(json.dumps(content)))) == content


@given(any_settings(RewardSettings, type(None)))
def test_settings_of_learning_from_reward_are_read_back_as_they_were(settings: RewardSettings):
    assert settings_of(RewardSettings, plain(settings)) == settings


def test_what_an_older_file_lacks_has_its_default():
    assert settings_of(RewardSettings, {}) == RewardSettings()
    assert settings_of(run_settings("lora"), {"method": {}}) == RunSettings(method=LoraSettings())


def test_what_an_older_file_lacks_has_the_value_of_its_time():
    read = settings_of(run_settings("t2s"), {"method": {}})
    assert read == RunSettings(method=T2SSettings(bend=0.0))
    assert "bend" not in plain_as_before(T2SSettings(bend=0.0))
    assert plain_as_before(T2SSettings())["bend"] == 0.5
    for settings in (T2SSettings(), T2SSettings(bend=0.0), T2SRowsSettings(), T2SRowsSettings(bend=0.5)):
        assert settings_of(type(settings), plain_as_before(settings)) == settings


def test_former_usual_settings_go_by_the_name_that_they_have_today():
    former = {"rows_in": "feed-forward", "share": 0.04}
    assert today("t2s", former) == "t2s-rows"
    assert today("t2s", {**former, "bend": 0.5}) == "t2s"
    assert today("t2s", {**former, "rows_in": "all"}) == "t2s"
    assert today("t2s", plain(T2SSettings())) == "t2s"
    assert today("t2s", {"colour": "red"}) == "t2s"
    assert today("lora", {}) == "lora"
    assert today("their-own", {}) == "their-own"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"colour": "red"}, "colour"),
        ({"ppo": {"tokens": 2, "colour": 1}}, r"ppo\.colour"),
        ({"motion": {"ppo": {"colour": {"a": 1}}}}, r"motion\.ppo\.colour"),
    ],
)
def test_an_unknown_setting_is_named(content: dict[str, Any], name: str):
    with pytest.raises(SettingError, match=f"has no setting {name}: use the version of the file"):
        settings_of(RewardSettings, content)


def test_a_setting_of_another_method_is_unknown():
    with pytest.raises(SettingError, match=r"has no setting method\.mu"):
        settings_of(run_settings("sequential"), {"method": {"mu": 0.1}})


@pytest.mark.parametrize(
    "content",
    [
        {"seed": "first"},
        {"seed": None},
        {"ppo": 3},
        {"ppo": {"hidden": "wide"}},
        {"motion": {"kinds": ["dancer"]}},
        {"adapt": {"split": "train"}},
        {"gravity": 1.5},
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_one_sentence(content: dict[str, Any]):
    with pytest.raises(SettingError, match="these settings cannot be read") as refusal:
        settings_of(RewardSettings, content)
    assert "\n" not in str(refusal.value)


def test_old_names_are_read_as_the_new_ones_wherever_they_stand():
    old = {"films": False, "prompts": [0.25], "evaluate": {"films": True}}
    assert with_new_names(old) == {"videos": False, "commands": [0.25], "evaluate": {"videos": True}}
    settings = settings_of(RewardSettings, {"films": False, "prompts": [0.25]})
    assert (settings.videos, settings.commands) == (False, (0.25,))
    settings = settings_of(run_settings("t2s"), {"method": {}, "evaluate": {"films": 1}})  # old files: 1 for yes
    assert settings.evaluate.videos is True
    settings = settings_of(run_settings("t2s"), {"method": {"place": "attention"}})
    assert settings.method.rows_in == "attention"


def test_a_setting_that_is_called_by_an_old_name_of_another_keeps_it():
    @dataclasses.dataclass(frozen=True)
    class PluginSettings:
        place: str = "here"
        films: int = 0

    assert settings_of(PluginSettings, {"place": "there", "films": 3}) == PluginSettings("there", 3)


def test_what_experts_never_used_is_passed_over_in_older_files_and_for_them_alone():
    old = {"envs": 4, "policy_rate": 1e-4, "tokens": 2, "presence": 0.0, "stagger": True}
    settings = settings_of(RewardSettings, {"motion": {"ppo": old}, "ppo": old})
    assert settings.motion.ppo == ExpertPpoSettings(envs=4)
    assert settings.ppo == PpoSettings(**old)
    with pytest.raises(SettingError, match=r"has no setting ppo\.DROPPED"):
        settings_of(RewardSettings, {"ppo": {"DROPPED": 1}})


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the published runs are not here")
def test_the_settings_of_every_published_run_are_read_and_possible():
    paths = sorted(RESULTS.rglob("run.json"))
    assert paths
    for path in paths:
        record = read_record(path)
        settings = experiment_in(record).settings_in(record)
        check_settings(settings)
        assert settings.seed == record.seed


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the published runs are not here")
def test_a_run_of_before_there_was_a_presence_is_repeated_with_loud_tokens(tmp_path: Path):
    path = RESULTS / "task-tokens-loud" / "token-seed0" / "run.json"
    assert "presence" not in read_record(path).config["ppo"]
    assert recipe_in(path).settings("token").ppo.presence == 0.0
    content = json.loads(path.read_text(encoding="utf-8"))
    content["config"]["ppo"] = 7
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"altered .*ppo"):
        recipe_in(tmp_path)


def test_settings_that_were_added_change_no_text_that_fingerprints_are_made_of():
    """`Policy.fingerprint` hashes this text: it must stay for every policy of before there were chunks."""
    before = (
        "PolicySettings(width=96, layers=2, heads=4, history=10, maps='pattention', step='joint', head='regression', "
        "modes=5)"
    )
    assert repr(PolicySettings()) == before
    assert repr(PolicySettings(chunk=8)) == before.replace("modes=5)", "modes=5, chunk=8)")
    assert "chunk" not in plain_as_before(PolicySettings())
    assert plain(PolicySettings())["chunk"] == 1


@pytest.mark.parametrize("settings", [PolicySettings(), PolicySettings(chunk=8, width=32)])
def test_what_is_left_out_is_read_back(settings: PolicySettings):
    assert settings_of(PolicySettings, plain_as_before(settings)) == settings
    assert settings_of(PolicySettings, plain(settings)) == settings
