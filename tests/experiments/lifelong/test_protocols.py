"""learn() under protocols A+ and B and on streams, by every method: resumed, reported, left as a library."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.lifelong.runs import TASKS, Settings, contents, figures, work
from tests.killing import dies

from skilltokens import metrics
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.evaluator import action_digest, fingerprint
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.experiments.records import Cell, LifelongRecord
from skilltokens.files import sealed
from skilltokens.methods import METHODS
from skilltokens.methods.adapters import AdaptersSettings
from skilltokens.methods.agem import AGEMSettings
from skilltokens.methods.base import Choice
from skilltokens.methods.er import ERSettings
from skilltokens.methods.ewc import EWCSettings
from skilltokens.methods.expert import ExpertSettings
from skilltokens.methods.full_copy import FullCopySettings
from skilltokens.methods.head_only import HeadOnlySettings
from skilltokens.methods.l2 import L2Settings
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.lwf import LwFSettings
from skilltokens.methods.merge import MergeSettings
from skilltokens.methods.multitask import MultitaskSettings
from skilltokens.methods.nearest import NearestSettings
from skilltokens.methods.packnet import PackNetSettings
from skilltokens.methods.prompts import PromptsSettings
from skilltokens.methods.psec import PsecSettings
from skilltokens.methods.sequential import SequentialSettings
from skilltokens.methods.single_task import SingleTaskSettings
from skilltokens.methods.slow_learner import SlowLearnerSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.methods.t2s_paper import T2SPaperSettings
from skilltokens.methods.untrained import UntrainedSettings
from skilltokens.model.actor import PolicyActor
from skilltokens.report import write_report
from skilltokens.report.definitions import DEFINITIONS
from skilltokens.report.runs import read_run
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import LibraryError, Progress, RunError

ROOT = Path(__file__).parents[3]
CHOICES: dict[str, Any] = {
    "t2s": T2SSettings(reuse=1.0, rows_in="all"),
    "t2s-paper": T2SPaperSettings(share=0.5, mu=0.2, keys="usage"),
    "sequential": SequentialSettings(),
    "lora": LoraSettings(share=0.5),
    "er": ERSettings(windows=30),
    "agem": AGEMSettings(windows=30, keep="phases"),
    "l2": L2Settings(),
    "ewc": EWCSettings(samples=5, form="per-task"),
    "lwf": LwFSettings(),
    "slow_learner": SlowLearnerSettings(),
    "merge": MergeSettings(),
    "packnet": PackNetSettings(),
    "psec": PsecSettings(share=0.5),
    "adapters": AdaptersSettings(share=0.5),
    "prompts": PromptsSettings(share=0.5, pool=4, top=2),
    "full_copy": FullCopySettings(),
    "head_only": HeadOnlySettings(),
    "nearest": NearestSettings(),
    "untrained": UntrainedSettings(),
    "expert": ExpertSettings(),
    "single_task": SingleTaskSettings(),
    "multitask": MultitaskSettings(),
}
"""Every method of the package, with room for its skills in so small a policy."""
JOINT = ("multitask",)
UNCHANGING = ("nearest", "untrained", "expert")
"""The methods that roll each task out once, since all cells have the same bits: lessons have less to interrupt."""
KEEPING = (
    "t2s",
    "t2s-paper",
    "lora",
    "packnet",
    "psec",
    "adapters",
    "full_copy",
    "head_only",
    "nearest",
    "single_task",
)
"""The methods that keep what an earlier skill does; the others change the base it stands on."""
PROTOCOLS = ("A", "B", "A+")
KINDS = ("t2s", "t2s-paper", "sequential", "er", "lwf", "packnet", "psec", "prompts", "nearest", "expert", "multitask")
"""One of each kind: rows, the policy itself, kept data, a teacher, owned entries, parameters beside it, a pool, ..."""
CUT = ("agem", "l2", "ewc", "slow_learner", "merge")
"""Rules of fine-tuning's that tests/methods interrupts (`check_interrupted`)."""
CASES = [
    (method, protocol)
    for method in CHOICES
    for protocol in PROTOCOLS
    if method in KINDS or (protocol == "A" and method not in CUT)
]
"""Every other method under protocol A; how the others begin is the same for all methods of a kind."""
NEW = ("between", "avoid-red")
"""What a run of protocol A+ teaches besides what its library knows."""


