"""Two tasks with one instruction: what the newest skill takes from the other is miscalled, and nothing is forgotten."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.experiments.lifelong.runs import Settings
from tests.pressing import SCENES, TASKS, suite, with_scenes

from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.experiment import experiment_of
from skilltokens.experiments.lessons import tasks_of
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.namesakes import STAGE, namesakes
from skilltokens.experiments.settings import RunSettings
from skilltokens.language import load_encoder
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report.runs import read_run
from skilltokens.report.summary import compare, defined
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import Progress, SettingError, Task

NAMES = tuple(task.name for task in TASKS)


@pytest.fixture(scope="module")
def pressing(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return RunSettings(
        method=T2SSettings(share=0.15),
        suite="tests.pressing:with_scenes",
        tasks=NAMES,
        policy=PolicySettings(width=32, layers=2, history=2),
        train=TrainSettings(iterations=120, first_iterations=120, batch=16, window=8),
        evaluate=EvaluateSettings(episodes=10, points=2),
        demonstrations=DemonstrationSettings(episodes=15, folder=str(tmp_path_factory.mktemp("demos"))),
    )


@pytest.mark.slow
def test_what_the_newest_skill_takes_is_miscalled_and_a_context_tells_the_tasks_apart(
    pressing: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    news: list[Progress] = []
    learn(pressing, tmp_path / "plain", news.append)
    said = [entry.note for entry in news if entry.stage == STAGE]
    assert len(said) == 1
    assert "kitchen-left and kitchen-right by 'press the button'" in said[0]
    assert "--context scene" in said[0]

    run = read_run(tmp_path / "plain")
    assert run.figures is not None
    assert run.figures.learned is not None
    assert run.figures.learned > 0.6
    assert run.figures.nbt is not None
    assert run.figures.nbt > 0.6
    assert run.figures.forgotten == 0
    assert run.miscalled.tolist() == [[False, False], [True, False]]
    assert run.miscalled_share == pytest.approx(1 / 3)
    assert {"forgotten", "miscalled"} <= {d.key for d in defined(compare([run])[0].groups)}

    news.clear()
    record = learn(dataclasses.replace(pressing, context="scene"), tmp_path / "scene", news.append)
    assert not [entry for entry in news if entry.stage == STAGE]
    assert [task.instruction for task in record.tasks] == [f"press the button {SCENES[name]}" for name in NAMES]
    assert [task.name for task in record.tasks] == list(NAMES)
    assert record.config["context"] == "scene"
    assert record.demonstrations == run.record.demonstrations  # the same stores, in the suite's own words
    told = read_run(tmp_path / "scene")
    assert told.figures is not None
    assert (told.figures.nbt, told.figures.forgotten, told.miscalled_share) == (0, 0, 0)
    assert told.figures.final > 0.6
    assert all(right.chosen == right.task for right in record.selection if not right.held_out)
    held_out = [wording.wording for wording in record.selection if wording.held_out]
    assert held_out == [f"push the knob {SCENES[name]}" for name in NAMES]

    library = SkillLibrary.open(tmp_path / "scene" / "library")
    assert [skill.wordings[0] for skill in library.skills] == [f"press the button {SCENES[name]}" for name in NAMES]
    capsys.readouterr()
    words = ["evaluate", str(tmp_path / "scene" / "library"), "--suite", pressing.suite, "--episodes", "2"]
    assert main([*words, "--context", "scene"]) == 0
    table = " ".join(capsys.readouterr().out.split())
    for name in NAMES:
        assert f"{name} press the button {SCENES[name]} {name} 1.00" in table  # task, words, skill called, cosine

    store = DemonstrationStore.open(Path(pressing.demonstrations.folder) / "pressing" / NAMES[0])
    assert store.task == TASKS[0]


def test_one_policy_for_all_words_miscalls_nothing(pressing: Settings, tmp_path: Path):
    short = TrainSettings(iterations=2, first_iterations=2, batch=4, window=4)
    learn(dataclasses.replace(pressing, method=SequentialSettings(), train=short), tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.figures is not None
    assert not run.miscalled.any()
    assert run.figures.forgotten == run.figures.nbt
    assert not {"forgotten", "miscalled"} & {d.key for d in defined(compare([run])[0].groups)}


def test_a_context_is_put_behind_every_wording(pressing: Settings):
    plain = Task("kitchen-left", "press it", ("push it",), ("hit it",))
    pressed = with_scenes()
    pressed.tasks = (plain, TASKS[1])
    assert tasks_of(dataclasses.replace(pressing, tasks=NAMES[:1]), pressed) == [plain]
    scene = dataclasses.replace(pressing, tasks=NAMES[:1], context="scene")
    words = ("press it in the left kitchen", ("push it in the left kitchen",), ("hit it in the left kitchen",))
    assert tasks_of(scene, pressed) == [Task("kitchen-left", *words)]


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "tests.pressing:suite"},
        {"suite": "tests.toy:Toy", "tasks": ()},
        {"evaluate": EvaluateSettings(variants=("tests.pressing:suite",))},
    ],
)
def test_a_suite_without_words_for_its_scenes_is_refused(
    pressing: Settings, changes: dict[str, object], tmp_path: Path
):
    settings = dataclasses.replace(pressing, context="scene", **changes)
    with pytest.raises(SettingError, match=r"names no scene of task .*: leave it out"):
        experiment_of("lifelong").finished(tmp_path / "run", settings, "")
    assert not (tmp_path / "run").exists()


def test_all_sentences_that_are_trained_on_are_compared():
    encoder = load_encoder("minilm")
    one = Task("one", "open the drawer", ("pull the drawer open",), ("held out",))
    two = Task("two", "Open the drawer", (), ("held out",))  # MiniLM reads no capitals
    three = Task("three", "close it", ("pull  the drawer open",))
    assert namesakes([one, two, three], encoder) == [
        ("one", "two", "Open the drawer"),
        ("one", "three", "pull  the drawer open"),
    ]
    assert namesakes([one, one], encoder) == []  # a task that comes back has two skills of its own
    assert namesakes([one, Task("four", "shut the door", (), ("open the drawer",))], encoder) == []


def test_a_suite_that_has_no_scenes_is_told_to_use_other_words(pressing: Settings, tmp_path: Path):
    news: list[Progress] = []
    short = TrainSettings(iterations=1, first_iterations=1, batch=2, window=2)
    evaluate = EvaluateSettings(episodes=1, points=1, wordings=False)
    settings = dataclasses.replace(pressing, suite="tests.pressing:suite", train=short, evaluate=evaluate)
    learn(settings, tmp_path / "run", news.append)
    assert [entry.note.endswith("give them other words") for entry in news if entry.stage == STAGE] == [True]
    assert suite().scene(TASKS[0]) == ""
