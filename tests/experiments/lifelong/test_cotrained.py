"""Runs that learn old windows beside new ones: what is kept and counted, what is refused, the bits after a break."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests import bases
from tests.experiments.lifelong.runs import figures
from tests.methods.interrupted import check_interrupted, run_of
from tests.small import make_stores
from tests.toy import Toy

from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import write_record
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods.cotrain import CotrainSettings
from skilltokens.methods.er import ERSettings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.untrained import UntrainedSettings
from skilltokens.report.conditions import unequal
from skilltokens.report.runs import read_run
from skilltokens.report.summary import groups_of
from skilltokens.types import DemonstrationError, Progress, RunError, SettingError

HALF = CotrainSettings(share=0.5, ahead=2)
Settings = RunSettings[Any]


def changed(settings: Settings, **changes: Any) -> Settings:
    """The same run with other settings of co-training."""
    return dataclasses.replace(settings, cotrain=dataclasses.replace(settings.cotrain, **changes))


@pytest.fixture
def run(tmp_path: Path) -> Settings:
    """Three tasks from scratch, each beside the earlier ones."""
    settings = run_of(LoraSettings(), tmp_path / "demos", cotrain=HALF)
    return dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, points=1))


@pytest.fixture
def few(run: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two new tasks on a base of two others, whose demonstrations lie in demos/3."""
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(
        run,
        protocol="A+",
        pretrain="tests.bases:two",
        tasks=("between", "avoid-red"),
        policy=bases.two("t2s").policy,
        demonstrations=dataclasses.replace(run.demonstrations, folder="demos/{episodes}", episodes=2),
    )
    return changed(settings, folders=("demos/3",))


def size(*stores: DemonstrationStore) -> int:
    return sum(8 * 4 * store.steps + 8 * (store.episodes + 1) for store in stores)


def test_what_is_kept_and_what_a_step_costs_is_written_down(run: Settings, tmp_path: Path):
    record = learn(run, tmp_path / "run")
    stores = [DemonstrationStore.open(tmp_path / "demos" / "toy" / name) for name in run.tasks]
    assert record.remembered == [size(*stores[: i + 1]) for i in range(3)]
    assert record.passes == [1.0, 1.8, 1.8]
    assert record.cotrained == []
    alone = learn(changed(run, share=0.0), tmp_path / "alone")
    assert alone.remembered == alone.passes == []
    assert [cell.policy for cell in record.cells if cell.task == 0] == [c.policy for c in alone.cells if c.task == 0]
    assert record.cells[-1].policy != alone.cells[-1].policy


def test_a_comparison_keeps_both_apart_by_name_and_puts_them_in_one_table(run: Settings, tmp_path: Path):
    for name, share in (("with", 0.5), ("alone", 0.0)):
        learn(changed(run, share=share), tmp_path / name)
    both = [read_run(tmp_path / name) for name in ("with", "alone")]
    assert unequal(both[0], both[1]) == []
    learn(dataclasses.replace(run, method=UntrainedSettings(), cotrain=CotrainSettings()), tmp_path / "rival")
    with_rival = groups_of([both[0], read_run(tmp_path / "rival")])
    assert [group.label for group in with_rival] == ["lora (cotrain.share=0.5)", "untrained"]
    assert {group.label for group in groups_of(both)} == {"lora (cotrain.share=0.5)", "lora (cotrain.share=0)"}


@pytest.mark.slow
@pytest.mark.parametrize("score", ["nearest", "density"])
@pytest.mark.parametrize("method", [T2SSettings(), LoraSettings(), ERSettings(windows=9)], ids=["t2s", "lora", "er"])
def test_interrupted_in_its_second_lesson_it_ends_with_the_same_bits(method: Any, score: Any, tmp_path: Path):
    cotrain = dataclasses.replace(HALF, score=score)
    check_interrupted(run_of(method, tmp_path / "demos", cotrain=cotrain), tmp_path)


def test_a_base_of_many_tasks_lends_its_demonstrations(few: Settings, tmp_path: Path):
    record = learn(few, tmp_path / "run", recipe="small")
    old = [DemonstrationStore.open(Path("demos/3/toy") / name) for name in ("reach-red", "reach-blue")]
    new = [DemonstrationStore.open(Path("demos/2/toy") / name) for name in few.tasks]
    assert record.cotrained == [store.digest for store in old]
    assert record.remembered == [size(*old, *new[: i + 1]) for i in range(2)]
    assert record.passes == [1.8, 1.8]
    shutil.copytree("demos/3", "elsewhere")  # the same demonstrations in another place are the same
    again = learn(changed(few, folders=("elsewhere",)), tmp_path / "again", recipe="small")
    assert again.cells == record.cells
    assert learn(changed(few, folders=("elsewhere",)), tmp_path / "run", recipe="small").cells == record.cells


