"""Methods on a policy of another make under the lifelong loop: each learns, nothing of old skills changes, and an
interrupted run ends with the same bits."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.attached.bases import load, write
from tests.experiments.lifelong.runs import TASKS, Settings, contents, figures
from torch import nn

from skilltokens.attached.library import AttachedLibrary
from skilltokens.attached.verifying import verify
from skilltokens.experiments.lifelong import learn
from skilltokens.experiments.reading import read_lifelong
from skilltokens.files import digest
from skilltokens.methods import METHODS, method_settings
from skilltokens.methods.attached.fresh import fresh_numbers
from skilltokens.methods.t2s import T2SSettings
from skilltokens.types import AttachError, LibraryError, Progress, RunError, SettingError, SkilltokensError

LOADER = "tests.attached.bases:load"
BESIDE = [name for name, entry in METHODS.items() if entry.beside]
WHOLE = ("attached_full_copy", "attached_scratch")
"""The methods whose skills are copies of all of the policy."""
KINDS = {"transformer": "act", "unet": "diffusion", "decoder": "smolvla"}
CASES = [
    *((method, "transformer") for method in BESIDE),
    ("attached_rows", "unet"),
    ("attached_scratch", "unet"),
    ("attached_lora", "decoder"),
    ("attached_full_copy", "decoder"),
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for kind in KINDS:
        write(folder / kind, kind)
    return folder


@pytest.fixture(scope="module")
def base(bases: Path) -> Path:
    return bases / "transformer"


@pytest.fixture(scope="module")
def few(settings: Settings, base: Path) -> Settings:
    return dataclasses.replace(
        settings,
        tasks=TASKS[:2],
        protocol="A+",
        base=str(base),
        loader=LOADER,
        train=dataclasses.replace(settings.train, observation_noise=0.0),
        evaluate=dataclasses.replace(settings.evaluate, episodes=2, group=2, horizon=6, wordings=False),
    )


def by(few: Settings, method: str) -> Settings:
    share = {} if method in WHOLE else {"share": 0.4}
    return dataclasses.replace(few, method=method_settings(method)(**share))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), CASES)
def test_an_interrupted_run_ends_with_the_same_bits(
    method: str, kind: str, few: Settings, bases: Path, tmp_path: Path
) -> None:
    base = bases / kind
    chosen = dataclasses.replace(by(few, method), base=str(base))
    whole = learn(chosen, tmp_path / "whole")
    (old,) = [cell for cell in whole.cells if cell.progress == 1.0 and cell.task < cell.after]
    assert old.same_as is not None  # the same policy, and the same actions, bit for bit
    count = itertools.count()

    def interrupt(news: Progress) -> None:
        if news.stage == "train" and news.lesson == 1 and next(count) == 3:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        learn(chosen, tmp_path / "cut", interrupt)
    assert (tmp_path / "cut" / "progress.safetensors").exists()
    torch.manual_seed(99)  # what others draw meanwhile is nothing to it: the policy's dropout repeats
    learn(chosen, tmp_path / "cut")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert contents(tmp_path / "cut" / "library") == contents(tmp_path / "whole" / "library")

    size, (trained, again) = whole.parameters.base or 0, whole.parameters.trained
    assert trained == again
    assert trained == size if method in WHOLE else trained <= 0.4 * size
    assert whole.parameters.total == [trained * n + size * (method != "attached_scratch") for n in (1, 2)]
    assert whole.base is not None
    assert whole.base.files["model.safetensors"] == digest(base / "model.safetensors")
    assert whole.base.type == KINDS[kind]
    library = AttachedLibrary.open(tmp_path / "whole" / "library", loader=LOADER)
    assert library.names == ["base", *TASKS[:2]]
    assert not [finding for finding in verify(library.folder, actions=True, loader=LOADER) if finding.fault]


def test_scratch_begins_with_fresh_numbers_and_leaves_the_policy_as_it_was(base: Path) -> None:
    policy = load(base)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    state = torch.random.get_rng_state()
    one, same, other = (fresh_numbers(policy, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, policy.state_dict()[name]) for name, value in before.items())
    assert one.keys() == dict(policy.named_parameters()).keys()
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    weights = [name for name, value in one.items() if value.dim() > 1]
    assert not any(torch.equal(one[name], other[name]) or torch.equal(one[name], before[name]) for name in weights)


class Placed(nn.Module):
    """A policy with a number that no function draws."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.place = nn.Linear(2, 2), nn.Parameter(torch.ones(2))


def test_what_cannot_begin_from_scratch_is_refused() -> None:
    placed = Placed()
    with pytest.raises(AttachError, match=r"nothing draws place anew.* reset_parameters\(\)"):
        fresh_numbers(placed, 0)
    assert torch.equal(placed.place.detach(), torch.ones(2))
    with pytest.raises(AttachError, match="1 is a BatchNorm1d with running statistics"):
        fresh_numbers(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 0)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"base": ""}, SettingError, "attached_rows learns on a policy of another make: name it, --protocol A"),
        ({"protocol": "A", "base": ""}, SettingError, "name it, --protocol A"),
        ({"base": "", "pretrain": "demo"}, SettingError, "attached_rows learns on a policy of another make: name it"),
        ({"method": T2SSettings()}, SettingError, "--loader is for methods on a policy of another make, and t2s is"),
        ({"loader": ""}, LibraryError, "who makes a policy of the base is not known here"),
        ({"loader": "tests.attached.bases:fails"}, LibraryError, r"could not be loaded \(RuntimeError: no such policy"),
        ({"loader": "tests.attached.bases:writes_itself"}, AttachError, "of the base changed under its skills"),
        ({"loader": "tests.attached.bases:diverges"}, SkilltokensError, "the loss became nan at step 0"),
        ({"base": "nowhere"}, LibraryError, "the base nowhere is not there"),
        ({"share": 0.01}, AttachError, "is the ceiling"),
        ({"targets": ("model.nothing",)}, AttachError, "no module of the policy is called 'model.nothing'"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    changes: dict[str, Any], error: type[Exception], match: str, few: Settings, tmp_path: Path
) -> None:
    chosen = by(few, "attached_rows")
    own = {name: value for name, value in changes.items() if hasattr(chosen.method, name)}
    rest = {name: value for name, value in changes.items() if name not in own}
    chosen = dataclasses.replace(chosen, **{"method": dataclasses.replace(chosen.method, **own), **rest})
    with pytest.raises(error, match=match) as raised:
        learn(chosen, tmp_path / "run")
    assert "\n" not in str(raised.value)
    record = tmp_path / "run" / "run.json"
    assert not record.exists() or not read_lifelong(record).cells


def test_a_run_goes_on_with_the_base_that_it_began_from_alone(few: Settings, base: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "base"))
    chosen = dataclasses.replace(by(few, "attached_own"), base=str(other))

    def interrupt(news: Progress) -> None:
        if news.lesson == 1:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        learn(chosen, tmp_path / "run", interrupt)
    tensors = load_file(other / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1}, other / "model.safetensors")
    with pytest.raises(RunError, match=r"is not the policy that this run began from \(its numbers are others\)"):
        learn(chosen, tmp_path / "run")
    assert learn(dataclasses.replace(chosen, base=str(base)), tmp_path / "run").finished  # the same one elsewhere
    library = tmp_path / "run" / "library"
    with pytest.raises(LibraryError, match="is a skill library, where a policy of another make is needed"):
        learn(dataclasses.replace(chosen, base=str(library)), tmp_path / "again")
