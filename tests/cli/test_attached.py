"""The commands that act take a library beside another make's policy as they take our own, or say why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.attached.bases import write
from tests.attached.test_library import LOADER, create, numbers
from tests.serve.served import readings

from skilltokens.attached.library import AttachedLibrary
from skilltokens.cli import main
from skilltokens.cli.opening import open_library
from skilltokens.demos import DemonstrationStore
from skilltokens.serve.client import Client
from skilltokens.serve.server import PolicyServer, serving
from skilltokens.serve.settings import ServeSettings
from skilltokens.types import SettingError

RED, BLUE = "go to the red marker", "go to the blue marker"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two skills of random numbers, called by the toy suite's words."""
    place = tmp_path_factory.mktemp("beside")
    library = create(place / "library", write(place / "base"), wordings=())
    for seed, (name, words) in enumerate((("reach-red", RED), ("reach-blue", BLUE)), 1):
        library.add(name, [words], numbers(library, seed), {"suite": "toy", "task": name})
    return library.folder


def test_it_is_evaluated_on_a_suite_and_on_stores(
    folder: Path, toy_stores: list[DemonstrationStore], capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--suite", "tests.toy:Toy", "--episodes", "2", "--group", "2", "--horizon", "3", "--workers", "0"]
    assert main(["evaluate", str(folder), *short, "--loader", LOADER]) == 0
    said = capsys.readouterr().out
    assert said.count("of 2") == 2
    assert "(wrong)" not in said
    stores = [str(store.path) for store in toy_stores[:2]]
    assert main(["evaluate", str(folder), "--loader", LOADER, "--stores", *stores]) == 0
    library = AttachedLibrary.open(folder)
    about = library.state.newest("reach-red").about()
    assert (about["episodes"], about["split"]) == (2, "test")
    assert about["error"]["demonstrations"] == toy_stores[0].digest


def test_what_another_makes_policy_cannot_do_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert main(list(words)) == 2
        return capsys.readouterr().err

    assert "who makes a policy of the base is not known here" in refused("evaluate", str(folder))
    beside = ["--loader", LOADER, "--suite", "tests.toy:Toy", "--workers", "0"]
    assert "--ahead is for this package's own policies" in refused("evaluate", str(folder), *beside, "--ahead", "2")
    other = ["--loader", LOADER, "--suite", "metaworld"]
    assert "feature 'action' is float32 (2,) in" in refused("evaluate", str(folder), *other)
    assert "whose own code is needed to act: serve it" in refused("export", str(folder), "--skill", "reach-red")
    assert "predicts 6 at a time" in refused("serve", str(folder), "--loader", LOADER, "--chunk", "9")


def test_a_loader_is_for_libraries_beside_another_makes_policy(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has a base of its own: leave out --base and --loader"):
        open_library(tmp_path, loader=LOADER)


def test_it_is_served_and_robots_take_turns(folder: Path) -> None:
    library = open_library(folder, loader=LOADER)
    alone = AttachedLibrary.open(folder, loader=LOADER)
    steps = list(readings(5))
    with serving(PolicyServer(library, ServeSettings(port=0))) as (host, port):
        with Client(f"{host}:{port}") as one, Client(f"{host}:{port}") as other:
            answers = [(one.act(seen, RED), other.act(seen, BLUE)) for seen in steps]
        for robot, name in enumerate(("reach-red", "reach-blue")):
            actor = alone.actor_of(name)
            memory = actor.start(1)
            actions = [actor.act({n: x[None] for n, x in seen.items()}, memory) for seen in steps]
            assert {answer[robot].skill for answer in answers} == {name}
            assert all(np.array_equal(a[robot].actions, b) for a, b in zip(answers, actions, strict=True))
    server = PolicyServer(library, ServeSettings(port=0, chunk=6))
    with serving(server) as (host, port), Client(f"{host}:{port}") as robot:
        assert robot.act(steps[0], RED).actions.shape == (6, 2)
    with pytest.raises(SettingError, match="chunk 7 is impossible: this library's policy predicts 6 at a time"):
        PolicyServer(library, ServeSettings(chunk=7))