def test_every_method_is_tried_here():
    others = {name for name, entry in METHODS.items() if entry.beside or entry.once}  # test_beside.py; same class
    assert set(CHOICES) == set(METHODS) - others


@pytest.fixture(scope="session")
def known(place: Path, settings: Settings) -> Path:
    """The library of a finished run of protocol A over two tasks."""
    learn(dataclasses.replace(settings, tasks=TASKS[:2]), place / "known", recipe="small")
    return place / "known" / "library"


def under(settings: Settings, method: str, protocol: str, known: Path) -> Settings:
    """The settings of a run of a method under a protocol."""
    chosen = dataclasses.replace(settings, method=CHOICES[method])
    if protocol == "B":
        return dataclasses.replace(chosen, protocol="B", first=2)
    if protocol == "A+":
        return dataclasses.replace(chosen, protocol="A+", base=str(known), tasks=NEW)
    return chosen


def finished(settings: Settings, method: str, protocol: str, known: Path, place: Path) -> tuple[Path, LifelongRecord]:
    """A run that was never interrupted; made once."""
    folder = place / f"whole-{method}-{protocol}"
    return folder, learn(under(settings, method, protocol, known), folder, recipe="small")


def stop(settings: Settings, folder: Path, lesson: int, stage: str) -> None:
    """Interrupts a run at the second piece of news of a stage of a lesson; one without such goes to its end."""
    news_of_it = itertools.count(1)

    def report(news: Progress) -> None:
        if (news.lesson, news.stage) == (lesson, stage) and next(news_of_it) == 2:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        learn(settings, folder, report, recipe="small")


def last_cells(record: LifelongRecord) -> list[Cell]:
    """The cell of each task at the end."""
    return list({cell.task: cell for cell in record.cells}.values())


def acts_as(library: SkillLibrary, numbers: Sequence[int], record: LifelongRecord) -> None:
    """Asserts that skills of a library are those policies, and are given those instructions, that a run evaluated."""
    cells = last_cells(record)
    assert len(cells) == len(numbers) == len(record.tasks)
    for number, cell in zip(numbers, cells, strict=True):
        assert fingerprint(Choice(library.policy(number), library.instruction_vector(number))) == cell.policy


@pytest.mark.parametrize(("method", "protocol"), CASES)
def test_a_run_that_is_interrupted_again_and_again_ends_with_the_same_bits(
    method: str, protocol: str, settings: Settings, known: Path, place: Path
):
    folder, _ = finished(settings, method, protocol, known, place)
    again = place / f"cut-{method}-{protocol}"
    for lesson, stage in ((0, "train"), (0, "evaluate"), (1, "train"), (1, "evaluate")):
        stop(under(settings, method, protocol, known), again, lesson, stage)
        if method not in (*JOINT, *UNCHANGING):
            assert not read_lifelong(again).finished
    learn(under(settings, method, protocol, known), again, recipe="small")
    assert figures(again) == figures(folder)
    assert contents(again / "library") == contents(folder / "library")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["t2s", "lora"])
@pytest.mark.parametrize("protocol", ["B", "A+"])
def test_a_run_that_is_killed_ends_with_the_same_bits(
    method: str, protocol: str, settings: Settings, known: Path, place: Path
):
    folder, _ = finished(settings, method, protocol, known, place)
    again, chosen = place / f"killed-{method}-{protocol}", under(settings, method, protocol, known)
    deaths = [dies(work, again, {"train", "evaluate", "write"}, nth, chosen) for nth in (6, 17, 11)]
    assert "" not in deaths
    assert dies(work, again, set(), None, chosen) == ""
    assert figures(again) == figures(folder)
    assert contents(again / "library") == contents(folder / "library")


