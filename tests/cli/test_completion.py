"""Tab completion: what is offered, and real shells that are asked for it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.skills.making import adapted, features, first, make_base
from tests.terminal import on_a_terminal

from skilltokens.cli import VERBS, main
from skilltokens.cli.candidates import candidates, split
from skilltokens.cli.names import BODY_TASKS, tasks_of
from skilltokens.cli.verbs.demos import ACTIONS
from skilltokens.cli.verbs.hub import ACTIONS as HUB_ACTIONS
from skilltokens.cli.verbs.skills import ACTIONS as SKILL_ACTIONS
from skilltokens.skills.library import SkillLibrary
from skilltokens.suites import load_suite, suite_names

Capture = pytest.CaptureFixture[str]

EXPLAINED = [
    *([verb] for verb in VERBS if verb not in ("demos", "hub", "skills")),
    *(["demos", name] for name in ACTIONS),
    *(["hub", name] for name in HUB_ACTIONS),
    *(["skills", "library", name] for name in SKILL_ACTIONS),
]
"""Words that have a help of their own, with options."""


@pytest.fixture
def folder(library: Path, tmp_path: Path) -> Path:
    """A folder with the command in bin/, a library, and runs."""
    command = tmp_path / "bin" / "skilltokens"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m skilltokens "$@"\n')
    command.chmod(0o755)
    (tmp_path / "runs" / "two tasks").mkdir(parents=True)
    (tmp_path / "runs" / "demonstration").mkdir()
    shutil.copytree(library, tmp_path / "library")
    return tmp_path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two skills."""
    folder, base = tmp_path_factory.mktemp("made") / "library", make_base()
    grown = SkillLibrary.create(folder, base, first("push"), features(), "minilm", {"suite": "metaworld"})
    grown.add(adapted(base, "lift-it"))
    return folder


def after(*words: str) -> set[str]:
    return set(candidates(words).words)


# ---------------------------------------------------------------- what is offered


def test_verbs_and_what_follows_them():
    assert set(VERBS) | {"help"} <= after("")
    assert after("re") == {"report"}
    assert after("help", "") == set(VERBS)
    assert after("help", "demos", "") == set(ACTIONS)
    assert set(ACTIONS) <= after("demos", "")
    assert after("help", "hub", "") == set(HUB_ACTIONS)
    assert set(HUB_ACTIONS) <= after("hub", "")
    assert {"--revision", "--endpoint"} <= after("hub", "pull", "me/kitchen", "library", "")
    assert candidates(["hub", "push", ""]).files
    assert after("hub", "nothing", "") == set()
    assert after("completion", "") == {"bash", "zsh", "fish"}
    assert {"recipes", "tasks", "sequences"} <= after("list", "")
    assert after("list", "tasks", "meta") == {"metaworld", "metaworld-images"}
    assert after("list", "recipes", "meta") == set()
    assert after("nothing", "") == after("demos", "nothing", "") == after("run", "nothing", "") == set()


def test_recipes_and_what_a_recipe_has():
    assert {"demo", "metaworld-cw10", "task-tokens-ant"} <= after("run", "")
    assert candidates(["run", ""]).files, "a run.json"
    assert {"t2s", "sequential"} <= after("run", "demo", "--methods", "")
    assert after("run", "demo", "--methods", "t2s", "se") == {"sequential"}
    assert "t2s" not in after("run", "demo", "--methods", "t2s", "")
    assert {"token", "mlp"} <= after("run", "task-tokens", "--methods", "")
    assert after("run", "demo", "--train.it") == {"--train.iterations"}
    assert "--method.gates" in after("run", "demo", "--method.")
    assert "--method.gates" not in after("run", "demo", "--methods", "lora", "--method.")
    assert "--method.gates" in after("run", "demo", "--methods=t2s", "--method.")


