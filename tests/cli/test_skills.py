"""`skilltokens skills`: every action on a real library, twice, with names and words that would do harm."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from tests.killing import Moment, dies
from tests.small import EVERYWHERE, make_method, make_policy, teach
from tests.terminal import on_a_terminal
from tests.toy import TASKS

from skilltokens.cli import main
from skilltokens.cli.candidates import candidates
from skilltokens.cli.verbs.skills import ACTIONS
from skilltokens.demos import DemonstrationStore
from skilltokens.experiments.lessons import groups_of, lessons_of
from skilltokens.language import load_encoder
from skilltokens.methods.lora import LoraSettings
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.policy import Policy, Shape
from skilltokens.model.task_token import TaskToken
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.skill import Skill, TaskTokenSpec
from skilltokens.skills.verifying import verify
from skilltokens.types import STATE, LibraryError

Capture = pytest.CaptureFixture[str]
Skilled = Callable[..., tuple[int, str]]

HOSTILE = (
    "\x1b[2J\x1b[31mred\x07",
    "[red]a[/red] :smile: [link=http://x]b[/link]",
    "a | b | c",
    "line\n# heading\r\n- item",
    "<img src=x onerror=alert(1)> &amp;",
    "`code` ```\nfence",
    '"); import os; os.system("reboot") #',
    "\u202egnp.exe",
)
"""Instructions that a terminal, Markdown or Python could take for more than words."""


def taught(settings: T2SSettings | LoraSettings, stores: Sequence[DemonstrationStore], folder: Path) -> SkillLibrary:
    """A library of the first three tasks; the third reuses rows of the second where skills are rows."""
    encoder, tiny = load_encoder(), make_policy()
    base = Policy(Shape(tiny.shape.scales, 2, encoder.dim), tiny.settings, torch.Generator().manual_seed(0))
    method = make_method(settings, base)
    lessons = lessons_of(TASKS[:3], stores[:3], encoder, groups_of(3))
    for lesson in lessons:
        teach(method, lesson)
    learned, (first, second, third) = method.library(lessons)
    notes = {"successes": 3, "episodes": 4}
    features = dict(stores[0].features)
    library = SkillLibrary.create(folder, learned, first, features, "minilm", notes)
    about = {
        "aside": {"error": 0.125, "still": 0.5, "episodes": 2, "steps": 9},
        "demonstrations": {"digest": stores[1].digest, "episodes": 4},
        "suite": "toy",
    }
    library.add(second, about)
    library.add(third)
    return library


@pytest.fixture(scope="module")
def original(toy_stores: list[DemonstrationStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three skills of rows: reach-red is the base, between reuses rows of reach-blue."""
    folder = tmp_path_factory.mktemp("skills") / "library"
    taught(replace(EVERYWHERE, reuse=1.0, gates=True), toy_stores, folder)
    return folder


