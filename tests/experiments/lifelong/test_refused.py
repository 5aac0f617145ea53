"""learn(): what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, contents, figures, work
from tests.killing import dies

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.records import LifelongRecord
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.settings import TrainSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.suites import load_suite, task_of
from skilltokens.types import RunError, SettingError


def test_another_configuration_is_refused_and_nothing_is_lost(half: Path, settings: Settings):
    before = contents(half)
    others = {
        "seed": dataclasses.replace(settings, seed=1),
        r"train\.rate": dataclasses.replace(settings, train=dataclasses.replace(settings.train, rate=0.5)),
        r"method\.share": dataclasses.replace(settings, method=T2SSettings(reuse=1.0, rows_in="all", share=0.07)),
        "method was 't2s', is 'sequential'": dataclasses.replace(settings, method=SequentialSettings()),
        "tasks": dataclasses.replace(settings, tasks=TASKS[:2]),
    }
    for named, other in others.items():
        with pytest.raises(RunError, match=f"another configuration.*{named}.*--out"):
            learn(other, half)
    assert contents(half) == before


def test_another_limit_is_no_other_configuration_nor_is_a_file_without_one(half: Path, settings: Settings):
    content = json.loads((half / "run.json").read_text())
    del content["config"]["evaluate"]["step_limit"]  # as older versions wrote it
    (half / "run.json").write_text(json.dumps(content))
    other = dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, step_limit=7.0))
    with pytest.raises(RunError, match=r"another configuration \(seed was 0, is 1\)"):
        learn(dataclasses.replace(other, seed=1), half)
    assert learn(other, half).finished


def test_a_run_that_died_in_its_first_lesson_keeps_its_configuration(
    place: Path, settings: Settings, whole: LifelongRecord
):
    folder = place / "first"
    assert dies(work, folder, {"train"}, 5, settings) == "train"
    with pytest.raises(RunError, match=r"another configuration.*seed"):
        learn(dataclasses.replace(settings, seed=1), folder)
    assert dies(work, folder, set(), None, settings) == ""
    assert figures(folder) == figures(place / "whole")


def test_other_demonstrations_are_refused(half: Path, settings: Settings, tmp_path: Path):
    content = json.loads((half / "run.json").read_text())
    content["demonstrations"]["digest"][0] = "0" * 64
    (half / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="demonstrations are others"):
        learn(settings, half)


def test_a_finished_run_is_not_shown_for_demonstrations_it_did_not_learn_from(
    place: Path, settings: Settings, whole: LifelongRecord, tmp_path: Path
):
    folder = Path(shutil.copytree(place / "whole", tmp_path / "run"))
    elsewhere = dataclasses.replace(settings.demonstrations, folder=str(tmp_path / "demos"))
    settings = dataclasses.replace(settings, demonstrations=elsewhere)
    assert learn(settings, folder) == whole  # none there: what was found stands in run.json
    suite = load_suite(settings.suite)
    task = task_of(suite, whole.tasks[0].name)
    demonstrations(suite, [task], dataclasses.replace(elsewhere, seed=5), workers=0)
    with pytest.raises(RunError, match="demonstrations are others"):
        learn(settings, folder)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut": ("truncated or altered", lambda folder: _cut(folder / "run.json")),
    "empty": ("truncated or altered", lambda folder: (folder / "run.json").write_text("")),
    "a list": ("schema", lambda folder: (folder / "run.json").write_text("[]")),
    "another schema": ("schema", lambda folder: (folder / "run.json").write_text('{"schema": "other/1"}')),
    "nothing else": ("altered", lambda folder: (folder / "run.json").write_text('{"schema": "skilltokens.run/1"}')),
    "state cut": ("missing or damaged", lambda folder: _cut(folder / "state-1.safetensors")),
    "state gone": ("missing or damaged", lambda folder: (folder / "state-1.safetensors").unlink()),
    "state of a dream": ("missing or damaged", lambda folder: (folder / "state-1.safetensors").write_bytes(b"dream")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_refused_in_words(name: str, half: Path, settings: Settings):
    said, damage = DAMAGE[name]
    damage(half)
    before = contents(half)
    with pytest.raises(RunError, match=said):
        learn(settings, half)
    assert contents(half) == before


PARTS = ["method", "config", "versions", "resumed", "evaluations", "parameters", "timing", "learning", "finished"]


@pytest.mark.parametrize("key", PARTS)
def test_a_run_without_one_of_its_parts_is_refused_in_words(key: str, half: Path, settings: Settings):
    cases: dict[str, list[dict[str, Any]]] = {
        "finished": [{}],
        "resumed": [{key: 7}, {key: [7]}, {key: [{}]}],
        "learning": [{key: 7}, {key: [7]}, {key: [{}]}],  # a reader does without it, but must be able to trust it
    }
    for broken in cases.get(key, [{}, {key: 7}]):
        content = json.loads((half / "run.json").read_text())
        content.pop(key, None)
        (half / "altered").mkdir(exist_ok=True)
        (half / "altered" / "run.json").write_text(json.dumps(content | broken))
        with pytest.raises(RunError, match="altered"):
            learn(settings, half / "altered")


def test_a_state_of_another_policy_is_refused_in_words(half: Path, settings: Settings, place: Path):
    shutil.copy(place / "whole" / "state-3.safetensors", half / "state-1.safetensors")
    small = dataclasses.replace(settings, policy=dataclasses.replace(settings.policy, width=32))
    content = json.loads((half / "run.json").read_text())
    content["config"]["policy"]["width"] = 32
    (half / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="state-1"):
        learn(small, half)


def test_a_damaged_lesson_in_training_starts_again(half: Path, settings: Settings, place: Path):
    _cut(half / "progress.safetensors")
    learn(settings, half)
    assert figures(half) == figures(place / "whole")


WRONG: dict[str, tuple[str, Callable[[Settings], Settings]]] = {
    "an unknown variant": (
        "there is no suite 'toi'",
        lambda s: _evaluated(s, variants=("tests.toy:paraphrased", "toi")),
    ),
    "a variant without the tasks": ("has no task 'reach-red'", lambda s: _evaluated(s, variants=("libero-goal",))),
    "a variant of another robot": ("are not those of 'toy'", lambda s: _evaluated(s, variants=("tests.faults:Wider",))),
    "a horizon beyond the suite's": ("allows 1 to 40", lambda s: _evaluated(s, horizon=41)),
    "more episodes than there are": (
        "'few' has 4 different episodes of the split 'test', not 5",
        lambda s: dataclasses.replace(_evaluated(s, episodes=5), suite="tests.faults:Few"),
    ),
    "too few of a variant": ("'few' has 4", lambda s: _evaluated(s, episodes=5, variants=("tests.faults:Few",))),
    "no rows": ("share 0.001 leaves no row", lambda s: dataclasses.replace(s, method=T2SSettings(share=0.001))),
    "too many new rows": ("mu 0.01", lambda s: dataclasses.replace(s, method=T2SSettings(mu=0.01))),
    "no ranks": ("share 0.001 leaves no rank", lambda s: dataclasses.replace(s, method=LoraSettings(share=0.001))),
    "a number": ("train.threads 0 is impossible", lambda s: dataclasses.replace(s, train=TrainSettings(threads=0))),
}


def _evaluated(settings: Settings, **more: Any) -> Settings:
    return dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, **more))


@pytest.mark.parametrize("name", WRONG)
def test_what_could_only_fail_later_is_refused_before_anything_is_written(
    name: str, settings: Settings, tmp_path: Path
):
    said, change = WRONG[name]
    with pytest.raises(SettingError, match=said):
        learn(change(settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_as_many_episodes_as_there_are_may_be_asked_for(settings: Settings, tmp_path: Path):
    few = dataclasses.replace(_evaluated(settings, variants=("tests.faults:Few",)), suite="tests.faults:Few")
    assert learn(few, tmp_path / "run").finished


def test_unknown_tasks_and_impossible_policies_are_refused(settings: Settings, tmp_path: Path):
    with pytest.raises(SettingError, match="did you mean 'reach-red'"):
        learn(dataclasses.replace(settings, tasks=("reach-rad",)), tmp_path / "a")
    linear = dataclasses.replace(settings.policy, maps="linear")
    with pytest.raises(SettingError, match=r"grows policies of pattention maps.*set policy\.maps"):
        learn(dataclasses.replace(settings, policy=linear), tmp_path / "b")
    assert not (tmp_path / "b" / "run.json").exists()