def test_names_of_suites_tasks_and_skills(library: Path):
    place = str(library)
    assert {"push", "hammer"} <= after("run", "demo", "--tasks", "")
    assert after("run", "demo", "--tasks", "push", "pus") == {"push-back", "push-wall"}
    assert "turn_on_the_stove" in after("run", "demo", "--suite", "libero-goal", "--tasks", "")
    assert "turn_on_the_stove" in after("run", "demo", "--suite=libero-goal", "--tasks", "")
    assert "turn_on_the_stove" in after("run", "libero-goal", "--tasks", "")
    assert after("run", "demo", "--suite", "tests.toy:Toy", "--tasks", "reach-r") == {"reach-red"}
    assert after("run", "task-tokens", "--tasks", "") == set(BODY_TASKS["halfcheetah"])
    assert after("run", "task-tokens", "--body", "ant", "--tasks", "st") == {"strike", "steering"}
    assert "button-press" in after("run", "task-tokens-metaworld", "--tasks", "")
    assert "hammer" in after("demos", "make", "metaworld", "--tasks", "")
    assert "libero-90" in after("demos", "download", "")
    assert after("adapt", place, "--on", "") == {"push", "lift-it"}
    assert after("adapt", place, "--env", "metaworld/button-press-w") == {"metaworld/button-press-wall"}
    assert after("adapt", place, "--env", "ha") == {"halfcheetah/"}
    assert "hammer" in after("evaluate", place, "--tasks", ""), "of the suite that the library was learned on"
    assert after("adapt", "nowhere", "--on", "") == after("run", "demo", "--suite", "no", "--tasks", "") == set()


def test_names_of_published_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for place in ("metaworld-cw10/t2s-seed0", "metaworld-cw10-orders/t2s-seed0", "libero-goal/lora-seed1"):
        (tmp_path / "results" / place).mkdir(parents=True)
        (tmp_path / "results" / place / "run.json").touch()
    (tmp_path / "results" / "metaworld-figures").mkdir()
    monkeypatch.chdir(tmp_path)
    assert after("compare", "m") == {"metaworld-cw10", "metaworld-cw10-orders"}
    assert after("compare", "metaworld-cw10", "metaworld-cw10") == {"metaworld-cw10-orders"}


def test_choices_flags_and_paths():
    assert after("run", "demo", "--evaluate.split", "") == {"validation", "test"}
    assert after("run", "demo", "--train.device", "c") == {"cpu", "cuda"}
    assert "--out" in after("run", "demo", "--evaluate.videos", ""), "a flag takes no value"
    for words in (["report"], ["report", "a"], ["learn"], ["learn", "a"], ["run", "demo", "--out"], ["evaluate"]):
        assert candidates([*words, ""]).files
        assert candidates([*words, ""]).words == ()
    assert candidates(["run", "demo", "--out=ru"]).files
    assert not candidates(["learn", "a", "b", ""]).files


@pytest.mark.parametrize("words", EXPLAINED, ids=" ".join)
def test_every_option_that_the_help_shows_is_offered_and_no_other(
    words: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "100")
    words = [*words, "demo"] if words == ["run"] else words
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    lines = re.findall(r"^\W (-.*)", re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out), re.MULTILINE)
    shown = {option for line in lines for option in re.findall(r"(?<!\w)--?[a-z][\w.-]*", line.split("  ")[0])}
    assert after(*words, "-") == shown
    assert len(shown) >= 2


def test_tasks_of_bodies_are_those_of_their_suites():
    for body, tasks in BODY_TASKS.items():
        assert tuple(task.name for task in load_suite(body).tasks) == tasks
    assert all(tasks_of(suite) for suite in suite_names())


@pytest.mark.parametrize(
    "words", [[""], ["run", "demo", "--"], ["run", "task-tokens", "--tasks", ""], ["adapt", "l", ""]]
)
def test_an_answer_loads_nothing_heavy(words: list[str]):
    code = (
        f"import sys\nfrom skilltokens.cli import main\nmain(['completion', '--words', *{words!r}])\n"
        "heavy = {'torch', 'transformers', 'mujoco', 'gymnasium', 'h5py', 'rich', 'scipy'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert len(done.stdout.splitlines()) > 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("skilltokens", []),
        ("skilltokens ", [""]),
        ("skilltokens run de", ["run", "de"]),
        ("skilltokens report 'two ta", ["report", "two ta"]),
        ('skilltokens report "a b" ', ["report", "a b", ""]),
        ("skilltokens report two\\ ta", ["report", "two ta"]),
        ("skilltokens run demo --tasks=pu", ["run", "demo", "--tasks=pu"]),
        ("skilltokens run demo --suite a:b ", ["run", "demo", "--suite", "a:b", ""]),
        ("skilltokens report it's", ["report", "its"]),
    ],
)
def test_a_line_is_cut_into_words_as_bash_does(line: str, words: list[str]):
    assert split(line) == words