@pytest.fixture
def library(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(original, tmp_path / "library")


@pytest.fixture
def skills(capsys: Capture) -> Skilled:
    """Runs the command on a library: its exit status, and what it prints; of a mistake the sentence."""

    def run(library: Path, *words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main(["skills", str(library), *words])
        shown = capsys.readouterr()
        return status, shown.err if status == 2 else shown.out

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which is there from the first writer on."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def copy_of(library: Path, to: str) -> Path:
    return shutil.copytree(library, library.parent / to)


# ---------------------------------------------------------------- help


def test_the_verb_alone_shows_every_action_in_a_line(library: Path, capsys: Capture):
    shown = []
    for words in ([], ["--help"], [str(library), "--help"]):
        assert main(["skills", *words]) == 0
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    lines = dict(re.findall(r"^  (\w+) +(\S.+)$", shown[0], re.MULTILINE))
    assert list(lines) == list(ACTIONS)
    assert all(len(line) < 120 for line in shown[0].splitlines())


def test_an_action_is_explained_without_a_library_too(capsys: Capture):
    for words in (["skills", "rename", "--help"], ["help", "skills", "rename"], ["skills", "any", "rename", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert "Gives a skill another name" in capsys.readouterr().out


def test_mistakes_are_one_sentence(library: Path, skills: Skilled, capsys: Capture):
    for words, message in (
        (["sho"], "did you mean 'show'"),
        (["show", "betwen"], "did you mean 'between'"),
        (["rename", "between", "../up"], "no file name"),
        (["rename", "between", "reach-red"], "choose another name"),
        (["reword", "between"], "--add"),
        (["reword", "between", "--remove", "nothing of that kind"], "has no wording"),
        (["drop", "between"], "NAME@VERSION"),
        (["drop", "between@7"], "no older version"),
        (["undo", "2"], "undo 3 first"),
        (["select"], "no instruction"),
        (["select", "go", "--threshold", "7"], "threshold"),
        (["import", "nowhere.skill"], "nowhere.skill"),
        (["merge", "nowhere"], "nowhere"),
    ):
        before = contents(library)
        status, sentence = skills(library, *words)
        assert status == 2, words
        assert message in sentence, words
        assert len(sentence.splitlines()) == 1
        assert contents(library) == before
    assert skills(library.parent / "nowhere", "list")[0] == skills(library.parent / "nowhere", "verify")[0] == 2
    assert not (library.parent / "nowhere").exists()
    assert main(["skills", "rename", "library", "a", "b"]) == 2
    assert "library comes first" in capsys.readouterr().err


# ---------------------------------------------------------------- looking


def test_list_shows_words_sizes_results_and_marks(library: Path, skills: Skilled):
    skills(library, "retire", "between")
    opened = SkillLibrary.open(library)
    opened.add(other_numbers(opened.skill("reach-blue")), again=True)
    status, shown = skills(library)
    assert status == 0
    assert skills(library, "list") == (0, shown)
    rows = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "go to the red marker (and 2 more)" in rows["reach-red"]
    assert "the base" in rows["reach-red"]
    assert "3 of 4 [0.30, 0.95]" in rows["reach-red"]
    assert "retired" in rows["between"]
    assert "not measured" in rows["between"]
    assert "1 older version" in rows["reach-blue@2"]
    assert re.search(r"[\d,]+ \(\d\.\d%\)", rows["reach-blue@2"])


def other_numbers(skill: Skill, step: float = 0.01) -> Skill:
    """Another version of a skill, with a proof of its own."""
    return skill.with_content(tensors={name: tensor + step for name, tensor in skill.tensors.items()}, proof=None)


def test_show_names_what_a_skill_is_made_of_and_who_needs_it(library: Path, skills: Skilled, toy_stores):
    skills(library, "rename", "reach-blue", "blue")
    status, shown = skills(library, "show", "blue")
    assert status == 0
    about = dict(re.findall(r"^(\S[\w ]*?) {2,}(.*)$", shown, re.MULTILINE))
    assert about["skill"] == "blue"
    assert about["instruction"] == TASKS[1].instruction
    assert about["also called by"] == TASKS[1].wordings[0]
    assert about["needed by"] == "between"
    assert about["error aside"] == "0.125 (still: 0.500), on 2 demonstrations"
    assert toy_stores[1].digest in about["demonstrations"]
    assert about["identity"] == SkillLibrary.open(library).state.newest("blue").identity
    assert re.findall(r"^history +(\d+) .*Z?  (.*)$", shown, re.MULTILINE) == [
        ("2", "added reach-blue"),
        ("4", "renamed reach-blue to blue"),
    ]
    shown = skills(library, "show", "between")[1]
    content = SkillLibrary.open(library).skill("between").content
    blue = SkillLibrary.open(library).state.newest("blue").identity
    reused = sum(rows.counts().get(blue, 0) for rows in content.active.values())
    assert reused > 0
    assert f" {reused} reused of blue\n" in shown
    assert "of the base\n" in shown
    assert "the base itself" in skills(library, "show", "reach-red")[1]


def test_show_of_low_rank_adapters_and_of_a_skill_from_reward(
    tmp_path: Path, skills: Skilled, toy_stores: list[DemonstrationStore]
):
    library = taught(LoraSettings(), toy_stores, tmp_path / "lora")
    on = library.skill("reach-blue")
    token = TaskToken({STATE: 2}, library.base.settings.width, 2, (8,), torch.Generator().manual_seed(0), ())
    spec = TaskTokenSpec(on.identity, {STATE: 2}, 2, (8,))
    tensors = {f"prompt.{name}": value for name, value in token.state_dict().items()}
    vectors = library.language()(["do a trick"])
    library.add(Skill("trick", ("do a trick",), vectors, tensors, task_token=spec))
    shown = skills(tmp_path / "lora", "show", "trick")[1]
    assert f"reach-blue, by 2 task tokens that read {STATE}" in shown
    shown = skills(tmp_path / "lora", "show", "reach-blue")[1]
    assert "low-rank adapters" in shown
    assert re.search(r"^needed by +trick$", shown, re.MULTILINE)
    assert "its content is kept for trick" in skills(tmp_path / "lora", "remove", "reach-blue")[1]
    assert "steers          (reach-blue, removed), by" in skills(tmp_path / "lora", "show", "trick")[1]
    assert not any(finding.fault for finding in verify(tmp_path / "lora", actions=True))


def test_history_has_every_change_and_marks_what_was_undone(library: Path, skills: Skilled):
    skills(library, "retire", "between")
    skills(library, "undo")
    lines = skills(library, "history")[1].splitlines()
    assert [int(line.split()[0]) for line in lines] == [1, 2, 3, 4, 5]
    assert lines[3].endswith("retired between (undone)")
    assert lines[4].endswith("undid change 4")


def test_diff_is_silent_only_where_both_act_and_are_called_alike(library: Path, skills: Skilled):
    other = copy_of(library, "other")
    status, shown = skills(library, "diff", str(other))
    assert status == 0
    assert "act alike" in shown
    skills(other, "rename", "between", "middle")
    skills(other, "retire", "reach-blue")
    skills(other, "reword", "reach-red", "--add", "red please")
    status, shown = skills(library, "diff", str(other))
    assert status == 1
    for line in (
        "between: only in the first",
        "middle: only in the second",
        "reach-blue: retired only in the second",
        "reach-red: 'red please' calls it only in the second",
    ):
        assert line in shown.splitlines()


# ---------------------------------------------------------------- choosing


def test_select_ranks_the_skills_and_calls_none_for_other_things(library: Path, skills: Skilled):
    shown = skills(library, "select", TASKS[0].instruction, "boil an egg")[1]
    first, second = shown.split("boil an egg")
    assert f"'{TASKS[0].instruction}' calls 'reach-red'" in first
    ranked = [line.split() for line in first.splitlines() if line.strip().startswith(("reach", "between"))]
    assert ranked[0][0] == "reach-red"
    assert float(ranked[0][-2]) == pytest.approx(1.0)
    assert "no skill is sure enough" in first.splitlines()[-1]
    assert "nearest are" in second
    assert "calls" in skills(library, "select", "boil an egg", "--threshold", "0")[1]


def test_select_does_not_call_a_retired_skill(library: Path, skills: Skilled):
    skills(library, "retire", "reach-red")
    assert not re.search(r"^ *reach-red", skills(library, "select", TASKS[0].instruction)[1], re.MULTILINE)
    skills(library, "restore", "reach-red")
    assert "calls 'reach-red'" in skills(library, "select", TASKS[0].instruction)[1]


# ---------------------------------------------------------------- changing


def test_rename_keeps_the_file_and_the_actions(library: Path, skills: Skilled):
    before = SkillLibrary.open(library)
    assert skills(library, "rename", "between", "middle")[0] == 0
    after = SkillLibrary.open(library)
    assert after.names == ["reach-red", "reach-blue", "middle"]
    assert after.fingerprints() == before.fingerprints()
    assert after.records[2].file == before.records[2].file


def test_reword_changes_what_calls_a_skill_and_nothing_else(library: Path, skills: Skilled):
    before = SkillLibrary.open(library).fingerprints()
    status, shown = skills(library, "reword", "between", "--add", "drive to the centre", "--remove", *TASKS[2].wordings)
    assert status == 0
    assert "'drive to the centre'" in shown
    opened = SkillLibrary.open(library)
    assert opened.state.newest("between").wordings == (TASKS[2].instruction, "drive to the centre")
    assert opened.fingerprints() == before
    assert opened.select("drive to the centre").candidates[0].name == "between"
    assert "calls skill 'reach-red'" in skills(library, "reword", "between", "--add", "Go to the red marker!")[1]
    status, sentence = skills(library, "reword", "between", "--remove", TASKS[2].instruction, "drive to the centre")
    assert status == 2
    assert "no wording left" in sentence


def test_reword_refuses_what_the_encoder_cannot_tell_apart(library: Path, skills: Skilled):
    status, shown = skills(library, "reword", "reach-red", "--add", "去红色")
    assert status == 0
    assert "note: the sentence encoder 'minilm' does not know" in shown
    status, sentence = skills(library, "reword", "reach-blue", "--add", "去蓝色")
    assert status == 2
    assert "cannot tell" in sentence
    assert "去蓝色" not in SkillLibrary.open(library).state.newest("reach-blue").wordings


def test_remove_says_what_needs_it_and_undo_brings_it_back(library: Path, skills: Skilled):
    before = SkillLibrary.open(library).fingerprints()
    status, shown = skills(library, "remove", "reach-blue")
    assert status == 0
    assert "its content is kept for between" in shown
    assert "undo` brings it back" in shown
    assert SkillLibrary.open(library).fingerprints() == [before[0], before[2]]
    assert skills(library, "prune") == (0, f"{library}: 0 files removed\n")
    assert skills(library, "undo")[0] == 0
    assert SkillLibrary.open(library).fingerprints() == before
    shown = skills(library, "remove", "between")[1]
    assert "kept for" not in shown


def test_prune_removes_the_files_and_ends_undoing(library: Path, skills: Skilled):
    file = SkillLibrary.open(library).state.newest("between").file
    skills(library, "remove", "between")
    assert (library / "skills" / file).exists()
    assert f"skills/{file}" in skills(library, "verify")[1]
    assert f"removed skills/{file}" in skills(library, "prune")[1]
    assert not (library / "skills" / file).exists()
    status, sentence = skills(library, "undo")
    assert status == 2
    assert "cannot be brought back" in sentence


def test_an_older_version_is_shown_exported_and_dropped(library: Path, skills: Skilled):
    opened = SkillLibrary.open(library)
    opened.add(other_numbers(opened.skill("between")), again=True)
    assert "older version   between@1" in skills(library, "show", "between")[1]
    assert "an older version, which no instruction calls" in skills(library, "show", "between@1")[1]
    assert skills(library, "export", "between@1")[0] == 0
    assert skills(library, "drop", "between@1")[0] == 0
    assert skills(library, "show", "between@1")[0] == 2
    assert SkillLibrary.open(library).names == ["reach-red", "reach-blue", "between"]


# ---------------------------------------------------------------- moving


def test_a_skill_goes_to_another_library_with_what_it_builds_on(library: Path, skills: Skilled):
    other = copy_of(library, "other")
    for name in ("between", "reach-blue"):
        skills(other, "remove", name)
    skills(other, "prune")
    assert skills(library, "export", "between")[0] == 0
    assert Path("between.skill").is_file()
    status, shown = skills(other, "import", "between.skill")
    assert status == 0
    assert "between is there" in shown
    there, here = SkillLibrary.open(other), SkillLibrary.open(library)
    assert there.names == ["reach-red", "between"]
    assert there.policy_of("between").fingerprint() == here.policy_of("between").fingerprint()
    assert "(reach-blue, removed)" in skills(other, "show", "between")[1]
    assert skills(other, "verify", "--actions")[0] == 0


def test_export_overwrites_an_export_and_nothing_else(library: Path, skills: Skilled):
    assert (
        skills(library, "export", "between", "a.skill")[0] == skills(library, "export", "reach-red", "a.skill")[0] == 0
    )
    assert "reach-red is there" in skills(library, "import", "a.skill")[1]
    before = (library / "library.json").read_bytes()
    status, sentence = skills(library, "export", "between", str(library / "library.json"))
    assert status == 2
    assert "no exported skill" in sentence
    assert (library / "library.json").read_bytes() == before


def test_a_name_that_is_taken_needs_another_or_again(library: Path, skills: Skilled):
    other = copy_of(library, "other")
    opened = SkillLibrary.open(other)
    opened.add(other_numbers(opened.skill("between")), again=True)
    skills(other, "export", "between")
    for words in (("import", "between.skill"), ("merge", str(other))):
        status, sentence = skills(library, *words)
        assert status == 2
        assert "--again" in sentence
    status, shown = skills(library, "import", "between.skill", "--name", "middle")
    assert status == 0
    assert "is an instruction of middle and of between" in shown
    skills(library, "undo")
    assert skills(library, "merge", str(other), "--again")[0] == 0
    assert SkillLibrary.open(library).state.newest("between").version == 2


def test_merge_leaves_behind_what_was_taught_again_here(library: Path, skills: Skilled):
    other = copy_of(library, "other")
    skills(library, "remove", "between")
    assert "added between" in skills(library, "merge", str(other))[1]
    opened = SkillLibrary.open(library)
    opened.add(other_numbers(opened.skill("between")), again=True)
    assert "are there already" in skills(library, "merge", str(other))[1]


def test_content_that_two_names_had_is_kept_for_whoever_needs_it(library: Path, skills: Skilled):
    """Removed as `reach-blue`, and again as the copy: `between` needs it still."""
    skills(library, "export", "reach-blue")
    skills(library, "remove", "reach-blue")
    skills(library, "import", "reach-blue.skill", "--name", "copy")
    assert "kept for between" in skills(library, "remove", "copy")[1]
    skills(library, "prune")
    assert skills(library, "verify", "--actions")[0] == 0


# ---------------------------------------------------------------- proving


def test_verify_finds_a_flipped_bit_and_says_the_machine(library: Path, skills: Skilled):
    status, shown = skills(library, "verify", "--actions")
    assert status == 0
    assert "torch" not in shown.partition("\n")[2]
    assert shown.startswith("on this machine: ")
    assert torch.__version__ in shown.splitlines()[0]
    assert shown.count("acts bit for bit as when it was learned") == 3
    path = library / "skills" / SkillLibrary.open(library).state.newest("reach-blue").file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    status, shown = skills(library, "verify")
    assert status == 1
    assert "FAULT  reach-blue: " in shown
    assert "faults\n" in shown


def test_upgrade_leaves_a_library_of_this_version_as_it_is(library: Path, skills: Skilled):
    before = contents(library)
    status, shown = skills(library, "upgrade")
    assert status == 0
    assert "3 skills" in shown
    assert contents(library) == before


# ---------------------------------------------------------------- twice


CHANGES = [
    ["rename", "between", "middle"],
    ["reword", "between", "--add", "drive to the centre", "--remove", *TASKS[2].wordings],
    ["reword", "between", "--remove", *TASKS[2].wordings],
    ["retire", "between"],
    ["restore", "retired"],
    ["remove", "reach-blue"],
    ["drop", "retired@1"],
    ["undo", "7"],
    ["prune"],
    ["export", "between"],
    ["import", "given.skill"],
    ["import", "given.skill", "--name", "renamed"],
    ["import", "other.skill", "--again"],
    ["merge", "other", "--again"],
    ["upgrade"],
]


@pytest.fixture
def busy(library: Path, skills: Skilled) -> Path:
    """A library with a retired skill in two versions, a change to undo, strays to prune, and skills to come."""
    other, opened = copy_of(library, "other"), SkillLibrary.open(library)
    blue = opened.skill("reach-blue")
    opened.add(blue.named("retired"))
    opened.add(other_numbers(blue.named("retired")), again=True)
    opened.retire("retired")
    opened.note("between", {"seed": 1})
    there = SkillLibrary.open(other)
    there.add(other_numbers(blue.named("given"), 0.5))
    there.add(other_numbers(blue, -0.5), again=True)
    skills(other, "export", "given")
    skills(other, "export", "reach-blue", "other.skill")
    return library


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a_command_that_is_given_twice_changes_once(words: list[str], busy: Path, skills: Skilled):
    """As after a kill right behind its commit: the same command succeeds, and nothing changes any more."""
    before = contents(busy)
    assert skills(busy, *words)[0] == 0
    once = contents(busy)
    assert skills(busy, *words)[0] == 0
    assert contents(busy) == once
    assert words[0] in ("prune", "export", "upgrade") or once["changes.jsonl"] != before["changes.jsonl"]
    assert not any(finding.fault for finding in verify(busy))


def test_a_name_that_was_never_there_is_a_mistake_also_after_such_a_change(library: Path, skills: Skilled):
    skills(library, "rename", "between", "middle")
    for words in (["rename", "between", "other"], ["rename", "centre", "middle"], ["remove", "between"]):
        assert skills(library, *words)[0] == 2
    skills(library, "retire", "reach-red")
    assert skills(library, "rename", "between", "middle")[0] == 2, "other changes were made since"


def test_undo_without_a_number_goes_back_step_by_step(library: Path, skills: Skilled):
    skills(library, "rename", "between", "middle")
    skills(library, "retire", "middle")
    assert "retired middle" in skills(library, "undo")[1]
    assert "renamed between to middle" in skills(library, "undo")[1]
    assert "added between" in skills(library, "undo")[1]
    assert "is undone already" in skills(library, "undo", "3")[1]
    skills(library, "undo")
    assert "making of the library" in skills(library, "undo")[1]


def give(moment: Moment, folder: Path, words: list[str]) -> None:
    assert main(["skills", str(folder), *words]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [["rename", "between", "middle"], ["import", "given.skill"], ["prune"]], ids=" ".join)
def test_a_command_that_is_killed_at_any_file_ends_as_if_it_had_not_been(words: list[str], busy: Path, skills: Skilled):
    whole = copy_of(busy, "whole")
    skills(whole, *words)
    expected = SkillLibrary.open(whole)
    deaths = 0
    while True:
        library = copy_of(busy, f"killed-{deaths}")
        if not dies(give, library, {"write", "remove"}, deaths + 1, words):
            break
        deaths += 1
        assert not any(finding.fault for finding in verify(library)), "before it is given again"
        assert skills(library, *words)[0] == 0
        again = SkillLibrary.open(library)
        assert (again.names, again.fingerprints()) == (expected.names, expected.fingerprints())
        assert not any(finding.fault for finding in verify(library, actions=True))
        assert {path.name for path in (library / "skills").iterdir()} == {p.name for p in (whole / "skills").iterdir()}
    assert deaths >= 2


# ---------------------------------------------------------------- harm


HARM = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]"
"""What moves a cursor, rings, or turns the direction of writing."""


def hostile_library(folder: Path) -> SkillLibrary:
    library = SkillLibrary.open(folder)
    red = library.skill("reach-blue")
    rows = np.repeat(red.key[None], len(HOSTILE), 0)
    notes = {
        "source": HOSTILE[0],
        HOSTILE[1]: HOSTILE[3],
        "successes": "<b>",
        "episodes": "| x",
        "aside": {"error": "y"},
    }
    library.add(Skill("hostile", HOSTILE, rows, red.tensors, red.active, key=red.key), notes)
    return library


def test_words_of_a_library_only_show_on_a_terminal(library: Path, skills: Skilled):
    opened = hostile_library(library)
    assert not re.search(HARM, repr(opened))
    opened.rename("between", "middle")
    skills(library, "export", "middle", "\x1b[31m.skill")
    skills(library, "import", "\x1b[31m.skill", "--name", "copy")
    assert r"import \x1b[31m.skill" in skills(library, "history")[1]
    for words in (["list"], ["show", "hostile"], ["select", "go"], ["history"], ["diff", str(library)], ["verify"]):
        status, shown = skills(library, *words)
        assert status == 0, words
        assert not re.search(HARM, shown), words
    shown = skills(library, "show", "hostile")[1]
    for line in (r"\x1b[2J\x1b[31mred\x07", HOSTILE[1], r"line\n# heading\r\n- item", r"\u202egnp.exe", HOSTILE[6]):
        assert re.search(rf"^(instruction|also called by) +{re.escape(line)}$", shown, re.MULTILINE), line
    assert "not measured" in shown


def test_words_of_a_library_set_no_colours_on_a_terminal(library: Path):
    hostile_library(library)
    root = Path(__file__).parents[2]
    shown = on_a_terminal(
        [sys.executable, "-m", "skilltokens", "skills", str(library), "list"], "", 160, PYTHONPATH=f"{root}/src"
    )
    assert "\x1b[2J" not in shown
    assert "\x1b[31m" not in shown
    assert r"\x1b[2J" in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_the_model_card_shows_words_as_text_and_its_snippet_is_python(text: str, library: Path):
    opened = SkillLibrary.open(library)
    blue = opened.skill("reach-blue")
    notes = {"successes": 1, "episodes": 1, "suite": text, "split": text}
    notes["demonstrations"] = {"source": text, "episodes": text, "digest": text}
    opened.add(Skill("hostile", (text,), blue.key[None], blue.tensors, blue.active), notes)
    _, metadata, card = (library / "README.md").read_text().split("---\n", 2)
    assert text not in metadata
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(card)
    assert sum(token.type == "tr_open" for token in tokens) == 5 + 3, "the skills, and the demonstrations of two"
    assert sum(token.type == "td_open" for token in tokens) == 4 * 6 + 2 * 4
    assert sum(token.type == "heading_open" for token in tokens) == 2
    assert not any(token.type == "html_block" for token in tokens)
    inside = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inside} <= {"text", "softbreak", "code_inline"}
    assert not any("red" in child.content for child in inside if child.type == "code_inline")
    (fence,) = (token for token in tokens if token.type == "fence")
    strings = [node.value for node in ast.walk(ast.parse(fence.content)) if isinstance(node, ast.Constant)]
    assert text in strings


# ---------------------------------------------------------------- completion


def test_tab_offers_actions_and_the_names_that_an_action_takes(library: Path):
    opened = SkillLibrary.open(library)
    opened.add(other_numbers(opened.skill("between")), again=True)
    opened.retire("reach-blue")
    place = str(library)

    def after(*words: str) -> set[str]:
        return set(candidates(["skills", *words]).words)

    assert candidates(["skills", ""]).files
    assert set(ACTIONS) <= after(place, "")
    assert after(place, "re") == {"rename", "reword", "retire", "restore", "remove"}
    assert after(place, "rename", "") == {"reach-red", "reach-blue", "between"}
    assert after(place, "show", "b") == {"between", "between@1"}
    assert after(place, "drop", "") == {"between@1"}
    assert after(place, "restore", "") == {"reach-blue"}
    assert after(place, "retire", "reach") == {"reach-red"}
    assert after(place, "verify", "--a") == {"--actions"}
    assert after("nowhere", "rename", "") == after(place, "nothing", "") == set()
    assert set(candidates(["help", "skills", ""]).words) == set(ACTIONS)
    assert candidates(["skills", place, "import", ""]).files


# ---------------------------------------------------------------- Python


def test_the_python_names_of_the_documentation_exist():
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)[^`]*` \| .* \| `([^`]+)` \|$", page, re.MULTILINE)
    assert [action for action, _ in rows] == list(ACTIONS)
    for action, name in rows:
        place, _, attribute = name.partition("(")[0].rpartition(".")
        owner = SkillLibrary if place == "library" else import_module(f"skilltokens.skills.{place}")
        assert hasattr(owner, attribute), action
        if "(" in name and place == "library":
            named = [word.partition("=")[0].strip(" *") for word in name.partition("(")[2].rstrip(")").split(",")]
            known = inspect.signature(getattr(owner, attribute)).parameters
            assert {word for word in named if word and "=" in name} <= {*known, *named[:1]}, action


def test_a_change_that_changes_nothing_is_not_written(library: Path):
    opened = SkillLibrary.open(library)
    before = contents(library)
    opened.restore("between")
    opened.reword("between", add=[TASKS[2].instruction])
    opened.note("reach-red", {"successes": 3})
    assert contents(library) == before
    with pytest.raises(LibraryError, match="no skill"):
        opened.restore("nothing")