def test_demonstrations_of_the_runs_own_tasks_are_never_lent(few: Settings, tmp_path: Path):
    """A folder of all tasks lends those of the base alone, however many it has of the new ones."""
    record = learn(few, tmp_path / "run", recipe="small")
    make_stores(Path("demos/3/toy"), Toy().tasks[2:], 9)
    again = learn(few, tmp_path / "again", recipe="small")
    assert again.cotrained == record.cotrained
    assert again.cells == record.cells


def test_an_oracle_draws_from_the_tasks_that_it_names(few: Settings, tmp_path: Path):
    learn(few, tmp_path / "all", recipe="small")
    oracle = changed(few, oracle=("avoid-red:reach-red,between",))
    record = learn(oracle, tmp_path / "run", recipe="small")
    red = DemonstrationStore.open(Path("demos/3/toy/reach-red"))
    between = DemonstrationStore.open(Path("demos/2/toy/between"))
    assert record.passes == [1.0, 1.8]
    assert record.remembered == [size(red, between)] * 2
    for faulty, said in (
        ("hammer:reach-red", "'hammer', no task of the run"),
        ("between:reach-rad", "'reach-rad' for between.*did you mean 'reach-red'"),
        ("between:avoid-red", "'avoid-red' for between.*it is learned later"),
        ("between:between", "'between' for between"),
    ):
        with pytest.raises(SettingError, match=said):
            learn(changed(few, oracle=(faulty,)), tmp_path / "faulty", recipe="small")
        assert not (tmp_path / "faulty" / "run.json").exists()


def test_missing_demonstrations_of_the_base_are_said(few: Settings, tmp_path: Path):
    notes: list[str] = []

    def heard(news: Progress) -> None:
        notes.append(news.note)

    learn(changed(few, folders=()), tmp_path / "none", heard, recipe="small")
    assert any("draws from the run's own lessons alone" in note for note in notes)
    with pytest.raises(DemonstrationError, match="nowhere"):
        learn(changed(few, folders=("nowhere",)), tmp_path / "faulty", recipe="small")
    with pytest.raises(SettingError, match=r"demos/2 holds no demonstrations of what the base has learned \(reach-red"):
        learn(changed(few, folders=("demos/2",)), tmp_path / "faulty", recipe="small")
    shutil.copytree("demos/3", "more")
    with pytest.raises(SettingError, match="two stores of 'reach-blue'"):
        learn(changed(few, folders=("demos/3", "more")), tmp_path / "faulty", recipe="small")
    shutil.rmtree("more/toy/reach-red")
    learn(changed(few, folders=("more",)), tmp_path / "part", heard, recipe="small")
    assert any("does without demonstrations of 1 of the base's tasks (reach-red)" in note for note in notes)
    assert not (tmp_path / "faulty" / "run.json").exists()


def test_other_demonstrations_of_the_base_are_refused_on_resuming(few: Settings, tmp_path: Path):
    def stop(news: Progress) -> None:
        if news.lesson == 1 and news.stage == "train" and not news.note.startswith("base"):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        learn(few, tmp_path / "run", stop, recipe="small")
    shutil.copytree("demos/3", "part")
    shutil.rmtree("part/toy/reach-red")
    with pytest.raises(RunError, match="others than those this run began with"):
        learn(changed(few, folders=("part",)), tmp_path / "run", recipe="small")
    learn(few, tmp_path / "run", recipe="small")
    learn(few, tmp_path / "whole", recipe="small")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")


def test_what_cannot_co_train_is_refused(run: Settings, tmp_path: Path):
    with pytest.raises(SettingError, match="multitask learns all at once"):
        learn(dataclasses.replace(run, method=MultitaskSettings()), tmp_path / "run")
    with pytest.raises(SettingError, match=r"cotrain\.folders demos/3 is for what a base has learned"):
        learn(changed(run, folders=("demos/3",)), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_of_before_there_was_co_training_is_resumed(run: Settings, tmp_path: Path):
    alone = dataclasses.replace(run, cotrain=CotrainSettings())
    record = learn(alone, tmp_path / "run")
    del record.config["cotrain"]
    write_record(tmp_path / "run", record)
    assert learn(alone, tmp_path / "run").cells == record.cells
    with pytest.raises(RunError, match=r"cotrain\.share was 0\.0, is 0\.5"):
        learn(run, tmp_path / "run")
