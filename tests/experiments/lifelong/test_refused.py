"""learn(): what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.experiments.lifelong.runs import TASKS, Settings, contents, figures, rewrite, work
from tests.killing import dies

from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.records import LifelongRecord
from skilltokens.files import sealed
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SRowsSettings, T2SSettings
from skilltokens.settings import TrainSettings
from skilltokens.simulation.demonstrate import demonstrations
from skilltokens.suites import load_suite, task_of
from skilltokens.tensors import fingerprint, read_state, write_state
from skilltokens.types import Progress, RunError, SettingError


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
    (half / "run.json").write_text(json.dumps(sealed(content)))
    (half / "progress.safetensors").unlink(missing_ok=True)  # it is tied to the file as it was
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
    digests = ["0" * 64, *content["demonstrations"]["digest"][1:]]
    rewrite(half, demonstrations={**content["demonstrations"], "digest": digests})
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


def _without(path: Path, key: str) -> None:
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))


def _replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _scaled(folder: Path) -> None:
    """Another state, sealed as it should be."""
    path = folder / "state-1.safetensors"
    tensors, about = read_state(path)
    write_state(path, {name: 2 * value for name, value in tensors.items()}, about)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut": ("truncated or altered", lambda folder: _cut(folder / "run.json")),
    "empty": ("truncated or altered", lambda folder: (folder / "run.json").write_text("")),
    "a list": ("schema", lambda folder: (folder / "run.json").write_text("[]")),
    "another schema": ("schema", lambda folder: (folder / "run.json").write_text('{"schema": "other/1"}')),
    "nothing else": ("altered", lambda folder: (folder / "run.json").write_text('{"schema": "skilltokens.run/1"}')),
    "no digest": ("its digest differs", lambda folder: _without(folder / "run.json", "digest")),
    "another seed": ("its digest differs", lambda folder: _replace(folder / "run.json", b'"seed": 0', b'"seed": 1')),
    "a pipe": ("is a pipe where a file is needed", lambda folder: _pipe(folder / "run.json")),
    "state cut": ("truncated or altered.*new folder", lambda folder: _cut(folder / "state-1.safetensors")),
    "state gone": ("does not exist.*new folder", lambda folder: (folder / "state-1.safetensors").unlink()),
    "state of a dream": ("truncated or altered", lambda folder: (folder / "state-1.safetensors").write_bytes(b"dream")),
    "state a pipe": ("is a pipe where a file is needed", lambda folder: _pipe(folder / "state-1.safetensors")),
    "state of another lesson": ("not the state that run.json was written for", lambda folder: _scaled(folder)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_refused_in_words(name: str, half: Path, settings: Settings):
    said, damage = DAMAGE[name]
    damage(half)
    before = contents(half)
    with pytest.raises(RunError, match=said) as refusal:
        learn(settings, half)
    assert "\n" not in str(refusal.value)
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
        (half / "altered" / "run.json").write_text(json.dumps(sealed(content | broken)))
        with pytest.raises(RunError, match="altered"):
            learn(settings, half / "altered")


def test_a_state_of_another_policy_is_refused_in_words(half: Path, settings: Settings, place: Path):
    shutil.copy(place / "whole" / "state-3.safetensors", half / "state-1.safetensors")
    small = dataclasses.replace(settings, policy=dataclasses.replace(settings.policy, width=32))
    content = json.loads((half / "run.json").read_text())
    content["config"]["policy"]["width"] = 32
    tensors, about = read_state(half / "state-1.safetensors")
    rewrite(half, config=content["config"], state=fingerprint(tensors, about))
    with pytest.raises(RunError, match="state-1"):
        learn(small, half)


@pytest.mark.parametrize("change", [lambda tensor: tensor.double(), lambda tensor: tensor * torch.nan])
def test_a_state_with_other_numbers_than_can_be_is_refused_in_words(
    change: Callable[[torch.Tensor], torch.Tensor], half: Path, settings: Settings
):
    tensors, about = read_state(half / "state-1.safetensors")
    changed = {name: change(value) if value.is_floating_point() else value for name, value in tensors.items()}
    write_state(half / "state-1.safetensors", changed, about)
    rewrite(half, state=fingerprint(changed, about))
    with pytest.raises(RunError, match=r"state-1.*(is not of this run|not finite)"):
        learn(settings, half)


def test_a_damaged_lesson_in_training_starts_again_and_it_is_said(half: Path, settings: Settings, place: Path):
    _cut(half / "progress.safetensors")
    reports: list[Progress] = []
    learn(settings, half, reports.append)
    (note,) = {news.note for news in reports if "starts again" in news.note}
    assert "lesson 2 starts again, since" in note
    assert "progress.safetensors is truncated or altered" in note
    assert figures(half) == figures(place / "whole")


def _tied(about: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**about, "tie": {**about["tie"], **changes}}


ALTERED: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "of another run": ("of another run", lambda about: _tied(about, run="0" * 64)),
    "of a later lesson": ("of another run", lambda about: _tied(about, lesson=2)),
    "after another state": ("of another run", lambda about: _tied(about, state="0" * 64)),
    "other random numbers": (
        "the training that was kept is altered",
        lambda about: {**about, "fit": {**about["fit"], "rng": "{}"}},
    ),
    "steps of a dream": ("stopped nowhere", lambda about: {**about, "fit": {**about["fit"], "step": 600}}),
    "cells of a dream": ("repeats a cell", lambda about: {**about, "evaluations": about["evaluations"] * 2}),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_lesson_in_training_that_is_sealed_and_cannot_be_right_is_refused(name: str, half: Path, settings: Settings):
    said, change = ALTERED[name]
    tensors, about = read_state(half / "progress.safetensors")
    assert about["evaluations"]
    write_state(half / "progress.safetensors", tensors, change(about))
    before = contents(half)
    with pytest.raises(RunError, match=said) as refusal:
        learn(settings, half)
    assert "\n" not in str(refusal.value)
    assert contents(half) == before


def test_training_numbers_of_another_shape_or_kind_are_refused(half: Path, settings: Settings):
    tensors, about = read_state(half / "progress.safetensors")
    first, moment = tensors["parameter.0"], tensors["optimizer.0.exp_avg"]
    for changed in (
        {"parameter.0": first.double()},
        {"parameter.0": first * torch.inf},
        {"parameter.0": first.flatten()},
        {"optimizer.0.exp_avg": moment.half()},
        {"optimizer.0.exp_avg": torch.zeros(3)},
        {"optimizer.99.exp_avg": moment.clone()},
        {"optimizer.x": moment.clone()},
        {"stranger": moment.clone()},
    ):
        write_state(half / "progress.safetensors", {**tensors, **changed}, about)
        with pytest.raises(RunError, match="the training that was kept is altered or not of this lesson"):
            learn(settings, half)


HOLDS = """
import sys, time
from pathlib import Path
from skilltokens.locking import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_told_who_works_in_the_folder(half: Path, settings: Settings, place: Path):
    words = [sys.executable, "-c", HOLDS, str(half)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        before = contents(half)
        with pytest.raises(RunError, match=f"is being written by process {other.pid} on .*--out"):
            learn(settings, half)
        assert contents(half) == before
        other.kill()
    learn(settings, half)
    assert figures(half) == figures(place / "whole")


def test_a_run_without_seals_is_resumed_and_sealed_from_then_on(half: Path, settings: Settings, place: Path):
    """As a version of before there were seals left it."""
    content = json.loads((half / "run.json").read_text())
    old = {key: value for key, value in content.items() if key not in ("digest", "state")}
    (half / "run.json").write_text(json.dumps({**old, "schema": "skilltokens.run/1"}))
    tensors, _ = read_state(half / "state-1.safetensors")
    (half / "state-1.safetensors").write_bytes(safetensors.torch.save(tensors))
    (half / "progress.safetensors").write_bytes(safetensors.torch.save(tensors, {"about": "{}"}))
    reports: list[Progress] = []
    learn(settings, half, reports.append)
    notes = "; ".join(dict.fromkeys(news.note for news in reports))
    assert "state-1.safetensors was written before files were sealed" in notes
    assert "lesson 2 starts again" in notes
    assert figures(half) == figures(place / "whole")
    assert json.loads((half / "run.json").read_text())["schema"] == "skilltokens.run/2"


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
    "no bend": ("share 0.001 and .* leave no rank", lambda s: dataclasses.replace(s, method=T2SSettings(share=0.001))),
    "no rows": ("share 0.001 leaves no row", lambda s: dataclasses.replace(s, method=T2SRowsSettings(share=0.001))),
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


def test_a_chunk_longer_than_every_demonstration_is_refused_before_anything_is_written(settings: Settings, place: Path):
    other = dataclasses.replace(settings, policy=dataclasses.replace(settings.policy, chunk=99))
    said = r"policy\.chunk 99 is longer than every demonstration of 'reach-red' \(\d+ steps at most\): lower it"
    with pytest.raises(SettingError, match=said):
        learn(other, place / "chunk")
    assert not (place / "chunk" / "run.json").exists()