@pytest.mark.parametrize(
    ("method", "protocol"),
    [
        (method, protocol)
        for method in CHOICES
        for protocol in PROTOCOLS
        if protocol != "A+" or method in (*KINDS, *KEEPING, "untrained")
    ],
)
def test_the_library_that_a_run_leaves_acts_as_the_run_did(
    method: str, protocol: str, settings: Settings, known: Path, place: Path
):
    folder, record = finished(settings, method, protocol, known, place)
    if method == "expert":  # it learns nothing that could be kept
        assert not (folder / "library").exists()
        return
    library = SkillLibrary.open(folder / "library")
    names = [skill.name for skill in library.skills]
    own = [task.name for task in record.tasks]
    keeps = protocol == "A+" and method in (*KEEPING, "untrained")
    assert names == [*(TASKS[:2] if keeps else ()), *own]
    acts_as(library, range(len(names) - len(own), len(names)), record)
    if keeps:
        old = SkillLibrary.open(known)
        for number in range(2):
            assert library.policy(number).fingerprint() == old.policy(number).fingerprint()
            assert (library.instruction_vector(number) == old.instruction_vector(number)).all()
        assert library.notes[:2] == old.notes
    assert [(note["successes"], note["episodes"]) for note in library.notes[-len(own) :]] == [
        (cell.successes, cell.episodes) for cell in last_cells(record)
    ]


@pytest.mark.parametrize("method", CHOICES)
def test_the_first_tasks_are_taught_together_and_have_no_curve(
    method: str, settings: Settings, known: Path, place: Path
):
    folder, record = finished(settings, method, "B", known, place)
    joint = method in JOINT
    assert record.first == (3 if joint else 2)
    assert [lesson.iterations[-1] + 1 for lesson in record.learning] == ([10 + 2 * 6] if joint else [10 + 6, 6])
    cells = [(cell.after, cell.task, cell.progress) for cell in record.cells]
    if joint:
        assert cells == [(2, task, 1.0) for task in range(3)]
        return
    whole = [(after, task, 1.0) for after in (1, 2) for task in range(after + 1)]
    assert sorted(cells) == sorted([*whole, (2, 2, 0.0), (2, 2, 0.5)])
    run = read_run(folder)
    assert (run.together, run.learned, run.joint, run.finished) == (2, 3, False, True)
    assert {task: len(curve.progress) for task, curve in run.curves.items()} == {2: 3}
    assert run.figures is not None
    assert run.figures.fwt_of is not None
    assert len(run.figures.fwt_of) == 1
    forgetting = [
        cell.successes / 4 - next(last for last in last_cells(record) if last.task == cell.task).successes / 4
        for cell in record.cells
        if cell.after == 1
    ]
    assert run.figures.nbt_of == pytest.approx(forgetting)
    held = next(definition for definition in DEFINITIONS if definition.key == "held").of(run)
    curve = [cell.successes / 4 for cell in record.cells if (cell.after, cell.task) == (2, 2)]
    assert held == pytest.approx(metrics.held(curve).mean())


@pytest.mark.parametrize(("method", "protocol"), [(method, protocol) for method in KINDS for protocol in PROTOCOLS])
def test_a_run_of_any_protocol_makes_a_report(
    method: str, protocol: str, settings: Settings, known: Path, place: Path, tmp_path: Path
):
    folder, record = finished(settings, method, protocol, known, place)
    page = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(task.name in page for task in record.tasks)
    assert f"protocol {protocol} \N{MIDDLE DOT}" in page
    alone = protocol == "B" and method not in JOINT
    assert ("The first lesson taught two tasks together: they have no learning curve" in page) == alone
    begun = "The runs began from a library of two skills" in page
    assert begun == (protocol == "A+" and method not in JOINT)
    curved = [task.name for task in record.tasks if f"Learning curves of {task.name}: t2s" in page]
    if method == "t2s":
        assert curved == (["between"] if protocol == "B" else [task.name for task in record.tasks])


