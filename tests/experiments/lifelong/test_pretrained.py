"""Protocol A+ on a base that a recipe makes: made once, resumed, known by its bits; fewer demonstrations later."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from tests import bases
from tests.experiments.lifelong.runs import Settings, figures

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.base import with_base
from skilltokens.experiments.experiment import experiment_of
from skilltokens.experiments.lifelong import learn, make_base
from skilltokens.experiments.pretraining import BASES, pretraining_of
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.repeating import to_be_typed
from skilltokens.methods import method_settings
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import Progress, RunError, SettingError

BASE = Path("bases") / "tests.bases-two"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, in which bases are made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few(settings: Settings, here: Path) -> Settings:
    """One new task from a base that `tests.bases:two` makes."""
    return dataclasses.replace(
        settings,
        protocol="A+",
        pretrain="tests.bases:two",
        tasks=("between",),
        policy=bases.two("t2s").policy,
        method=method_settings("sequential")(),
        demonstrations=dataclasses.replace(settings.demonstrations, folder="demos/{episodes}", episodes=2),
    )


def test_a_missing_base_is_made_and_the_run_begins_from_it(few: Settings, here: Path):
    record = learn(few, here / "run", recipe="small")
    base = read_lifelong(BASE)
    assert (base.method, base.seed, base.demonstrations.episodes) == ("multitask", 0, [3, 3])
    assert record.finished
    assert record.base is not None
    library = SkillLibrary.open(BASE / "library")
    assert record.base.skills == ["reach-red", "reach-blue"] == library.names
    assert record.base.fingerprints == library.fingerprints()
    assert record.config["base"] == str(BASE / "library")
    assert record.learning[0].iterations[-1] + 1 == few.train.iterations  # not those of a first task from scratch
    assert sorted(path.name for path in (here / "demos").iterdir()) == ["2", "3"]
    assert DemonstrationStore.open(here / "demos" / "2" / "toy" / "between").episodes == 2


def test_what_runs_share_is_prepared_once_and_a_plan_knows_the_policy_before(few: Settings, here: Path):
    lifelong = experiment_of("lifelong")
    plain = dataclasses.replace(few, policy=type(few.policy)())
    assert not lifelong.finished(here / "run", plain, "small")
    assert not BASES.exists()
    planned = with_base(plain)
    assert (planned.policy, planned.base) == (few.policy, str(BASE / "library"))
    lifelong.prepare(plain, lambda news: None)
    before = {path: path.stat().st_mtime_ns for path in BASE.rglob("*") if path.is_file()}
    assert with_base(plain) == planned
    learn(plain, here / "run", recipe="small")
    assert lifelong.finished(here / "run", plain, "small")
    assert {path: path.stat().st_mtime_ns for path in BASE.rglob("*") if path.is_file()} == before


def test_a_base_that_is_interrupted_is_resumed_and_has_the_same_bits(few: Settings, here: Path):
    make_base(few)
    whole = SkillLibrary.open(BASE / "library").fingerprints()
    shutil.rmtree(BASES)
    trained = iter(range(3))

    def stop(news: Progress) -> None:
        assert news.note.startswith("base tests.bases:two: ")
        if news.stage == "train" and next(trained, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_base(few, stop)
    assert not (BASE / "library").exists()
    make_base(few)
    assert SkillLibrary.open(BASE / "library").fingerprints() == whole


def test_a_library_that_is_named_is_taken_instead(few: Settings, here: Path):
    make_base(few)
    other = shutil.copytree(BASE / "library", here / "elsewhere")
    made = learn(few, here / "made", recipe="small")
    shutil.rmtree(BASES)
    record = learn(dataclasses.replace(few, base=str(other)), here / "run", recipe="small")
    assert not BASES.exists()
    assert record.config["pretrain"] == ""
    assert record.base == made.base
    assert figures(here / "run")["evaluations"] == figures(here / "made")["evaluations"]


def test_a_run_is_not_resumed_on_another_base(few: Settings, here: Path):
    def stop(news: Progress) -> None:
        if news.stage == "evaluate" and not news.note.startswith("base"):
            raise KeyboardInterrupt

    two_tasks = dataclasses.replace(few, tasks=("between", "avoid-red"))
    with pytest.raises(KeyboardInterrupt):
        learn(two_tasks, here / "run", stop, recipe="small")
    ahead = pretraining_of(few)
    assert ahead is not None
    shutil.rmtree(BASES)
    learn(dataclasses.replace(ahead.settings, seed=1), BASE, recipe="tests.bases:two")
    with pytest.raises(RunError, match="is not the library that this run began from"):
        learn(two_tasks, here / "run", recipe="small")


def test_runs_of_a_grid_share_what_is_prepared_only_where_their_base_is_the_same(few: Settings):
    lifelong = experiment_of("lifelong")
    shared = lifelong.shared(few)
    assert pretraining_of(shared) is not None
    assert lifelong.shared(dataclasses.replace(few, seed=3, method=method_settings("lora")())) == shared
    for other in ({"protocol": "A"}, {"pretrain": "metaworld-40"}, {"base": "elsewhere"}, {"later_demonstrations": 1}):
        assert lifelong.shared(dataclasses.replace(few, **other)) != shared


def test_other_protocols_do_without_it(few: Settings, here: Path):
    record = learn(dataclasses.replace(few, protocol="A"), here / "run", recipe="small")
    assert record.base is None
    assert record.config["pretrain"] == ""
    assert not BASES.exists()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("metaworld-41", "there is no recipe 'metaworld-41' to make a base by: did you mean 'metaworld-40'"),
        ("tests.bases:itself", "recipe 'tests.bases:itself' makes no base: it needs one itself"),
        ("tests.bases:nothing", "makes no base: it returns str, not RunSettings"),
        ("tests.bases:nowhere", "the recipe 'tests.bases:nowhere' makes no base (AttributeError"),
    ],
)
def test_a_recipe_that_makes_no_base_is_refused_before_anything_is_made(
    recipe: str, said: str, few: Settings, here: Path
):
    with pytest.raises(SettingError) as problem:
        experiment_of("lifelong").finished(here / "run", dataclasses.replace(few, pretrain=recipe), "small")
    assert said in str(problem.value)
    assert not any(here.iterdir())


def test_what_a_base_forbids_is_refused_before_it_is_made(few: Settings, here: Path):
    with pytest.raises(SettingError, match="begins from a skill library"):
        experiment_of("lifelong").finished(here / "run", dataclasses.replace(few, pretrain=""), "small")
    other = dataclasses.replace(few.policy, width=24)
    with pytest.raises(SettingError, match="keeps its own policy"):
        experiment_of("lifelong").finished(here / "run", dataclasses.replace(few, policy=other), "small")
    assert not any(here.iterdir())


def test_no_file_decides_which_module_is_loaded(few: Settings):
    assert to_be_typed(few)["pretrain"] == "tests.bases:two"
    assert "pretrain" not in to_be_typed(dataclasses.replace(few, pretrain="metaworld-40"))


@pytest.mark.parametrize("method", ["sequential", "multitask"])
@pytest.mark.parametrize("protocol", ["A", "B"])
def test_tasks_of_later_lessons_have_fewer_demonstrations(method: str, protocol: str, settings: Settings, here: Path):
    chosen = dataclasses.replace(
        settings,
        method=method_settings(method)(),
        protocol=protocol,
        first=2 if protocol == "B" else 1,
        later_demonstrations=2,
        demonstrations=dataclasses.replace(settings.demonstrations, folder="demos/{episodes}"),
    )
    record = learn(chosen, here / "run", recipe="small")
    assert record.demonstrations.episodes == ([4, 4, 2] if protocol == "B" else [4, 2, 2])
    assert learn(chosen, here / "run", recipe="small").finished == record.finished


def test_a_finished_run_of_other_later_demonstrations_is_told(settings: Settings, here: Path):
    usual = dataclasses.replace(settings.demonstrations, folder="demos/{episodes}")
    chosen = dataclasses.replace(settings, later_demonstrations=2, demonstrations=usual, tasks=settings.tasks[:2])
    learn(chosen, here / "run", recipe="small")
    (here / "demos" / "2").rename(here / "demos" / "kept")
    others = dataclasses.replace(chosen, demonstrations=dataclasses.replace(usual, episodes=2, noise=0.2))
    learn(dataclasses.replace(others, tasks=settings.tasks[1:2]), here / "other", recipe="small")
    with pytest.raises(RunError, match="the demonstrations are others"):
        learn(chosen, here / "run", recipe="small")
