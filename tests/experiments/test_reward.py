"""A whole study, small: motion, a model, a token and a rival; what is written, shown, and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skilltokens.cli import main
from skilltokens.experiments.reading import read_reward
from skilltokens.experiments.records import Counted, RewardRecord
from skilltokens.files import sealed
from skilltokens.grow import learn_skill
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report import results
from skilltokens.report.reward import markdown
from skilltokens.report.reward_page import render
from skilltokens.report.reward_runs import read_reward_run
from skilltokens.report.text import stacked
from skilltokens.settings import TrainSettings
from skilltokens.skills.library import SkillLibrary
from skilltokens.types import RunError

OPTIONS = [
    *("--jobs", "1", "--no-videos"),
    *("--motion.steps", "2048", "--motion.motion-steps", "1500", "--train.first-iterations", "20"),
    *("--adapt.steps", "4096", "--adapt.points", "2", "--adapt.episodes", "2", "--gravity", "1.5", "--commands", "0.5"),
    *("--noise", "-1", "1"),
]
SMALL = ["task-tokens-halfcheetah", "--methods", "token", "goal", *OPTIONS]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", *SMALL]) == 0
    return folder


def record_of(study: Path, run: str = "token-seed0") -> RewardRecord:
    return read_reward(study / "runs/task-tokens-halfcheetah" / run)


@pytest.mark.slow
def test_a_run_says_what_was_found_and_that_the_model_kept_its_bits(study: Path):
    run = record_of(study)
    (result,) = run.results
    assert result.task == "reach"
    assert result.steps == [0, 2048, 4096]
    assert len(result.successes) == 3
    assert result.trained < run.model.parameters / 5
    assert run.model.fingerprints == run.model.fingerprints_after != []
    assert result.changed == [Counted(what="gravity", factor=1.5, successes=0, episodes=2)]
    assert result.closeness is not None
    assert result.closeness["neighbour"] > 0
    assert 0.3 < result.closeness["discriminator"] <= 1
    assert result.commanded[0].asked == 0.5 * 3.5
    assert run.finished
    (goal,) = record_of(study, "goal-seed0").results
    assert goal.steps == [0]
    assert goal.trained == 0
    assert [(cell.log_std, cell.episodes) for cell in goal.noisy] == [(-1, 2), (1, 2)]
    assert result.noisy == []


@pytest.mark.slow
def test_the_same_command_changes_nothing(study: Path, monkeypatch: pytest.MonkeyPatch):
    files = [path for path in study.rglob("*") if path.suffix in (".safetensors", ".json")]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    monkeypatch.chdir(study)
    assert main(["run", *SMALL]) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before


@pytest.mark.slow
def test_a_run_that_lost_its_end_gives_the_same_numbers_again(study: Path, tmp_path: Path, monkeypatch):
    copy = Path(shutil.copytree(study, tmp_path / "study"))
    path = copy / "runs/task-tokens-halfcheetah/token-seed0/run.json"
    run = json.loads(path.read_text())
    whole = run["results"]
    path.write_text(json.dumps(sealed({**run, "results": [], "finished": None})))
    monkeypatch.chdir(copy)
    assert main(["run", *SMALL]) == 0
    again = json.loads(path.read_text())["results"]
    for one, other in zip(whole, again, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}


@pytest.mark.slow
def test_other_settings_are_refused_in_the_same_folder(study: Path, monkeypatch, capsys):
    monkeypatch.chdir(study)
    assert main(["run", *SMALL, "--ppo.tokens", "2"]) == 2
    assert "runs of another configuration (ppo.tokens was 1, is 2)" in capsys.readouterr().err
    assert main(["run", *SMALL, "--motion.noise", "0.1", "--out", "other"]) == 2
    assert "made with other settings" in capsys.readouterr().err
    stored = study / "demos/short/halfcheetah/motion"
    stored.rename(study / "away")
    try:
        assert main(["run", *SMALL, "--motion.steps", "4096", "--out", "other"]) == 2
        assert "trained longer, or with other settings" in capsys.readouterr().err
    finally:
        (study / "away").rename(stored)


@pytest.mark.slow
def test_a_model_whose_measuring_was_interrupted_is_not_distilled_again(study: Path, tmp_path: Path, monkeypatch):
    copy = Path(shutil.copytree(study, tmp_path / "study"))
    card = copy / "demos/short/halfcheetah/model/library.json"
    rows = SkillLibrary.open(card.parent).notes[0]["tracking"]
    SkillLibrary.open(card.parent).undo()  # the note of what was measured
    assert "tracking" not in SkillLibrary.open(card.parent).notes[0]
    base = (card.parent / "base.safetensors").stat().st_mtime_ns
    monkeypatch.chdir(copy)
    assert main(["run", "task-tokens-halfcheetah", "--methods", "goal", *OPTIONS, "--out", "other"]) == 0
    assert SkillLibrary.open(card.parent).notes[0]["tracking"] == rows
    assert (card.parent / "base.safetensors").stat().st_mtime_ns == base


@pytest.mark.slow
def test_the_report_and_the_results_are_made_of_the_runs_alone(study: Path, tmp_path: Path, monkeypatch):
    folder = tmp_path / "results" / "experiment"
    for run in ("token-seed0", "goal-seed0"):
        (folder / run).mkdir(parents=True)
        shutil.copy(study / "runs/task-tokens-halfcheetah" / run / "run.json", folder / run)
    runs = [read_reward_run(path) for path in sorted(folder.rglob("run.json"))]
    text = markdown(runs)
    assert "| token | 1 |" in text
    assert "| gravity x 1.5 |" in text.replace("as it is | ", "| ")
    assert stacked(text) in results.texts_of(tmp_path / "results")[folder / "README.md"]
    page = render(runs)
    assert "the same bits as before it" in page
    assert "<script src" not in page
    monkeypatch.chdir(tmp_path)
    assert main(["report", "results/experiment"]) == 0
    assert (folder / "report.html").exists()
    assert "the frozen library (1 skill) had the same bits as before it" in text


@pytest.mark.slow
def test_an_altered_run_is_told(study: Path, tmp_path: Path):
    run = json.loads((study / "runs/task-tokens-halfcheetah/token-seed0/run.json").read_text())
    del run["results"][0]["seconds"]
    (tmp_path / "run.json").write_text(json.dumps(sealed(run)))
    with pytest.raises(RunError, match=r"altered \(Object missing required field seconds - at results\[0\]\)"):
        read_reward(tmp_path)


@pytest.mark.slow
def test_a_library_is_steered_in_place_of_a_behaviour_model(tmp_path: Path, toy_stores, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    policy, train = PolicySettings(width=32, layers=1, history=2), TrainSettings(first_iterations=30, iterations=30)
    for store in toy_stores[:2]:
        learn_skill("library", store, policy=policy, train=train, method=T2SSettings(share=0.2))
    words = [
        *("task-tokens-metaworld", "--library", "library", "--suite", "tests.toy:Toy", "--tasks", "between"),
        *("--jobs", "1", "--adapt.steps", "256", "--adapt.points", "1"),
        *(
            "--adapt.episodes",
            "2",
            "--adapt.horizon",
            "0",
            "--ppo.envs",
            "2",
            "--ppo.rollout",
            "32",
            "--ppo.batch",
            "64",
        ),
    ]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert main(["run", *words, "--methods", "token", "goal"]) == 0
    run = json.loads(Path("runs/task-tokens-metaworld/token-seed0/run.json").read_text())
    assert run["suite"] == "tests.toy:Toy"
    assert run["results"][0]["on"] in ("reach-red", "reach-blue")
    assert len(run["model"]["fingerprints"]) == 2
    assert run["model"]["fingerprints"] == run["model"]["fingerprints_after"]
    page = Path("runs/task-tokens-metaworld/report.html").read_text()
    assert "a frozen library of 2 skills" in page
    assert "the same bits as before it" in page
    assert "closeness" not in run["results"][0]

    lost = {**run, "results": [], "finished": None}
    Path("runs/task-tokens-metaworld/token-seed0/run.json").write_text(json.dumps(sealed(lost)))
    learn_skill("library", toy_stores[2], policy=policy, train=train, method=T2SSettings(share=0.2))
    capsys.readouterr()
    assert main(["run", *words, "--methods", "token"]) == 2
    assert "not the library that this run began with" in capsys.readouterr().err


def test_a_library_that_is_not_there_or_of_another_robot_is_told_before_anything_runs(
    tmp_path: Path, toy_stores, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "task-tokens-metaworld"]) == 2
    assert "make that of Continual World's ten tasks by `skilltokens run metaworld-cw10" in capsys.readouterr().err
    policy, train = PolicySettings(width=32, layers=1, history=2), TrainSettings(first_iterations=5)
    learn_skill("library", toy_stores[0], policy=policy, train=train)
    assert main(["run", "task-tokens-metaworld", "--library", "library"]) == 2
    assert "but" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*.safetensors"))