def test_methods_of_protocol_b_stand_in_one_report(settings: Settings, known: Path, place: Path, tmp_path: Path):
    folders = [finished(settings, method, "B", known, place)[0] for method in CHOICES]
    page = write_report(folders, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("Method beside method") == 1


@pytest.mark.parametrize("method", KEEPING)
def test_skills_of_the_base_library_keep_their_place_and_their_bits(
    method: str, settings: Settings, known: Path, place: Path
):
    _, record = finished(settings, method, "A+", known, place)
    library = SkillLibrary.open(known)
    assert record.base is not None
    assert record.base.skills == list(TASKS[:2])
    assert record.base.fingerprints == [library.policy(number).fingerprint() for number in range(2)]
    assert [lesson.iterations[-1] + 1 for lesson in record.learning] == [6, 6]  # no lesson trains a base
    assert all(cell.skill in (None, 0, 1) for cell in record.cells)
    assert all((cell.skill is None) == bool(cell.called) for cell in record.cells)
    for wording in record.selection:
        if wording.wording == {"between": "stop halfway between both markers"}.get(NEW[wording.task]):
            assert (wording.chosen, wording.called) == (0, "")


def test_a_library_of_another_robot_is_refused_and_nothing_is_written(settings: Settings, known: Path, tmp_path: Path):
    other = dataclasses.replace(
        under(settings, "t2s", "A+", known),
        suite="tests.faults:Wider",
        demonstrations=dataclasses.replace(settings.demonstrations, folder=str(tmp_path / "demos")),
    )
    with pytest.raises(
        LibraryError, match=r"feature 'observation\.state' is float32 \(2,\) in .* but float32 \(3,\)"
    ) as refusal:
        learn(other, tmp_path / "run")
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_what_the_base_library_does_not_look_at_is_said_before_anything_is_learned(
    settings: Settings, known: Path, tmp_path: Path
):
    more = dataclasses.replace(under(settings, "t2s", "A+", known), suite="tests.faults:Feeling")
    more = dataclasses.replace(
        more, demonstrations=dataclasses.replace(more.demonstrations, folder=str(tmp_path / "d"))
    )
    said = "the policy does not look at 'observation.force' (float32 (3,): the library was made without it)"
    news: list[str] = []

    def report(one: Progress) -> None:
        if one.stage == "train":
            raise KeyboardInterrupt
        news.append(one.note)

    with pytest.raises(KeyboardInterrupt):
        learn(more, tmp_path / "run", report)
    assert news.count(said) == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "of another version"])
def test_a_damaged_base_library_is_refused_and_nothing_is_written(
    damage: str, settings: Settings, known: Path, tmp_path: Path
):
    copy = Path(shutil.copytree(known, tmp_path / "copy"))
    card = copy / "library.json"
    if damage == "missing":
        shutil.rmtree(copy)
    elif damage == "cut":
        card.write_text(card.read_text()[:-20])
    else:
        content = json.loads(card.read_text())
        content["policy"]["settings"]["colour"] = "red"
        card.write_text(json.dumps(sealed(content)))
    with pytest.raises(LibraryError) as refusal:
        learn(under(settings, "t2s", "A+", copy), tmp_path / "run")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lesson", [0, 1])
def test_a_run_is_not_resumed_from_another_base_library(
    lesson: int, settings: Settings, known: Path, place: Path, tmp_path: Path
):
    chosen = under(settings, "t2s", "A+", known)
    stop(chosen, tmp_path / "run", lesson, "train")
    before = contents(tmp_path / "run")
    learn(dataclasses.replace(settings, tasks=TASKS[:2], seed=1), place / "known-1", recipe="small")
    another = dataclasses.replace(chosen, base=str(place / "known-1" / "library"))
    with pytest.raises(RunError, match="is not the library that this run began from"):
        learn(another, tmp_path / "run", recipe="small")
    assert contents(tmp_path / "run") == before
    moved = dataclasses.replace(chosen, base=str(shutil.copytree(known, tmp_path / "moved")))
    assert (
        learn(moved, tmp_path / "run", recipe="small").cells == finished(settings, "t2s", "A+", known, place)[1].cells
    )


