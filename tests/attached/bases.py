"""Bases in folders, as other people leave them, and who loads them (`tests.attached.bases:load`)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from tests.attached.policies import CHUNK, Queued, policy
from torch import nn

from skilltokens.types import ENVIRONMENT_STATE, STATE

SIZES = {STATE: 2, ENVIRONMENT_STATE: 4}
"""Those of the toy suite."""


def write(folder: Path, kind: str = "transformer", seed: int = 0) -> Path:
    """A base that was never taught, with the toy suite's sizes."""
    folder.mkdir(parents=True)
    made_of = drawn(kind, seed)
    save_file({name: value.contiguous() for name, value in made_of.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"kind": kind}))
    return folder


def drawn(kind: str, seed: int = 0) -> Queued:
    """A policy with the toy suite's sizes, and a configuration as LeRobot's."""
    base = policy(kind, seed, sizes=SIZES, actions=2)
    base.config = SimpleNamespace(type=base.name, action_delta_indices=list(range(CHUNK)), n_action_steps=2)
    return base


def load(folder: Path) -> nn.Module:
    base = drawn(json.loads((folder / "config.json").read_text())["kind"], seed=5)
    base.load_state_dict(load_file(folder / "model.safetensors"))
    return base


def fails(folder: Path) -> nn.Module:
    raise RuntimeError("no such policy\nfurther lines")


def returns(folder: Path) -> torch.Tensor:
    return torch.zeros(2)


def writes_itself(folder: Path) -> nn.Module:
    """A policy that counts its forward passes in one of its own numbers."""
    base = load(folder)
    base.register_forward_pre_hook(_count)
    return base


def _count(base: nn.Module, args: tuple[object, ...]) -> None:
    next(base.parameters()).data[0] += 1


def diverges(folder: Path) -> nn.Module:
    """A policy whose loss is no number."""
    base = load(folder)
    base.register_forward_hook(lambda module, args, output: (output[0] * float("nan"),))
    return base
