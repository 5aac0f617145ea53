"""learn(): what run.json says, killed and resumed, refused and damaged."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.killing import Moment, dies

from skilltokens import record
from skilltokens.lifelong import fingerprint, learn
from skilltokens.methods.base import Choice
from skilltokens.report.runs import read_run
from skilltokens.settings import (
    DemonstrationSettings,
    EvaluateSettings,
    LoraSettings,
    MultitaskSettings,
    PolicySettings,
    RunSettings,
    SequentialSettings,
    T2SSettings,
    TrainSettings,
)
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite, task_of
from skilltokens.suites.demonstrate import demonstrations
from skilltokens.types import Progress, RunError, SettingError

TASKS = ("reach-red", "reach-blue", "between")
Settings = RunSettings[Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def settings(place: Path) -> Settings:
    return RunSettings(
        method=T2SSettings(reuse=1.0, place="all"),
        suite="tests.toy:Toy",
        tasks=TASKS,
        policy=PolicySettings(width=16, layers=1, history=4),
        train=TrainSettings(iterations=6, first_iterations=10, batch=8, window=6, log_every=2, observation_noise=0.01),
        evaluate=EvaluateSettings(episodes=4, group=4, points=3),
        demonstrations=DemonstrationSettings(episodes=4, folder=str(place / "demos")),
    )


@pytest.fixture(scope="module")
def whole(place: Path, settings: Settings) -> dict[str, Any]:
    """A run that was never interrupted."""
    return learn(settings, place / "whole", recipe="small")


def figures(folder: Path) -> dict[str, Any]:
    """All of a finished run but the times, and the commits of the checkout that ran it."""
    content = json.loads((folder / "run.json").read_text())
    assert content["finished"]
    others = ("timing", "started", "finished", "commit", "resumed")
    return {key: value for key, value in content.items() if key not in others}


def work(moment: Moment, folder: Path, settings: Settings) -> None:
    learn(settings, folder, lambda news: moment(news.stage), recipe="small")


# ------------------------------------------------ what it writes


def test_variants_are_evaluated_once_at_the_end_by_their_own_words(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    run = learn(dataclasses.replace(settings, evaluate=wanted), place / "variants", recipe="small")
    found = run["variants"]
    assert [(cell["suite"], cell["task"]) for cell in found] == [("toy-lan", i) for i in range(3)]
    assert [cell["instruction"] for cell in found] == ["drive over to red", "drive over to blue", "park in between"]
    asked = {e["wording"]: e["chosen"] for e in run["selection"]}
    last = {cell["task"]: cell for cell in run["evaluations"]}
    for cell in found:
        assert cell["skill"] == asked[cell["instruction"]]
        if cell["skill"] == cell["task"]:  # the same skill on the same states does the same
            assert (cell["successes"], cell["steps"]) == (last[cell["task"]]["successes"], last[cell["task"]]["steps"])
    assert read_run(place / "variants").finished


def test_a_run_killed_among_its_variants_does_not_repeat_those_that_are_done(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, variants=("tests.toy:paraphrased",))
    varied = dataclasses.replace(settings, evaluate=wanted)
    whole = learn(varied, place / "variants-whole", recipe="small")
    folder = place / "variants-cut"
    shutil.copytree(place / "variants-whole", folder)
    content = json.loads((folder / "run.json").read_text())
    content |= {"finished": None, "variants": [{**whole["variants"][0], "steps": -1}]}
    (folder / "run.json").write_text(json.dumps(content))
    resumed = learn(varied, folder, recipe="small")
    assert resumed["variants"] == [{**whole["variants"][0], "steps": -1}, *whole["variants"][1:]]


def test_a_shorter_horizon_ends_episodes_sooner(place: Path, settings: Settings):
    wanted = dataclasses.replace(settings.evaluate, horizon=3)
    run = learn(dataclasses.replace(settings, evaluate=wanted), place / "horizon", recipe="small")
    assert max(cell["steps"] / cell["episodes"] for cell in run["evaluations"]) <= 3


def test_run_json_is_valid_and_complete(place: Path, settings: Settings, whole: dict[str, Any]):
    content = json.loads((place / "whole" / "run.json").read_text())
    assert content == whole
    run = read_run(place / "whole")  # checks every key against the schema
    assert (run.method, run.seed, run.tasks, run.finished) == ("t2s", 0, TASKS, True)
    assert content["schema"] == "skilltokens.run/1"
    assert (content["protocol"], content["observations"], content["recipe"]) == ("A", "state", "small")
    assert content["suite"] == "tests.toy:Toy"
    assert content["config"] == json.loads(json.dumps(dataclasses.asdict(settings)))
    assert content["demonstrations"]["source"] == "scripted"
    assert content["demonstrations"]["episodes"] == [4, 4, 4]
    assert content["started"] <= content["finished"]
    assert content["versions"]["toy"] == "1"
    assert {path.name for path in (place / "whole").iterdir()} == {"run.json", "state-3.safetensors", "library"}


def test_every_seen_task_is_evaluated_and_the_curve_of_the_new_one(whole: dict[str, Any]):
    cells = [(entry["after"], entry["task"], entry["progress"]) for entry in whole["evaluations"]]
    curve = [(task, task, progress) for task in range(3) for progress in (0.0, 0.5)]
    triangle = [(after, task, 1.0) for after in range(3) for task in range(after + 1)]
    assert sorted(cells) == sorted(curve + triangle)
    for entry in whole["evaluations"]:
        assert (entry["split"], entry["selected_by"], entry["episodes"]) == ("test", "instruction", 4)
        assert 0 <= entry["successes"] <= 4 <= entry["steps"] <= 160


def test_lessons_are_written_down(whole: dict[str, Any]):
    parameters = whole["parameters"]
    assert parameters["trained"][0] == parameters["base"] == parameters["total"][0]
    total, later = parameters["total"], parameters["trained"][1:]
    assert [after - before for before, after in itertools.pairwise(total)] == later
    assert 0 < min(later) <= max(later) <= 0.08 * parameters["base"]
    assert [lesson["iterations"][-1] for lesson in whole["learning"]] == [9, 5, 5]
    assert not whole["gradients"][0]["layers"]
    for lesson in whole["gradients"][1:]:
        assert len(lesson["layers"]) == 5
        assert all(not any(norms["shared"]) and all(norms["specific"]) for norms in lesson["layers"].values())
    assert [sum(lesson["from"].values()) for lesson in whole["reuse"]] == [0, 0, whole["reuse"][2]["new"]]
    chosen = whole["selection"]
    assert sum(entry["held_out"] for entry in chosen) == 3
    assert all(entry["chosen"] == entry["task"] for entry in chosen if not entry["held_out"])


def test_cells_of_the_same_bits_are_marked_and_say_the_same(whole: dict[str, Any]):
    entries = whole["evaluations"]
    marked = [entry for entry in entries if "same_as" in entry]
    old = [entry for entry in entries if entry["progress"] == 1.0 and entry["task"] < entry["after"]]
    assert marked == old
    for entry in marked:
        other = entries[entry["same_as"]]
        assert "same_as" not in other
        for key in ("actions", "policy", "skill", "task", "split", "successes", "episodes", "steps"):
            assert entry[key] == other[key]
    fresh = [(entry["task"], entry["policy"], entry["actions"]) for entry in entries if "same_as" not in entry]
    assert len(set(fresh)) == len(fresh)


def test_rolling_out_what_was_skipped_changes_no_number(
    place: Path, settings: Settings, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "same_bits", lambda evaluations, entry: None)
    again = learn(settings, place / "twice")
    assert not any("same_as" in entry for entry in again["evaluations"])
    stripped = [{k: v for k, v in entry.items() if k != "same_as"} for entry in whole["evaluations"]]
    assert again["evaluations"] == stripped


def test_worker_processes_change_no_number(place: Path, settings: Settings, whole: dict[str, Any]):
    evaluate = dataclasses.replace(settings.evaluate, workers=2)
    learn(dataclasses.replace(settings, evaluate=evaluate), place / "workers", recipe="small")
    found, expected = figures(place / "workers"), figures(place / "whole")
    assert found.pop("config")["evaluate"]["workers"] == 2
    expected.pop("config")
    assert found == expected


def test_a_finished_run_is_returned_without_work(place: Path, settings: Settings, whole: dict[str, Any]):
    told: list[Progress] = []
    evaluate = dataclasses.replace(settings.evaluate, workers=1, films=True)
    assert learn(dataclasses.replace(settings, evaluate=evaluate), place / "whole", told.append) == whole
    assert not told


def test_a_joint_method_has_one_lesson(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=MultitaskSettings()), place / "multitask")
    assert read_run(place / "multitask").joint
    assert [(e["after"], e["task"], e["progress"]) for e in run["evaluations"]] == [(2, i, 1.0) for i in range(3)]
    assert run["learning"][0]["iterations"][-1] == 10 + 2 * 6 - 1
    assert run["parameters"]["total"] == run["parameters"]["trained"] == [run["parameters"]["base"]]
    assert run["selection"] == []


def test_a_method_that_forgets_is_rolled_out_again(place: Path, settings: Settings):
    run = learn(dataclasses.replace(settings, method=SequentialSettings()), place / "sequential")
    assert not any("same_as" in entry for entry in run["evaluations"])
    assert not any("skill" in entry for entry in run["evaluations"])
    read_run(place / "sequential")


def test_a_task_may_be_taught_again_and_again(place: Path, settings: Settings):
    again = dataclasses.replace(settings, tasks=("reach-red",) * 3)
    run = learn(again, place / "again")
    assert len(run["parameters"]["trained"]) == 3
    names = [skill.name for skill in SkillLibrary.open(place / "again" / "library").skills]
    assert names == ["reach-red", "reach-red.1", "reach-red.2"]
    read_run(place / "again")


def test_what_t2s_learned_is_a_library_too(place: Path, whole: dict[str, Any]):
    library = SkillLibrary.open(place / "whole" / "library")
    assert tuple(skill.name for skill in library.skills) == TASKS
    for entry in whole["evaluations"]:
        if entry["progress"] == 1.0:
            skill = library.skills[entry["task"]]
            choice = Choice(library.policy(entry["task"]), skill.embeddings[0])
            assert fingerprint(choice) == entry["policy"]


# ------------------------------------------------ killed


@pytest.mark.slow
def test_killed_around_every_write_it_ends_with_the_same_numbers(
    place: Path, settings: Settings, whole: dict[str, Any]
):
    folder, deaths = place / "writes", []
    early, late = itertools.cycle((3, 2, 4)), itertools.count(2, 4)
    while not deaths or deaths[-1]:
        learned = json.loads((folder / "run.json").read_text())["parameters"]["trained"] if deaths else []
        # What is done once at the end is done anew by each process, so each of these lives a little longer.
        nth = next(late) if len(learned) == len(TASKS) else next(early)
        deaths.append(dies(work, folder, {"write", "remove"}, nth, settings))
        read_run(folder)
        assert len(deaths) < 40
    assert set(deaths) == {"write", "remove", ""}
    assert figures(folder) == figures(place / "whole")
    assert contents(folder / "library") == contents(place / "whole" / "library")
    assert not list(folder.glob("progress*"))


def test_killed_while_it_trains_and_evaluates_it_ends_with_the_same_numbers(
    place: Path, settings: Settings, whole: dict[str, Any]
):
    folder = place / "moments"
    kinds = {"train", "evaluate", "write"}
    deaths = [dies(work, folder, kinds, nth, settings) for nth in (2, 5, 9, 7, 13, 11, 17, 10)]
    assert kinds - {"write"} <= set(deaths)
    assert "" not in deaths
    assert dies(work, folder, kinds, None, settings) == ""
    assert figures(folder) == figures(place / "whole")


def going_on(settings: Settings, folder: Path) -> list[tuple[str, int]]:
    """Goes on with a run to its end; for each piece of news its stage and how much was done of it."""
    told: list[Progress] = []
    learn(settings, folder, told.append, recipe="small")
    return [(news.stage, news.done) for news in told]


def test_all_tasks_at_once_lose_a_tenth_of_their_training_at_most(place: Path, settings: Settings):
    joint = dataclasses.replace(settings, method=MultitaskSettings())
    learn(joint, place / "joint", recipe="small")
    folder = place / "joint-cut"
    train = dataclasses.replace(settings.train, log_every=1)
    assert dies(work, folder, {"train"}, 30, dataclasses.replace(joint, train=train)) == "train"
    steps = [done for stage, done in going_on(dataclasses.replace(joint, train=train), folder) if stage == "train"]
    assert 16 <= steps[0] < steps[-1] == 22  # of 22, and the process died at the 19th
    assert figures(folder)["evaluations"] == figures(place / "joint")["evaluations"]


@pytest.mark.parametrize("method", [MultitaskSettings(), SequentialSettings(), T2SSettings(share=0.2)])
def test_killed_among_the_last_cells_it_repeats_neither_training_nor_cells(
    method: Any, place: Path, settings: Settings
):
    chosen = dataclasses.replace(settings, method=method, evaluate=dataclasses.replace(settings.evaluate, points=1))
    name = type(method).__name__
    told: list[Progress] = []
    whole = learn(chosen, place / name, told.append, recipe="small")
    cells = [news.done for news in told if news.stage == "evaluate"]
    last = cells[len(cells) - 1 - cells[::-1].index(0) :]
    assert dies(work, place / f"{name}-cut", {"evaluate"}, len(cells), chosen) == "evaluate"  # in the very last cell
    assert going_on(chosen, place / f"{name}-cut") == [
        ("train", whole["learning"][-1]["iterations"][-1] + 1),  # all of it
        *[("evaluate", done) for done in last],
    ]
    assert figures(place / f"{name}-cut") == figures(place / name)


def test_what_another_run_has_left_in_the_folder_is_not_taken_over(place: Path, settings: Settings):
    folder, other = place / "left", dataclasses.replace(settings, seed=1)
    assert dies(work, folder, {"train"}, 6, settings) == "train"
    (folder / "run.json").unlink()
    (folder / "state-9.safetensors").touch()
    assert (folder / "progress.safetensors").exists()
    for each in (folder, place / "seed"):
        learn(other, each, recipe="small")
    assert figures(folder) == figures(place / "seed")
    assert [path.name for path in folder.glob("*.safetensors")] == ["state-3.safetensors"]


def test_other_versions_are_written_down_where_a_run_goes_on(
    half: Path, settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
):
    content = json.loads((half / "run.json").read_text())
    content |= {"versions": {**content["versions"], "toy": "0", "gone": "7"}, "commit": "old"}
    (half / "run.json").write_text(json.dumps(content))
    monkeypatch.setattr(record, "commit", lambda: "new")
    told: list[Progress] = []

    def stop_at_the_first_step(news: Progress) -> None:
        told.append(news)
        if news.stage == "train":
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            learn(settings, half, stop_at_the_first_step, recipe="small")
    run = learn(settings, half, recipe="small")
    (entry,) = run["resumed"]  # once, and at once
    assert (entry["commit"], entry["versions"]) == ("new", {"gone": None, "toy": "1"})
    assert entry["at"] >= run["started"]
    assert (run["commit"], run["versions"]["toy"]) == ("old", "0")
    (said,) = [news.note for news in told if "other code" in news.note]
    assert "commit was 'old', is 'new'" in said
    assert {**figures(half), "versions": 0} == {**figures(place / "whole"), "versions": 0}
    read_run(half)


def test_a_run_that_goes_on_as_it_was_says_nothing_of_versions(
    half: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "commit", lambda: json.loads((half / "run.json").read_text())["commit"])
    assert "resumed" not in learn(settings, half, recipe="small")


# ------------------------------------------------ refused


@pytest.fixture(scope="module")
def begun(place: Path, settings: Settings, whole: dict[str, Any]) -> Path:
    """A run that died in its second lesson."""
    assert dies(work, place / "begun", {"train"}, 12, settings) == "train"
    folder = place / "begun"
    names = {path.name for path in folder.iterdir() if ".tmp-" not in path.name}
    assert names == {"run.json", "state-1.safetensors", "progress.safetensors"}
    return folder


@pytest.fixture
def half(begun: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return shutil.copytree(begun, tmp_path / "half")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_configuration_is_refused_and_nothing_is_lost(half: Path, settings: Settings):
    before = contents(half)
    others = {
        "seed": dataclasses.replace(settings, seed=1),
        r"train\.rate": dataclasses.replace(settings, train=dataclasses.replace(settings.train, rate=0.5)),
        r"method\.share": dataclasses.replace(settings, method=T2SSettings(reuse=1.0, place="all", share=0.07)),
        "method was 't2s', is 'sequential'": dataclasses.replace(settings, method=SequentialSettings()),
        "tasks": dataclasses.replace(settings, tasks=TASKS[:2]),
    }
    for named, other in others.items():
        with pytest.raises(RunError, match=f"another configuration.*{named}.*--out"):
            learn(other, half)
    assert contents(half) == before


def test_a_run_that_died_in_its_first_lesson_keeps_its_configuration(
    place: Path, settings: Settings, whole: dict[str, Any]
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
    place: Path, settings: Settings, whole: dict[str, Any], tmp_path: Path
):
    folder = Path(shutil.copytree(place / "whole", tmp_path / "run"))
    elsewhere = dataclasses.replace(settings.demonstrations, folder=str(tmp_path / "demos"))
    settings = dataclasses.replace(settings, demonstrations=elsewhere)
    assert learn(settings, folder) == whole  # none there: what was found stands in run.json
    suite = load_suite(settings.suite)
    task = task_of(suite, whole["tasks"][0]["name"])
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
    cases: dict[str, list[dict[str, Any]]] = {"finished": [{}], "resumed": [{key: 7}, {key: [7]}, {key: [{}]}]}
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
    assert learn(few, tmp_path / "run")["finished"]


def test_unknown_tasks_and_impossible_policies_are_refused(settings: Settings, tmp_path: Path):
    with pytest.raises(SettingError, match="did you mean 'reach-red'"):
        learn(dataclasses.replace(settings, tasks=("reach-rad",)), tmp_path / "a")
    linear = dataclasses.replace(settings.policy, maps="linear")
    with pytest.raises(SettingError, match=r"grows policies of pattention maps.*set policy\.maps"):
        learn(dataclasses.replace(settings, policy=linear), tmp_path / "b")
    assert not (tmp_path / "b" / "run.json").exists()
