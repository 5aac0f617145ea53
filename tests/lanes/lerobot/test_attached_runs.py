"""Methods on LeRobot's own policies in the one lifelong loop: an interrupted run ends with the same bits.

The base is a checkpoint folder; nobody names its loader.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest
import torch
from tests.experiments.lifelong.runs import contents, figures
from tests.lanes.lerobot.checkpoints import write
from tests.toy import TASKS, Toy

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.verifying import verify
from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.settings import RunSettings
from skilltokens.methods import method_settings
from skilltokens.settings import DemonstrationSettings, EvaluateSettings, TrainSettings
from skilltokens.types import Progress

CASES = [
    *(("act", f"attached_{name}") for name in ("rows", "lora", "own", "full_copy", "scratch")),
    *(("diffusion", f"attached_{name}") for name in ("rows", "full_copy", "scratch")),
]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations where a run looks for them."""
    folder, toy = tmp_path_factory.mktemp("demos"), Toy()
    for task in TASKS[:2]:
        episodes = toy.demonstrate(task, 4, 0, 0.1)
        place = folder / toy.name / task.name
        write_store(place, episodes, task=task, features=toy.features, suite=toy.name, source="recorded")
    return folder


@pytest.fixture(scope="module")
def bases(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each kind."""
    folder, store = tmp_path_factory.mktemp("bases"), DemonstrationStore.open(demos / "toy" / "reach-red")
    for kind in ("act", "diffusion"):
        write(folder / kind, kind, store)
    return folder


def chosen(bases: Path, demos: Path, kind: str, method: str) -> RunSettings[object]:
    share = {} if method.endswith(("copy", "scratch")) else {"share": 0.4}
    return RunSettings(
        method=method_settings(method)(**share),
        suite="tests.toy:Toy",
        tasks=("reach-red", "reach-blue"),
        protocol="A+",
        base=str(bases / kind),
        train=TrainSettings(iterations=6, batch=8, window=20, log_every=2, warmup=1),
        evaluate=EvaluateSettings(episodes=2, group=2, points=3, horizon=9),
        demonstrations=DemonstrationSettings(episodes=4, folder=str(demos)),
    )


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_an_interrupted_run_ends_with_the_same_bits(
    kind: str, method: str, bases: Path, demos: Path, tmp_path: Path
) -> None:
    settings = chosen(bases, demos, kind, method)
    whole = learn(settings, tmp_path / "whole")
    count = itertools.count()

    def interrupt(news: Progress) -> None:
        if news.stage == "train" and news.lesson == 1 and next(count) == 3:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        learn(settings, tmp_path / "cut", interrupt)
    torch.manual_seed(99)
    learn(settings, tmp_path / "cut")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert contents(tmp_path / "cut" / "library") == contents(tmp_path / "whole" / "library")
    (old,) = [cell for cell in whole.cells if cell.progress == 1.0 and cell.task < cell.after]
    assert old.same_as is not None
    assert whole.base is not None
    assert whole.base.type == kind
    library = AttachedLibrary.open(tmp_path / "whole" / "library")
    assert library.names == ["base", "reach-red", "reach-blue"]
    assert not [finding for finding in verify(library.folder, actions=True) if finding.fault]
