"""run.json as typed records: nothing is lost between reading and writing, and what is odd is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skilltokens.experiments.experiment import experiment_in
from skilltokens.experiments.reading import read_lifelong, read_record, read_reward, write_record
from skilltokens.experiments.records import Cell
from skilltokens.files import sealed
from skilltokens.types import RunError

RESULTS = Path(__file__).parents[2] / "results"
LEAST: dict[str, Any] = {
    "schema": "skilltokens.run/1",
    "method": "mine",
    "suite": "own",
    "protocol": "A",
    "observations": "state",
    "seed": 0,
    "tasks": [{"name": "lift", "instruction": "lift the cube"}],
    "demonstrations": {"source": "human", "episodes": [50], "digest": ["ab"]},
    "evaluations": [],
    "parameters": {"trained": [], "total": []},
    "timing": {},
    "config": {},
    "versions": {},
    "started": "2026-01-01T00:00:00+00:00",
    "finished": None,
}
"""The least that another program has to write."""
REWARD: dict[str, Any] = {
    "schema": "skilltokens.reward/1",
    "learner": "token",
    "suite": "halfcheetah",
    "seed": 0,
    "tasks": [{"name": "reach", "instruction": "go"}],
    "model": {},
    "results": [
        {
            "task": "reach",
            "instruction": "go",
            "steps": [0],
            "successes": [3],
            "episodes": 10,
            "trained": 0,
            "seconds": 1.5,
            "prompted": [{"asked": 1.1, "speed": 0.9, "successes": 4, "episodes": 10}],
            "shaken": [{"log_std": -1.2, "successes": 2, "episodes": 10}],
            "film": "films/reach.webp",
        }
    ],
    "config": {},
    "versions": {},
    "started": "2026-01-01T00:00:00+00:00",
    "finished": None,
}


def written(folder: Path, content: object) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def said(value: Any) -> Any:
    """What a JSON value says: keys that say nothing are left out."""
    if isinstance(value, dict):
        entries = {key: said(entry) for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if entry not in (None, "", [], {})}
    return [said(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the published runs are not here")
def test_nothing_of_a_published_run_is_lost_where_it_is_written_again(tmp_path: Path):
    paths = sorted(RESULTS.rglob("run.json"))
    assert paths
    for path in paths:
        record = read_record(path)
        write_record(tmp_path, record)
        assert read_record(tmp_path) == record
        new, old = (said(json.loads(file.read_text())) for file in (tmp_path / "run.json", path))
        sealed = {"schema": old["schema"].replace("/1", "/2"), "digest": new["digest"]}
        assert new == old | sealed


def test_the_least_that_another_program_writes_is_read(tmp_path: Path):
    record = read_lifelong(written(tmp_path, LEAST))
    assert (record.method, record.lessons, record.cells, record.commit, record.recipe) == ("mine", 0, [], None, None)
    assert experiment_in(record).name == "lifelong"


def test_keys_of_later_versions_are_passed_over(tmp_path: Path):
    assert read_lifelong(written(tmp_path, {**LEAST, "mood": {"good": True}})).method == "mine"


def resealed(content: dict[str, Any]) -> dict[str, Any]:
    return sealed({**content, "schema": content["schema"].replace("/1", "/2")})


@pytest.mark.parametrize("content", [LEAST, REWARD])
def test_what_is_written_bears_a_seal_and_no_byte_of_it_changes_unseen(content: dict[str, Any], tmp_path: Path):
    write_record(tmp_path, read_record(written(tmp_path, content)))
    whole = (tmp_path / "run.json").read_bytes()
    again = json.loads(whole)
    assert again["schema"].endswith("/2")
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        (tmp_path / "run.json").write_bytes(flipped)
        try:
            read_record(tmp_path)
        except RunError:
            continue
        assert json.loads(flipped) == again  # white space


@pytest.mark.parametrize(
    "change",
    [
        {"digest": None},
        {"digest": "0" * 64},
        {"seed": 1},
        {"seed": 1, "schema": "skilltokens.run/1"},  # no way around the seal
        {"mood": "good"},
    ],
)
def test_a_sealed_run_that_was_altered_is_refused(change: dict[str, Any], tmp_path: Path):
    with pytest.raises(RunError, match=r"is truncated or altered.*its digest differs"):
        read_lifelong(written(tmp_path, resealed(LEAST) | change))


def test_a_run_that_is_nested_without_end_is_refused(tmp_path: Path):
    config: dict[str, Any] = {}
    for _ in range(300):
        config = {"config": config}
    for content in (LEAST | {"config": config}, resealed(LEAST | {"config": config})):
        with pytest.raises(RunError, match="nested too deep"):
            read_record(written(tmp_path, content))
    text = json.dumps(LEAST).replace('"config": {}', '"config": ' + "[" * 100_000 + "]" * 100_000)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match="nested too deep"):
        read_record(tmp_path)


def test_what_nobody_knows_is_written_as_null_and_what_says_nothing_is_not(tmp_path: Path):
    write_record(tmp_path, read_lifelong(written(tmp_path, LEAST)))
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["commit"] is content["recipe"] is content["finished"] is content["timing"]["machine"] is None
    assert (content["evaluations"], content["timing"]["train_s"]) == ([], [])
    assert not {"learning", "reuse", "films", "resumed", "base", "encoder"} & set(content)


def test_old_names_stay_the_names_in_the_file(tmp_path: Path):
    record = read_reward(written(tmp_path, REWARD))
    (result,) = record.results
    assert (result.commanded[0].asked, result.noisy[0].log_std, result.video) == (1.1, -1.2, "films/reach.webp")
    assert experiment_in(record).name == "reward"
    write_record(tmp_path, record)
    (entry,) = json.loads((tmp_path / "run.json").read_text())["results"]
    assert said(entry) == said(REWARD["results"][0])


def test_a_cell_says_only_what_it_has():
    cell = Cell(after=0, progress=1.0, task=0, split="test", selected_by="instruction", successes=1, episodes=2)
    assert not {"skill", "called", "same_as", "policy"} & set(msgspec.to_builtins(cell))
    content = msgspec.to_builtins(msgspec.structs.replace(cell, skill=0, same_as=0))
    assert (content["skill"], content["same_as"]) == (0, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": []}, "it names no task"),
        ({"results": [{**REWARD["results"][0], "successes": [1, 2]}]}, "the result of 'reach' has no whole curve"),
        ({"results": [{**REWARD["results"][0], "steps": [], "successes": []}]}, "no whole curve"),
        ({"results": [{**REWARD["results"][0], "episodes": 0}]}, "no whole curve"),
        ({"results": [{**REWARD["results"][0], "closeness": {"neighbour": "far"}}]}, r"at results\[0\]\.closeness"),
        ({"learner": 3}, "at learner"),
        ({"model": []}, "at model"),
    ],
)
def test_an_altered_run_from_reward_is_refused_in_one_sentence(change: dict[str, Any], words: str, tmp_path: Path):
    path = written(tmp_path, REWARD | change)
    with pytest.raises(RunError, match=f"is truncated or altered .*{words}") as refusal:
        read_reward(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("schema", ["skilltokens.run/3", "skilltokens.library/1", None, 7])
def test_a_file_of_another_schema_is_no_run(schema: object, tmp_path: Path):
    with pytest.raises(RunError, match=r"schema .* where 'skilltokens\.run/2' or .* is needed"):
        read_record(written(tmp_path, {**LEAST, "schema": schema}))


def test_one_kind_is_not_read_as_the_other(tmp_path: Path):
    with pytest.raises(RunError, match="is it the right file"):
        read_reward(written(tmp_path, LEAST))
    with pytest.raises(RunError, match="is it the right file"):
        read_lifelong(written(tmp_path, REWARD))
