"""The file that tells a child process what to do: read back equal, refused in one sentence where it is damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skilltokens.cli.batch import decode
from skilltokens.cli.job import RunJob, read_job
from skilltokens.cli.plan import make_plan
from skilltokens.types import RunError, SettingError

CHANGED = {
    "demo": "--methods t2s lora single_task --tasks push --train.clip inf --evaluate.no-videos",
    "libero-goal": "--methods t2s --protocol B --first 2 --order shuffled --train.rate 1e-7 --method.start copy",
    "task-tokens-ant": "--methods token mlp --tasks reach --gravity 0.1 --seeds 3",
    "task-tokens-metaworld": "--methods goal --ppo.hidden 8 4",
}
"""Recipe -> options that change settings of every kind."""


def jobs(name: str) -> list[RunJob]:
    plan = make_plan([name, *CHANGED[name].split()])
    return [RunJob(plan.experiment, run.settings, run.folder, run.recipe.name, "a 'command'") for run in plan.runs]


@pytest.mark.parametrize("name", CHANGED)
def test_a_job_is_read_back_equal(name: str, tmp_path: Path):
    for job in jobs(name):
        job.write(tmp_path / "job.json")
        assert read_job(tmp_path / "job.json") == job


def worker(job: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "skilltokens.cli.worker", str(job)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def altered(path: Path, **changes: Any) -> None:
    """Writes a job in which these entries are others; None removes one."""
    jobs("demo")[0].write(path)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "skilltokens.job/9"}, "has schema 'skilltokens.job/9'"),
        ({"settings": None}, "missing required field settings"),
        ({"folder": 3}, "Expected str, got int - at folder"),
        ({"experiment": "lifelogn"}, "there is no experiment 'lifelogn'"),
        ({"learner": "t3s"}, "method 't3s' is unknown: did you mean 't2s'?"),
        ({"settings": {"method": {"odd": 1}}}, "has no setting method.odd"),
        ({"settings": {"method": {}, "seed": "x"}}, "cannot be read"),
    ],
)
def test_a_damaged_job_is_one_sentence(changes: dict[str, Any], said: str, tmp_path: Path):
    altered(tmp_path / "job.json", **changes)
    with pytest.raises((RunError, SettingError)) as mistake:
        read_job(tmp_path / "job.json")
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_child_says_what_is_wrong_with_its_job_and_ends(tmp_path: Path):
    job = tmp_path / "job.json"
    altered(job, experiment="lifelogn")
    half = tmp_path / "half.json"
    half.write_text(job.read_text()[:100])
    for file, said in (
        (job, "there is no experiment 'lifelogn'"),
        (half, "is truncated or altered"),
        (tmp_path / "nowhere.json", "nowhere.json does not exist"),
    ):
        done = worker(file)
        assert (done.returncode, done.stderr) == (2, "")
        (line,) = done.stdout.splitlines()
        failure = decode(line)
        assert isinstance(failure, str)
        assert said in failure
    assert {path.name for path in tmp_path.iterdir()} == {"job.json", "half.json"}