# ---------------------------------------------------------------- bash


def environment(folder: Path) -> dict[str, str]:
    """Where the shell looks for the command, and the command for a suite of ours."""
    modules = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ":".join(filter(None, modules))}


def bash(folder: Path, words: Sequence[str], line: str = "") -> list[str]:
    """What bash would list: the function that `complete` names, called as bash calls it at Tab."""
    line = line or " ".join(["skilltokens", *words])
    word = "" if words[-1] in ("=", ":") else words[-1]
    env = {**os.environ, **environment(folder)}
    code = f"""
        source <(skilltokens completion bash)
        function=$(complete -p skilltokens | sed -E 's/.*-F ([^ ]+).*/\\1/')
        COMP_WORDS=(skilltokens {shlex.join(words)}); COMP_CWORD={len(words)}
        COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}
        $function skilltokens {shlex.quote(word)} {shlex.quote((["skilltokens", *words])[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_names(folder: Path):
    assert set(VERBS) <= set(bash(folder, [""]))
    assert {"demo", "metaworld-cw10"} <= set(bash(folder, ["run", ""]))
    assert bash(folder, ["adapt", "library", "--on", "li"]) == ["lift-it"]


def test_bash_completes_words_that_it_cuts_at_colons_and_equals_signs(folder: Path):
    line = "skilltokens run demo --tasks=push-b"
    assert bash(folder, ["run", "demo", "--tasks", "=", "push-b"], line) == ["push-back"]
    line = "skilltokens run demo --evaluate.split="
    assert bash(folder, ["run", "demo", "--evaluate.split", "="], line) == ["validation", "test"]
    line = "skilltokens run demo --suite tests.toy:Toy --tasks reach-r"
    words = ["run", "demo", "--suite", "tests.toy", ":", "Toy", "--tasks", "reach-r"]
    assert bash(folder, words, line) == ["reach-red"]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("skilltokens eva", "skilltokens evaluate "),
        ("skilltokens report runs/demon", "skilltokens report runs/demonstration/"),
        ("skilltokens report runs/tw", "skilltokens report runs/two\\ tasks/"),
        ("skilltokens report --out=runs/demon", "skilltokens report --out=runs/demonstration/"),
        ("skilltokens run runs/demon", "skilltokens run runs/demonstration/"),
        ("skilltokens run dem", "skilltokens run demo "),
        ("skilltokens run demo --tasks=push-b", "skilltokens run demo --tasks=push-back "),
        ("skilltokens adapt library --env halfch", "skilltokens adapt library --env halfcheetah/"),
        ("bin/skilltokens adapt library --on lif", "bin/skilltokens adapt library --on lift-it "),
    ],
)
def test_tab_in_a_real_bash(typed: str, completed: str, folder: Path):
    assert bash_line(folder, typed) == completed


def bash_line(folder: Path, typed: str) -> str:
    """What stands on the line of an interactive bash after Tab: Ctrl-A and `: "` make it harmless, `fc` shows it."""
    start = folder / "start"
    start.write_text(
        "bind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\nset -o history\n"
        "source <(skilltokens completion bash)\n"
    )
    keys = f"{typed}\t\x01#\r fc -ln -1 > line\rexit\r"
    command = ["bash", "--noprofile", "--rcfile", str(start), "-i"]
    on_a_terminal(
        ["sh", "-c", f"cd {shlex.quote(str(folder))} && exec {shlex.join(command)}"],
        keys,
        **{"TERM": "xterm", "HISTCONTROL": "ignorespace", "HISTFILE": ""} | environment(folder),
    )
    return (folder / "line").read_text().rstrip("\n").lstrip("\t ").removeprefix("#")


# ---------------------------------------------------------------- other shells


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(shell: str, capsys: Capture):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "completion --words" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
