"""Skills beside a foreign base are learned by its own loss, in the one training loop, and everything stays that was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.attached.bases import SIZES, drawn, write
from tests.attached.policies import CHUNK
from tests.attached.test_library import LOADER, SHARE, acts, create, opened
from torch import Tensor, nn

from skilltokens.attached.batches import Steps, StoreBatches, steps_of
from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.settings import AttachedSettings
from skilltokens.attached.statistics import measured
from skilltokens.cli import main
from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.lerobot import export_lerobot
from skilltokens.grow_attached import learn_attached
from skilltokens.methods.attached.training import loss_in, taught, training_of
from skilltokens.settings import TrainSettings
from skilltokens.train import fit
from skilltokens.types import ACTION, NOTE, STATE, AttachError, LibraryError, Progress, SkilltokensError

TRAIN = TrainSettings(iterations=6, batch=8, warmup=1, log_every=1, average=0.5)


@pytest.mark.parametrize("kind", ["transformer", "unet", "decoder"])
def test_a_skill_is_learned_and_the_base_stays(kind: str, tmp_path: Path, toy_stores: list[DemonstrationStore]) -> None:
    base = write(tmp_path / "base", kind)
    library = create(tmp_path / "library", base)
    before = acts(library.actor_of("base"))
    losses: list[float] = []
    learn_attached(
        library,
        toy_stores[0],
        settings=AttachedSettings(rate=3e-2, own_rate=1e-2),
        train=replace(TRAIN, iterations=40),
        aside=1,
        report=lambda news: losses.append(news.figures["loss"]) if news.stage == "train" else None,
    )
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    skill = acts(library.actor("go to the red marker"))
    again = opened(tmp_path / "library")
    assert again.names == ["base", "reach-red"]
    assert np.array_equal(acts(again.actor_of("reach-red")), skill)
    assert np.array_equal(acts(again.actor_of("base")), before)
    assert learned_beside(again, toy_stores[1], "nearest").notes[2]["start"] == "reach-red"
    again.undo()
    notes = again.notes[1]
    assert notes["method"] == "attached-rows"
    assert notes["aside"]["episodes"] == 1
    learn_attached(
        again, toy_stores[0], settings=AttachedSettings(rate=3e-2, own_rate=1e-2), train=replace(TRAIN, iterations=40)
    )
    assert len(again.history()) == 4  # it was there already


def test_settings_that_do_nothing_for_another_policy_are_said(
    tmp_path: Path, toy_stores: list[DemonstrationStore]
) -> None:
    library = create(tmp_path / "library", write(tmp_path / "base", "transformer"))
    news: list[Progress] = []
    learn_attached(library, toy_stores[0], train=replace(TRAIN, shift=0.05), report=news.append)
    assert any(one.stage == NOTE and "train.shift do nothing here" in one.note for one in news)


def learned_beside(library: AttachedLibrary, store: DemonstrationStore, start: str) -> AttachedLibrary:
    return learn_attached(library, store, settings=AttachedSettings(start=start), train=TRAIN)


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, toy_stores: list[DemonstrationStore]) -> None:
    library = create(tmp_path / "library", write(tmp_path / "base", "unet"))
    settings = AttachedSettings()

    def run(start: object = None, points: tuple[float, ...] = (0.5, 1.0)) -> tuple[list[Tensor], object]:
        attached, kept = library.attached, None
        skill = library.new(seed=3)
        skill.statistics = measured(toy_stores[1])
        batches = StoreBatches(toy_stores[1], steps_of(attached.root), ["go"], skill.statistics, 8, attached.device)
        groups = skill.groups(settings.rate, settings.own_rate)
        with taught(attached, skill):
            for point in fit(training_of(attached, skill, batches, groups, TRAIN), TRAIN, 6, points, 1, start=start):  # pyright: ignore
                kept = kept or point.state()
        return [p.detach().clone() for p in skill.trained().values()], kept

    whole, half = run()
    torch.manual_seed(99)  # what others draw meanwhile is nothing to it
    resumed, _ = run(half)
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_batches_are_those_of_lerobot(toy_stores: list[DemonstrationStore]) -> None:
    store = toy_stores[0]
    steps = Steps((-1, 0), (0, 1, 2))
    batches = StoreBatches(store, steps, ["go", "drive"], {}, 64, torch.device("cpu"))
    batch = batches.draw(np.random.default_rng(0))
    assert batch[STATE].shape == (64, 2, SIZES[STATE])
    assert batch[ACTION].shape == (64, 3, 2)
    assert set(batch["task"]) == {"go", "drive"}
    starts = batch[f"{STATE}_is_pad"][:, 0]
    assert bool(starts.any())
    assert not bool(starts.all())
    assert torch.equal(batch[STATE][starts][:, 0], batch[STATE][starts][:, 1])
    ends = batch["action_is_pad"][:, 2]
    assert torch.equal(batch[ACTION][ends][:, 2], batch[ACTION][ends][:, 1])
    every = np.concatenate([store.episode(i).features[ACTION] for i in range(store.episodes)])
    assert all((np.abs(every - row.numpy()).sum(1) < 1e-6).any() for row in batch[ACTION][:, 0])
    with pytest.raises(AttachError, match="does not say how many actions it predicts"):
        steps_of(nn.Linear(2, 2))
    assert steps_of(drawn("unet")) == Steps(None, tuple(range(CHUNK)))


def test_a_loss_is_found_or_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    for output in (x.sum(), (x.sum(), {}), {"loss": x.sum()}, [x.sum()]):
        assert float(loss_in(output, "P").detach()) == 2
    for output, match in (
        ((), "gives a tuple"),
        (x, r"a tensor of shape \(2,\)"),
        ({}, "NoneType"),
        (x.sum().detach(), "no gradient"),
    ):
        with pytest.raises(AttachError, match=match):
            loss_in(output, "P")


def test_what_cannot_be_learned_leaves_the_library_as_it_was(
    tmp_path: Path, toy_stores: list[DemonstrationStore]
) -> None:
    base = write(tmp_path / "base")
    library = create(tmp_path / "library", base, own=["model.action_head", "model.places"])
    places = library.attached.slots["model.places.weight"]
    places.module.forward = lambda *_: None  # pyright: ignore
    before = sorted(path.name for path in (tmp_path / "library").rglob("*"))
    policy = library.attached.root
    whole = policy.chunk
    policy.chunk = lambda seen: whole(seen).detach()  # pyright: ignore
    with pytest.raises(AttachError, match="the loss of Transformer has no gradient"):
        learn_attached(library, toy_stores[0], train=TRAIN)
    policy.chunk = lambda seen: policy.model.action_head(whole(seen).detach()[..., :1].expand(-1, -1, 32))  # pyright: ignore
    with pytest.raises(AttachError, match=r"the loss does not depend on model.encoder.layers.0.linear1.key"):
        learn_attached(library, toy_stores[0], train=TRAIN)
    policy.chunk = lambda seen: whole(seen) * float("nan")  # pyright: ignore
    with pytest.raises(SkilltokensError, match="the loss became nan at step 0"):
        learn_attached(library, toy_stores[0], train=TRAIN)
    policy.chunk = whole  # pyright: ignore
    with pytest.raises(LibraryError, match="has a skill 'base' already"):
        learn_attached(library, toy_stores[0], name="base", train=TRAIN)
    assert sorted(path.name for path in (tmp_path / "library").rglob("*")) == before
    assert library.attached.active is None
    library.attached.check_base()


def test_the_command_from_a_base_to_a_second_skill(
    tmp_path: Path, toy_stores: list[DemonstrationStore], capsys: pytest.CaptureFixture[str]
) -> None:
    base, folder = write(tmp_path / "base"), str(tmp_path / "library")
    short = ["--train.iterations", "3", "--train.batch", "4", "--loader", LOADER]
    new = ["--new", "--base", str(base), "--share", str(SHARE)]
    one, two = (str(store.path) for store in toy_stores[:2])
    assert main(["learn", folder, one, *new, "--loader", "tests.attached.bases:fails"]) == 2
    assert main(["learn", folder, one, *new, *short, "--attached.rows", "900"]) == 2
    assert not Path(folder).exists()
    assert main(["learn", folder, one, *new, *short]) == 0
    said = capsys.readouterr().out
    assert "rows beside each of 6 maps" in said
    assert "skill 'reach-red' added" in said
    assert main(["learn", folder, two, *short, "--attached.start", "reach-red", "--attached.kind", "lora"]) == 2
    assert main(["learn", folder, two, *short, "--attached.start", "reach-red"]) == 0
    assert main(["learn", folder, two, *short, "--attached.start", "reach-red"]) == 0
    assert "is there already" in capsys.readouterr().out
    for words in (["list"], ["show", "reach-blue"], ["history"], ["verify"], ["select", "move to the blue mark"]):
        assert main(["skills", folder, *words]) == 0
    assert "calls 'reach-blue'" in capsys.readouterr().out
    assert main(["skills", folder, "verify", "--actions", "--loader", LOADER]) == 0
    assert main(["skills", folder, "verify", "--actions"]) == 1
    assert "who makes a policy of the base is not known here" in capsys.readouterr().out
    for action in (
        ["export", "reach-blue", str(tmp_path)],
        ["remove", "reach-blue"],
        ["import", f"{tmp_path}/reach-blue.skill"],
    ):
        assert main(["skills", folder, *action]) == 0
    assert main(["export", folder, "--skill", "reach-blue"]) == 2
    assert "whose own code is needed to act" in capsys.readouterr().err


def test_a_lerobot_data_set_is_learned_from_as_a_store(
    tmp_path: Path, toy_stores: list[DemonstrationStore], capsys: pytest.CaptureFixture[str]
) -> None:
    base, folder = write(tmp_path / "base"), str(tmp_path / "library")
    export_lerobot(toy_stores[:2], tmp_path / "both", fps=10)
    export_lerobot(toy_stores[1:2], tmp_path / "one", fps=10)
    short = ["--train.iterations", "3", "--train.batch", "4", "--loader", LOADER]
    new = ["--new", "--base", str(base), *short, "--share", str(SHARE)]
    assert main(["learn", folder, str(tmp_path / "both"), *new]) == 2
    assert "shows 2 tasks, and a skill is one: choose (--task) of 'go to the red marker'" in capsys.readouterr().err
    assert main(["learn", folder, str(toy_stores[0].path), *new, "--task", "go"]) == 2
    assert not Path(folder).exists()
    assert main(["learn", folder, str(tmp_path / "both"), *new, "--task", "go to the red marker"]) == 0
    assert main(["learn", folder, str(tmp_path / "one"), *short]) == 0
    assert main(["learn", folder, str(tmp_path / "one"), *short]) == 0
    assert "is there already" in capsys.readouterr().out
    assert opened(tmp_path / "library").names == ["base", "reach-red", "reach-blue"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "both", "library", "one"]