LEARNERS = [name for name in CHOICES if name != "expert"]
LEAVING = [name for name in LEARNERS if name in (*KINDS, *KEEPING, "untrained")]
"""The methods whose libraries differ in form; all others leave what fine-tuning leaves."""
# Every method begins from T2S's library, and T2S and LoRA from each form: all pairs would be 400 runs.
PAIRS = [("t2s", method) for method in LEARNERS] + [
    (before, method) for method in ("t2s", "lora") for before in LEAVING if before != "t2s"
]


@pytest.mark.parametrize(("before", "method"), PAIRS)
@pytest.mark.slow
def test_methods_begin_from_each_others_libraries(
    before: str, method: str, settings: Settings, known: Path, place: Path
):
    library = finished(settings, before, "A", known, place)[0] / "library"
    chosen = dataclasses.replace(
        settings, method=CHOICES[method], protocol="A+", base=str(library), tasks=("avoid-red",)
    )
    record = learn(chosen, place / f"from-{before}-{method}", recipe="small")
    grown = SkillLibrary.open(place / f"from-{before}-{method}" / "library")
    acts_as(grown, [len(grown.skills) - 1], record)


def test_an_adapter_starts_as_a_copy_of_no_skill_of_another_form(settings: Settings, known: Path, place: Path):
    copying = LoraSettings(share=0.5, start="copy", near=2.0)
    chosen = dataclasses.replace(under(settings, "lora", "A+", known), method=copying)
    assert learn(chosen, place / "copying", recipe="small").finished


@pytest.mark.parametrize("method", CHOICES)
def test_a_task_that_comes_back_in_a_stream_is_taught_again(method: str, settings: Settings, known: Path, place: Path):
    stream = dataclasses.replace(settings, method=CHOICES[method], order="power-law", lessons=4, order_seed=1)
    record = learn(stream, place / f"stream-{method}", recipe="small")
    names = [task.name for task in record.tasks]
    assert len(names) == 4 > len(set(names)) > 1
    assert record.lessons == (1 if method in JOINT else 4)
    if method == "expert":
        return
    library = SkillLibrary.open(place / f"stream-{method}" / "library")
    versions = {record.name: record.version for record in library.records}
    assert versions == {name: names.count(name) for name in names}
    run = read_run(place / f"stream-{method}")
    assert run.finished
    write_report([place / f"stream-{method}"], place / f"stream-{method}.html")
    for cell in last_cells(record):
        if cell.skill is not None:  # of one instruction's skills the last learned is called
            assert cell.skill == max(i for i, name in enumerate(names) if name == names[cell.task])
            number = library.names.index(names[cell.task])  # the newest version is called
            choice = Choice(library.policy(number), library.instruction_vector(number))
            assert fingerprint(choice) == cell.policy


ACT = """
import sys
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.evaluator import action_digest
from skilltokens.model.actor import PolicyActor
from skilltokens.skills.library import SkillLibrary
import torch
torch.set_num_threads(1)
library = SkillLibrary.open(sys.argv[1])
for number, store in enumerate(sys.argv[2:]):
    actor = PolicyActor(library.policy(number), library.instruction_vector(number))
    print(action_digest(actor, DemonstrationStore.open(store), 4))
"""


@pytest.mark.parametrize("method", ["lora", "single_task"])
def test_a_library_opens_and_acts_the_same_in_another_process(
    method: str, settings: Settings, known: Path, place: Path
):
    folder, record = finished(settings, method, "A", known, place)
    stores = [str(Path(settings.demonstrations.folder) / "toy" / name) for name in TASKS]
    words = [sys.executable, "-c", ACT, str(folder / "library"), *stores]
    process = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert process.stdout.split() == [cell.actions for cell in last_cells(record)]
    library = SkillLibrary.open(folder / "library")
    for number, store in enumerate(stores):
        actor = PolicyActor(library.policy(number), library.instruction_vector(number))
        assert action_digest(actor, DemonstrationStore.open(store), 4) == process.stdout.split()[number]
