"""Where peers come from: packages of .venv-peers, and clones at a pinned commit.

$LIBERO_SOURCE and $TOKENFORMER_SOURCE name another URL or folder to clone from; the commit stays the pinned one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from skilltokens.types import SkilltokensError

ROOT = Path(__file__).parents[2]
CLONES = ROOT / ".venv-peers" / "sources"
"""git ignores it, as all that lies in .venv-peers."""
LIMIT = 600.0
"""Seconds that git may take."""
PACKAGES = ("peft", "stable-baselines3", "robomimic", "torchvision")
"""Whose versions stand beside the rows."""


class PeerError(SkilltokensError):
    """A peer is not there: its rows are not measured, and the sentence says why."""


@dataclass(frozen=True)
class Source:
    """A repository at one commit."""

    name: str
    url: str
    commit: str
    folders: tuple[str, ...]
    """All that is checked out: what else the repositories hold, such as meshes, has hundreds of megabytes."""

    @property
    def variable(self) -> str:
        """The variable of the environment, and of make, that names another place to clone from."""
        return f"{self.name.upper()}_SOURCE"


LIBERO = Source(
    "LIBERO",
    "https://github.com/Lifelong-Robot-Learning/LIBERO",
    "8f1084e3132a39270c3a13ebe37270a43ece2a01",
    ("libero/lifelong", "libero/configs", "libero/libero/envs", "libero/libero/utils", "libero/libero/benchmark"),
)
TOKENFORMER = Source(
    "TokenFormer",
    "https://github.com/Haiyang-W/TokenFormer",
    "4d56c73f407635e62f6df16b97dc897b4477129e",
    ("megatron/model", "configs/tokenformer"),
)


def cloned(source: Source, folder: Path = CLONES) -> Path:
    """The folder of a clone whose checked-out commit is the pinned one; it is cloned where it is not there.

    Raises:
        PeerError: it cannot be had. What git said goes to standard error.
    """
    path = folder / source.name
    if _head(path) == source.commit:
        return path
    place = os.environ.get(source.variable) or source.url
    try:
        if not (path / ".git").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _git("clone", "--quiet", "--no-checkout", "--filter=blob:none", place, str(path))
        else:
            _git("-C", str(path), "fetch", "--quiet", place, source.commit)
        _git("-C", str(path), "sparse-checkout", "set", *source.folders)
        _git("-C", str(path), "checkout", "--quiet", "--detach", source.commit)
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"git, for {source.name}: {getattr(problem, 'stderr', None) or problem}".strip(), file=sys.stderr)
    if _head(path) != source.commit:
        raise PeerError(
            f"{source.name}'s code at commit {source.commit[:8]} cannot be fetched: say "
            f"`make peers {source.variable}=...` with a URL or a folder that has it"
        )
    return path


def load(name: str) -> Any:
    """A module of a peer's. Its types are not known here, since the project's own environment lacks it.

    Raises:
        PeerError: it, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except Exception as problem:  # other people's modules fail in ways of their own, and the other rows go on
        reason = str(problem).splitlines() or [type(problem).__name__]
        raise PeerError(f"{name} cannot be imported ({reason[0]}): run it by `make peers`") from problem


def load_torchvision() -> None:
    """Imports torchvision, which LIBERO and, through transformers, PEFT import.

    Its compiled operators may be of another build than torch, such as CUDA's beside torch for the CPU. It cannot be
    imported then unless two operators, for boxes in pictures, are declared. They compute nothing, and no peer calls
    them.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):
                torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou) -> Tensor")
        load("torchvision")


def versions() -> dict[str, str]:
    """The peers that are there: packages with their versions, clones with their commits."""
    known: dict[str, str] = {}
    for name in PACKAGES:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for source in (LIBERO, TOKENFORMER):
        if _head(CLONES / source.name) == source.commit:
            known[source.name] = source.commit[:8]
    return known


def _head(path: Path) -> str | None:
    """The commit that is checked out in a clone of its own; None where there is none."""
    if not (path / ".git").exists():
        return None
    try:
        return _git("-C", str(path), "rev-parse", "HEAD").strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    """What git says.

    Raises:
        OSError, subprocess.SubprocessError: it is not there, fails, or takes too long.
    """
    environment: Mapping[str, str] = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *words], check=True, capture_output=True, text=True, timeout=LIMIT, env=dict(environment)
    )
    return done.stdout
