"""A whole study, small: motion, a model, a token and a rival; what is written, shown, and resumed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from skilltokens.behaviour.learners import LEARNERS
from skilltokens.cli import main
from skilltokens.cli.plan import make_plan
from skilltokens.experiments.reading import read_reward
from skilltokens.experiments.recipes import RECIPES
from skilltokens.experiments.records import Counted, RewardRecord
from skilltokens.grow import learn_skill
from skilltokens.methods.t2s import T2SSettings
from skilltokens.model.settings import PolicySettings
from skilltokens.report import results
from skilltokens.report.reward import commanded, headline, markdown, needed, noisy, physics
from skilltokens.report.reward_page import render
from skilltokens.report.reward_runs import check_alike, read_reward_run, rows_of
from skilltokens.report.text import DASH, stacked
from skilltokens.settings import TrainSettings
from skilltokens.types import RunError, SettingError

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
    path.write_text(json.dumps({**run, "results": [], "finished": None}))
    monkeypatch.chdir(copy)
    assert main(["run", *SMALL]) == 0
    again = json.loads(path.read_text())["results"]
    for one, other in zip(whole, again, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}


@pytest.mark.slow
def test_other_settings_are_refused_in_the_same_folder(study: Path, monkeypatch, capsys):
    monkeypatch.chdir(study)
    assert main(["run", *SMALL, "--ppo.tokens", "2"]) == 2
    assert "run of another configuration (ppo.tokens was 1, is 2)" in capsys.readouterr().err
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
    whole = json.loads(card.read_text())
    rows = whole["skills"][0]["notes"].pop("tracking")
    card.write_text(json.dumps(whole))
    base = (card.parent / "base.safetensors").stat().st_mtime_ns
    monkeypatch.chdir(copy)
    assert main(["run", "task-tokens-halfcheetah", "--methods", "goal", *OPTIONS, "--out", "other"]) == 0
    assert json.loads(card.read_text())["skills"][0]["notes"]["tracking"] == rows
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
    (tmp_path / "run.json").write_text(json.dumps(run))
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
    Path("runs/task-tokens-metaworld/token-seed0/run.json").write_text(json.dumps(lost))
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


# ---------------------------------------------------------------- without simulator


def made_up(tmp_path: Path, name: str, successes: list[list[int]], **changes: Any) -> list[Path]:
    """Runs of one learner whose curves are these, of ten episodes a point, one run a seed."""
    paths = []
    for seed, curve in enumerate(successes):
        result = {
            "task": "reach", "instruction": "go", "steps": [1000 * i for i in range(len(curve))], "successes": curve,
            "lengths": [5.0] * len(curve), "episodes": 10, "trained": 7, "seconds": 60.0, "changed": [],
            "closeness": {"neighbour": 1.5, "discriminator": 0.75},
        }  # fmt: skip
        run = {
            "schema": "skilltokens.reward/1", "learner": name, "suite": "halfcheetah", "seed": seed,
            "tasks": [{"name": "reach", "instruction": "go"}], "model": {}, "results": [result], "versions": {},
            "started": "2026-01-01T00:00:00+00:00", "finished": None,
            "config": {
                "ppo": {"tokens": 1, "presence": -3.0, "hidden": [128, 128]},
                "adapt": {"body": True, "split": "test", "episodes": 10},
            },
            **changes,
        }  # fmt: skip
        path = tmp_path / f"{name}-seed{seed}" / "run.json"
        path.parent.mkdir()
        path.write_text(json.dumps(run))
        paths.append(path)
    return paths


def test_steps_to_success_are_the_median_and_a_seed_that_never_gets_there_is_the_worst(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 3, 8, 9], [0, 8, 9, 9], [0, 2, 3, 7]])]
    (row,) = rows_of(runs, "reach")
    assert row.needed == [2000, 1000, None]
    assert needed(row) == "2,000 (1 of 3 never)"
    assert row.final == (25, 30)
    check_alike(runs)
    (two,) = rows_of(runs[:2], "reach")
    assert needed(two) == "1,500"


def test_success_that_is_lost_at_the_next_point_is_not_reached(tmp_path: Path):
    curves = [[0, 9, 3, 9, 9], [0, 9, 2, 2, 2], [0, 0, 0, 0, 8]]
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", curves)]
    (row,) = rows_of(runs, "reach")
    assert row.needed == [3000, None, 4000]


def test_what_was_measured_beside_is_pooled_over_the_seeds(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9], [0, 8]])]
    for run, (moved, good) in zip(runs, ((1.0, 3), (2.0, 8)), strict=True):
        (result,) = run.record.results
        result.commanded = [Counted(asked=1.1, speed=moved, successes=good, episodes=10)]
        result.changed = [Counted(what="gravity", factor=1.5, successes=good, episodes=10)]
        result.noisy = [Counted(log_std=-1.2, successes=good - 1, episodes=10)]
    rows = rows_of(runs, "reach")
    assert commanded(rows)[1] == [["token", "1.1", "1.5", "0.55"]]
    assert physics(rows)[1] == [["token", "0.85", "0.55"]]
    assert noisy(rows) == (["success under noise of log_std", "none", "-1.2"], [["token", "0.85", "0.45"]])


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "walker2d"},
        {"model": {"fingerprints": ["ab"]}},
        {
            "config": {
                "ppo": {"tokens": 1, "presence": -3.0, "hidden": [128, 128]},
                "adapt": {"body": True, "split": "validation", "episodes": 10},
            }
        },
    ],
)
def test_runs_of_different_experiments_are_not_put_into_one_table(tmp_path: Path, changes: dict[str, Any]):
    paths = made_up(tmp_path, "token", [[0, 9]]) + made_up(tmp_path, "mlp", [[0, 1]], **changes)
    with pytest.raises(RunError, match="of different experiments"):
        markdown([read_reward_run(path) for path in paths])


def test_seeds_on_different_grids_are_not_put_into_one_row(tmp_path: Path):
    runs = [read_reward_run(path) for path in made_up(tmp_path, "token", [[0, 9, 9], [0, 9]])]
    with pytest.raises(RunError, match="points after other numbers of steps"):
        markdown(runs)


def test_learners_come_in_their_own_order(tmp_path: Path):
    paths = made_up(tmp_path, "mlp", [[0, 1]]) + made_up(tmp_path, "token", [[0, 9]])
    assert [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")] == ["token", "mlp"]


def test_variants_of_a_learner_come_by_their_number(tmp_path: Path):
    paths = []
    for tokens in (16, 4, 1):
        (tmp_path / str(tokens)).mkdir()
        config = {
            "ppo": {"tokens": tokens, "presence": -3.0, "hidden": [128, 128]},
            "adapt": {"body": True, "split": "test", "episodes": 10},
        }
        paths += made_up(tmp_path / str(tokens), "token", [[0, 9]], config=config)
    labels = [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")]
    assert labels == ["token", "token (4 tokens)", "token (16 tokens)"]


def test_the_headline_has_every_way_to_learn_and_every_task(tmp_path: Path):
    tasks = {
        "tasks": [{"name": "reach", "instruction": "go"}, {"name": "jump", "instruction": "leap"}],
        "finished": None,
    }
    paths = made_up(tmp_path, "mlp", [[0, 1, 9]], **tasks) + made_up(tmp_path, "token", [[0, 9], [0, 8]], **tasks)
    head, rows = headline([read_reward_run(path) for path in paths])
    assert head == ["steps to 80%", "seeds", "steps trained", "trained parameters", "reach", "jump"]
    assert rows == [["token", "2", "1,000", "7", "1,000", DASH], ["mlp", "1", "2,000", "7", "2,000", DASH]]
    assert "Steps to 80%, task by task" not in render([read_reward_run(path) for path in paths])  # one task has figures


def test_a_row_says_what_its_settings_are_where_they_are_not_the_usual_ones(tmp_path: Path):
    """Runs of before there was a presence began with loud tokens."""
    adapt = {"body": False, "split": "test", "episodes": 10}
    config = {"config": {"ppo": {"tokens": 4, "hidden": [64]}, "adapt": adapt}}
    paths = made_up(tmp_path, "token", [[0, 9]], **config) + made_up(tmp_path, "mlp", [[0, 1]], **config)
    labels = [row.label for row in rows_of([read_reward_run(path) for path in paths], "reach")]
    assert labels == [
        "token (4 tokens, presence 0, without body state, hidden 64)",
        "mlp (4 tokens, without body state, hidden 64)",
    ]


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if recipe.experiment.name == "reward"])
def test_a_study_plans_every_learner_and_seed(name: str):
    plan = make_plan([name, "--seeds", "0", "1", "--ppo.tokens", "2"])
    once = ("goal",)  # nothing is trained there, so every seed would be the same run
    learners = [learner for learner in RECIPES[name].learners for _ in range(1 if learner in once else 2)]
    assert [run.settings.learner for run in plan.runs] == learners
    assert all(run.settings.ppo.tokens == 2 for run in plan.runs)
    assert set(RECIPES[name].learners) <= set(LEARNERS)


def checked_plan(words: list[str]) -> None:
    """What `skilltokens run` does before it makes anything."""
    plan = make_plan(words)
    for run in plan.runs:
        plan.experiment.finished(run.folder, run.settings, plan.recipe.name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "magic"], "magic"),
        (["--methods", "token", "token"], "named twice"),
        (["--jobs", "-1"], "impossible"),
        (["--nothing", "3"], "no option --nothing"),
        (["--learner", "mlp"], "name learners with --methods"),
        (["--seeds", "-1"], "seed -1 is impossible"),
        (["--adapt.points", "0"], "use 1 or more"),
        (["--ppo.presence", "nan"], "ppo.presence nan is impossible: use a finite number"),
        (["--noise", "-1", "inf"], "noise inf is impossible: use a finite number"),
        (["--suite", "metaworld"], "name one with --library"),
    ],
)
def test_mistakes_in_the_words_are_told_before_anything_is_made(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=said):
        checked_plan(["task-tokens", *words])
    assert not list(tmp_path.iterdir())


def test_scratch_gets_five_times_the_steps():
    runs = {run.settings.learner: run.settings for run in make_plan(["task-tokens"]).runs}
    assert runs["mlp"].adapt.steps == runs["transformer"].adapt.steps == 5 * runs["token"].adapt.steps
    assert runs["token"].adapt.steps == runs["finetune"].adapt.steps == runs["lora"].adapt.steps


def test_a_page_of_several_tasks_shows_all_curves_at_a_glance_each_learner_in_one_colour(tmp_path: Path):
    paths = made_up(tmp_path, "mlp", [[0, 2, 3], [0, 4, 9]]) + made_up(tmp_path, "token", [[0, 9, 9]])
    for path in paths:
        run = json.loads(path.read_text())
        run["tasks"].append({"name": "jump", "instruction": "leap"})
        run["results"].append({**run["results"][0], "task": "jump"})
        if run["learner"] == "token":  # its first task is not there
            run["results"] = run["results"][1:]
        path.write_text(json.dumps(run))
    page = render([read_reward_run(path) for path in paths])
    glance = page[page.index('id="all"') : page.index('<section id="reach"')]
    assert glance.count("<svg") == 2 + 2  # a picture a task, a sample of line a learner
    assert glance.count('class="band"') == 2
    tones = dict(re.findall(r'<li class="(m\d)"[^>]*><svg.*?</svg>(\w+)</li>', glance))
    assert sorted(tones.values()) == ["mlp", "token"]
    for row in re.findall(r'<tr class="(m\d)"><th scope="row">(\w+)<', page):
        assert tones[row[0]] == row[1]
