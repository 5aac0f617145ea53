"""The command as people use it: help, completion, mistakes in one sentence, and status numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.terminal import on_a_terminal
from tests.toy import TASKS, Toy

from skilltokens.cli import VERBS, main
from skilltokens.cli.verbs.demos import ACTIONS
from skilltokens.cli.verbs.hub import ACTIONS as HUB_ACTIONS
from skilltokens.cli.verbs.skills import ACTIONS as SKILL_ACTIONS
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.model.settings import PolicySettings
from skilltokens.settings import TrainSettings
from skilltokens.suites import registry

Capture = pytest.CaptureFixture[str]

EXPLAINED = [
    *([verb] for verb in VERBS if verb not in ("demos", "hub", "skills")),
    *(["demos", name] for name in ACTIONS),
    *(["hub", name] for name in HUB_ACTIONS),
    *(["skills", "library", name] for name in SKILL_ACTIONS),
]
"""Words that have a help of their own, with options."""


@pytest.fixture
def store(tmp_path: Path) -> DemonstrationStore:
    toy = Toy()
    return write_store(
        tmp_path / "demos" / "toy" / "reach-red",
        toy.demonstrate(TASKS[0], 3, 0, 0.1),
        task=TASKS[0],
        features=toy.features,
        source="scripted",
        suite="toy",
    )


def mistake(words: list[str], capsys: Capture) -> str:
    """The one sentence that a mistaken command ends with."""
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skilltokens: ")
    return line


# ---------------------------------------------------------------- help


def test_the_command_explains_itself(capsys: Capture):
    for words in ([], ["--help"], ["-h"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(verb in shown for verb in VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("skilltokens 0.")


@pytest.mark.parametrize("words", EXPLAINED, ids=" ".join)
def test_every_verb_teaches_with_examples(words: list[str], capsys: Capture):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "examples:\n" in shown
    assert f"skilltokens {' '.join(words)}" in shown


def test_demos_lists_its_actions(capsys: Capture):
    assert main(["demos", "--help"]) == 0
    assert all(name in capsys.readouterr().out or name for name in ACTIONS)


@pytest.mark.parametrize(
    "words", [["--help"], *([verb, "--help"] for verb in VERBS), ["run", "demo", "--help"], ["list"]]
)
def test_help_loads_no_torch_and_no_simulator(words: list[str]):
    code = (
        "import sys, contextlib\nfrom skilltokens.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({words!r})\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'metaworld', 'mujoco', 'h5py', 'jinja2'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["--version"], ["list"], ["list", "methods"]])
def test_what_people_and_shells_ask_for_often_loads_next_to_nothing(words: list[str]):
    code = (
        "import sys, contextlib\nfrom skilltokens.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({words!r})\n"
        "heavy = {'numpy', 'tyro', 'rich', 'msgspec', 'importlib.metadata', 'asyncio', 'email', 'skilltokens.demos'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "skilltokens", "lsit"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "skilltokens: skilltokens has no verb 'lsit': did you mean 'list'?\n"


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m skilltokens list tasks | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_help_of_a_verb_is_that_verbs_own(capsys: Capture):
    for words in (["list"], ["demos", "make"], ["run", "demo"]):
        shown = []
        for form in (["help", *words], [*words, "--help"]):
            with pytest.raises(SystemExit) as end:
                main(form)
            assert end.value.code == 0
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]
        assert f"skilltokens {' '.join(words)}" in shown[0]
    assert main(["help", "demos"]) == 0
    assert "demos ACTION" in capsys.readouterr().out
    for words in (["help"], ["help", "help"], ["help", "--help"]):
        assert main(words) == 0
        assert "usage: skilltokens VERB" in capsys.readouterr().out


# ---------------------------------------------------------------- list


def test_list_shows_what_there_is(capsys: Capture):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in ("metaworld-cw10", "t2s", "sequential", "metaworld"):
        assert f"  {name} " in shown
    assert main(["list", "tasks"]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 52
    assert "peg-insert-side" in shown
    assert main(["list", "sequences"]) == 0
    assert "metaworld-cw10  of metaworld: hammer, push-wall, " in capsys.readouterr().out


def test_list_shows_the_tasks_of_the_suite_named(capsys: Capture):
    assert main(["list", "tasks", "libero-goal"]) == 0
    new = capsys.readouterr()
    assert "put_the_bowl_on_the_stove" in new.out
    assert main(["list", "tasks", "--suite", "libero-goal"]) == 0
    old = capsys.readouterr()
    assert (old.out, new.err) == (new.out, "")
    assert old.err == "note: --suite is the old way: `skilltokens list tasks libero-goal` is the same\n"


@pytest.mark.parametrize("width", [30, 40, 60, 80, 140])
def test_a_list_fits_the_terminal_and_loses_no_word(width: int):
    shown = on_a_terminal([sys.executable, "-m", "skilltokens", "list"], "", width)
    piped = subprocess.run([sys.executable, "-m", "skilltokens", "list"], capture_output=True, text=True, check=True)
    assert shown.split() == piped.stdout.split()
    assert max(map(len, shown.splitlines())) <= width
    assert max(map(len, piped.stdout.splitlines())) > 100, "a pipe gets whole lines"


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["help", "rnu"], "did you mean 'run'?"),
        (["help", "demos", "mak"], "did you mean 'make'?"),
        (["run", "metaworld-cw1"], "did you mean 'metaworld-cw10'?"),
        (["run", "demo", "--method", "sequentail"], "did you mean 'sequential'?"),
        (["run", "demo", "--suite", "metawrold"], "did you mean 'metaworld'?"),
        (["run", "demo", "--tasks", "push", "hamer"], "did you mean 'hammer'?"),
        (["run", "demo", "--train.iteration", "3"], "did you mean '--train.iterations'?"),
        (["demos", "exprot"], "did you mean 'export'?"),
        (["demos", "make", "metaworld", "--tasks", "hamer"], "did you mean 'hammer'?"),
        (["list", "tasks", "--suite", "metawrold"], "did you mean 'metaworld'?"),
        (["list", "tasks", "metawrold"], "there is no suite 'metawrold': did you mean 'metaworld'?"),
        (["list", "taks"], "did you mean 'tasks'?"),
        (["list", "metaworld"], "`skilltokens list tasks metaworld`"),
        (["list", "recipes", "metaworld"], "only tasks are those of a suite"),
        (["list", "tasks", "metaworld", "--suite", "libero-goal"], "named twice"),
        (["doctor", "--now"], "it takes none"),
        (["report"], "no run was named"),
        (["report", "nowhere"], "nowhere"),
        (["learn", "library", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["demos", "info"], "no store was named"),
        (["demos", "check", "nowhere"], "nowhere"),
        (["demos", "import", "nowhere.hdf5", "store"], "nowhere.hdf5"),
        (["completion", "tcsh2"], "tcsh2"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    words: list[str], said: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert said in mistake(words, capsys)
    assert not list(tmp_path.iterdir()), "nothing was made"


# ---------------------------------------------------------------- evaluate


@pytest.fixture
def library(store: DemonstrationStore, tmp_path: Path) -> Path:
    from skilltokens.grow import learn_skill

    train = TrainSettings(first_iterations=2, batch=2)
    return learn_skill(tmp_path / "library", store, train=train, policy=PolicySettings(width=16, layers=1)).folder


def test_learn_takes_over_words_only_where_it_is_told_to(library: Path, store: DemonstrationStore, capsys: Capture):
    few = ["--train.iterations", "2", "--train.batch", "2", "--method.share", "0.3", "--method.mu", "0.9"]
    words = ["learn", str(library), str(store.path), "--name", "again", *few]
    would = f"{store.task.instruction!r} would call 'again' and no more {store.task.name!r}"
    assert would in mistake(words, capsys)
    assert main([*words, "--take-over"]) == 0
    assert would in capsys.readouterr().err


def test_learn_makes_a_new_library_only_where_it_is_told_to(library: Path, store: DemonstrationStore, capsys: Capture):
    words = ["learn", str(library.parent / "librari"), str(store.path)]
    assert f"did you mean {library}? Or make a new one with --new" in mistake(words, capsys)
    assert not (library.parent / "librari").exists()


def test_evaluate_ends_episodes_at_its_horizon(library: Path, capsys: Capture):
    words = ["evaluate", str(library), "--suite", "tests.faults:Easy", "--episodes", "3", "--group", "3"]
    for more, good in (([], "3 of 3"), (["--horizon", "2"], "3 of 3"), (["--horizon", "1"], "0 of 3")):
        assert main([*words, *more]) == 0
        assert good in capsys.readouterr().out


def test_what_loads_the_sentence_encoder_says_so(
    library: Path, store: DemonstrationStore, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SKILLTOKENS_CACHE", str(tmp_path / "cache"))
    said = "loading the sentence encoder minilm\n"
    words = ["evaluate", str(library), "--suite", "tests.faults:Easy", "--episodes", "1", "--group", "1"]
    assert main([*words, "--instruction", "a sentence that is new"]) == 0
    assert said in capsys.readouterr().err
    assert main([*words, "--instruction", "a sentence that is new"]) == 0
    assert said not in capsys.readouterr().err
    few = ["--train.iterations", "2", "--train.batch", "2", "--method.share", "0.3", "--method.mu", "0.9"]
    assert main(["learn", str(library), str(store.path), "--name", "x", "--instruction", "and another", *few]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--horizon", "41"], "allows 1 to 40"),
        (["--horizon", "-1"], "--horizon -1 is impossible: use 0 or more"),
        (["--suite", "tests.faults:Few", "--episodes", "5"], "has 4 different episodes of the split 'test', not 5"),
        (["--threads", "0"], "--threads 0 is impossible: use 1 or more"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["--ahead", "0"], "--ahead 0 is impossible: use 1 or more"),
        (["--ahead", "2"], "a chunk of 2 actions is impossible: this policy predicts 1 at a time, so use 1"),
        (["--ahead", "2", "--stores", "somewhere"], "--ahead is for simulators"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(words: list[str], said: str, library: Path, capsys: Capture):
    plain = [] if "--suite" in words else ["--suite", "tests.toy:Toy"]
    assert said in mistake(["evaluate", str(library), *plain, *words], capsys)


def test_evaluate_takes_the_suite_that_the_skills_were_learned_on(
    library: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    assert "does not say which suite its skills are of: name it with --suite" in mistake(
        ["evaluate", str(library)], capsys
    )
    monkeypatch.setitem(registry.SUITES, "toy", registry.Entry(Toy, "a toy"))
    assert main(["evaluate", str(library), "--episodes", "1", "--group", "1"]) == 0
    assert "reach-red" in capsys.readouterr().out


# ---------------------------------------------------------------- demos


def test_demos_info_and_check(store: DemonstrationStore, capsys: Capture):
    assert main(["demos", "info", str(store.path.parent)]) == 0
    shown = capsys.readouterr().out
    assert "instruction: go to the red marker" in shown
    assert "episodes: 3" in shown
    assert main(["demos", "check", str(store.path)]) == 0
    assert "sound" in capsys.readouterr().out


def test_an_altered_store_fails_the_check(store: DemonstrationStore, capsys: Capture):
    file = store.path / "action.npy"
    content = bytearray(file.read_bytes())
    content[-2] ^= 0xFF
    file.write_bytes(content)
    assert main(["demos", "check", str(store.path)]) == 2
    assert "action.npy was altered" in capsys.readouterr().err


def test_demos_go_to_hdf5_and_back(store: DemonstrationStore, tmp_path: Path, capsys: Capture):
    file, again = tmp_path / "toy.hdf5", tmp_path / "again"
    assert main(["demos", "export", str(store.path), "--file", str(file)]) == 0
    assert main(["demos", "import", str(file), str(again)]) == 0
    assert main(["demos", "import", str(file), str(tmp_path / "mine"), "--instruction", "be red", "--task", "red"]) == 0
    for name in store.features:
        assert (DemonstrationStore.open(again)[name] == store[name]).all()
    mine = DemonstrationStore.open(tmp_path / "mine")
    assert (mine.task.name, mine.task.instruction) == ("red", "be red")


def forget(content: h5py.File) -> None:
    """Makes an export of ours a file as another program writes it."""
    data = content["data"]
    assert isinstance(data, h5py.Group)
    for group in (data, *data.values()):
        del group.attrs["skilltokens"]


def test_an_import_is_kept_only_where_it_would_be_made_the_same(
    store: DemonstrationStore, tmp_path: Path, capsys: Capture
):
    folder, target = tmp_path / "files", tmp_path / "imported"
    file = folder / "red_demo.hdf5"
    assert main(["demos", "export", str(store.path), "--file", str(file)]) == 0
    with h5py.File(file, "a") as content:
        forget(content)
        content["mask/first"] = [b"demo_0"]
    words = ["demos", "import", str(folder), str(target)]
    assert main(words) == 0
    kept = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert main(words) == 0
    assert "there already" in capsys.readouterr().out
    for more in (["--subset", "first"], ["--source", "robot"], ["--clip"], ["--suite", "lab"]):
        assert f"whose {more[0].removeprefix('--')} is" in mistake([*words, *more], capsys)
    with h5py.File(file, "a") as content:
        content["data/demo_0/actions"][0, 0] *= 0.5  # pyright: ignore
    assert "whose sha256 is" in mistake(words, capsys)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == kept


def test_an_import_says_what_it_took_and_takes_what_it_is_told(
    store: DemonstrationStore, tmp_path: Path, capsys: Capture
):
    file = tmp_path / "low_dim_v141.hdf5"
    assert main(["demos", "export", str(store.path), "--file", str(file)]) == 0
    with h5py.File(file, "a") as content:
        forget(content)
        data = content["data"]
        assert isinstance(data, h5py.Group)
        for demo in data.values():
            demo.attrs["ep_meta"] = json.dumps({"lang": "go to the red marker"})
            demo["obs/top"] = np.zeros((len(demo["actions"]), 32, 32, 3), np.uint8)
    words = ["demos", "import", str(file), str(tmp_path / "own" / "lift")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "observation.state <- environment_state, state" in said
    assert "not taken: top (--keys, and --images for pictures)" in said
    assert DemonstrationStore.open(words[-1]).task.name == "lift"
    assert main([*words, "--keys", "observation.state=state", "observation.images.top=top"]) == 0
    taken = DemonstrationStore.open(words[-1])
    assert {name: feature.shape for name, feature in taken.features.items()} == {
        "action": (2,), "observation.state": (2,), "observation.images.top": (32, 32, 3),
    }  # fmt: skip
    assert (taken["observation.state"] == store["observation.state"]).all()
    assert "is no FEATURE=KEY,KEY" in mistake([*words, "--keys", "state"], capsys)


def test_demos_make_makes_what_is_missing(tmp_path: Path, capsys: Capture):
    words = ["demos", "make", "tests.toy:Toy", "--tasks", "between", "--episodes", "2", "--folder", str(tmp_path)]
    assert main(words) == 0
    (header,) = tmp_path.rglob("header.json")
    before = header.stat().st_mtime_ns
    assert json.loads(header.read_text())["episodes"] == 2
    assert main(words) == 0
    assert header.stat().st_mtime_ns == before, "what is there is kept"
