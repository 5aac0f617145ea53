"""Names and sentences from files and from suites, on their way to a terminal, a shell or the disk."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from tests.pressing import TASKS
from tests.pressing import suite as pressing

from skilltokens.cli import main
from skilltokens.cli.candidates import typed_in_bash
from skilltokens.cli.saying import cells
from skilltokens.demos import write_store
from skilltokens.files import sealed
from skilltokens.skills.head import OLD_SCHEMA
from skilltokens.suites.gymnasium import GymnasiumSuite
from skilltokens.types import ACTION, STATE, Episode, Feature, Task

BAD = "[red]\x1b[2J\x1b]0;x\x07\nnext | <b>"
SHOWN = r"[red]\x1b[2J\x1b]0;x\x07\nnext | <b>"

Capture = pytest.CaptureFixture[str]


def hostile() -> GymnasiumSuite:
    """A suite whose tasks are called, and told, by what would clear a terminal."""
    suite = pressing()
    suite.tasks = (Task(BAD, BAD), *TASKS)
    return suite


def store(folder: Path, name: str) -> Path:
    rng = np.random.default_rng(0)
    episodes = [Episode({STATE: rng.normal(size=(5, 2)), ACTION: rng.uniform(-1, 1, (5, 2))})]
    features = {STATE: Feature((2,)), ACTION: Feature((2,))}
    write_store(folder, episodes, task=Task(name, BAD), features=features, source=BAD, suite="own")
    return folder


def test_a_list_of_tasks_is_a_line_each(capsys: Capture):
    assert main(["list", "tasks", "tests.cli.test_strangers:hostile"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head == "tasks of tests.cli.test_strangers:hostile"
    assert first.split("  ")[1] == SHOWN
    assert first.endswith(SHOWN)


def test_what_is_in_a_store_is_shown_as_it_is(capsys: Capture, tmp_path: Path):
    store(tmp_path / "store", "plain")
    assert main(["demos", "info", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert f"instruction: {SHOWN}" in out.splitlines()
    assert f"source: {SHOWN}" in out.splitlines()
    assert "\x1b" not in out


@pytest.mark.parametrize("name", ["../../outside", "a/b", ".."])
def test_a_name_in_an_hdf5_file_leads_to_no_other_folder(name: str, capsys: Capture, tmp_path: Path):
    place, folder = store(tmp_path / "store", "plain-name"), tmp_path / "one" / "files"
    assert main(["demos", "export", str(place), "--folder", str(folder)]) == 0
    with h5py.File(folder / "plain-name_demo.hdf5", "r+") as file:
        for group in (file["data"], file["data/demo_0"]):
            for key, value in list(group.attrs.items()):
                if isinstance(value, str) and key == "skilltokens" and group.name == "/data":
                    content = json.loads(value.replace("plain-name", name))
                    group.attrs[key] = json.dumps(sealed(content))
                elif isinstance(value, str) and key != "skilltokens":
                    group.attrs[key] = value.replace("plain-name", name)
    target = tmp_path / "one" / "two" / "three"
    for taken in (target / "a" / "b", target.parent.parent / "outside"):  # would be taken for a store
        taken.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert main(["demos", "import", str(folder), str(target)]) == 2
    assert f"the task name {name!r} cannot name a file" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_cells_of_a_table_are_text():
    table = Table("a", "b", box=SIMPLE)
    table.add_row(*cells([BAD, ":smile: [bold]x[/bold]"]))
    console = Console(record=True, width=120, force_terminal=True)
    with console.capture() as shown:
        console.print(table)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.get())
    assert SHOWN in text
    assert ":smile: [bold]x[/bold]" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "name", ["$(touch pwned)", "`touch pwned`; touch pwned", "two words", "a\"b'c\\d&|<>*?!#~", "é"]
)
def test_bash_reads_a_completed_name_as_the_name(name: str, tmp_path: Path):
    line = f"printf %s --on={typed_in_bash(name)}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"--on={name}"
    assert not list(tmp_path.iterdir())


def test_names_of_a_strangers_library_are_offered_for_bash_as_they_are_typed(capsys: Capture, tmp_path: Path):
    names = ["$(touch pwned)", "push it", "two\nlines", "plain"]
    skills = [{"name": name, "wordings": [name], "notes": {}} for name in names]
    card = {"schema": OLD_SCHEMA, "encoder": "minilm", "policy": {"settings": {}}, "skills": skills}
    (tmp_path / "library.json").write_text(json.dumps(card))
    assert main(["completion", "--line", f"skilltokens adapt {tmp_path} --on ", ""]) == 0
    assert capsys.readouterr().out.splitlines() == ["words", r"\$\(touch\ pwned\)", r"push\ it", "plain"]
    assert main(["completion", "--line", f"skilltokens adapt {tmp_path} --on push\\ i", "push\\ i"]) == 0
    assert capsys.readouterr().out.splitlines() == ["words", r"push\ it"]
    assert main(["completion", "--words", "adapt", str(tmp_path), "--on", ""]) == 0  # zsh and fish quote by themselves
    assert capsys.readouterr().out.splitlines() == ["words", "$(touch pwned)", "push it", "plain"]
